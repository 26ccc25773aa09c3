"""A state in a store: taking hold, recording, being replaced, and every answer a store may give."""

from __future__ import annotations

import contextlib
import stat
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batchform.errors import OutcomeUnknownError, StateError, StateGoneError, StateLockedError
from batchform.state.codec import decode_state, encode_state
from batchform.state.events import Intended, fold
from batchform.state.journal import replay
from batchform.state.registers import Held
from batchform.state.remote.access import BACKUP, JOURNAL, STATE
from batchform.state.remote.reader import holding, read
from batchform.state.remote.store import Remote, hold, unlock
from tests.state.machines import WHERE, World, of, phases, started_once, who
from tests.state.memory import EXPIRED, FAILED, FAULTS, FORBIDDEN, HANGS, LATE, Memory, Space, Time
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A store that is empty."""
    return World(tmp_path)


# --- A run that meets no trouble -------------------------------------------------------------------------------------


def test_a_first_run_makes_the_state(world: World) -> None:
    """Intent and outcome are in the store when `record` returns; after the commit the journal is a header alone."""
    store = world.held("run-1")
    store.record(of("run-1", INTENDED))
    assert list(world.journal().events) == of("run-1", INTENDED)
    store.record(of("run-1", STARTED, first=2))
    assert list(world.journal().events) == of("run-1", INTENDED, STARTED)
    assert STATE not in world.space.held
    assert store.commit(NOW)
    store.close()
    assert phases(world.state()) == {"b1": "started"}
    assert (world.state().serial, world.state().home, world.state().lineage) == (1, WHERE, "lineage-of-run-1")
    assert (world.header().open, world.journal().events) == (False, ())
    assert not list(world.folder.iterdir())


def test_a_run_that_changes_nothing_makes_no_state(world: World) -> None:
    """It leaves a closed journal, and costs five requests."""
    engine = world.engine()
    requests: list[tuple[str, str]] = []
    engine.before = lambda what, name: requests.append((what, name))
    store = world.held("run-1", engine)
    assert not store.commit(NOW)
    store.close()
    assert set(world.space.held) == {JOURNAL}
    assert not world.header().open
    assert len(requests) == 6  # the journal is read, and its absence proven by the state's; header, probe, state, close
    assert read(world.engine()).state is None


def test_the_backup_is_the_state_before_the_run(world: World) -> None:
    """However often the run commits."""
    started_once(world)
    before = world.space.held[STATE].data
    store = world.held("run-1")
    for number in range(1, 4):
        store.record([event(INTENDED, seq=number, run="run-1", batch=f"b{number}")])
        store.commit(NOW)
    store.close()
    assert world.space.held[BACKUP].data == before
    assert world.state().serial == 4


def test_reading_takes_nothing_and_folds_the_journal_in(world: World) -> None:
    """Beside a run that is at work, too."""
    started_once(world)
    store = world.held("run-1")
    store.record(of("run-1", INTENDED))
    before = dict(world.space.held)
    known = read(world.engine())
    assert phases(known.state) == {"b0": "started", "b1": "intended"}
    assert known.leftover == 1
    assert world.space.held == before


def test_each_content_of_the_journal_is_unique(world: World) -> None:
    """Also where nothing is recorded: equal contents would have equal tags on some stores."""
    contents = []
    engine = world.engine()
    put = world.space.put

    def noted(name: str, data: bytes, tag: str | None) -> str:
        contents.append((name, data))
        return put(name, data, tag)

    world.space.put = noted  # type: ignore[method-assign]  # to see what is written
    for run in ("run-1", "run-2"):
        store = world.held(run, engine)
        world.time.sleep(15)
        store.lease.beat()
        world.time.sleep(15)
        store.lease.beat()
        store.close()
    journals = [data for name, data in contents if name == JOURNAL]
    assert len(journals) == len(set(journals)) + 2  # the two probes, which were refused


def test_the_journal_does_not_grow_with_the_run(world: World) -> None:
    """The state takes its events at 256 KB, so each write is at most that and a round."""
    engine = world.engine()
    store = world.held("run-1", engine)
    for number in range(1, 3001):
        store.record([event(INTENDED, seq=number, run="run-1", batch=f"b{number}")])
    store.commit(NOW)
    store.close()
    sizes = [size for name, size in engine.writes if name == JOURNAL]
    assert max(sizes) < (256 << 10) + 1000
    assert len(world.state().entries) == 3000
    assert 2 <= world.state().serial < 6


# --- Two runs --------------------------------------------------------------------------------------------------------


def test_a_run_that_lives_is_waited_for(world: World) -> None:
    """Its name and its job are said, and how long it has been quiet."""
    first = world.held("run-1")
    second = world.remote("run-2")

    def wait(seconds: float) -> None:
        world.time.sleep(seconds)
        first.lease.beat()

    with pytest.raises(StateLockedError) as caught:
        second.take(12, wait)
    assert "apply by run-1@host, https://ci.example.test/jobs/run-1" in caught.value.detail
    assert "quiet for 12 of 60 s" in caught.value.detail
    with pytest.raises(StateLockedError):
        second.take(600, wait)
    with pytest.raises(StateLockedError):  # without a limit: until it shows that it lives
        second.take(None, wait)
    assert first.sure()


def test_a_run_that_ends_makes_room(world: World) -> None:
    """Who waits goes on within a second."""
    first = world.held("run-1")
    second = world.remote("run-2")
    began = world.time.now

    def wait(seconds: float) -> None:
        world.time.sleep(seconds)
        first.lease.beat()
        if world.time.now - began > 100 and world.header().open:
            first.close()

    second.take(600, wait)
    assert world.time.now - began < 103
    assert world.header().run == "run-2"


def test_a_run_that_died_is_taken_over_after_a_lease_and_not_before(world: World) -> None:
    """Its events become part of the state; nobody unlocks anything."""
    started_once(world)
    world.held("run-1").record(of("run-1", INTENDED))
    began = world.time.now
    with pytest.raises(StateLockedError):
        world.held("run-2", timeout=59)
    assert world.time.now - began < 61
    began = world.time.now
    second = world.held("run-3")
    assert 60 <= world.time.now - began < 63
    assert second.recovered == 1
    assert phases(second.state) == phases(world.state()) == {"b0": "started", "b1": "intended"}
    assert {run.id: run.who for run in second.state.runs} == {"run-0": "run-0", "run-1": "run-1"}


def test_the_watcher_goes_by_what_it_has_seen_itself(world: World) -> None:
    """However old the journal is: it may have been written a moment ago."""
    world.held("run-1").record(of("run-1", INTENDED))
    world.time.sleep(3600)
    began = world.time.now
    world.held("run-2")
    assert world.time.now - began >= 60


def test_death_between_commit_and_close_changes_nothing(world: World) -> None:
    """The journal is folded in once more, which adds nothing."""
    store = world.held("run-1")
    store.record(of("run-1", INTENDED, STARTED))
    store.commit(NOW)
    before = world.space.held[STATE]
    second = world.held("run-2")
    assert world.space.held[STATE] == before
    assert phases(second.state) == {"b1": "started"}


def test_who_was_replaced_writes_nothing_and_keeps_what_it_heard(world: World) -> None:
    """It wakes after more than a lease: no start leaves, its events go to a file, and the error says which."""
    first = world.held("run-1")
    first.record(of("run-1", INTENDED))
    world.held("run-2").record(of("run-2", INTENDED, batch="b2"))
    before = dict(world.space.held)
    assert not first.sure()
    with pytest.raises(OutcomeUnknownError) as caught:
        first.record(of("run-1", STARTED, first=2))
    assert "https://ci.example.test/jobs/run-2" in caught.value.detail
    with pytest.raises(OutcomeUnknownError):
        first.renew()
    with pytest.raises(OutcomeUnknownError) as caught:
        first.commit(NOW)
    assert "batchform state push batchform.outcomes-run-1.journal" in caught.value.detail
    first.close()
    assert world.space.held == before
    spilled = world.folder / "batchform.outcomes-run-1.journal"
    assert list(replay(spilled.read_bytes(), "spilled").events) == of("run-1", INTENDED, STARTED)
    assert stat.S_IMODE(spilled.stat().st_mode) == 0o600
    assert [one.name for one in world.folder.iterdir()] == [spilled.name]


def test_who_was_replaced_while_it_committed_writes_no_state(world: World) -> None:
    """Its state is refused, and so is its journal: it stops there."""
    first = world.held("run-1")
    first.record(of("run-1", INTENDED, STARTED))
    second = world.held("run-2")
    second.record(of("run-2", INTENDED, batch="b2"))
    second.commit(NOW)
    before = dict(world.space.held)
    with pytest.raises(OutcomeUnknownError):
        first.commit(NOW)
    assert world.space.held == before


def test_a_state_that_was_replaced_under_the_holder_is_built_upon(world: World) -> None:
    """A taker folded the journal in and died, or came too late: our events go onto theirs."""
    first = world.held("run-1")
    first.record(of("run-1", INTENDED))
    taken = fold(replace(first.state, entries={}, runs=()), of("run-1", INTENDED), {})
    world.space.put(STATE, encode_state(replace(taken, serial=1, home=WHERE)), None)
    first.record(of("run-1", STARTED, first=2))
    assert first.commit(NOW)
    assert phases(world.state()) == {"b1": "started"}
    assert world.state().serial == 2


def test_of_many_who_wait_one_takes_over(world: World) -> None:
    """With threads and a clock of their own: each holds it alone, one after the other."""
    space = Space()
    holders: list[str] = []
    inside = 0
    guard = threading.Lock()

    def work(run: str) -> None:
        nonlocal inside
        engine = Memory(space, Time(), WHERE)
        with hold(
            engine, fresh=EMPTY, run=run, holder=who(run), folder=world.folder, timeout=600, waiting=lambda _: None
        ) as store:
            with guard:
                inside += 1
                assert inside == 1
            store.record(of(run, INTENDED, STARTED, batch=run))
            store.commit(NOW)
            with guard:
                inside -= 1
                holders.append(run)

    threads = [threading.Thread(target=work, args=(f"run-{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holders) == 12
    assert set(phases(decode_state(space.held[STATE].data))) == set(holders)


# --- Certainty -------------------------------------------------------------------------------------------------------


def pass_by_waiting(time: Time, seconds: float) -> None:
    """Time goes by."""
    time.now += seconds


def pass_suspended(time: Time, seconds: float) -> None:
    """The machine sleeps."""
    time.suspended += seconds


def pass_on_the_wall(time: Time, seconds: float) -> None:
    """A machine whose monotonic clocks all stand still while it is suspended."""
    time.wall += seconds


@pytest.mark.parametrize("go", [pass_by_waiting, pass_suspended, pass_on_the_wall])
def test_certainty_lasts_a_third_of_a_lease(world: World, go: Callable[[Time, float], None]) -> None:
    """By whichever clock is faster; a write renews it."""
    store = world.held("run-1")
    go(world.time, 19)
    assert store.sure()
    go(world.time, 2)
    assert not store.sure()
    store.renew()
    assert store.sure()


def test_a_clock_that_is_set_back_lengthens_nothing(world: World) -> None:
    """The other one goes on."""
    store = world.held("run-1")
    world.time.wall -= 3600
    assert store.sure()
    world.time.now += 21
    assert not store.sure()


def test_certainty_counts_from_the_beginning_of_the_write(world: World) -> None:
    """Another run may have seen it at any moment since."""
    engine = world.engine()
    store = world.held("run-1", engine)
    world.time.now += 25
    engine.takes = 21
    store.renew()
    assert not store.sure()


def test_a_fresh_certainty_costs_no_request(world: World) -> None:
    """Up to a sixth of a lease."""
    engine = world.engine()
    store = world.held("run-1", engine)
    writes = len(engine.writes)
    world.time.now += 9
    store.renew()
    assert len(engine.writes) == writes
    world.time.now += 2
    store.renew()
    assert len(engine.writes) == writes + 1


def test_the_journal_is_renewed_while_nothing_else_happens(world: World) -> None:
    """Every quarter of a lease, and not more often; a store that is down for a moment does not end it."""
    engine = world.engine()
    store = world.held("run-1", engine)
    first = world.header().beat
    for _ in range(300):
        world.time.now += 1
        store.lease.beat()
    assert 18 <= world.header().beat - first <= 20
    engine.faults.extend([FAILED] * 3)
    for _ in range(40):
        world.time.now += 1
        store.lease.beat()
    assert store.sure()
    store.close()
    store.lease.beat()
    assert not world.header().open


# --- Every answer of the store ---------------------------------------------------------------------------------------


def whole_run(world: World, engine: Memory, land: Sequence[int] = ()) -> list[str]:
    """A run of three batches; which starts were sent. `land`: after which of them late writes take place."""
    sent = []
    store = world.held("run-1", engine)
    seq = 0
    try:
        for number in range(3):
            batch = f"b{number}"
            store.record([event(INTENDED, seq=seq + 1, run="run-1", batch=batch)])
            store.renew()
            assert batch in {one.batch_id for one in world.journal().events} | set(phases_of(world))
            sent.append(batch)
            if number in land:
                engine.land()
            store.record([event(STARTED, seq=seq + 2, run="run-1", batch=batch)])
            seq += 2
        store.commit(NOW)
    finally:
        store.close()
    return sent


def phases_of(world: World) -> dict[str, str]:
    """What the state says, where there is one."""
    return phases(world.state()) if STATE in world.space.held else {}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", range(9))
def test_one_fault_at_any_write_costs_nothing(world: World, fault: str, at: int) -> None:
    """The run comes through, and all of it is in the state."""
    engine = world.engine()
    engine.faults.extend([""] * at + [fault])
    assert whole_run(world, engine, land=range(3)) == ["b0", "b1", "b2"]
    assert phases(world.state()) == dict.fromkeys(["b0", "b1", "b2"], "started")
    assert not list(world.folder.iterdir())


@pytest.mark.parametrize("fault", [FAILED, HANGS, FORBIDDEN, EXPIRED])
@pytest.mark.parametrize("at", range(14))
def test_a_store_that_is_gone_for_good_loses_nothing(world: World, fault: str, at: int) -> None:
    """From any request on: what was recorded is in the store or in the file, and nothing else was sent."""
    engine = world.engine()
    seen = 0

    def fail(what: str, name: str) -> None:
        nonlocal seen
        seen += 1
        if seen > at:
            (engine.faults if what == "write" else engine.reads).append(fault)

    engine.before = fail
    before = world.time.now
    with contextlib.suppress(StateError, OutcomeUnknownError):
        whole_run(world, engine)
    assert world.time.now - before < 400
    engine.before = lambda what, name: None
    spilled = world.folder / "batchform.outcomes-run-1.journal"
    second = world.held("run-2")
    known = second.state
    if spilled.exists():
        known = fold(known, replay(spilled.read_bytes(), "spilled").events, {})
    heard = {one.batch_id for one in replay(spilled.read_bytes(), "").events} if spilled.exists() else set()
    assert {phase for batch, phase in phases(known).items() if batch not in heard} <= {"started", "intended"}
    assert heard <= set(phases(known))


def test_a_write_of_ours_that_comes_late_is_taken_for_ours(world: World) -> None:
    """It changes the tag that the next write names; the run goes on under the new one."""
    engine = world.engine()
    store = world.held("run-1", engine)
    engine.faults.append(LATE)
    world.time.now += 15
    store.lease.beat()  # gives up after one try
    engine.land()
    store.record(of("run-1", INTENDED))
    assert list(world.journal().events) == of("run-1", INTENDED)
    assert store.sure()


def test_a_store_that_comes_back_takes_it_all(world: World) -> None:
    """What failed before is in the next write."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED))
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(OutcomeUnknownError, match="cannot be recorded"):
        store.record(of("run-1", STARTED, first=2))
    engine.faults.clear()
    store.record(of("run-1", INTENDED, first=3, batch="b2"))
    store.commit(NOW)
    store.close()
    assert phases(world.state()) == {"b1": "started", "b2": "intended"}
    assert not list(world.folder.iterdir())


def test_a_store_that_hangs_is_not_asked_at_each_outcome(world: World) -> None:
    """Each try takes half a minute. The run has to end, and all of it is in the file."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED))
    engine.faults.extend([HANGS] * 100)
    engine.reads.extend([HANGS] * 100)
    began = world.time.now
    for number in range(20):
        with pytest.raises(OutcomeUnknownError, match="cannot be recorded"):
            store.record(of("run-1", STARTED, first=2 + number))
        world.time.sleep(1)
        store.lease.beat()
    with pytest.raises(OutcomeUnknownError, match="cannot be recorded"):
        store.commit(NOW)
    store.close()
    assert world.time.now - began < 60 + 4 * 30
    (spilled,) = world.folder.iterdir()
    assert spilled.read_bytes().count(b"started") == 20


def test_a_store_that_hung_is_asked_again_after_a_while(world: World) -> None:
    """It may be back."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED))
    engine.faults.extend([HANGS] * 3)
    engine.reads.extend([HANGS] * 3)
    for number in range(5):
        with pytest.raises(OutcomeUnknownError):
            store.record(of("run-1", STARTED, first=2 + number))
        world.time.sleep(1)
        store.lease.beat()
    world.time.sleep(60)
    store.record(of("run-1", STARTED, first=7))
    store.commit(NOW)
    store.close()
    assert phases(world.state()) == {"b1": "started"}
    assert not list(world.folder.iterdir())


def test_credentials_that_expire_are_named(world: World) -> None:
    """And what was heard is in the file."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED))
    engine.faults.extend([EXPIRED] * 100)
    engine.reads.extend([EXPIRED] * 100)
    with pytest.raises(OutcomeUnknownError):
        store.record(of("run-1", STARTED, first=2))
    with pytest.raises(OutcomeUnknownError) as caught:
        store.commit(NOW)
    assert "last longer" in caught.value.detail
    assert "state push" in caught.value.detail
    assert (world.folder / "batchform.outcomes-run-1.journal").exists()


def test_a_store_that_is_down_is_not_asked_for_the_backup(world: World) -> None:
    """Each try can take long. Once the store is back, it gets the state that there was."""
    started_once(world)
    before = world.space.held[STATE].data
    engine = world.engine()
    store = world.held("run-1", engine)
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(OutcomeUnknownError):
        store.record(of("run-1", STARTED, first=2))
    asked: list[str] = []
    engine.before = lambda _, name: asked.append(name)
    with pytest.raises(OutcomeUnknownError):
        store.commit(NOW)
    assert BACKUP not in asked
    engine.faults.clear()
    store.record(of("run-1", STARTED, first=3, batch="b2"))
    assert store.commit(NOW)
    store.close()
    assert world.space.held[BACKUP].data == before


def test_a_state_that_cannot_be_written_leaves_its_journal(world: World) -> None:
    """All is in the store, so nothing is spilled, and the next run folds it in."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED, STARTED))
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(StateError, match="cannot be written"):
        store.commit(NOW)
    store.close()
    assert not list(world.folder.iterdir())
    assert phases(world.held("run-2").state) == {"b1": "started"}


def test_a_file_that_cannot_be_written_either_is_said(world: World) -> None:
    """The intents are in the store."""
    engine = world.engine()
    store = world.held("run-1", engine)
    store.record(of("run-1", INTENDED))
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(OutcomeUnknownError):
        store.record(of("run-1", STARTED, first=2))
    world.folder.rmdir()
    with pytest.raises(OutcomeUnknownError, match="Outcomes could not be recorded"):
        store.commit(NOW)


# --- What is refused before anything is sent -------------------------------------------------------------------------


def test_a_store_that_ignores_conditions_is_refused(world: World) -> None:
    """Two runs could hold one state."""
    world.space.ignores = True
    with pytest.raises(StateError, match="ignores conditions"):
        world.held("run-1")


@pytest.mark.parametrize("faults", [[FAILED], [HANGS, FAILED]])
def test_the_probe_wants_a_plain_no(world: World, faults: list[str]) -> None:
    """A timeout proves nothing: it is asked again."""
    world.space.ignores = True
    engine = world.engine()
    engine.faults.extend(["", *faults])
    with pytest.raises(StateError, match="ignores conditions"):
        world.held("run-1", engine)


def test_a_state_without_its_journal_is_refused(world: World) -> None:
    """Somebody deleted it: what a run recorded last may be missing."""
    started_once(world)
    del world.space.held[JOURNAL]
    with pytest.raises(StateError, match="journal of the state is gone") as caught:
        world.held("run-1")
    assert "git:" not in caught.value.detail


def test_a_journal_without_its_state_is_refused(world: World) -> None:
    """It says that there was one."""
    started_once(world)
    del world.space.held[STATE]
    with pytest.raises(StateError, match="state is missing"):
        world.held("run-1")
    assert not world.header().open


def test_an_older_state_is_refused(world: World) -> None:
    """What was committed in between is missing."""
    started_once(world)
    old = world.space.held[STATE].data
    started_once(world, "run-1")
    world.space.put(STATE, old, world.space.held[STATE].tag)
    with pytest.raises(StateError, match="replaced by an older one"):
        world.held("run-2")


def test_a_copy_is_refused(world: World) -> None:
    """A state that was copied to another address, or put there by hand: it can be read."""
    started_once(world)
    copy = Memory(Space(dict(world.space.held)), world.time, "memory://elsewhere")
    assert phases(read(copy).state) == {"b0": "started"}
    with pytest.raises(StateError) as caught:
        world.held("run-1", copy)
    assert WHERE in caught.value.detail
    by_hand = replace(world.state(), home="")
    world.space.put(STATE, encode_state(by_hand), world.space.held[STATE].tag)
    with pytest.raises(StateError, match="copy"):
        world.held("run-1")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"nonsense\n"])
def test_a_damaged_journal_is_refused(world: World, data: bytes) -> None:
    """It may be the only record of a start."""
    started_once(world)
    world.space.held[JOURNAL] = Held(data, "damaged")
    with pytest.raises(StateError):
        world.held("run-1")
    assert world.space.held[JOURNAL].data == data


def test_a_cut_journal_is_refused(world: World) -> None:
    """A store writes all or nothing, so a cut is no crash."""
    store = world.held("run-1")
    store.record(of("run-1", INTENDED, STARTED))
    world.space.held[JOURNAL] = Held(world.space.held[JOURNAL].data[:-3], "cut")
    with pytest.raises(StateError, match="damaged"):
        world.held("run-2")


def test_the_journal_deleted_under_a_run_fences_it(world: World) -> None:
    """It stops, and keeps all that it had recorded."""
    store = world.held("run-1")
    store.record(of("run-1", INTENDED))
    del world.space.held[JOURNAL]
    with pytest.raises(StateGoneError, match="deleted during the run"):
        store.record(of("run-1", STARTED, first=2))
    assert not store.sure()
    store.close()
    spilled = replay((world.folder / "batchform.outcomes-run-1.journal").read_bytes(), "")
    assert [type(one.what) for one in spilled.events][:1] == [Intended]
    assert JOURNAL not in world.space.held


def test_no_answer_at_the_beginning_is_an_error_that_names_the_store(world: World) -> None:
    """And nothing is held."""
    engine = world.engine()
    engine.reads.extend([FORBIDDEN] * 100)
    with pytest.raises(StateError, match="does not say whether the state exists"):
        world.held("run-1", engine)
    engine.reads.clear()
    engine.faults.extend([FORBIDDEN] * 100)
    with pytest.raises(StateError, match="does not let us write"):
        world.held("run-1", engine)


# --- A run that hangs ------------------------------------------------------------------------------------------------


def unlocked(world: World, run: str, engine: Memory | None = None, timeout: float = 0.0) -> int:
    """Stop that run, as `state unlock` does."""
    found = holding(world.engine())
    assert found is not None
    found = replace(found, header=replace(found.header, run=run))
    clocks = world.time.clocks
    return unlock(
        engine or world.engine(),
        found,
        run="unlock",
        holder=who("unlock"),
        folder=world.folder,
        timeout=timeout,
        waiting=clocks.sleep,
        clocks=clocks,
    )


def test_unlock_holds_the_journal_until_that_run_is_sure_no_longer(world: World) -> None:
    """Its intent is in the state; no other run gets the state before a full lease has passed."""
    hanging = world.held("run-1")
    hanging.record(of("run-1", INTENDED))
    engine = world.engine()
    seen: list[bool] = []
    closed: list[float] = []
    began = world.time.now

    def look(what: str, name: str) -> None:
        if (what, name) == ("write", JOURNAL):
            seen.append(hanging.sure())
            closed.append(world.time.now)

    engine.before = look
    assert unlocked(world, "run-1", engine) == 1
    assert seen[0]  # that run was sure when it was replaced
    assert not seen[-1]
    assert closed[-1] - began >= 60.0
    assert not world.header().open
    assert phases(world.state()) == {"b1": "intended"}
    with pytest.raises(OutcomeUnknownError, match="Another run has taken over"):
        hanging.record(of("run-1", STARTED, first=2))
    world.held("run-2", timeout=0.0)


def test_unlock_that_is_cut_off_leaves_the_journal_open(world: World) -> None:
    """The next run waits a lease, as if the holder had died."""
    world.held("run-1")

    def cut(seconds: float) -> None:
        raise KeyboardInterrupt

    store = world.remote("unlock")
    with pytest.raises(KeyboardInterrupt):
        store.seize("run-1", 0.0, cut)
    store.close()
    assert world.header().open
    assert world.header().run == "unlock"
    with pytest.raises(StateLockedError):
        world.held("run-2", timeout=0.0)


def test_unlock_stops_only_the_run_that_was_named(world: World) -> None:
    """Another run's journal is not touched."""
    world.held("run-1")
    before = world.space.held[JOURNAL]
    with pytest.raises(StateError, match="does not hold the state"):
        unlocked(world, "run-0")
    assert world.space.held[JOURNAL] == before


def test_unlock_gives_up_on_a_run_that_writes(world: World) -> None:
    """Each try finds another tag: the run is at work."""
    working = world.held("run-1")
    engine = world.engine()

    def write(what: str, name: str) -> None:
        if (what, name) == ("write", JOURNAL):
            working.record(of("run-1", INTENDED, first=len(working.state.runs) + world.space.tags))

    engine.before = write
    with pytest.raises(StateLockedError, match="The run is at work"):
        unlocked(world, "run-1", engine)
    assert world.header().run == "run-1"


def test_a_free_state_is_held_by_none(world: World) -> None:
    """Before the first run, and after one."""
    assert holding(world.engine()) is None
    started_once(world)
    assert holding(world.engine()) is None


# --- Another copy is joined ------------------------------------------------------------------------------------------


def test_what_a_run_spilled_makes_the_state_whole(world: World) -> None:
    """Joined twice, it changes nothing more; and what the state knows better stays."""
    started_once(world)
    lost = fold(replace(EMPTY, lineage=world.state().lineage), of("run-1", INTENDED, STARTED))
    older = fold(replace(EMPTY, lineage=world.state().lineage), of("run-9", INTENDED, batch="b0"))
    for expected in (True, False):
        store = world.held("push")
        store.join(lost)
        store.join(older)
        assert store.commit(NOW) is expected
        store.close()
        assert phases(world.state()) == {"b0": "started", "b1": "started"}
        assert world.state().home == WHERE


def test_a_state_replaced_while_a_copy_is_joined_keeps_both(world: World) -> None:
    """The commit joins again, onto the newer state."""
    started_once(world)
    store = world.held("push")
    store.join(fold(replace(EMPTY, lineage=world.state().lineage), of("run-1", INTENDED, STARTED)))
    newer = fold(world.state(), of("run-2", INTENDED, STARTED, batch="b2"))
    newer = replace(newer, serial=newer.serial + 1)
    world.space.put(STATE, encode_state(newer), world.space.held[STATE].tag)
    store.commit(NOW)
    store.close()
    assert phases(world.state()) == {"b0": "started", "b1": "started", "b2": "started"}


def test_a_copy_of_another_history_is_not_joined(world: World) -> None:
    """Nothing is written."""
    started_once(world)
    before = world.space.held[STATE]
    store = world.held("push")
    with pytest.raises(StateError, match="two different states"):
        store.join(replace(EMPTY, lineage="another"))
    store.close()
    assert world.space.held[STATE] == before


# --- What rarely happens ---------------------------------------------------------------------------------------------


def test_a_store_that_allows_few_writes_is_written_that_often(world: World) -> None:
    """Google allows one a second."""
    engine = world.engine()
    store = world.held("run-1", engine)
    engine.every = 1.1
    began = world.time.now
    store.record(of("run-1", INTENDED))
    store.record(of("run-1", STARTED, first=2))
    assert 1.0 < world.time.now - began < 2.3
    store.record([])
    assert world.time.now - began < 2.3


def test_a_run_that_holds_nothing_is_sure_of_nothing(world: World) -> None:
    """Before it takes hold."""
    assert not world.remote("run-1").sure()


def test_the_keeper_sees_that_another_run_took_over(world: World) -> None:
    """Also where there is nothing to record; then there is nothing to spill."""
    first = world.held("run-1")
    world.held("run-2")
    first.lease.beat()
    assert not first.sure()
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError, match="Another run has taken over"):
            first.commit(NOW)
    with pytest.raises(OutcomeUnknownError):
        first.record(of("run-1", INTENDED))


def test_the_keeper_writes_while_nothing_else_does(world: World) -> None:
    """On a thread of its own, until the run ends."""
    engine = world.engine()
    engine.lease = 0.3
    store = world.held("run-1", engine)
    written = threading.Event()
    engine.before = lambda what, name: written.set()
    world.time.sleep(1)
    store.lease.keep()
    assert written.wait(30)
    store.close()
    assert not world.header().open


def test_a_journal_replaced_by_hand_fences_the_run(world: World) -> None:
    """Whatever it is now."""
    store = world.held("run-1")
    world.space.put(JOURNAL, b"nonsense\n", world.space.held[JOURNAL].tag)
    with pytest.raises(OutcomeUnknownError) as caught:
        store.record(of("run-1", INTENDED))
    assert "replaced by hand" in caught.value.detail


def test_a_state_deleted_under_the_holder_is_an_error(world: World) -> None:
    """Its journal keeps the events."""
    started_once(world)
    store = world.held("run-1")
    store.record(of("run-1", INTENDED))
    del world.space.held[STATE]
    with pytest.raises(StateError, match="The state is gone"):
        store.commit(NOW)
    assert list(world.journal().events) == of("run-1", INTENDED)


def test_a_backup_that_is_there_is_not_written_again(world: World) -> None:
    """After a run that wrote it and then died."""
    started_once(world)
    world.space.put(BACKUP, world.space.held[STATE].data, None)
    before = world.space.held[BACKUP]
    started_once(world, "run-1")
    assert world.space.held[BACKUP] == before


@pytest.mark.parametrize("closed", [False, True])
def test_two_runs_that_take_a_free_state_at_once(world: World, closed: bool) -> None:  # noqa: FBT001  # a parameter
    """The second sees that the first holds it."""
    if closed:
        started_once(world)
    engine = world.engine()

    def first(what: str, name: str) -> None:
        if what == "write":
            engine.before = lambda what, name: None
            world.held("run-1")

    engine.before = first
    with pytest.raises(StateLockedError, match="locked by another run"):
        world.held("run-2", engine, timeout=0.0)
    assert world.header().run == "run-1"


@pytest.mark.parametrize("name", [STATE, JOURNAL])
def test_two_runs_that_take_over_at_once(world: World, name: str) -> None:
    """The second begins to watch again, and takes over from the first when that one died, too."""
    world.held("run-0").record(of("run-0", INTENDED))
    engine = world.engine()

    def first(what: str, which: str) -> None:
        if (what, which) == ("write", name):
            engine.before = lambda what, name: None
            world.held("run-1")

    engine.before = first
    second = world.held("run-2", engine)
    assert world.header().run == "run-2"
    assert phases(second.state) == {"b1": "intended"}


def test_a_store_that_does_not_take_what_a_dead_run_left_is_named(world: World) -> None:
    """The journal stays as it is."""
    world.held("run-0").record(of("run-0", INTENDED))
    before = world.space.held[JOURNAL]
    engine = world.engine()
    engine.faults.extend([FAILED] * 100)
    with pytest.raises(StateError, match="an error of its own"):
        world.held("run-1", engine)
    assert world.space.held[JOURNAL] == before


def test_unlock_tries_again_while_it_may(world: World) -> None:
    """A run that writes once more, and then hangs."""
    hanging = world.held("run-1")
    engine = world.engine()

    def write(what: str, name: str) -> None:
        if (what, name) == ("write", JOURNAL):
            engine.before = lambda what, name: None
            hanging.record(of("run-1", INTENDED))

    engine.before = write
    assert unlocked(world, "run-1", engine, timeout=10.0) == 1


def test_unlock_ends_when_a_third_run_takes_over(world: World) -> None:
    """It was quiet for too long itself."""
    world.held("run-1")
    store = world.remote("unlock")

    def wait(seconds: float) -> None:
        world.time.sleep(20)
        world.space.put(JOURNAL, b"of a third run\n", world.space.held[JOURNAL].tag)

    with pytest.raises(OutcomeUnknownError, match="Another run has taken over"):
        store.seize("run-1", 0.0, wait)


# --- A state that moves away -----------------------------------------------------------------------------------------


def test_a_state_that_left_is_a_copy(world: World) -> None:
    """It can be read, and no run holds it any more."""
    started_once(world)
    store = world.held("run-1")
    store.leave("/home/ci/batchform.state.json")
    assert not store.commit(NOW)
    store.close()
    assert phases(read(world.engine()).state) == {"b0": "started"}
    with pytest.raises(StateError, match="copy"):
        world.held("run-2")


@pytest.mark.parametrize("home", ["", "/home/ci/other.json", "/home/ci/batchform.state.json"])
def test_a_state_that_left_returns_only_from_where_it_went(world: World, home: str) -> None:
    """A run, or a move from elsewhere, is refused. Nothing new need have happened there."""
    started_once(world)
    store = world.held("run-1")
    store.leave("/home/ci/batchform.state.json")
    store.close()
    left = world.state()
    store = Remote(
        world.engine(),
        fresh=replace(left, entries={}, home=home),
        run="migrate",
        folder=world.folder,
        holder=who("migrate"),
        clocks=world.time.clocks,
    )
    if home != left.home:
        with pytest.raises(StateError, match="copy"):
            store.take(None, world.time.sleep)
        assert world.state() == left
        return
    store.take(None, world.time.sleep)
    store.join(replace(left, serial=left.serial + 5))
    assert store.commit(NOW)
    store.close()
    assert world.state() == replace(left, serial=left.serial + 6, home=WHERE)
    world.held("run-2").close()


def test_a_state_that_was_changed_does_not_leave(world: World) -> None:
    """The same command again sees the change."""
    started_once(world)
    store = world.held("run-1")
    newer = replace(world.state(), serial=9)
    world.space.put(STATE, encode_state(newer), world.space.held[STATE].tag)
    with pytest.raises(StateError, match="changed meanwhile"):
        store.leave("elsewhere")
    assert world.state() == newer


def test_a_state_that_cannot_be_written_does_not_leave(world: World) -> None:
    """It stays where it is."""
    started_once(world)
    engine = world.engine()
    store = world.held("run-1", engine)
    engine.faults.extend(["", *[FAILED] * 100])
    with pytest.raises(StateError, match="an error of its own"):
        store.leave("elsewhere")
    assert world.state().home == WHERE


def test_a_move_into_a_store_that_was_cut_off_refuses_runs_and_can_be_made_again(world: World) -> None:
    """Its journal continues a state; only a run that brings that state goes on."""
    known = fold(replace(EMPTY, serial=4), of("run-0", INTENDED, STARTED))
    fresh = replace(EMPTY, serial=4)
    for last in (False, True):
        store = Remote(
            world.engine(),
            fresh=fresh,
            run=f"migrate-{last}",
            folder=world.folder,
            holder=who("migrate"),
            clocks=world.time.clocks,
        )
        store.take(None, world.time.sleep)
        store.lease.sync()
        if last:
            store.join(known)
            assert store.commit(NOW)
        store.close()
        if not last:
            with pytest.raises(StateError, match="state is missing"):
                world.held("run-1")
    assert phases(world.state()) == {"b1": "started"}
    assert world.state().serial == 5
