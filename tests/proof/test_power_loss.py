"""Power loss at any moment: the old or the new state is on disk, and nothing acknowledged is lost.

The real commit and journal code runs on a disk in memory (`disk.py`) that keeps only synced data. After every step,
each state that POSIX allows is made, and the next run reads it with the real `read` and `hold`. The same harness is run
on wrong implementations, which other tools use, and must find their faults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from batchform.errors import StateError
from batchform.state.codec import decode_state
from batchform.state.disk import fsync_folder, paths
from batchform.state.events import fold
from batchform.state.journal import Header, Journal, salvage
from batchform.state.local import hold
from batchform.state.reader import read
from tests.proof import plants
from tests.proof.disk import BLOCK, FOLDER, Disk, Machine
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batchform.state.known import Entry

    Entries = Mapping[str, Entry]
    Report = Callable[[str, object], None]

FILE: Final = f"{FOLDER}/state.json"
JOURNAL: Final = "state.json.journal"
LEFT: Final = events(INTENDED, STARTED, batch="left", run="run-dead")
GROUPS: Final = [
    [event for number in range(4) for event in events(INTENDED, batch=f"b{number}", first=number + 1)],
    events(STARTED, batch="b0", first=5) + events(STARTED, batch="b2", first=6),
    events(seen("processing"), batch="b1", first=7),
]
ALL: Final = [event for group in GROUPS for event in group]
SCENES: Final = ("nothing", "a state", "a dead run")


@dataclass(slots=True)
class Promised:
    """What must be found in any case.

    `history` is the state after each number of events of the run; the first `events` of them were acknowledged. A state
    file may contain any of the history or of `before`, with `serial` or a later one.
    """

    history: Sequence[Entries]
    before: Sequence[Entries]
    events: int = 0
    serial: int = 0


@dataclass(slots=True)
class Count:
    """The number of possible `states` over all steps. Each different one was recovered once."""

    states: int = 0
    steps: int = 0
    seen: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.steps:,} steps, {self.states:,} states, {len(self.seen):,} of them different"


Depth: TypeAlias = tuple[tuple[Count, int], ...]
"""For a loss of power, and each one after it: what counts the states, and at how many bytes writes are cut."""


def prepare(machine: Machine, scene: str) -> Promised:
    """Make the initial files, all durable. Returns what they promise."""
    machine.disk = Disk({})
    old = EMPTY
    if scene != "nothing":
        with hold(FILE, fresh=EMPTY, run="run-0", holder={}, now=NOW) as store:
            store.record(events(INTENDED, STARTED, batch="a0", run="run-0"))
            store.commit(NOW)
            store.record(events(seen("completed"), batch="a0", run="run-0", first=3))
            store.commit(NOW)
            old = store.state
    if scene == "a dead run":
        header = Header(
            lineage=old.lineage, serial=old.serial, service=old.service, endpoint=old.endpoint, run="run-dead"
        )
        journal = Journal(paths(FILE).journal, header)
        journal.append(LEFT)
        journal.close()
    before, old = old, fold(old, LEFT) if scene == "a dead run" else old
    files = machine.disk.files
    if scene == "a dead run":
        files[JOURNAL] += b"torn"
    machine.disk = Disk(files)
    history = [fold(old, ALL[:size]).entries for size in range(len(ALL) + 1)]
    return Promised(history=history, before=[before.entries], serial=before.serial)


def work(promised: Promised, run: str = "run-1") -> None:
    """One run: groups of events, a commit in between, and one at the end."""
    with hold(FILE, fresh=EMPTY, run=run, holder={"Who": "x"}, now=NOW) as store:
        for number, group in enumerate(GROUPS):
            store.record(group)
            promised.events += len(group)
            if number == 1:
                store.commit(NOW)
                promised.serial = store.state.serial
        store.commit(NOW)
        promised.serial = store.state.serial


def check(machine: Machine, promised: Promised, files: Mapping[str, bytes], run: int, deeper: Depth) -> None:
    """Check one possible state: it is complete, and the next run works and leaves no files behind.

    With `deeper`, there is another power loss at every step of that next run.
    """
    committed = decode_state(files["state.json"]) if "state.json" in files else EMPTY
    assert committed.serial >= promised.serial
    assert committed.entries in promised.before or committed.entries in promised.history
    if "state.json.backup" in files:
        decode_state(files["state.json.backup"])
    machine.disk = Disk(files)
    known = read(FILE).state or EMPTY
    assert known.entries in promised.history[promised.events :], "what was acknowledged is lost, or something made up"
    again = Promised(history=[known.entries], before=[committed.entries], serial=committed.serial)
    if deeper:
        machine.disk = Disk(files, lambda: explore(machine, again, run + 1, deeper))
    with hold(FILE, fresh=EMPTY, run=f"run-{run}", holder={}, now=NOW) as store:
        again.serial = store.state.serial
        assert store.state.entries == known.entries
        store.commit(NOW)
    assert JOURNAL not in machine.disk.files
    left = machine.disk.files.get("state.json")
    assert (decode_state(left) if left is not None else EMPTY).entries == known.entries


def explore(machine: Machine, promised: Promised, run: int, depth: Depth) -> None:
    """Every state that a power loss can leave now, and the next run on each."""
    (count, every), *deeper = depth
    disk = machine.disk
    count.steps += 1
    for files in disk.leavings(every):
        count.states += 1
        key = hash((promised.events, promised.serial, len(promised.history), *sorted(files.items())))
        if key not in count.seen:
            count.seen.add(key)
            try:
                check(machine, promised, files, run, tuple(deeper))
            finally:
                machine.disk = disk


def run_through(machine: Machine, scene: str, *depth: tuple[Count, int]) -> None:
    """A whole run with all possible states. Each entry of `depth` is for one power loss: a count, and the cuts."""
    promised = prepare(machine, scene)
    machine.disk = Disk(machine.disk.files, lambda: explore(machine, promised, 2, depth))
    work(promised)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A computer with a disk in memory."""
    return Machine(monkeypatch)


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_acknowledged_is_lost(machine: Machine, scene: str, record_property: Report) -> None:
    """The power fails after any step of a run."""
    count = Count()
    run_through(machine, scene, (count, 8))
    assert count.steps > 30
    assert len(count.seen) > 400
    record_property("counted", f"power loss, {scene}: {count}; 0 torn, 0 lost")


@pytest.mark.full
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_lost_wherever_it_is_cut(machine: Machine, scene: str, record_property: Report) -> None:
    """Every write is cut at every byte, and the recovery is interrupted once more."""
    first, second = Count(), Count()
    run_through(machine, scene, (first, 1))
    run_through(machine, scene, (Count(), 256), (second, 32))
    record_property("counted", f"power loss, full, {scene}: {first}; twice: {second}; 0 torn, 0 lost")


@pytest.mark.parametrize(
    "plant", ["written_in_place", "renamed_unsynced", "journal_unsynced", "folder_unsynced", "journal_removed_first"]
)
def test_a_wrong_implementation_is_found(machine: Machine, monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    """For example a write in place or a rename without fsync: each loses or damages data, and the harness finds it."""
    for where, name in plants.TOUCHED:
        monkeypatch.setattr(where, name, getattr(where, name))  # so that it is restored
    plants.PLANTS[plant]()
    found = []
    for scene in SCENES:
        try:
            run_through(machine, scene, (Count(), 64))
        except (AssertionError, StateError) as error:
            found.append(error)
    assert found


@pytest.mark.parametrize("scene", SCENES)
def test_blocks_out_of_order_are_never_taken_for_the_truth(machine: Machine, scene: str) -> None:
    """A disk may keep a later block without an earlier one. The run may have to stop, but nothing is invented.

    The acknowledged events can still be read from the journal, which is what `state recover` does.
    """
    stopped = 0
    promised = prepare(machine, scene)

    def explore_jumbled() -> None:
        nonlocal stopped
        disk = machine.disk
        for files in disk.leavings(BLOCK, jumbled=True):
            try:
                check(machine, promised, files, 2, ())
            except StateError as error:
                assert error.summary == "The journal is damaged"  # noqa: PT017  # most raise nothing
                stopped += 1
                base = decode_state(files["state.json"]) if "state.json" in files else EMPTY
                saved = fold(base, salvage(files[JOURNAL], JOURNAL).events).entries
                must = promised.history[promised.events]
                assert {key: saved[key].phase for key in must} == {key: must[key].phase for key in must}
            finally:
                machine.disk = disk

    machine.disk = Disk(machine.disk.files, explore_jumbled)
    work(promised)
    assert stopped > 0


def test_the_disk_forgets_what_was_not_synced(machine: Machine) -> None:
    """The tests above depend on this: content and name are lost separately until each is synced."""
    descriptor = os.open(f"{FOLDER}/x", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"abc")
    assert {} in machine.disk.leavings(1)
    assert {"x": b"ab"} in machine.disk.leavings(1)
    assert {"x": b"\0\0\0"} in machine.disk.leavings(1)
    os.fsync(descriptor)
    assert list(machine.disk.leavings(1)) == [{}, {"x": b"abc"}]
    os.replace(f"{FOLDER}/x", f"{FOLDER}/y")  # noqa: PTH105  # the call itself
    assert list(machine.disk.leavings(1)) == [{}, {"x": b"abc"}, {"y": b"abc"}, {"y": b"abc"}]
    fsync_folder(Path(FOLDER) / "y")
    assert list(machine.disk.leavings(1)) == [{"y": b"abc"}]
    os.close(descriptor)
