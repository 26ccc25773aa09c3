"""Machines that share nothing but a store, with one time: what the tests of remote states are built on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from batchform.state.codec import decode_state
from batchform.state.journal import replay
from batchform.state.known import Story
from batchform.state.remote.access import JOURNAL, STATE
from batchform.state.remote.store import Remote
from tests.state.memory import Memory, Space, Time
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.state.events import Event
    from batchform.state.journal import Header, Replay
    from batchform.state.known import State

WHERE = "memory://state"


def who(run: str) -> dict[str, str]:
    """Who holds it."""
    job = f"https://ci.example.test/jobs/{run}"
    return {"Who": f"{run}@host", "Created": "2026-11-20T09:00:00Z", "Operation": "apply", "Info": job}


class World:
    """One store, one time, and machines that share nothing else."""

    def __init__(self, folder: Path) -> None:
        self.space, self.time, self.folder = Space(), Time(), folder

    def engine(self) -> Memory:
        """A machine's own connection to the store."""
        return Memory(self.space, self.time, WHERE)

    def remote(self, run: str, engine: Memory | None = None, patience: float = 60.0) -> Remote:
        """A run that has not taken hold yet."""
        return Remote(
            engine or self.engine(),
            fresh=replace(EMPTY, lineage=f"lineage-of-{run}"),
            run=run,
            folder=self.folder,
            holder=who(run),
            story=Story(command="apply", who=run),
            patience=patience,
            clocks=self.time.clocks,
        )

    def held(self, run: str, engine: Memory | None = None, timeout: float | None = None) -> Remote:
        """A run that has."""
        store = self.remote(run, engine)
        store.take(timeout, self.time.sleep)
        return store

    def journal(self) -> Replay:
        """What stands in the journal."""
        return replay(self.space.held[JOURNAL].data, "journal")

    def header(self) -> Header:
        """Its header."""
        header = self.journal().header
        assert header is not None
        return header

    def state(self) -> State:
        """What the state says, without the journal."""
        return decode_state(self.space.held[STATE].data)


def of(run: str, *kinds: object, first: int = 1, batch: str = "b1") -> list[Event]:
    """Events of that run."""
    return events(*kinds, run=run, first=first, batch=batch)  # type: ignore[arg-type]  # events take any kind


def phases(state: State | None) -> dict[str, str]:
    """What is known, in short."""
    return {} if state is None else {key: entry.phase.value for key, entry in state.entries.items()}


def started_once(world: World, run: str = "run-0") -> None:
    """A run that started b0 and ended well."""
    store = world.held(run)
    store.record(of(run, INTENDED, batch="b0"))
    store.record(of(run, STARTED, batch="b0", first=2))
    store.commit(NOW)
    store.close()
