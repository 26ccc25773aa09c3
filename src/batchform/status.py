"""How far the declared batches are: what the plan makes of each, and what the server says of its progress.

Pure. Whether a batch is still under way is decided here; what to do with it is `plan`'s word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from batchform.errors import Exit
from batchform.model import Status
from batchform.plan import Action, Reason, expiring, plan
from batchform.state.known import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from batchform.model import Config, Observed, Reading, Service
    from batchform.plan import Change
    from batchform.state.known import Entry, State


class Stage(StrEnum):
    """Where a declared batch stands. Only PROCESSING goes on by itself."""

    PENDING = "pending"
    """To be started, or its attempt to be settled: an apply would do something."""
    HELD = "held"
    """Deliberately not started: on hold, or its time has not come."""
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One declared batch. `processed` and `change.records` count records; None where nobody said.

    `observed` tells that the server was heard in this look; else it is what the state holds, seen last at `seen_at`.
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
        """How much is done, from 0.0 to 1.0; None when nobody can tell."""
        if self.stage is Stage.COMPLETED:
            return 1.0
        records = self.change.records
        if self.processed is None or not records:
            return None
        return min(self.processed / records, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that was asked about, sorted by name, as it stood at `at`. `refreshed` tells that the account was read."""

    at: datetime
    service: Service
    endpoint: str
    refreshed: bool
    standings: tuple[Standing, ...]

    def having(self, *stages: Stage) -> tuple[Standing, ...]:
        """Those at one of these stages, in order."""
        return tuple(standing for standing in self.standings if standing.stage in stages)

    def expiring(self, within: timedelta) -> tuple[Standing, ...]:
        """Those that are to be started and can be no longer than that."""
        return tuple(one for one in self.standings if expiring(one.change, self.service, self.at, within))

    @property
    def under_way(self) -> bool:
        """Whether something is processing."""
        return bool(self.having(Stage.PROCESSING))

    @property
    def verdict(self) -> Exit:
        """The exit code of a wait that ends here. What is deliberately not started is not waited for."""
        if self.under_way:
            return Exit.TIMEOUT
        return Exit.INCOMPLETE if self.having(Stage.STOPPED, Stage.BLOCKED, Stage.PENDING) else Exit.DONE


def look(
    config: Config,
    state: State | None,
    observed: Observed,
    now: datetime,
    *,
    endpoint: str,
    selected: Collection[str] | None = None,
) -> Look:
    """Where the declared batches stand. The arguments are those of `plan`."""
    made = plan(config, state, observed, now, endpoint=endpoint, selected=selected)
    entries: Mapping[str, Entry] = state.entries if state is not None else {}
    standings = [
        _standing(change, entries.get(change.batch_id), observed.readings.get(change.batch_id))
        for change in made.changes
        if change.place is not None  # declared
    ]
    return Look(
        at=made.at, service=config.service, endpoint=endpoint, refreshed=observed.listed, standings=tuple(standings)
    )


def unlisted(look: Look) -> tuple[Standing, ...]:
    """Those that should be processing, but that the list did not name: it need not hold everything."""
    return tuple(one for one in look.having(Stage.PROCESSING) if look.refreshed and not one.observed)


def _standing(change: Change, entry: Entry | None, reading: Reading | None) -> Standing:
    stage = _stage(change)
    said = reading if reading is not None and reading.status is not None else None
    processed = said.records_processed if said is not None else None
    if stage is Stage.COMPLETED and processed is None:
        processed = change.records
    ours = entry is not None and entry.phase is Phase.STARTED
    return Standing(
        change=change,
        stage=stage,
        observed=said is not None,
        processed=processed,
        started_at=(said.date_started if said is not None else None) or (entry.settled_at if entry and ours else None),
        ended_at=said.date_ended if said is not None else None,
        seen_at=entry.seen_at or entry.settled_at if entry is not None else None,
    )


def _stage(change: Change) -> Stage:
    match change.action:
        case Action.KEEP | Action.ADOPT if change.reason is Reason.STOPPED_AFTER_START:
            return Stage.STOPPED
        case Action.KEEP | Action.ADOPT:
            return Stage.COMPLETED if change.status == Status.COMPLETED else Stage.PROCESSING
        case Action.START | Action.VERIFY | Action.FORGET:
            return Stage.PENDING
        case Action.HOLD | Action.WAIT:
            return Stage.HELD
        case Action.BLOCKED:
            return Stage.STOPPED if change.reason is Reason.STOPPED else Stage.BLOCKED
    assert_never(change.action)


# --- How long it may take --------------------------------------------------------------------------------------------

_TOO_FEW: Final = 1
"""Records that must have been processed between two looks before a pace is believed."""


class Pace:
    """How fast the batches go, from what successive looks saw. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._left: dict[str, float | None] = {}

    def saw(self, standings: Iterable[Standing], now: float) -> None:
        """Remember one look."""
        self._left.clear()
        for one in standings:
            if one.stage is Stage.PROCESSING:
                self._left[one.change.batch_id] = self._seconds(one, now)

    def left(self) -> float | None:
        """Seconds until the slowest has ended; None when nothing is under way, or the pace of one is not known."""
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
