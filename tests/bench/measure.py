"""Processes and calls, timed in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
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
    """What one run took: wall seconds, and the most memory it held, in MB."""

    seconds: float
    megabytes: float = 0.0


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
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise RuntimeError(f"{' '.join(words)[:200]} ended with {process.returncode}")
    return Spent(seconds, used.ru_maxrss / 1024)


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
    return {
        name: Spent(statistics.median(each.seconds for each in runs), max(each.megabytes for each in runs))
        for name, runs in spent.items()
    }
