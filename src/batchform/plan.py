"""Every decision: (Config, State, Observed, now) -> Plan.

Pure and total: no clock, file, socket or randomness, and a decision for every input. `decide` is the decision table, in
the order of the rows in ARCHITECTURE.md. The first row that matches decides. Code branches on the action and the
obstacle. The reason is only for people: no code outside `render` branches on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from batchform.errors import RefusedError
from batchform.estimate import rate_of
from batchform.model import DEADLINE, MAX_RECORDS, RUNNING, Guard, GuardName, Service, Source, Status
from batchform.state.known import BEYOND, FOR_GOOD, Cause, Entry, Phase, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from batchform.estimate import Rate
    from batchform.model import Batch, Config, Observed, Reading
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
    was approved, for a start that is larger. `deadline` is the time after which the batch cannot be started, None when
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


def plan(
    config: Config,
    state: State | None,
    observed: Observed,
    now: datetime,
    *,
    endpoint: str,
    selected: Collection[str] | None = None,
    overridden: Collection[GuardName] = (),
) -> Plan:
    """Make the plan.

    Args:
        config: The configuration.
        state: The state, None when there is none yet.
        observed: The readings of this run.
        now: The local time.
        endpoint: Where starts would be sent.
        selected: The batch_ids to plan for, None for all. The plan ignores the others.
        overridden: The guards to override.
    """
    notices: list[Notice] = []
    clocks = (now, _moved(now, observed.skew or timedelta()))
    if observed.skew is not None and abs(observed.skew) > CLOCK_TOLERANCE:
        now = _moved(now, observed.skew)
        minutes, side = abs(observed.skew).total_seconds() / 60, "behind" if observed.skew > timedelta() else "ahead of"
        text = f"The local clock is {minutes:.0f} minutes {side} the server's. This plan uses the server's time."
        notices.append(Notice(text=text))
    entries = state.entries if state is not None else {}
    changes = []
    for batch in config.batches:
        if selected is None or batch.batch_id in selected:
            change = _declared(batch, entries.get(batch.batch_id), observed, config.service, at=now, clocks=clocks)
            changes.append(change)
            notices.extend(_notices(change, batch))
            if change.action is Action.WAIT and batch.not_before is not None and now is not clocks[0]:
                notices.extend(_clocks_differ(change.name, batch.not_before, max(clocks)))
    notices.extend(_contradicted(changes, config))
    notices.extend(_future(changes, config, now))
    notices.extend(_deadlines(changes, config.service, now))
    notices.extend(_over(changes, config.service, now))
    changes.extend(_undeclared(config, entries, selected, observed, clocks[0]))
    changes.sort(key=lambda change: (change.name, change.batch_id))
    notices.sort(key=lambda notice: notice.name or "")
    return Plan(
        service=config.service,
        endpoint=endpoint,
        lineage=state.lineage if state is not None else None,
        serial=state.serial if state is not None else None,
        at=now,
        refreshed=observed.listed,
        targeted=selected is not None,
        changes=tuple(changes),
        guards=guard_checks(config.guards, changes, overridden),
        notices=tuple(notices),
        rate=rate_of(config.costs, state) if any(change.action is Action.START for change in changes) else None,
    )


def decide(
    batch: Batch,
    entry: Entry | None,
    reading: Reading | None,
    *,
    asked: bool,
    service: Service,
    now: datetime,
    earliest: datetime,
) -> tuple[Action, Reason | Obstacle]:
    """The decision table for a declared batch: the first row that matches.

    Args:
        batch: The declaration.
        entry: Its entry in the state, if any.
        reading: Its newest reading of this run, if any.
        asked: Whether the account was listed or the batch read in this run.
        service: The service. The 28 days are documented for phone only.
        now: The time that ages are judged by.
        earliest: The earlier time of the local and the server's clock, for `not_before`.
    """
    status = _status(entry, reading)
    by_read = reading is not None and reading.source is Source.READ
    if status in RUNNING:
        reason = Reason.COMPLETED if status == Status.COMPLETED else Reason.RUNNING
        return (Action.KEEP if entry is not None else Action.ADOPT), reason
    if status == Status.STOPPED and entry is not None and entry.recorded_as_started:
        return Action.KEEP, Obstacle.STOPPED_AFTER_START
    if entry is not None and entry.uncertain:  # safety: an attempt with an unknown outcome may have been paid for
        return Action.VERIFY, Reason.UNCERTAIN
    if entry is not None and entry.phase in BEYOND and status in {Status.SUBMITTED, None}:  # safety: it ran once
        return (Action.BLOCKED if by_read else Action.VERIFY), Obstacle.CONTRADICTION
    if batch.hold:  # safety: the author does not want it started
        return Action.HOLD, Reason.HELD
    if status == Status.STOPPED:  # safety: the effect and cost of starting a stopped batch are not documented
        return Action.BLOCKED, Obstacle.STOPPED
    if status is not None and status != Status.SUBMITTED:  # safety: the effect of a start is unknown
        return Action.BLOCKED, Obstacle.UNRECOGNISED
    if entry is not None and (rejected := _rejected_for_good(entry, reading)) is not None:
        return Action.BLOCKED, rejected
    submitted_at = _submitted_at(batch, entry, reading)
    if service is Service.PHONE and submitted_at is not None and now - submitted_at >= SURELY_EXPIRED:
        return Action.BLOCKED, Obstacle.EXPIRED
    if batch.not_before is not None and earliest < batch.not_before:  # safety: one wrong clock must not start it
        return Action.WAIT, Reason.NOT_YET
    if reading is not None and not reading.found:
        return Action.BLOCKED, Obstacle.NOT_FOUND
    if asked and reading is None:  # safety: only a single read can show that it was not started, never the list
        return Action.VERIFY, Reason.ABSENT
    if reading is not None and reading.status is None:  # safety: listed without a status says nothing
        return Action.VERIFY, Reason.UNCLEAR
    if reading is None and entry is not None and not entry.found:  # nothing newer is known
        return Action.BLOCKED, Obstacle.NOT_FOUND
    if reading is not None and not by_read and _contradicts_itself(reading):  # safety: only a single read decides
        return Action.VERIFY, Reason.UNCLEAR
    if asked and not by_read and submitted_at is None and service is Service.PHONE:
        return Action.VERIFY, Reason.UNCLEAR  # safety: without a date it may be too old
    return Action.START, _why_start(entry, status)


def blocked(made: Plan, config: Config) -> tuple[Change, ...]:
    """The batches that cannot be started and are not on hold, which are not as declared until a person acts."""
    held = {batch.batch_id for batch in config.batches if batch.hold}
    return tuple(change for change in made.having(Action.BLOCKED) if change.batch_id not in held)


def check_guards(made: Plan) -> None:
    """Refuse a plan that a guard blocks.

    Raises:
        RefusedError: A guard fails and is not overridden.
    """
    if made.failed_guards:  # safety: the author limited what one apply may spend
        checks = "; ".join(
            f"{check.guard.name.value} allows {check.guard.limit:,}, the plan has {check.measured:,}"
            for check in made.failed_guards
        )
        names = " ".join(f"--override-guard {check.guard.name.value}" for check in made.failed_guards)
        raise RefusedError(
            "A guard blocks this apply", f"{checks}. No batch was started. To override it once: `{names}`"
        )


def is_expired(service: Service, submitted_at: datetime | None, now: datetime, age: timedelta = DEADLINE) -> bool:
    """Whether the batch is 28 days old or older, which explains a refusal. Documented for phone only."""
    return service is Service.PHONE and submitted_at is not None and now - submitted_at >= age


def _status(entry: Entry | None, reading: Reading | None) -> str | None:
    """The status to decide by: the one that the server gave in this run, else the known one."""
    if reading is not None and reading.status is not None:
        return reading.status
    if entry is None:
        return None
    return Status.SUBMITTED.value if entry.contradiction else entry.status


def _rejected_for_good(entry: Entry, reading: Reading | None) -> Obstacle | None:
    if entry.phase is not Phase.REJECTED or entry.cause not in FOR_GOOD:
        return None
    if entry.cause is Cause.EXPIRED:
        return Obstacle.EXPIRED
    if reading is not None and reading.status is not None:
        return None  # the server knows the batch now
    return Obstacle.NOT_FOUND if entry.cause is Cause.NOT_FOUND else Obstacle.BAD_ID


def _why_start(entry: Entry | None, status: str | None) -> Reason:
    if entry is not None and entry.phase is Phase.RELEASED:
        return Reason.RELEASED
    if entry is not None and entry.attempts:
        return Reason.RETRY
    return Reason.SUBMITTED if status is not None else Reason.NEW


def _submitted_at(batch: Batch | None, entry: Entry | None, reading: Reading | None) -> datetime | None:
    """When the batch was submitted: observed, else known, else declared."""
    if reading is not None and reading.date_submitted is not None:
        return reading.date_submitted
    if entry is not None and entry.submitted_at is not None:
        return entry.submitted_at
    return batch.submitted_at if batch is not None else None


def _records(
    batch: Batch, entry: Entry | None, reading: Reading | None
) -> tuple[int | None, RecordsSource, int | None]:
    """The number to show and its source: observed, else known, else declared. The third is the greatest of them."""
    found = [
        (number, source)
        for number, source in (
            (reading.records if reading is not None else None, RecordsSource.OBSERVED),
            (entry.records if entry is not None else None, RecordsSource.KNOWN),
            (batch.records, RecordsSource.DECLARED),
        )
        if number is not None
    ]
    if not found:
        return None, RecordsSource.UNKNOWN, None
    return *found[0], max(number for number, _ in found)


def _contradicts_itself(reading: Reading) -> bool:
    """Whether a reading that says `submitted` also says that the batch was started."""
    return (
        reading.date_started is not None
        or reading.date_ended is not None
        or (reading.records == 0 and bool(reading.records_processed))
    )


def _is_recent(entry: Entry | None, local: datetime) -> bool:
    """Whether a status may still lag behind the last attempt, by the local clock, which also dates the state."""
    at = entry.settled_at or entry.intended_at if entry is not None else None
    return at is not None and abs(local - at) < LAG


def _stuck(entry: Entry | None, reading: Reading | None) -> str:
    """The Reference-Id of an attempt that was read singly and whose outcome is unknown all the same, else empty."""
    if entry is None or not entry.uncertain or reading is None or reading.source is not Source.READ:
        return ""
    return entry.reference_id or "unknown"


def _declared(
    batch: Batch,
    entry: Entry | None,
    observed: Observed,
    service: Service,
    *,
    at: datetime,
    clocks: tuple[datetime, datetime],
) -> Change:
    reading = observed.readings.get(batch.batch_id)
    asked = observed.listed or observed.asked
    action, why = decide(batch, entry, reading, asked=asked, service=service, now=at, earliest=min(clocks))
    records, source, counted = _records(batch, entry, reading)
    submitted_at = _submitted_at(batch, entry, reading)
    return Change(
        name=batch.name,
        batch_id=batch.batch_id,
        action=action,
        reason=Reason(why),
        obstacle=why if isinstance(why, Obstacle) else None,
        status=_status(entry, reading),
        server_reason=reading.reason if reading is not None and reading.status else entry.reason if entry else None,
        records=records,
        records_source=source,
        counted=counted,
        recent=_is_recent(entry, clocks[0]),
        stuck=_stuck(entry, reading),
        submitted_at=submitted_at,
        deadline=_moved(submitted_at, DEADLINE) if submitted_at is not None else None,
        not_before=batch.not_before,
        reference_id=batch.reference_id,
        place=batch.place,
    )


def _undeclared(
    config: Config,
    entries: Mapping[str, Entry],
    selected: Collection[str] | None,
    observed: Observed,
    local: datetime,
) -> list[Change]:
    """The changes for batches that are in the state but not declared."""
    if selected is not None:
        return []
    declared = {batch.batch_id for batch in config.batches}
    changes = []
    for entry in entries.values():
        if entry.batch_id in declared:
            continue
        if entry.uncertain:  # safety: its outcome must be known before it is forgotten
            action, reason = Action.VERIFY, Reason.UNCERTAIN
        elif entry.declared:
            action, reason = Action.FORGET, Reason.NOT_DECLARED
        else:
            continue
        changes.append(
            Change(
                name=entry.name,
                batch_id=entry.batch_id,
                action=action,
                reason=reason,
                status=entry.status,
                records=entry.records,
                records_source=RecordsSource.KNOWN if entry.records is not None else RecordsSource.UNKNOWN,
                counted=entry.records,
                recent=_is_recent(entry, local),
                stuck=_stuck(entry, observed.readings.get(entry.batch_id)),
            )
        )
    return changes


def guard_checks(
    guards: tuple[Guard, ...], changes: Collection[Change], overridden: Collection[GuardName]
) -> tuple[GuardCheck, ...]:
    """Each guard, checked on the starts among these changes."""
    starts = [change for change in changes if change.action is Action.START]
    unknown = sum(change.counted is None for change in starts)
    measured = {
        GuardName.MAX_STARTS: len(starts),
        # safety: an unknown size counts as the most records that a batch can have
        GuardName.MAX_RECORDS: sum(change.most for change in starts),
    }
    return tuple(
        GuardCheck(
            guard=guard,
            measured=measured[guard.name],
            unknown=unknown if guard.name is GuardName.MAX_RECORDS else 0,
            overridden=guard.name in overridden,
        )
        for guard in guards
    )


def _notices(change: Change, batch: Batch) -> list[Notice]:
    """The warnings about one declared batch."""
    texts = []
    if change.obstacle is Obstacle.STOPPED_AFTER_START:
        why = f" ({change.server_reason})" if change.server_reason else ""
        texts.append(f"was started, but the server has stopped it{why}: its results may be incomplete.")
    if (
        change.action is Action.WAIT
        and _too_late(batch, change.submitted_at)
        and not _too_late(batch, batch.submitted_at)
    ):
        texts.append("has a `not_before` after its 28-day limit, so it can never be started.")
    return [Notice(name=change.name, text=text) for text in texts]


_SAYS: Final = {RecordsSource.OBSERVED: "the account says", RecordsSource.KNOWN: "the state says"}
_UNSTARTED: Final = frozenset({Action.START, Action.VERIFY, Action.HOLD, Action.WAIT})


def _contradicted(changes: Collection[Change], config: Config) -> list[Notice]:
    """One warning for all declared numbers of records that the account or the state contradicts."""
    declared = {batch.batch_id: batch.records for batch in config.batches}
    wrong = sorted(
        (change.name, f"declared {told:,}, {_SAYS[change.records_source]} {change.records:,}.")
        for change in changes
        if change.action in _UNSTARTED
        and change.records_source in _SAYS
        and (told := declared[change.batch_id]) is not None
        and change.records != told
    )
    if not wrong:
        return []
    name, what = wrong[0]
    if len(wrong) == 1:
        return [Notice(name=name, text=f"has another number of records: {what}")]
    return [Notice(text=f"{len(wrong):,} batches have another number of records. The first is {name}: {what}")]


def _clocks_differ(name: str, not_before: datetime, latest: datetime) -> list[Notice]:
    """The warning about a batch that would be started by one of two clocks that differ."""
    if latest < not_before:
        return []
    return [Notice(name=name, text="waits: its `not_before` has passed by one clock only. Correct the local clock.")]


def _too_late(batch: Batch, submitted_at: datetime | None) -> bool:
    """Whether `not_before` is after the deadline. The configuration reports it for the declared `submitted_at`."""
    return bool(batch.not_before and submitted_at and batch.not_before > _moved(submitted_at, DEADLINE))


def expiring(change: Change, service: Service, now: datetime, within: timedelta = NEAR) -> bool:
    """Whether a batch to start has its deadline within that time, or has expired. Source: CONTRACT "28 days"."""
    if service is not Service.PHONE:
        return False
    if change.obstacle is Obstacle.EXPIRED:
        return True
    waits = change.action in {Action.START, Action.VERIFY, Action.WAIT}
    return waits and change.deadline is not None and change.deadline - now <= within


def span(time: timedelta) -> str:
    """A duration in days, hours or minutes, rounded down: `3 days`, `30 hours`, `5 minutes`."""
    seconds = abs(time).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600)):
        if seconds >= 2 * length:
            return f"{int(seconds // length):,} {unit}s"
    minutes = int(seconds // 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _future(changes: Collection[Change], config: Config, now: datetime) -> list[Notice]:
    """One warning for all declared times of submission that have not come yet."""
    declared = {batch.batch_id: batch.submitted_at for batch in config.batches}
    wrong = sorted(
        change.name
        for change in changes
        if change.action in _UNSTARTED and (at := declared[change.batch_id]) is not None and at - now > CLOCK_TOLERANCE
    )
    if len(wrong) > 1:
        many = f"{len(wrong):,} batches have a `submitted_at` in the future. The first is {wrong[0]}."
        return [Notice(text=f"{many} Correct them: ages and deadlines are counted from it.")]
    text = "has a `submitted_at` in the future. Correct it: its age and its deadline are counted from it."
    return [Notice(name=name, text=text) for name in wrong]


def _deadlines(changes: Collection[Change], service: Service, now: datetime) -> list[Notice]:
    """One warning for all batches that must be started soon."""
    near = [
        (change.deadline, change.name)
        for change in changes
        if change.deadline is not None
        and change.deadline > now
        and expiring(change, service, now)
        and change.obstacle is not Obstacle.EXPIRED
    ]
    if not near:
        return []
    deadline, name = min(near)
    soon = span(deadline - now)
    if len(near) == 1:
        return [Notice(name=name, text=f"can be started for another {soon}. After that it must be recreated.")]
    text = (
        f"{len(near):,} batches can be started for less than {NEAR.days} days. The first is {name}, with {soon} left."
    )
    return [Notice(text=text)]


def _over(changes: Collection[Change], service: Service, now: datetime) -> list[Notice]:
    """One warning for all batches to start that are so old that the server decides about them."""
    least = DEADLINE if service is Service.PHONE else SURELY_EXPIRED
    old = sorted(
        (change.submitted_at, change.name)
        for change in changes
        if change.action in {Action.START, Action.VERIFY}
        and change.submitted_at is not None
        and now - change.submitted_at >= least
    )
    if not old:
        return []
    at, name = old[0]
    days = (now - at).days
    if service is not Service.PHONE:
        rule = f"No limit is documented for {service.value}: the server decides."
        if len(old) == 1:
            return [Notice(name=name, text=f"is {days} days old. {rule}")]
        return [Notice(text=f"{len(old):,} batches are {least.days} days old or older, {name} is {days}. {rule}")]
    limit = f"{DEADLINE.days}-day limit. The server decides whether"
    if len(old) == 1:
        return [Notice(name=name, text=f"is at its {limit} it can still be started.")]
    return [Notice(text=f"{len(old):,} batches are at their {limit} they can still be started. The first is {name}.")]


def _moved(moment: datetime, by: timedelta) -> datetime:
    """The moment moved, or the last possible one: a date from the server or a file can be any date."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta() else datetime.min.replace(tzinfo=UTC)
