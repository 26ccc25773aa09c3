"""Runs the installed command in its own process with a simulator. The log of the simulator is the evidence."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchform import simulator
from batchform.state.reader import read
from tests.proof import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from batchform.state.known import Entry

TOKEN = "t0ken-of-the-tests-8f2c"
FAST = 25.0
"""The default factor by which the clock of `fast` commands is faster."""

ROOT = Path(__file__).parents[2]
_FAST = str(Path(__file__).with_name("fast.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class WatchedLog(simulator.Log):
    """A log that lets a test wait for an event instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, entry: simulator.Entry) -> None:
        """Add one entry and wake the waiting thread."""
        super().write(entry)
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, accepted: int, timeout: float = 60.0) -> None:
        """Wait until this many starts were accepted."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(e.accepted for e in self.entries) >= accepted, timeout)

    def wait_for_operation(self, operation: str, times: int = 1, timeout: float = 60.0) -> None:
        """Wait until so many requests of this kind have come."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(entry.operation == operation for entry in self.entries) >= times, timeout
            )


@dataclass(slots=True)
class Site:
    """A folder with a configuration, and a simulator.

    `decisions` has the decision and the real answer of the simulator for each request, in the order of the log.
    """

    folder: Path
    url: str
    world: simulator.World
    log: WatchedLog
    spoken: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=lambda: [TOKEN])
    decisions: list[simulator.Decision] = field(default_factory=list)

    def declare(self, batches: Mapping[str, Any], name: str = "batchform.yaml", **top: Any) -> None:
        """Write a configuration; JSON is YAML."""
        document = {"version": 1, **top, "batches": batches}
        (self.folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the command, without that of a surrounding CI job."""
        keep = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ
        }
        return {**keep, "BATCHFORM_ENDPOINT": self.url, "BATCHFORM_AUTH_TOKEN": TOKEN, **more}

    def begin(self, *words: str, fast: bool | float = False, **environment: str) -> subprocess.Popen[str]:
        """Start a command. `fast` is the factor by which its clock is faster; True: the default."""
        launcher = [_FAST, str(FAST if fast is True else fast)] if fast else ["-m", "batchform"]
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
        return self.heard(Ended(code=process.returncode, out=out, err=err))

    def heard(self, ended: Ended) -> Ended:
        """Check that the command did not end in a traceback, or in the message for a bug."""
        self.spoken += [ended.out, ended.err]
        assert "Traceback" not in ended.err, ended
        assert "bug in batchform" not in ended.err, ended
        return ended

    def run(self, *words: str, fast: bool | float = False, **environment: str) -> Ended:
        """Run a command to its end."""
        return self.end(self.begin(*words, fast=fast, **environment))

    def entries(self, name: str = "batchform.state.json") -> Mapping[str, Entry]:
        """The entries of the state."""
        state = read(self.folder / name).state
        return {} if state is None else state.entries

    # --- checks against the log of the simulator ---

    def sent_no_more(self, sent: int) -> None:
        """After so many starts, a run that was suspended sent at most that of the one thread past the last check."""
        late = self.requests("start")[sent:]
        assert len(late) <= 1
        assert not any(entry.accepted for entry in late)

    def requests(self, operation: str, batch_id: str | None = None) -> list[simulator.Entry]:
        """The requests that the simulator got."""
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

    def paid_once_anywhere(self) -> None:
        """No batch was started twice."""
        assert set(self.accepted().values()) <= {1}

    def looked_before_repeating(self, **patience: float) -> None:
        """No start was sent for a batch that the server showed as started. None was repeated without reads."""
        judge.looked_before_repeating(self.log.entries, self.decisions, **patience)

    def all_is_well(self, again: Callable[[], Ended], **patience: float) -> None:
        """Check everything after a successful run. `again` runs once more and must start nothing."""
        before = len(self.requests("start"))
        ended = again()
        assert ended.code == 0, ended
        assert len(self.requests("start")) == before, f"the next run sent a start\n{ended}"
        judge.paid_once(self.log.entries)
        judge.nothing_lost(self.log.entries, self.entries())
        begun = [batch.batch_id for batch in self.world.batches if batch.status is not simulator.Status.SUBMITTED]
        judge.nothing_dreamt(self.log.entries, self.entries(), [*begun, *self.world.console_started])
        judge.lock_is_free(self.folder / "batchform.state.json")
        self.looked_before_repeating(**patience)
        self.token_stayed_home()

    def token_stayed_home(self) -> None:
        """No secret is in an output or a file: the token, the access tokens, and what a test adds to `secrets`."""
        for secret in (*self.secrets, *self.world.granted):
            judge.token_stayed_home(secret, folder=self.folder, spoken=self.spoken)
            for entry in self.log.entries:
                assert secret not in entry.as_json()


class Warm:
    """Runs each command in a forked process that has everything imported (see `warm.py`)."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder

    def begin(self, place: Site, *words: str, **more: Any) -> None:
        """Start a command. `more` is passed to the process unchanged: `environment` in the place of that of `place`."""
        for name in ("out", "err"):
            (self._folder / name).write_bytes(b"")
        job = {
            "words": words,
            "folder": str(place.folder),
            "environment": place.environment(),
            "out": str(self._folder / "out"),
            "err": str(self._folder / "err"),
            **more,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self, place: Site) -> Ended:
        """Wait for the command. If a signal killed it, the code is the negative number of the signal."""
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 180.0)[0], "no end within 180 s"
        code = int(self._process.stdout.readline())
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        return place.heard(Ended(code=code, out=out, err=err))

    def run(self, place: Site, *words: str, **more: Any) -> Ended:
        """Run a command to its end."""
        self.begin(place, *words, **more)
        return self.end(place)

    def apply(self, place: Site, *words: str) -> Ended:
        """Run apply."""
        ended = self.run(place, "apply", "--auto-approve", *words)
        place.paid_once_anywhere()
        return ended


@contextmanager
def warmed(module: str, factor: float, folder: Path) -> Iterator[Warm]:
    """A warm process of this module, with clocks faster by this factor. The output goes to `folder`."""
    words = [sys.executable, "-m", module, str(factor)]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Warm(process, folder)
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@contextmanager
def site(folder: Path, values: Mapping[str, Any], **options: Any) -> Iterator[Site]:
    """A simulator of this world, and a folder."""
    world = simulator.from_values({"token": TOKEN, **values})
    log = WatchedLog()
    decisions: list[simulator.Decision] = []
    handle = world.handle

    def watched(request: simulator.Request, now: float) -> simulator.Decision:
        decision = handle(request, now)
        decisions.append(decision)
        return decision

    world.handle = watched  # type: ignore[method-assign]  # the log has no bodies
    with simulator.serve(world, log=log, **options) as url:
        yield Site(folder=folder, url=url, world=world, log=log, decisions=decisions)


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to this process."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
