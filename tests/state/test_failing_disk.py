"""Each call to the operating system fails once or is the last one before a crash. No acknowledged event is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchform.errors import OutcomeUnknownError, StateError
from batchform.state.codec import decode_state
from batchform.state.disk import paths
from batchform.state.events import Event, fold
from batchform.state.journal import Header, Journal
from batchform.state.local import hold
from batchform.state.reader import read
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchform.state.known import State

CALLS = ("open", "write", "fsync", "fchmod", "ftruncate", "link", "replace", "unlink", "stat", "fstat")

LEFT = events(INTENDED, STARTED, batch="left", run="run-dead")
GROUPS = [
    [*events(INTENDED, batch="b1"), *events(INTENDED, batch="b2", first=2)],
    events(STARTED, batch="b1", first=3),
    events(seen("processing"), batch="b2", first=4),
]
ALL = [event for group in GROUPS for event in group]


class Crash(BaseException):
    """The power is off: no later call has any effect."""


class Machine:
    """Replaces the calls of `os` that touch files. Counts them, and lets the n-th one fail or be the last.

    A failing write writes half of its data. `fsync` always succeeds here and takes no time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._really: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}
        self._n = 0
        self._failure: int | None = None
        self._off = True
        self.count = 0
        self.dead = False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._call(name))

    def fail(self, n: int, failure: int | None) -> None:
        """Let the n-th call from now fail with this errno or, with None, crash the machine."""
        self._n, self._failure, self.count, self.dead, self._off = n, failure, 0, False, False

    def repair(self) -> None:
        """Let all calls succeed again."""
        self._off, self.dead = True, False

    def _call(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._off:
                return None if name == "fsync" else self._really[name](*arguments, **options)
            if self.dead:
                raise Crash
            self.count += 1
            if self.count != self._n:
                return None if name == "fsync" else self._really[name](*arguments, **options)
            if name == "write":
                descriptor, data = arguments
                self._really[name](descriptor, data[: len(data) // 2])
            if self._failure is None:
                self.dead = True
                raise Crash
            raise OSError(self._failure, os.strerror(self._failure))

        return call


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with planned failures."""
    return Machine(monkeypatch)


def prepare(folder: Path, before: str) -> State:
    """Make the initial files. Returns the known entries."""
    folder.mkdir()
    file = folder / "state.json"
    old = EMPTY
    if before != "nothing":
        with hold(file, fresh=EMPTY, run="run-0", holder={}, now=NOW) as store:
            store.record(events(INTENDED, STARTED, batch="b0", run="run-0"))
            store.commit(NOW)
            store.record(events(seen("completed"), batch="b0", run="run-0", first=3))
            store.commit(NOW)
            old = store.state
    if before == "a dead run":
        header = Header(
            lineage=old.lineage, serial=old.serial, service=old.service, endpoint=old.endpoint, run="run-dead"
        )
        journal = Journal(paths(file).journal, header)
        journal.append(LEFT)
        journal.close()
        with paths(file).journal.open("ab") as stream:
            stream.write(b"torn")
        old = fold(old, LEFT)
    return old


def work(file: Path, acknowledged: list[Event]) -> None:
    """One run: groups of events, a commit in between, and one at the end."""
    with hold(file, fresh=EMPTY, run="run-1", holder={"Who": "x"}, now=NOW) as store:
        for number, group in enumerate(GROUPS):
            store.record(group)
            acknowledged.extend(group)
            if number == 1:
                store.commit(NOW)
        store.commit(NOW)


def check(file: Path, old: State, acknowledged: list[Event]) -> None:
    """The state is complete and has all acknowledged events, and the next run works and leaves no files behind."""
    possible = [fold(old, ALL[:size]).entries for size in range(len(acknowledged), len(ALL) + 1)]
    if file.exists():
        committed = decode_state(file.read_bytes())
        before_leftover = {key: entry for key, entry in old.entries.items() if key != "left"}
        assert committed.entries in [before_leftover, *(fold(old, ALL[:size]).entries for size in range(len(ALL) + 1))]
    known = read(file).state
    assert (known.entries if known else {}) in possible
    if paths(file).backup.exists():
        decode_state(paths(file).backup.read_bytes())
    with hold(file, fresh=EMPTY, run="run-2", holder={}, now=NOW) as store:
        assert store.state.entries in possible
        store.commit(NOW)
        assert store.state.entries == (known.entries if known else {})
    again = read(file)
    assert again.leftover == 0
    assert (again.state.entries if again.state else {}) in possible
    assert not paths(file).journal.exists()


SCENES = ["nothing", "a state", "a dead run"]
FAILURES = [*((scene, errno.EIO) for scene in SCENES), ("a dead run", errno.ENOSPC), ("a dead run", errno.EACCES)]


@pytest.mark.usefixtures("_no_descriptor_is_left_open")
@pytest.mark.parametrize(("before", "failure"), FAILURES, ids=[f"{a}-{errno.errorcode[b]}" for a, b in FAILURES])
def test_any_call_that_fails_loses_nothing(tmp_path: Path, machine: Machine, before: str, failure: int) -> None:
    """This is repeated for each call until none fails. The error is one of ours, and no temporary file stays."""
    for n in range(1, 1_000):
        folder = tmp_path / str(n)
        old = prepare(folder, before)
        acknowledged: list[Event] = []
        machine.fail(n, failure)
        failed = False
        try:
            work(folder / "state.json", acknowledged)
        except (StateError, OutcomeUnknownError) as error:
            failed = True
            assert error.detail  # noqa: PT017
        through = machine.count < n
        machine.repair()
        check(folder / "state.json", old, acknowledged)
        names = {one.name for one in folder.iterdir() if ".torn-" not in one.name}
        assert names <= {"state.json", "state.json.lock", "state.json.backup"}
        if through:
            assert not failed
            break
    assert n > 40


@pytest.mark.parametrize("before", SCENES)
def test_a_crash_at_any_call_loses_nothing(tmp_path: Path, machine: Machine, before: str) -> None:
    """The run ends at this call, in the middle of a write if it is one. Nothing is cleaned up."""
    for n in range(1, 1_000):
        folder = tmp_path / str(n)
        old = prepare(folder, before)
        acknowledged: list[Event] = []
        machine.fail(n, None)
        try:
            work(folder / "state.json", acknowledged)
            crashed = False
        except Crash:
            crashed = True
        machine.repair()
        check(folder / "state.json", old, acknowledged)
        if not crashed:
            break
    assert n > 40


def test_a_failed_commit_can_be_tried_again(tmp_path: Path, machine: Machine) -> None:
    """The same run commits again: everything is written once, and the serial grows by one."""
    for n in range(1, 1_000):
        folder = tmp_path / str(n)
        old = prepare(folder, "a state")
        file = folder / "state.json"
        with hold(file, fresh=EMPTY, run="run-1", holder={}, now=NOW) as store:
            for group in GROUPS:
                store.record(group)
            machine.fail(n, errno.EIO)
            failed = False
            try:
                store.commit(NOW)
            except StateError:
                failed = True
            through = machine.count < n
            machine.repair()
            store.commit(NOW)
            assert store.state.serial == old.serial + 1
        assert decode_state(file.read_bytes()) == store.state
        assert store.state.entries == fold(old, ALL).entries
        assert {one.name for one in folder.iterdir()} == {"state.json", "state.json.lock", "state.json.backup"}
        if through:
            assert not failed
            break
    assert n > 10


def test_the_new_state_is_durable_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is: data, name, folder, and only then the journal is removed."""
    old = prepare(tmp_path / "x", "a state")
    file = tmp_path / "x" / "state.json"
    calls: list[str] = []
    really = {name: getattr(os, name) for name in ("write", "fsync", "link", "replace", "unlink")}

    def noted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            target = arguments[0]
            calls.append(f"{name} {Path(target).name}" if not isinstance(target, int) else name)
            return really[name](*arguments, **options)

        return call

    with hold(file, fresh=EMPTY, run="run-1", holder={}, now=NOW) as store:
        store.record(GROUPS[0])
        for name in really:
            monkeypatch.setattr(os, name, noted(name))
        store.commit(NOW)
        monkeypatch.undo()
    assert old.serial == 2
    order = [
        "write",
        "fsync",
        "link state.json",
        "replace .state.json.run-1.backup",
        "replace .state.json.run-1.tmp",
        "fsync",
        "unlink state.json.journal",
        "fsync",
    ]
    assert [call for call in calls if not call.startswith("unlink .")] == order


def test_the_stand_in_fails_as_it_is_told(tmp_path: Path, machine: Machine) -> None:
    """Otherwise the tests above would prove nothing."""
    machine.fail(2, errno.EIO)
    descriptor = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(descriptor, b"abcd")
    machine.fail(1, None)
    for _ in range(2):
        with pytest.raises(Crash):
            os.fsync(descriptor)
    machine.repair()
    os.close(descriptor)
    assert (tmp_path / "x").read_bytes() == b"ab"


@pytest.fixture
def _no_descriptor_is_left_open() -> Iterator[None]:
    """A failed run closes its files and releases the lock."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        yield
        return
    before = len(list(folder.iterdir()))
    yield
    assert len(list(folder.iterdir())) <= before
