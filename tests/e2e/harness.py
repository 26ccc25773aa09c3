"""Runs the installed command in a process of its own against a simulator, and judges by the simulator's log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchform import simulator
from batchform.state.local import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batchform.state.events import Entry

TOKEN = "t0ken-of-the-tests-8f2c"
FAST = 25.0
"""How much faster the clock of `fast` commands runs."""

_FAST = str(Path(__file__).with_name("fast.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass(slots=True)
class Site:
    """A folder with a configuration, a simulator, and the commands run there."""

    folder: Path
    url: str
    world: simulator.World
    log: simulator.Log
    spoken: list[str] = field(default_factory=list)

    def declare(self, batches: Mapping[str, Any], name: str = "batchform.yaml", **top: Any) -> None:
        """Write a configuration; JSON is YAML."""
        document = {"version": 1, **top, "batches": batches}
        (self.folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """What the command is given; nothing of the surrounding CI job."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
        return {**keep, "BATCHFORM_ENDPOINT": self.url, "BATCHFORM_AUTH_TOKEN": TOKEN, **more}

    def begin(self, *words: str, fast: bool = False, **environment: str) -> subprocess.Popen[str]:
        """Begin a command."""
        launcher = [_FAST, str(FAST)] if fast else ["-m", "batchform"]
        return subprocess.Popen(
            [sys.executable, *launcher, *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], timeout: float = 60.0) -> Ended:
        """Wait for a command."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"no end within {timeout} s\n{out}\n{err}") from None
        ended = Ended(code=process.returncode, out=out, err=err)
        self.spoken += [out, err]
        assert "Traceback" not in ended.err, ended
        return ended

    def run(self, *words: str, fast: bool = False, **environment: str) -> Ended:
        """Run a command to its end."""
        return self.end(self.begin(*words, fast=fast, **environment))

    def entries(self, name: str = "batchform.state.json") -> Mapping[str, Entry]:
        """What the state holds now."""
        state = read(self.folder / name).state
        return {} if state is None else state.entries

    # --- the judge: the simulator's word, never the client's ---

    def requests(self, operation: str, batch_id: str | None = None) -> list[simulator.Entry]:
        """The requests the simulator saw."""
        return [
            entry
            for entry in self.log.entries
            if entry.operation == operation and (batch_id is None or entry.batch_id == batch_id)
        ]

    def accepted(self) -> dict[str, int]:
        """How often a start was accepted, by batch."""
        return dict(self.world.accepted)

    def paid_once(self, batch_ids: Sequence[str]) -> None:
        """Exactly these batches were started, each exactly once, and the state says so."""
        assert self.accepted() == dict.fromkeys(batch_ids, 1)
        entries = self.entries()
        assert {batch_id for batch_id in batch_ids if not entries[batch_id].recorded_as_started} == set()

    def token_stayed_home(self) -> None:
        """The token stands in nothing that was printed or written."""
        for text in self.spoken:
            assert TOKEN not in text
        for path in self.folder.rglob("*"):
            if path.is_file():
                assert TOKEN.encode() not in path.read_bytes(), path
        for entry in self.log.entries:
            assert TOKEN not in entry.as_json()


@contextmanager
def site(folder: Path, values: Mapping[str, Any], *, fast: bool = False, **options: Any) -> Iterator[Site]:
    """A simulator of this world, and a folder to work in. With `fast` its clock runs as that of fast commands."""
    world = simulator.from_values({"token": TOKEN, **values})
    log = simulator.Log()
    if fast:
        options["clock"] = fast_clock()
    with simulator.serve(world, log=log, **options) as url:
        yield Site(folder=folder, url=url, world=world, log=log)


def fast_clock() -> Any:
    """The wall clock; the rate windows of a fast test are not of interest."""
    import time  # noqa: PLC0415  # the one place

    return time.time


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to this one process."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
