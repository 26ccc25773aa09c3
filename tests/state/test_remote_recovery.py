"""`state recover` in a store: what is kept, and that a run that lives is never recovered under."""

from __future__ import annotations

import stat
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batchform.errors import StateError, StateLockedError
from batchform.state.codec import encode_state
from batchform.state.registers import Held
from batchform.state.remote.access import BACKUP, JOURNAL, STATE, Access
from batchform.state.remote.reader import read
from batchform.state.remote.recovery import accept, examine
from tests.state.machines import WHERE, World, of, phases, started_once, who
from tests.state.memory import FAILED, Memory
from tests.state.samples import INTENDED, NOW, STARTED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A store with a state of one started batch, b0, and a backup of it."""
    made = World(tmp_path)
    started_once(made)
    second = made.held("run-1")
    second.record(of("run-1", INTENDED, STARTED))
    second.commit(NOW)
    second.close()
    return made


def recovered(world: World, engine: Memory | None = None, waiting: Callable[[float], None] | None = None) -> list[Path]:
    """Accept whatever can be kept; the copies."""
    access = Access(engine or world.engine(), 60.0, world.time.clocks)
    found = examine(access)
    assert found.recovery.needed
    return list(
        accept(
            access,
            found,
            run="recover",
            holder=who("recover"),
            folder=world.folder,
            waiting=waiting or world.time.sleep,
        )
    )


def spoil(world: World, name: str, data: bytes) -> None:
    """Somebody wrote this."""
    world.space.put(name, data, world.space.held[name].tag)


def is_whole(world: World, *known: str) -> None:
    """The next run holds the state at once, and knows these batches."""
    store = world.held("next", timeout=0.0)
    assert set(phases(store.state)) == set(known)
    store.close()
    assert not examine(Access(world.engine(), 60.0, world.time.clocks)).recovery.needed


def test_a_state_that_is_whole_needs_nothing(world: World) -> None:
    """Nothing is said."""
    is_whole(world, "b0", "b1")


def test_a_damaged_state_is_replaced_by_its_backup_and_the_journal(world: World) -> None:
    """At once where no run holds it; the damaged one is kept on this machine only."""
    spoil(world, STATE, b"nonsense")
    began = world.time.now
    (copy,) = recovered(world)
    assert world.time.now == began
    assert copy.read_bytes() == b"nonsense"
    assert copy.name == "state.damaged-recover"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    is_whole(world, "b0")


def test_a_damaged_journal_gives_what_is_whole_after_a_lease(world: World) -> None:
    """Its holder is not known, so it may live."""
    world.held("run-2").record(of("run-2", INTENDED, STARTED, batch="b2"))
    lines = world.space.held[JOURNAL].data.splitlines(keepends=True)
    spoil(world, JOURNAL, lines[0] + b"nonsense\n" + lines[2])
    began = world.time.now
    (copy,) = recovered(world)
    assert world.time.now - began >= 60.0
    assert copy.name == "state.journal.damaged-recover"
    is_whole(world, "b0", "b1", "b2")


def test_a_journal_without_a_header_gives_its_events(world: World) -> None:
    """Each of them names its run."""
    world.held("run-2").record(of("run-2", INTENDED, STARTED, batch="b2"))
    lines = world.space.held[JOURNAL].data.splitlines(keepends=True)
    spoil(world, JOURNAL, b"nonsense\n" + b"".join(lines[1:]))
    recovered(world)
    is_whole(world, "b0", "b1", "b2")


def test_a_journal_of_which_nothing_can_be_read_is_replaced(world: World) -> None:
    """Its first line is whole, and is no header."""
    spoil(world, JOURNAL, b'%08x {"journal":1}\n' % zlib.crc32(b'{"journal":1}'))
    recovered(world)
    is_whole(world, "b0", "b1")


def test_without_state_and_backup_the_events_are_kept(world: World) -> None:
    """Of a journal that a run left behind."""
    world.held("run-2").record(of("run-2", INTENDED, STARTED, batch="b2"))
    for name in (STATE, BACKUP):
        del world.space.held[name]
    recovered(world)
    is_whole(world, "b2")


def test_a_journal_that_is_cut_off_gives_its_complete_events(world: World) -> None:
    """In a store nothing is torn by a crash, so a run refuses it."""
    world.held("run-2").record(of("run-2", INTENDED, batch="b2"))
    spoil(world, JOURNAL, world.space.held[JOURNAL].data + b"00")
    with pytest.raises(StateError, match="is damaged"):
        world.held("run-3")
    recovered(world)
    is_whole(world, "b0", "b1", "b2")


def test_a_journal_that_was_deleted_is_made_anew(world: World) -> None:
    """After a lease: its run may live."""
    del world.space.held[JOURNAL]
    began = world.time.now
    recovered(world)
    assert world.time.now - began >= 60.0
    is_whole(world, "b0", "b1")


def test_a_state_that_was_deleted_is_made_of_its_backup(world: World) -> None:
    """What it lacks, the account has."""
    del world.space.held[STATE]
    recovered(world)
    is_whole(world, "b0")


def test_a_state_that_was_put_there_by_hand_is_kept(world: World) -> None:
    """For example an older version, downloaded and uploaded again."""
    spoil(world, STATE, encode_state(replace(world.state(), home="")))
    recovered(world)
    is_whole(world, "b0", "b1")
    assert world.state().home == WHERE


def test_a_copy_of_another_state_is_refused(world: World) -> None:
    """It goes on elsewhere."""
    spoil(world, STATE, encode_state(replace(world.state(), home="s3://bucket/other")))
    with pytest.raises(StateError, match="copy"):
        recovered(world)


def test_nothing_at_all_is_nothing_to_recover(world: World) -> None:
    """An address that was never used."""
    for name in (STATE, JOURNAL, BACKUP):
        del world.space.held[name]
    with pytest.raises(StateError, match="nothing to recover"):
        recovered(world)


@pytest.mark.parametrize(("name", "data"), [(STATE, b""), (JOURNAL, b""), (JOURNAL, b"<html>nonsense</html>")])
def test_an_object_that_never_was_a_state_has_a_way_out(world: World, name: str, data: bytes) -> None:
    """For example an empty one that was made in advance. No run would begin, and there is nothing to recover."""
    for one in (STATE, JOURNAL, BACKUP):
        del world.space.held[one]
    world.space.put(name, data, None)
    with pytest.raises(StateError, match="nothing to recover") as caught:
        recovered(world)
    assert f"Only if there never was a state, delete {WHERE}{name}:" in caught.value.detail


def test_a_state_that_cannot_be_read_is_not_called_kept(world: World) -> None:
    """Without a backup nothing of it is."""
    del world.space.held[BACKUP]
    spoil(world, STATE, b"nonsense")
    notes = " ".join(examine(Access(world.engine(), 60.0, world.time.clocks)).recovery.notes)
    assert "There is no state and no backup" in notes
    assert "by hand" not in notes


@pytest.mark.parametrize("data", [b"", b"<html>nonsense</html>"])
def test_a_state_is_not_read_without_what_its_journal_recorded(world: World, data: bytes) -> None:
    """A plan and a pulled copy would show batches as not started that a run has started. An apply is refused, too."""
    spoil(world, JOURNAL, data)
    with pytest.raises(StateError, match="journal is damaged") as caught:
        read(world.engine(), 60.0, world.time.clocks)
    assert "state recover" in " ".join(caught.value.detail.split())
    recovered(world)
    assert read(world.engine(), 60.0, world.time.clocks).state is not None


def test_a_run_that_lives_is_not_recovered_under(world: World) -> None:
    """It writes within the lease, so nothing is changed."""
    live = world.held("run-2")
    live.record(of("run-2", INTENDED, batch="b2"))
    spoil(world, STATE, b"nonsense")

    def wait(seconds: float) -> None:
        world.time.sleep(seconds)
        live.lease.beat()

    with pytest.raises(StateLockedError, match="locked by another run"):
        recovered(world, waiting=wait)
    assert world.space.held[STATE].data == b"nonsense"
    assert live.sure()


@pytest.mark.parametrize("name", [STATE, JOURNAL])
def test_what_changes_after_the_look_is_not_overwritten(world: World, name: str) -> None:
    """The user runs it again."""
    spoil(world, STATE, b"nonsense")
    engine = world.engine()

    def change(what: str, which: str) -> None:
        if (what, which) == ("write", name):
            engine.before = lambda what, name: None
            spoil(world, name, world.space.held[name].data + b" ")

    engine.before = change
    with pytest.raises(StateError, match="changed meanwhile"):
        recovered(world, engine)


def test_a_store_that_fails_is_named(world: World) -> None:
    """Nothing is lost: the damaged state stays."""
    spoil(world, STATE, b"nonsense")
    engine = world.engine()
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(StateError, match="an error of its own"):
        recovered(world, engine)
    assert world.space.held[STATE] == Held(b"nonsense", world.space.held[STATE].tag)


def test_a_copy_that_cannot_be_kept_stops_it(world: World) -> None:
    """Before anything is written."""
    spoil(world, STATE, b"nonsense")
    (world.folder / "state.damaged-recover").mkdir()
    with pytest.raises(StateError, match="cannot be copied"):
        recovered(world)
    assert world.space.held[STATE].data == b"nonsense"
