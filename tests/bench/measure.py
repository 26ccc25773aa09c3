"""Processes and calls, timed in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TOKEN: Final = "t0ken-of-the-bench"
_KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took: wall seconds."""

    seconds: float


def environment(**more: str) -> dict[str, str]:
    """What a measured command is given: nothing of a CI job or of somebody's Terraform settings."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "CHECKPOINT_DISABLE": "1", "BATCHFORM_AUTH_TOKEN": TOKEN, **more}


def spend(words: Sequence[str], folder: Path, codes: Sequence[int] = (0,), **more: str) -> Spent:
    """Run a command in a process of its own, from cold.

    Raises:
        RuntimeError: It ended otherwise than it should have.
    """
    quiet = subprocess.DEVNULL
    began = time.perf_counter()
    with subprocess.Popen(
        words, cwd=folder, env=environment(**more), stdin=quiet, stdout=quiet, stderr=quiet
    ) as process:
        code = process.wait()
        seconds = time.perf_counter() - began
    if code not in codes:
        raise RuntimeError(f"{' '.join(words)[:200]} ended with {code}")
    return Spent(seconds)


_WEIGH: Final = """
import resource, subprocess, sys
quiet = subprocess.DEVNULL
code = subprocess.run(sys.argv[1:], stdin=quiet, stdout=quiet, stderr=quiet).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def megabytes(words: Sequence[str], folder: Path, *, code: int = 0, **more: str) -> float:
    """The most memory that a command holds, in MB.

    The kernel counts what a process held before it became the command, so a small one stands between it and us.

    Raises:
        RuntimeError: It ended otherwise than with `code`.
    """
    small = [sys.executable, "-I", "-S", "-c", _WEIGH, *words]
    said = subprocess.run(small, cwd=folder, env=environment(**more), capture_output=True, text=True, check=True).stdout
    ended, weight = map(int, said.split())
    if ended != code:
        raise RuntimeError(f"{' '.join(words)[:200]} ended with {ended}")
    return weight / (1024 if sys.platform == "linux" else 1024 * 1024)


def timed(call: Callable[[], object]) -> Callable[[], Spent]:
    """The call as something to measure."""

    def measured() -> Spent:
        began = time.perf_counter()
        call()
        return Spent(time.perf_counter() - began)

    return measured


def in_turns(rounds: int, measured: Mapping[str, Callable[[], Spent]]) -> dict[str, Spent]:
    """The median of each, measured one after the other, round by round: what disturbs one disturbs all."""
    spent: dict[str, list[Spent]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, run in measured.items():
            spent[name].append(run())
    return {name: Spent(statistics.median(each.seconds for each in runs)) for name, runs in spent.items()}
