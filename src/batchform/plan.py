"""What a plan is, as plain data: the decision for each batch, the guards, the warnings. `planner` makes it.

Code branches on the action and the obstacle. The reason is only for people: no code outside `render` branches on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from batchform.model import DEADLINE, MAX_RECORDS, Guard, Service

if TYPE_CHECKING:
    from batchform.estimate import Rate
    from batchform.model import Config
    from batchform.source_text import Place

SURELY_EXPIRED: Final = DEADLINE + timedelta(days=1)
"""From `DEADLINE` to this age the server decides: its exact limit and clock are unknown. Source: CONTRACT "28 days"."""

NEAR: Final = timedelta(days=7)
"""A plan warns of a deadline within this time."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""Beyond this difference, the server's clock decides ages, not the local one."""

LAG: Final = timedelta(minutes=10)
"""How long a status may lag behind a start. CONTRACT "Operations" gives no time, so this one is generous."""


class Action(StrEnum):
    """What apply does with a batch. START, ADOPT, VERIFY and FORGET are changes, the others change nothing."""

    START = "start"
    ADOPT = "adopt"
    VERIFY = "verify"
    FORGET = "forget"
    KEEP = "keep"
    HOLD = "hold"
    WAIT = "wait"
    BLOCKED = "blocked"


CHANGES: Final = frozenset({Action.START, Action.ADOPT, Action.VERIFY, Action.FORGET})


class Reason(StrEnum):
    """Why, for people. No code outside `render` branches on it."""

    NEW = "new"
    SUBMITTED = "submitted"
    RETRY = "retry"
    RELEASED = "released"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_AFTER_START = "stopped_after_start"
    UNCERTAIN = "uncertain"
    CONTRADICTION = "contradiction"
    ABSENT = "absent"
    UNCLEAR = "unclear"
    HELD = "held"
    STOPPED = "stopped"
    UNRECOGNISED = "unrecognised"
    BAD_ID = "bad_id"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    NOT_APPROVED = "not_approved"
    TOO_LARGE = "too_large"
    NOT_DECLARED = "not_declared"


class Obstacle(StrEnum):
    """A fact that keeps a batch from being started or completed. Code may branch on it. Each is also a `Reason`."""

    STOPPED_AFTER_START = "stopped_after_start"
    CONTRADICTION = "contradiction"
    STOPPED = "stopped"
    UNRECOGNISED = "unrecognised"
    BAD_ID = "bad_id"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    NOT_APPROVED = "not_approved"
    TOO_LARGE = "too_large"


class RecordsSource(StrEnum):
    """Where the number of records comes from."""

    OBSERVED = "observed"
    KNOWN = "known"
    DECLARED = "declared"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The decision for one batch, and what a reviewer needs to judge it.

    `records` is the number to show. `counted` is the number for guards and approvals: the greatest of those observed,
    known and declared. Both are None when no number is known, which never counts as 0. `approved` is the number that
    was approved, for a start that is larger. `held`: a hold or `not_before` keeps a batch to VERIFY from being started,
    whatever its status is. `deadline` is the time after which the batch cannot be started, None when
    its age is unknown. `recent`: a status may still lag behind the last attempt. `stuck` is the Reference-Id of an
    attempt that status reads cannot settle, else empty. `place` is where it is declared, None when it is undeclared. A
    saved plan lacks `recent` and `stuck`.
    """

    name: str
    batch_id: str
    action: Action
    reason: Reason
    obstacle: Obstacle | None = None
    status: str | None = None
    server_reason: str | None = None
    records: int | None = None
    records_source: RecordsSource = RecordsSource.UNKNOWN
    counted: int | None = None
    approved: int | None = None
    held: bool = False
    recent: bool = field(default=False, compare=False)
    stuck: str = field(default="", compare=False)
    submitted_at: datetime | None = None
    deadline: datetime | None = None
    not_before: datetime | None = None
    reference_id: str | None = None
    place: Place | None = None

    @property
    def is_change(self) -> bool:
        """Whether apply would do something."""
        return self.action in CHANGES

    @property
    def may_start(self) -> bool:
        """Whether an apply of the plan may start the batch, now or after it was verified."""
        if self.action is Action.VERIFY:
            return self.place is not None and not self.held  # safety: an undeclared batch is never started
        return self.action is Action.START

    @property
    def most(self) -> int:
        """The most records that a start may spend. An unknown number counts as the most that a batch can have."""
        return MAX_RECORDS if self.counted is None else self.counted


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardCheck:
    """A guard checked against this plan. `unknown` counts the starts of unknown size, 10,000 records each."""

    guard: Guard
    measured: int
    unknown: int = 0
    overridden: bool = False

    @property
    def holds(self) -> bool:
        """Whether the plan is within the limit."""
        return self.measured <= self.guard.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A warning, which never stops a run. `name` is the batch it is about, None when it is about all."""

    text: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply would do, as plain data to print, compare, hash and save. Changes are sorted by name.

    `lineage` and `serial` identify the state it was made from, None without a state. `refreshed`: the account was
    listed. `at` is the time that ages were judged by. `targeted`: only some batches were selected. `sized` is False
    for a saved plan of a format without sizes, which approves up to 10,000 records for each start. `rate` is for an
    estimate of the credits, None when it is unknown. It is no part of an approval or a guard.
    """

    service: Service
    endpoint: str
    lineage: str | None
    serial: int | None
    at: datetime
    refreshed: bool
    targeted: bool
    changes: tuple[Change, ...]
    guards: tuple[GuardCheck, ...]
    notices: tuple[Notice, ...]
    sized: bool = True
    rate: Rate | None = field(default=None, compare=False)

    def having(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions, in order."""
        return tuple(change for change in self.changes if change.action in actions)

    @property
    def has_changes(self) -> bool:
        """Whether apply would do something: START, ADOPT, VERIFY or FORGET."""
        return any(change.is_change for change in self.changes)

    @property
    def denied(self) -> tuple[Change, ...]:
        """The starts that an approved plan does not allow."""
        obstacles = (Obstacle.NOT_APPROVED, Obstacle.TOO_LARGE)
        return tuple(change for change in self.having(Action.WAIT) if change.obstacle in obstacles)

    @property
    def failed_guards(self) -> tuple[GuardCheck, ...]:
        """The guards that block this apply."""
        return tuple(check for check in self.guards if not check.holds and not check.overridden)

    @property
    def applyable(self) -> bool:
        """Whether no guard blocks it."""
        return not self.failed_guards


def blocked(made: Plan, config: Config) -> tuple[Change, ...]:
    """The batches that cannot be started and are not on hold, which are not as declared until a person acts."""
    held = {batch.batch_id for batch in config.batches if batch.hold}
    return tuple(change for change in made.having(Action.BLOCKED) if change.batch_id not in held)


def is_expired(service: Service, submitted_at: datetime | None, now: datetime, age: timedelta = DEADLINE) -> bool:
    """Whether the batch is 28 days old or older, which explains a refusal. Documented for phone only."""
    return service is Service.PHONE and submitted_at is not None and now - submitted_at >= age


def expiring(change: Change, service: Service, now: datetime, within: timedelta = NEAR) -> bool:
    """Whether a batch to start has its deadline within that time, or has expired. Source: CONTRACT "28 days"."""
    if service is not Service.PHONE:
        return False
    if change.obstacle is Obstacle.EXPIRED:
        return True
    waits = change.action in {Action.START, Action.VERIFY, Action.WAIT}
    return waits and change.deadline is not None and change.deadline - now <= within


def moved(moment: datetime, by: timedelta) -> datetime:
    """The moment moved, or the last possible one: a date from the server or a file can be any date."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta() else datetime.min.replace(tzinfo=UTC)


def span(time: timedelta) -> str:
    """A duration in days, hours or minutes, rounded down: `3 days`, `30 hours`, `5 minutes`."""
    seconds = abs(time).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600)):
        if seconds >= 2 * length:
            return f"{int(seconds // length):,} {unit}s"
    minutes = int(seconds // 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
