"""What a state has to do wherever it lives: one suite for a file and for a store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from batchform.errors import StateError, StateLockedError
from batchform.state import local
from batchform.state.codec import decode_state, encode_state
from batchform.state.disk import paths
from batchform.state.events import fold
from batchform.state.reader import read as read_file
from batchform.state.remote.access import JOURNAL, STATE
from batchform.state.remote.reader import read as read_store
from batchform.state.remote.store import hold
from tests.state.machines import WHERE, World, of, phases, who
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from batchform.state.known import State
    from batchform.state.reader import Known
    from batchform.state.store import Store

FRESH = replace(EMPTY, lineage="one")


class Kind(Protocol):
    """Where a state lives, as these tests use it."""

    def hold(self, run: str, timeout: float = 0.0) -> AbstractContextManager[Store]:
        """Hold it as that run."""

    def read(self) -> Known:
        """Read it without holding it."""

    def state(self) -> bytes | None:
        """The bytes of the state."""

    def put(self, *, state: bytes | None = None, journal: bytes | None = None) -> None:
        """Replace state or journal by hand."""

    def journal(self) -> bytes:
        """The bytes of the journal."""

    def die(self) -> None:
        """The run that holds it is gone."""


class File:
    """A state file."""

    def __init__(self, folder: Path) -> None:
        self._files = paths(folder / "s.json")

    def hold(self, run: str, timeout: float = 0.0) -> AbstractContextManager[Store]:
        """See `Kind`."""
        return local.hold(
            self._files.state, fresh=FRESH, run=run, holder=who(run), now=NOW, timeout=timeout, sleep=lambda _: None
        )

    def read(self) -> Known:
        """See `Kind`."""
        return read_file(self._files.state)

    def state(self) -> bytes | None:
        """See `Kind`."""
        return self._files.state.read_bytes() if self._files.state.exists() else None

    def put(self, *, state: bytes | None = None, journal: bytes | None = None) -> None:
        """See `Kind`."""
        for path, data in ((self._files.state, state), (self._files.journal, journal)):
            if data is not None:
                path.write_bytes(data)

    def journal(self) -> bytes:
        """See `Kind`."""
        return self._files.journal.read_bytes()

    def die(self) -> None:
        """The kernel frees the lock at once."""


class Remote:
    """A state in a store, with a time of its own."""

    def __init__(self, folder: Path) -> None:
        self._world = World(folder)

    def hold(self, run: str, timeout: float = 0.0) -> AbstractContextManager[Store]:
        """See `Kind`."""
        clocks = self._world.time.clocks
        return hold(
            self._world.engine(),
            fresh=FRESH,
            run=run,
            holder=who(run),
            folder=self._world.folder,
            timeout=timeout,
            clocks=clocks,
        )

    def read(self) -> Known:
        """See `Kind`."""
        return read_store(self._world.engine(), 60.0, self._world.time.clocks)

    def state(self) -> bytes | None:
        """See `Kind`."""
        found = self._world.space.held.get(STATE)
        return None if found is None else found.data

    def put(self, *, state: bytes | None = None, journal: bytes | None = None) -> None:
        """See `Kind`."""
        for name, data in ((STATE, state), (JOURNAL, journal)):
            if data is not None:
                found = self._world.space.held.get(name)
                self._world.space.put(name, data, None if found is None else found.tag)

    def journal(self) -> bytes:
        """See `Kind`."""
        return self._world.space.held[JOURNAL].data

    def die(self) -> None:
        """The next run has to wait for a lease."""


@pytest.fixture(params=[File, Remote])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """A place without a state."""
    made: Kind = request.param(tmp_path)
    return made


def home(kind: Kind, state: State) -> State:
    """The state as it would be written at that place."""
    return replace(state, home=WHERE if isinstance(kind, Remote) else "")


def started(kind: Kind, run: str = "run-0", batch: str = "b0") -> None:
    """A run that starts one batch and ends well."""
    with kind.hold(run) as store:
        store.record(of(run, INTENDED, STARTED, batch=batch))
        assert store.commit(NOW)


def test_what_is_recorded_can_be_read_before_the_commit(kind: Kind) -> None:
    """By another process, without holding it."""
    with kind.hold("run-1") as store:
        store.record(of("run-1", INTENDED))
        known = kind.read()
        assert (phases(known.state), known.leftover) == ({"b1": "intended"}, 1)
        store.record(of("run-1", STARTED, first=2))
        assert phases(store.state) == phases(kind.read().state) == {"b1": "started"}
        assert store.commit(NOW)
        assert phases(kind.read().state) == {"b1": "started"}
    assert (phases(kind.read().state), kind.read().leftover) == ({"b1": "started"}, 0)


def test_a_run_that_changes_nothing_writes_no_state(kind: Kind) -> None:
    """Neither the first nor a later one."""
    for _ in range(2):
        before = kind.state()
        with kind.hold("run-1") as store:
            assert not store.commit(NOW)
        assert kind.state() == before
        if before is None:
            started(kind)


def test_the_next_run_recovers_what_a_dead_one_recorded(kind: Kind) -> None:
    """With who ran it, and once."""
    started(kind)
    held = kind.hold("run-1")
    held.__enter__().record(of("run-1", INTENDED, STARTED))
    journal = kind.journal()
    held.__exit__(None, None, None)
    kind.put(journal=journal)
    kind.die()
    with kind.hold("run-2", timeout=600.0) as store:
        assert store.recovered == 2
        assert phases(store.state) == {"b0": "started", "b1": "started"}
        store.commit(NOW)
    with kind.hold("run-3") as store:
        assert store.recovered == 0
        assert [run.id for run in store.state.runs] == ["run-0", "run-1"]


def test_one_run_holds_it_and_the_other_is_told_who(kind: Kind) -> None:
    """A state that is held is not written by another run."""
    with kind.hold("run-1") as store:
        store.record(of("run-1", INTENDED))
        with pytest.raises(StateLockedError) as caught:
            kind.hold("run-2").__enter__()
    assert "run-1@host" in caught.value.detail


def test_a_commit_keeps_what_a_newer_state_has(kind: Kind) -> None:
    """Somebody replaced the state under the run."""
    started(kind)
    with kind.hold("run-1") as store:
        store.record(of("run-1", INTENDED, STARTED))
        data = kind.state()
        assert data is not None
        base = decode_state(data)
        newer = fold(base, of("run-9", INTENDED, STARTED, batch="b9"))
        kind.put(state=encode_state(home(kind, replace(newer, serial=base.serial + 1))))
        assert store.commit(NOW)
        assert phases(store.state) == {"b0": "started", "b1": "started", "b9": "started"}
    data = kind.state()
    assert data is not None
    assert decode_state(data).serial == base.serial + 2


def test_an_older_state_stops_the_commit(kind: Kind) -> None:
    """What was committed in between is missing there."""
    started(kind)
    old = kind.state()
    started(kind, "run-1", "b1")
    with kind.hold("run-2") as store:
        store.record(of("run-2", INTENDED, batch="b2"))
        kind.put(state=old)
        with pytest.raises(StateError, match="older one"):
            store.commit(NOW)
    assert kind.state() == old


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"{}"])
def test_a_damaged_state_is_refused_and_left_as_it_is(kind: Kind, damage: bytes) -> None:
    """By readers and by runs."""
    started(kind)
    kind.put(state=damage)
    with pytest.raises(StateError):
        kind.read()
    with pytest.raises(StateError):
        kind.hold("run-1").__enter__()
    assert kind.state() == damage


def test_a_copy_of_another_history_is_not_joined(kind: Kind) -> None:
    """Nothing is written."""
    started(kind)
    before = kind.state()
    with kind.hold("run-1") as store, pytest.raises(StateError, match="two different states"):
        store.join(replace(EMPTY, lineage="another"))
    assert kind.state() == before


def test_a_copy_of_this_history_is_joined_once(kind: Kind) -> None:
    """A second time it adds nothing."""
    started(kind)
    other = fold(FRESH, of("run-1", INTENDED, STARTED))
    for expected in (True, False):
        with kind.hold("push") as store:
            store.join(other)
            assert store.commit(NOW) is expected
            assert phases(store.state) == {"b0": "started", "b1": "started"}
