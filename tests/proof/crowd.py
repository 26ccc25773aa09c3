"""Run many commands at once, each in its own process, forked from one prepared process (`forker`)."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import Ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.harness import Site

_ROOT = Path(__file__).parents[2]
_FORKER = Path(__file__).with_name("forker.py")


@dataclass
class Member:
    """One command. `code` and `at` (monotonic seconds) are set when it has ended."""

    place: Site
    out: Path
    err: Path
    pid: int = 0
    code: int | None = None
    at: float = 0.0


@dataclass
class Crowd:
    """Starts commands, sends signals to them, and waits for them. Thread-safe."""

    folder: Path
    process: subprocess.Popen[str]
    members: dict[int, Member] = field(default_factory=dict)
    by_pid: dict[int, Member] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, place: Site, *words: str, factor: float = 1.0, folder: Path | None = None) -> Member:
        """Start a command in the site's folder or another one. `factor` speeds up its clock."""
        with self.changed:
            number = next(self.numbers)
            member = Member(place, self.folder / f"{number}.out", self.folder / f"{number}.err")
            for path in (member.out, member.err):
                path.touch()
            job = {
                "id": number,
                "words": words,
                "folder": str(folder or place.folder),
                "environment": place.environment(),
                "out": str(member.out),
                "err": str(member.err),
                "factor": factor,
            }
            self.members[number] = member
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            assert self.changed.wait_for(lambda: member.pid, 60.0), "no process"
        return member

    def end(self, member: Member, timeout: float = 60.0) -> Ended:
        """Wait for a command and return how it ended."""
        with self.changed:
            if not self.changed.wait_for(lambda: member.code is not None, timeout):
                os.kill(member.pid, signal.SIGKILL)
                raise AssertionError(f"no end within {timeout} s\n{member.err.read_text()}")
        assert member.code is not None
        ended = Ended(code=member.code, out=member.out.read_text(), err=member.err.read_text())
        return member.place.heard(ended)

    def run(self, place: Site, *words: str, factor: float = 25.0, folder: Path | None = None) -> Ended:
        """Run a command to its end, with a fast clock."""
        return self.end(self.begin(place, *words, factor=factor, folder=folder))

    def signal(self, member: Member, number: int) -> None:
        """Send a signal, unless the command has ended."""
        with self.changed:
            if member.code is None:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(member.pid, number)

    def listen(self) -> None:
        """Read the forker's messages until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            with self.changed:
                if "job" in told:
                    member = self.by_pid[told["pid"]] = self.members[told["job"]]
                    member.pid = told["pid"]
                else:
                    member = self.by_pid.pop(told["pid"])
                    member.code, member.at = told["code"], told["at"]
                self.changed.notify_all()


@contextmanager
def crowd(folder: Path) -> Iterator[Crowd]:
    """A crowd that writes the output of its commands to files in a folder. All commands are ended afterwards."""
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(_FORKER)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Crowd(folder=folder, process=process)
    listener = threading.Thread(target=made.listen)
    listener.start()
    try:
        yield made
    finally:
        with made.changed:
            for pid in made.by_pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        listener.join()
        process.wait()
        process.stdout.close()
