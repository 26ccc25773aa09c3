"""The progress of the declared batches: the stage of each, the exit code of a wait, and an estimate of the time left.

Pure. The stage follows from the action that `plan` decides and from the server's readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from batchform.errors import Exit
from batchform.model import Status
from batchform.plan import Action, Obstacle, expiring
from batchform.planner import plan
from batchform.state.known import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from batchform.model import Config, Observed, Reading, Service
    from batchform.plan import Change
    from batchform.state.known import Entry, State


class Stage(StrEnum):
    """The stage of a declared batch. Only PROCESSING changes without an apply."""

    PENDING = "pending"
    """An apply would start or verify it."""
    HELD = "held"
    """On hold, or before its `not_before`."""
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One declared batch. `processed` and `change.records` count records, None where they are not known.

    `observed`: this refresh read its status. Otherwise the status is from the state, seen last at `seen_at`.
    """

    change: Change
    stage: Stage
    observed: bool
    processed: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seen_at: datetime | None = None

    @property
    def share(self) -> float | None:
        """The share that is processed, from 0.0 to 1.0; None when it is not known."""
        if self.stage is Stage.COMPLETED:
            return 1.0
        records = self.change.records
        if self.processed is None or not records:
            return None
        return min(self.processed / records, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The selected batches at one moment, sorted by name. `refreshed`: the account was listed."""

    at: datetime
    service: Service
    endpoint: str
    refreshed: bool
    standings: tuple[Standing, ...]

    def having(self, *stages: Stage) -> tuple[Standing, ...]:
        """The batches at one of these stages, in order."""
        return tuple(standing for standing in self.standings if standing.stage in stages)

    def expiring(self, within: timedelta) -> tuple[Standing, ...]:
        """The batches to start whose deadline is within that time."""
        return tuple(one for one in self.standings if expiring(one.change, self.service, self.at, within))

    @property
    def under_way(self) -> bool:
        """Whether a batch is processing."""
        return bool(self.having(Stage.PROCESSING))

    @property
    def lags(self) -> bool:
        """Whether a status may lag behind a start."""
        return any(one.change.obstacle is Obstacle.CONTRADICTION for one in self.having(Stage.PROCESSING))

    @property
    def verdict(self) -> Exit:
        """The exit code of a wait that ends now. It does not wait for batches on hold."""
        if self.under_way:
            return Exit.TIMEOUT
        return Exit.INCOMPLETE if self.having(Stage.STOPPED, Stage.BLOCKED, Stage.PENDING) else Exit.DONE


def snapshot(
    config: Config,
    state: State | None,
    observed: Observed,
    now: datetime,
    *,
    endpoint: str,
    selected: Collection[str] | None = None,
) -> Snapshot:
    """Return the stage of each declared batch. The arguments are those of `plan`."""
    made = plan(config, state, observed, now, endpoint=endpoint, selected=selected)
    entries: Mapping[str, Entry] = state.entries if state is not None else {}
    standings = [
        _standing(change, entries.get(change.batch_id), observed.readings.get(change.batch_id))
        for change in made.changes
        if change.place is not None  # declared
    ]
    return Snapshot(
        at=made.at, service=config.service, endpoint=endpoint, refreshed=observed.listed, standings=tuple(standings)
    )


def unlisted(now: Snapshot) -> tuple[Standing, ...]:
    """The batches that should be processing but are missing in the list, which may be incomplete."""
    return tuple(one for one in now.having(Stage.PROCESSING) if now.refreshed and not one.observed)


def _standing(change: Change, entry: Entry | None, reading: Reading | None) -> Standing:
    at = stage(change)
    said = reading if reading is not None and reading.status is not None else None
    processed = said.records_processed if said is not None else None
    if at is Stage.COMPLETED and processed is None:
        processed = change.records
    ours = entry is not None and entry.phase is Phase.STARTED
    return Standing(
        change=change,
        stage=at,
        observed=said is not None,
        processed=processed,
        started_at=(said.date_started if said is not None else None) or (entry.settled_at if entry and ours else None),
        ended_at=said.date_ended if said is not None else None,
        seen_at=entry.seen_at or entry.settled_at if entry is not None else None,
    )


def stage(change: Change) -> Stage:
    """Return the stage of a declared batch.

    A batch that was just started and is listed as submitted is processing: a status may lag behind its start.
    """
    if change.recent and change.obstacle is Obstacle.CONTRADICTION:
        return Stage.PROCESSING
    match change.action:
        case Action.KEEP | Action.ADOPT:
            if change.obstacle is Obstacle.STOPPED_AFTER_START:
                return Stage.STOPPED
            return Stage.COMPLETED if change.status == Status.COMPLETED else Stage.PROCESSING
        case Action.START | Action.VERIFY | Action.FORGET:
            return Stage.PENDING
        case Action.HOLD | Action.WAIT:
            return Stage.HELD
        case Action.BLOCKED:
            return Stage.STOPPED if change.obstacle is Obstacle.STOPPED else Stage.BLOCKED
    assert_never(change.action)


# --- The time left ---------------------------------------------------------------------------------------------------

_TOO_FEW: Final = 1
"""Records that must be processed between two refreshes before their pace is used."""


class Pace:
    """Estimates the time left from successive snapshots. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._left: dict[str, float | None] = {}

    def saw(self, standings: Iterable[Standing], now: float) -> None:
        """Add one snapshot."""
        self._left.clear()
        for one in standings:
            if one.stage is Stage.PROCESSING:
                self._left[one.change.batch_id] = self._seconds(one, now)

    def left(self) -> float | None:
        """Seconds until the slowest batch ends; None when none is processing or one has no known pace."""
        known = [seconds for seconds in self._left.values() if seconds is not None]
        return max(known) if known and len(known) == len(self._left) else None

    def _seconds(self, one: Standing, now: float) -> float | None:
        if one.processed is None or one.change.records is None:
            return None
        then, before = self._first.setdefault(one.change.batch_id, (now, one.processed))
        done, took = one.processed - before, now - then
        if done < _TOO_FEW or took <= 0:
            return None
        return max(one.change.records - one.processed, 0) * took / done
