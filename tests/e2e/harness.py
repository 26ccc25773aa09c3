"""Runs the installed command in a process of its own against a simulator, and judges by the simulator's log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchform import simulator
from batchform.state.local import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batchform.state.events import Entry

TOKEN = "t0ken-of-the-tests-8f2c"
FAST = 25.0
"""How much faster the clock of `fast` commands runs, if the test does not name another factor."""

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
    """A log on which a test can wait for something to happen, rather than for time to pass."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, entry: simulator.Entry) -> None:
        """Add one entry and wake who waits."""
        super().write(entry)
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, accepted: int, timeout: float = 60.0) -> None:
        """Wait until so many starts were accepted."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(e.accepted for e in self.entries) >= accepted, timeout)


@dataclass(slots=True)
class Site:
    """A folder with a configuration, a simulator, and the commands run there.

    `decisions` are what the simulator made of each request, in the order of the log, with what it really answered.
    """

    folder: Path
    url: str
    world: simulator.World
    log: WatchedLog
    spoken: list[str] = field(default_factory=list)
    decisions: list[simulator.Decision] = field(default_factory=list)

    def declare(self, batches: Mapping[str, Any], name: str = "batchform.yaml", **top: Any) -> None:
        """Write a configuration; JSON is YAML."""
        document = {"version": 1, **top, "batches": batches}
        (self.folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """What the command is given; nothing of the surrounding CI job."""
        keep = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ
        }
        return {**keep, "BATCHFORM_ENDPOINT": self.url, "BATCHFORM_AUTH_TOKEN": TOKEN, **more}

    def begin(self, *words: str, fast: bool | float = False, **environment: str) -> subprocess.Popen[str]:
        """Begin a command. `fast` is the factor by which its clock is faster, True the usual one."""
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
        """What holds for every command: it never ends in a traceback, nor in the message that stands for one."""
        self.spoken += [ended.out, ended.err]
        assert "Traceback" not in ended.err, ended
        assert "bug in batchform" not in ended.err, ended
        return ended

    def run(self, *words: str, fast: bool | float = False, **environment: str) -> Ended:
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

    def paid_once_anywhere(self) -> None:
        """No batch was started twice, whatever any state says."""
        assert set(self.accepted().values()) <= {1}

    def looked_before_repeating(self, *, settle: float = 0.0, spacing: float = 0.0) -> None:
        """No start went out for a batch that the server had shown to be started, and none was repeated unread.

        Every start after a batch's first has a reason: the one before it was cleanly throttled or refused, or two
        status reads since then said `submitted`, `spacing` seconds apart and the second `settle` seconds after it, or
        both the start and a status read were answered 400 or 404. A start that never arrived is not in the log and
        excuses itself.
        """
        asked = list(zip(self.log.entries, self.decisions, strict=True))
        for batch_id in sorted({entry.batch_id or "" for entry in self.requests("start")}):
            _judge(batch_id, asked, settle=settle, spacing=spacing)

    def token_stayed_home(self) -> None:
        """The token stands in nothing that was printed or written."""
        for text in self.spoken:
            assert TOKEN not in text
        for path in self.folder.rglob("*"):
            if path.is_file():
                assert TOKEN.encode() not in path.read_bytes(), path
        for entry in self.log.entries:
            assert TOKEN not in entry.as_json()


def _judge(
    batch_id: str, asked: Sequence[tuple[simulator.Entry, simulator.Decision]], *, settle: float, spacing: float
) -> None:
    last: tuple[float, simulator.Decision] | None = None  # the start before
    reads: list[float] = []  # when it was read as submitted since then
    shown, missing = "", False
    for entry, decision in asked:
        at = datetime.fromisoformat(entry.time).timestamp()
        told = _told(decision, batch_id)
        is_ours = decision.batch_id == batch_id
        if told in {"processing", "completed", "stopped"}:
            shown = told
        elif decision.operation == "status" and is_ours:
            reads += [at] if told == "submitted" else []
            missing = missing or (decision.status_sent in {400, 404} and _is_whole(decision))
        if decision.operation != "start" or not is_ours:
            continue
        assert not shown, f"{batch_id} was started after it had been shown as {shown}"
        if last is not None and not _is_clean_no(last[1]) and not (missing and last[1].status_sent in {400, 404}):
            assert len(reads) >= 2, f"{batch_id} was started again after {len(reads)} reads"
            assert reads[-1] - reads[0] >= spacing, reads
            assert reads[-1] - last[0] >= (0.0 if last[1].status_sent in {400, 404} else settle), reads
        last, reads, missing = (at, decision), [], False


def _told(decision: simulator.Decision, batch_id: str) -> str:
    """The status that the sender was shown of this batch by a status or list answer; empty for none."""
    if decision.operation not in {"status", "list"} or decision.status_sent != 200 or not _is_whole(decision):
        return ""
    try:
        document = json.loads(decision.response.body)
    except ValueError:
        return ""
    result = document.get("result") or {} if isinstance(document, dict) and not document.get("error") else {}
    for one in [result] if decision.operation == "status" else result.get("batches") or []:
        if one.get("batch_id") == batch_id:
            return str(one.get("status") or "")
    return ""


def _is_clean_no(decision: simulator.Decision) -> bool:
    """Whether the sender was told, beyond doubt, that the call was not looked at."""
    body = decision.response.body
    is_plain = len(body) <= 1 << 20 and b'"result"' not in body
    return decision.status_sent in {401, 403, 406, 415, 429} and is_plain and _is_whole(decision)


def _is_whole(decision: simulator.Decision) -> bool:
    return type(decision.wire).__name__ == "Normal"


@contextmanager
def site(folder: Path, values: Mapping[str, Any], *, fast: bool = False, **options: Any) -> Iterator[Site]:
    """A simulator of this world, and a folder to work in. With `fast` its clock runs as that of fast commands."""
    world = simulator.from_values({"token": TOKEN, **values})
    log = WatchedLog()
    decisions: list[simulator.Decision] = []
    handle = world.handle

    def watched(request: simulator.Request, now: float) -> simulator.Decision:
        decision = handle(request, now)
        decisions.append(decision)
        return decision

    world.handle = watched  # type: ignore[method-assign]  # the log holds no bodies, and a judge wants to see them
    if fast:
        options["clock"] = fast_clock()
    with simulator.serve(world, log=log, **options) as url:
        yield Site(folder=folder, url=url, world=world, log=log, decisions=decisions)


def fast_clock() -> Any:
    """The wall clock; the rate windows of a fast test are not of interest."""
    import time  # noqa: PLC0415  # the one place

    return time.time


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to this one process."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
