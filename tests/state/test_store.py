"""The state in real files: commit, recovery, and files changed by others."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest

from batchform.errors import OutcomeUnknownError, StateError
from batchform.model import Service
from batchform.state import disk
from batchform.state.codec import decode_state, encode_state
from batchform.state.disk import paths
from batchform.state.events import Declared, Event, Forgotten, Removed, What, fold
from batchform.state.journal import Header, Journal, replay
from batchform.state.known import UNTOLD, Phase, State, Story
from batchform.state.local import Store, hold
from batchform.state.reader import read
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, event, events, seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

WHO = {"Who": "alice@host", "Created": "2026-11-20T09:00:00Z", "Operation": "apply"}
ALICE = Story(
    command="apply",
    who="alice@host",
    job="https://ci.example.test/jobs/42",
    commit="c0ffee",
    overrides=("max_starts", "max_records"),
)
BOB = Story(command="refresh", who="bob@host")


def held(path: Path, run: str = "run-1", fresh: State = EMPTY, story: Story = UNTOLD) -> AbstractContextManager[Store]:
    """The state, locked by this run."""
    return hold(path, fresh=fresh, run=run, holder=WHO, now=NOW, story=story)


def journal_of(path: Path, some: list[Event], *, serial: int, lineage: str = "lineage-1", run: str = "run-1") -> bytes:
    """Leave the journal of an interrupted run. Returns its bytes."""
    header = Header(lineage=lineage, serial=serial, service=EMPTY.service, endpoint=EMPTY.endpoint, run=run)
    journal = Journal(paths(path).journal, header)
    if some:
        journal.append(some)
    journal.close()
    return paths(path).journal.read_bytes()


def phases(state: State | None) -> dict[str, str]:
    """The phase of each batch."""
    assert state is not None
    return {key: entry.phase.value for key, entry in state.entries.items()}


def stories(state: State | None) -> dict[str, Story]:
    """The story of each run in the state."""
    assert state is not None
    names = Story.__dataclass_fields__
    return {run.id: Story(**{name: getattr(run, name) for name in names}) for run in state.runs}


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every property of the files in a folder that a write would change, and the times of the folder."""
    files = [folder, *folder.rglob("*")]
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        about = file.lstat()
        found[str(file)] = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_mode)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with serial 1 and one started batch, b0."""
    file = tmp_path / "state.json"
    with held(file, run="run-0") as store:
        store.record(events(INTENDED, STARTED, batch="b0", run="run-0"))
        store.commit(NOW)
    return file


# --- Commit ----------------------------------------------------------------------------------------------------------


def test_a_first_run_makes_the_state(tmp_path: Path) -> None:
    """The new state has the given lineage, and only its owner can read it."""
    file = tmp_path / "state.json"
    assert read(file).state is None
    with held(file) as store:
        store.record(events(INTENDED, STARTED))
        assert paths(file).journal.exists()
        assert not file.exists()
        assert store.commit(NOW)
        assert store.state.serial == 1
    known = read(file)
    assert (phases(known.state), known.leftover) == ({"b1": "started"}, 0)
    assert known.state == store.state
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {one.name for one in tmp_path.iterdir()} == {"state.json", "state.json.lock"}


def test_events_are_on_disk_when_record_returns(path: Path) -> None:
    """The events are not in the state file before the commit."""
    before = path.read_bytes()
    with held(path) as store:
        store.record(events(INTENDED))
        assert list(replay(paths(path).journal.read_bytes(), "journal").events) == events(INTENDED)
        store.record(events(STARTED, first=2))
        assert list(replay(paths(path).journal.read_bytes(), "journal").events) == events(INTENDED, STARTED)
        assert path.read_bytes() == before
        assert phases(store.state) == {"b0": "started", "b1": "started"}


def test_recording_nothing_writes_nothing(path: Path) -> None:
    """Not even a journal is created."""
    with held(path) as store:
        before = listing(path.parent)
        store.record([])
        assert listing(path.parent) == before


def test_the_serial_grows_with_what_changed_and_not_with_a_commit(path: Path) -> None:
    """A commit without changes does not touch the state and the backup."""
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.name != "state.json.lock"}
    with held(path) as store:
        assert not store.commit(NOW)
        assert not store.commit(NOW)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.name != "state.json.lock"} == before
    with held(path) as store:
        for serial in (2, 3):
            store.record(events(seen("completed"), batch="b0", first=serial))
            assert store.commit(NOW)
            assert store.state.serial == serial
            assert decode_state(path.read_bytes()).serial == serial


def test_the_backup_is_the_state_before(path: Path) -> None:
    """The backup has the exact bytes of the previous state after each commit."""
    for number in range(1, 4):
        before = path.read_bytes()
        with held(path, run=f"run-{number}") as store:
            store.record([event(INTENDED, batch=f"b{number}", run=f"run-{number}")])
            store.commit(NOW)
        assert paths(path).backup.read_bytes() == before
        assert path.read_bytes() != before


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK], ids=errno.errorcode.get)
def test_without_hard_links_the_backup_is_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some file systems have no hard links, with various errors."""

    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    before = path.read_bytes()
    with held(path) as store:
        store.record(events(INTENDED))
        store.commit(NOW)
    assert paths(path).backup.read_bytes() == before
    assert {one.name for one in path.parent.iterdir()} == {"state.json", "state.json.lock", "state.json.backup"}


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o640])
def test_the_mode_of_the_state_is_kept(path: Path, mode: int) -> None:
    """The mode does not depend on the umask, so a team can read the file."""
    path.chmod(mode)
    with held(path) as store:
        store.record(events(INTENDED))
        store.commit(NOW)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_to_the_state_stays_a_link(path: Path, tmp_path: Path) -> None:
    """The target of the link is replaced in place, and both paths use one lock."""
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    link = elsewhere / "link.json"
    link.symlink_to(path)
    with held(link) as store:
        store.record(events(INTENDED))
        store.commit(NOW)
    assert link.is_symlink()
    assert phases(decode_state(path.read_bytes())) == {"b0": "started", "b1": "intended"}
    assert [one.name for one in elsewhere.iterdir()] == ["link.json"]
    assert paths(link) == paths(path)


def test_a_commit_drops_what_has_expired(path: Path) -> None:
    """This counts as a change."""
    with held(path) as store:
        store.record(events(Forgotten(), batch="b0"))
        store.commit(NOW)
        assert not store.commit(NOW + timedelta(days=35))
        assert store.commit(NOW + timedelta(days=36))
        assert (store.state.entries, store.state.serial) == ({}, 3)
    assert read(path).state == store.state


def test_removing_the_last_batch_leaves_a_state(path: Path) -> None:
    """An empty state differs from a missing one."""
    with held(path) as store:
        store.record(events(Removed(), batch="b0"))
        store.commit(NOW)
    known = read(path).state
    assert known is not None
    assert (known.entries, known.serial, known.lineage) == ({}, 2, "lineage-1")


def test_without_a_commit_the_journal_stays(path: Path) -> None:
    """This holds for every way in which the run ended."""

    def die() -> None:
        with held(path) as store:
            store.record(events(INTENDED))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die()
    known = read(path)
    assert (phases(known.state), known.leftover) == ({"b0": "started", "b1": "intended"}, 1)


# --- Recovery --------------------------------------------------------------------------------------------------------


def test_what_a_dead_run_left_is_committed_when_the_state_is_opened(path: Path) -> None:
    """This is the crash recovery; there is no separate code."""
    journal_of(path, events(INTENDED, STARTED), serial=1)
    with held(path, run="run-2") as store:
        assert store.recovered == 2
        assert not paths(path).journal.exists()
        assert decode_state(path.read_bytes()) == store.state
        assert (store.state.serial, phases(store.state)) == (2, {"b0": "started", "b1": "started"})
        store.record(events(seen("completed"), run="run-2"))
        store.commit(NOW)
    assert decode_state(path.read_bytes()).serial == 3


def test_a_first_run_that_died_is_taken_up(tmp_path: Path) -> None:
    """There is no state yet. The new run takes the lineage from the journal."""
    file = tmp_path / "state.json"
    journal_of(file, events(INTENDED), serial=0, lineage="lineage-of-the-dead")
    known = read(file)
    assert known.state is not None
    assert (known.state.lineage, known.leftover) == ("lineage-of-the-dead", 1)
    with held(file, run="run-2") as store:
        assert (store.state.lineage, store.state.serial) == ("lineage-of-the-dead", 1)
    assert phases(read(file).state) == {"b1": "intended"}


def test_a_crash_between_commit_and_clean_up_replays_harmlessly(path: Path) -> None:
    """The journal is read again and changes neither the attempts nor the serial."""
    with held(path) as store:
        store.record(events(INTENDED, STARTED))
        left = paths(path).journal.read_bytes()
        store.commit(NOW)
    committed = path.read_bytes()
    paths(path).journal.write_bytes(left)
    assert read(path).state == decode_state(committed)
    with held(path, run="run-2") as store:
        assert store.state.entries["b1"].attempts == 1
    assert path.read_bytes() == committed
    assert not paths(path).journal.exists()


@pytest.mark.parametrize("torn", [b"\0" * 512, b"0123abcd {", b"\n"])
def test_a_torn_end_is_kept_aside(path: Path, torn: bytes) -> None:
    """Nothing depended on it, but it is kept for inspection. `read` does not touch it."""
    data = journal_of(path, events(INTENDED), serial=1)
    paths(path).journal.write_bytes(data + torn)
    before = listing(path.parent)
    assert phases(read(path).state)["b1"] == "intended"
    assert listing(path.parent) == before
    with held(path, run="run-2"):
        pass
    (aside,) = path.parent.glob("*.torn-*")
    assert aside.read_bytes() == torn
    assert not paths(path).journal.exists()
    assert phases(read(path).state)["b1"] == "intended"


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"00000000 {"])
def test_a_journal_that_was_hardly_begun_is_in_nobodys_way(path: Path, data: bytes) -> None:
    """Its run died before it sent anything."""
    before = path.read_bytes()
    paths(path).journal.write_bytes(data)
    with held(path, run="run-2") as store:
        assert store.recovered == 0
        store.record(events(INTENDED, run="run-2"))
    assert path.read_bytes() == before


def test_a_torn_end_that_cannot_be_kept_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal stays complete, and the error is one of ours."""
    data = journal_of(path, events(INTENDED), serial=1) + b"torn"
    paths(path).journal.write_bytes(data)
    state = path.read_bytes()
    (path.parent / "state.json.journal.torn-run-2").write_bytes(b"in the way")
    with pytest.raises(StateError, match="incomplete last line"), held(path, run="run-2"):
        pass
    assert (paths(path).journal.read_bytes(), path.read_bytes()) == (data, state)


# --- Who ran what ----------------------------------------------------------------------------------------------------


def test_the_story_of_a_run_that_died_is_told_by_those_after_it(path: Path) -> None:
    """The journal contains it, so reading includes it, and the next run commits it with its own story."""
    with held(path, story=ALICE) as store:
        store.record(events(INTENDED))
        assert stories(store.state) == {"run-0": UNTOLD, "run-1": ALICE}
    assert stories(read(path).state) == {"run-0": UNTOLD, "run-1": ALICE}
    with held(path, run="run-2", story=BOB) as store:
        assert stories(decode_state(path.read_bytes())) == {"run-0": UNTOLD, "run-1": ALICE}
        store.record(events(STARTED, run="run-2"))
        store.commit(NOW)
    assert stories(decode_state(path.read_bytes())) == {"run-0": UNTOLD, "run-1": ALICE, "run-2": BOB}


def test_a_replacement_of_the_state_loses_no_story(path: Path) -> None:
    """The stories of this run, of the recovered run and of the run that replaced the file are kept."""
    old = decode_state(path.read_bytes())
    carol = Story(command="apply", who="carol@host")
    with held(path, story=ALICE) as store:
        store.record(events(INTENDED))
    with held(path, run="run-2", story=BOB) as store:
        store.record(events(INTENDED, batch="b2", run="run-2"))
        theirs = fold(old, events(INTENDED, batch="b3", run="run-3"), {"run-3": carol})
        path.write_bytes(encode_state(replace(theirs, serial=2)))
        store.commit(NOW)
    expected = {"run-0": UNTOLD, "run-1": ALICE, "run-2": BOB, "run-3": carol}
    assert stories(decode_state(path.read_bytes())) == expected


def test_a_first_run_that_died_tells_what_it_worked_on(tmp_path: Path) -> None:
    """There is no state yet: the endpoint, the service and the run are in the header of the journal."""
    file = tmp_path / "state.json"
    fresh = State(lineage="lineage-7", service=Service.EMAIL, endpoint="https://eu.example.test")
    with held(file, run="run-7", fresh=fresh, story=ALICE) as store:
        store.record(events(INTENDED, run="run-7"))
    assert replay(paths(file).journal.read_bytes(), "journal").header == Header(
        lineage="lineage-7",
        serial=0,
        service=Service.EMAIL,
        endpoint="https://eu.example.test",
        run="run-7",
        story=ALICE,
    )
    known = read(file).state
    assert known == fold(fresh, events(INTENDED, run="run-7"), {"run-7": ALICE})
    assert stories(known) == {"run-7": ALICE}


# --- Files that do not belong together -------------------------------------------------------------------------------


def refused(path: Path, match: str | None = None) -> StateError:
    """Reading and holding the state both refuse and change nothing."""
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(StateError, match=match) as by_read:
        read(path)
    with pytest.raises(StateError, match=match), held(path, run="run-2"):
        pass
    after = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    after.pop("state.json.lock")
    before.pop("state.json.lock", None)
    assert after == before
    return by_read.value


def test_a_journal_without_its_state_is_an_error(path: Path) -> None:
    """The journal continues an existing state. Beginning a new one would forget started batches."""
    journal_of(path, events(INTENDED), serial=1)
    path.unlink()
    error = refused(path, "state is missing")
    assert "serial 1" in error.detail
    assert "state recover" in error.detail


def test_a_journal_of_another_lineage_is_an_error(path: Path) -> None:
    """Its outcomes are of other batches or of another account."""
    journal_of(path, events(INTENDED), serial=1, lineage="lineage-2")
    error = refused(path, "different state file")
    assert "lineage-1" in error.detail
    assert "lineage-2" in error.detail


def test_a_state_from_before_its_journal_is_an_error(path: Path) -> None:
    """A checkout restored the old file, so outcomes recorded in between would be forgotten."""
    old = path.read_bytes()
    with held(path) as store:
        store.record(events(INTENDED, STARTED))
        store.commit(NOW)
    journal_of(path, events(INTENDED, batch="b2", run="run-9"), serial=2)
    path.write_bytes(old)
    error = refused(path, "older one")
    assert "serial 1" in error.detail
    assert "serial 2" in error.detail


def test_a_state_from_after_its_journal_is_none(path: Path) -> None:
    """The events of the journal are added to the newer state."""
    old = path.read_bytes()
    journal = journal_of(path, events(INTENDED), serial=1)
    paths(path).journal.unlink()
    with held(path, run="run-2") as store:
        store.record(events(INTENDED, batch="b2", run="run-2"))
        store.commit(NOW)
    assert old != path.read_bytes()
    paths(path).journal.write_bytes(journal)
    assert phases(read(path).state) == {"b0": "started", "b1": "intended", "b2": "intended"}


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"{", b"[]"])
def test_a_damaged_state_is_never_taken_for_none(path: Path, data: bytes) -> None:
    """A journal does not make up for an empty state."""
    journal_of(path, events(INTENDED), serial=1)
    path.write_bytes(data)
    refused(path)


def test_a_damaged_journal_stops_everything(path: Path) -> None:
    """The message names the file and what to do."""
    data = journal_of(path, events(INTENDED, STARTED, seen("completed")), serial=1)
    paths(path).journal.write_bytes(data.replace(b"answer", b"status"))
    error = refused(path, "journal is damaged")
    assert "state.json.journal" in error.detail
    assert "state recover" in error.detail


def test_a_folder_in_the_place_of_the_state_is_an_error(tmp_path: Path) -> None:
    """The error is one of ours."""
    with pytest.raises(StateError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(StateError, match="cannot be opened"):
        held(tmp_path / "no" / "such" / "folder" / "state.json").__enter__()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    """Reading a pipe without a writer would block."""
    path = paths(tmp_path / "state.json").state
    make(path)
    monkeypatch.setattr(os, "read", lambda *words: pytest.fail(f"reads {words}"))
    for look in (disk.read_bytes, read):
        with pytest.raises(StateError) as caught:
            look(path)
        assert (caught.value.summary, caught.value.detail) == ("The state cannot be read", f"{path} is not a file.")


# --- Other hands at the files while a run is at work -----------------------------------------------------------------


def test_the_outcomes_of_two_runs_at_once_are_all_kept(path: Path) -> None:
    """The lock file was deleted, so a second run started and committed first."""
    with held(path, run="run-1") as first:
        paths(path).lock.unlink()
        with held(path, run="run-2") as second:
            second.record(events(INTENDED, STARTED, batch="b2", run="run-2"))
            second.commit(NOW)
        first.record(events(INTENDED, STARTED))
        assert first.commit(NOW)
        assert first.state.serial == 3
    assert phases(read(path).state) == {"b0": "started", "b1": "started", "b2": "started"}


def test_a_run_never_removes_the_journal_of_another(path: Path) -> None:
    """The second run committed the first run's journal and began its own, which is the only record of its attempt."""
    with held(path, run="run-1") as first:
        first.record(events(INTENDED))
        paths(path).lock.unlink()
        with held(path, run="run-2") as second:
            assert phases(second.state)["b1"] == "intended"
            second.record(events(INTENDED, batch="b2", run="run-2"))
            with pytest.raises(OutcomeUnknownError, match="was removed"):
                first.record(events(STARTED, first=2))
            first.commit(NOW)
        assert phases(read(path).state) == {"b0": "started", "b1": "intended", "b2": "intended"}
        first.commit(NOW)
    assert phases(read(path).state) == {"b0": "started", "b1": "intended", "b2": "intended"}


def test_no_start_leaves_once_another_run_has_committed_the_journal(path: Path) -> None:
    """A throttled start waits after its intent was written: for minutes nothing is appended that would show it."""
    with held(path, run="run-1") as first:
        first.renew()  # without a journal there is no intent, so no start either
        first.record(events(INTENDED))
        first.renew()
        paths(path).lock.unlink()
        with held(path, run="run-2"), pytest.raises(OutcomeUnknownError, match="was removed"):
            first.renew()
        with pytest.raises(OutcomeUnknownError, match="can no longer be written"):
            first.record(events(STARTED, first=2))


def stale(*_: object) -> NoReturn:
    """A network file system that has lost the file."""
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_no_start_leaves_once_the_folder_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read may be another run's by now."""
    with held(path) as store:
        store.record(events(INTENDED))
        with monkeypatch.context() as broken:
            broken.setattr(os.path, "samestat", stale)
            with pytest.raises(OutcomeUnknownError, match="was removed"):
                store.renew()


def test_a_run_that_recorded_nothing_removes_no_journal(path: Path) -> None:
    """There is no journal to remove."""
    with held(path, run="run-1") as first:
        paths(path).lock.unlink()
        with held(path, run="run-2") as second:
            second.record(events(INTENDED, batch="b2", run="run-2"))
            first.commit(NOW)
    assert phases(read(path).state) == {"b0": "started", "b2": "intended"}


def test_what_was_recovered_survives_a_later_replacement(path: Path) -> None:
    """A slower run, which had read the state earlier, replaced our commit with its own."""
    old = decode_state(path.read_bytes())
    journal_of(path, events(INTENDED, STARTED), serial=1)
    with held(path, run="run-2") as store:
        theirs = replace(fold(old, events(INTENDED, batch="b3", run="run-3")), serial=2)
        path.write_bytes(encode_state(theirs))
        store.record(events(INTENDED, batch="b2", run="run-2"))
        store.commit(NOW)
    assert phases(read(path).state) == {"b0": "started", "b1": "started", "b2": "intended", "b3": "intended"}


def test_a_state_that_was_deleted_meanwhile_is_written_whole(path: Path) -> None:
    """Everything that this run knows is kept."""
    with held(path) as store:
        store.record(events(INTENDED))
        path.unlink()
        store.commit(NOW)
    assert phases(read(path).state) == {"b0": "started", "b1": "intended"}


@pytest.mark.parametrize("what", ["another lineage", "an older state", "a damaged file", "an edited file"])
def test_a_replacement_that_does_not_fit_is_not_overwritten(path: Path, what: str) -> None:
    """The commit fails, the other file stays, and the journal contains the events of this run."""
    old = decode_state(path.read_bytes())
    with held(path, run="run-1") as store:
        store.record(events(INTENDED))
        store.commit(NOW)
    data = {
        "another lineage": encode_state(replace(old, lineage="lineage-2", serial=9)),
        "an older state": encode_state(old),
        "a damaged file": b"{",
        "an edited file": path.read_bytes().replace(b'"serial": 2', b'"serial": 7'),
    }[what]
    with held(path, run="run-2") as store:
        store.record(events(INTENDED, batch="b2", run="run-2"))
        path.write_bytes(data)
        with pytest.raises(StateError):
            store.commit(NOW)
    assert path.read_bytes() == data
    assert list(replay(paths(path).journal.read_bytes(), "journal").events) == events(INTENDED, batch="b2", run="run-2")
    refused(path)


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_reading_writes_nothing_and_takes_no_lock(path: Path) -> None:
    """This holds during another run, too, and its events so far are included."""
    with held(path) as store:
        for seq in (1, 2, 3):
            store.record(events(INTENDED if seq == 1 else seen("completed"), first=seq))
            before = listing(path.parent)
            known = read(path)
            assert listing(path.parent) == before
            assert (known.state, known.leftover) == (store.state, seq)


def test_reading_where_there_is_nothing_makes_nothing(tmp_path: Path) -> None:
    """A missing state is not an error."""
    before = listing(tmp_path)
    known = read(tmp_path / "state.json")
    assert (known.state, known.leftover) == (None, 0)
    with pytest.raises(OSError, match="No such file"):
        (tmp_path / "state.json.lock").stat()
    assert listing(tmp_path) == before


def test_reading_works_where_nothing_can_be_written(path: Path) -> None:
    """A read-only checkout is enough for a plan."""
    for file in path.parent.iterdir():
        file.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert phases(read(path).state) == {"b0": "started"}
    finally:
        path.parent.chmod(0o700)


def test_a_commit_in_the_middle_of_a_read_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state was read before the commit and the journal after it, so both are read again."""
    really = disk.read_bytes
    with held(path) as store:
        store.record(events(INTENDED, STARTED))
        state_reads: list[str] = []

        def read_bytes(self: Path) -> bytes | None:
            if self.suffix == ".journal" and len(state_reads) == 1:
                state_reads.append("commit")  # before the read of the state
                store.commit(NOW)
            elif self == path:
                state_reads.append("read")
            return really(self)

        monkeypatch.setattr("batchform.state.reader.read_bytes", read_bytes)
        known = read(path)
        monkeypatch.undo()
    assert "commit" in state_reads
    assert (phases(known.state), known.leftover) == ({"b0": "started", "b1": "started"}, 0)
    assert known.state is not None
    assert known.state.serial == 2


def test_the_lock_file_says_who_works_here(path: Path) -> None:
    """It is JSON for people and tools, and the next holder replaces it."""
    for who in ("a-very-long-name@a-very-long-host", "b"):
        with hold(path, fresh=EMPTY, run="run-1", holder={**WHO, "Who": who}, now=NOW):
            assert json.loads(paths(path).lock.read_text())["Who"] == who


def test_a_redeclared_batch_keeps_its_past(path: Path) -> None:
    """A batch that is forgotten and declared again, through files, never becomes startable."""
    whats: list[What] = [Forgotten(), Declared()]
    for number, what in enumerate(whats, start=1):
        with held(path, run=f"run-{number}") as store:
            store.record([event(what, batch="b0", run=f"run-{number}")])
            store.commit(NOW)
    known = read(path).state
    assert known is not None
    assert (known.entries["b0"].phase, known.entries["b0"].declared) == (Phase.STARTED, True)


def test_a_copy_of_a_state_in_a_store_is_read_and_never_held(tmp_path: Path) -> None:
    """Two that both went on would pay twice."""
    path = tmp_path / "copy.json"
    path.write_bytes(encode_state(replace(EMPTY, home="s3://bucket/key")))
    assert read(path).state is not None
    with pytest.raises(StateError, match="copy") as caught, held(path):
        pass
    assert "s3://bucket/key" in caught.value.detail
