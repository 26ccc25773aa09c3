"""Every decision: (Config, State, Observed, now) -> Plan.

Pure and total: no clock, file, socket or randomness, and an answer for whatever is known. `decide` is the decision
table, a row an `if`, in the order of the table in ARCHITECTURE.md; the first that fits wins. The action drives
behaviour, the reason is for people: nothing may branch on a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from batchform.errors import RefusedError
from batchform.model import DEADLINE, MAX_RECORDS, RUNNING, Guard, GuardName, Service, Source, Status
from batchform.state.known import BEYOND, FOR_GOOD, Cause, Entry, Phase, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from batchform.errors import Place
    from batchform.model import Batch, Config, Observed, Reading

SURELY_EXPIRED: Final = DEADLINE + timedelta(days=1)
EXPIRES_SOON: Final = DEADLINE - timedelta(days=1)
"""Between these two ages the boundary and the clock are the server's to judge. Source: CONTRACT "28 days"."""

NEAR: Final = timedelta(days=7)
"""A deadline that is no farther away than this is warned of."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""From this difference on, ages and `not_before` go by the server's clock rather than the local one."""


class Action(StrEnum):
    """What apply does with a batch. START, ADOPT, VERIFY and FORGET are changes; the rest leaves everything alone."""

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
    """Why, for people."""

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
    NOT_DECLARED = "not_declared"


class RecordsSource(StrEnum):
    """Who said how many records a batch holds."""

    OBSERVED = "observed"
    KNOWN = "known"
    DECLARED = "declared"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would be done with one batch, and all a person needs to judge it.

    `records` is None when nobody said; it is never counted as 0. `deadline` is the moment after which the batch can no
    longer be started, None when its age is not known. `place` is where it is declared, None when it no longer is.
    """

    name: str
    batch_id: str
    action: Action
    reason: Reason
    status: str | None = None
    server_reason: str | None = None
    records: int | None = None
    records_source: RecordsSource = RecordsSource.UNKNOWN
    submitted_at: datetime | None = None
    deadline: datetime | None = None
    not_before: datetime | None = None
    reference_id: str | None = None
    place: Place | None = None

    @property
    def is_change(self) -> bool:
        """Whether apply would do anything."""
        return self.action in CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardCheck:
    """A guard against this plan. `unknown` counts the starts whose records nobody knows, each taken as 10,000."""

    guard: Guard
    measured: int
    unknown: int = 0
    overridden: bool = False

    @property
    def holds(self) -> bool:
        """Whether the plan stays within the limit."""
        return self.measured <= self.guard.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A warning: never stops anything. `name` is the batch it is about, None when it is about all."""

    text: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply would do, as plain data: it can be printed, compared, hashed and saved. Changes are sorted by name.

    `lineage` and `serial` say which state it was made from; both are None when there was none. `refreshed` tells that
    the account was read. `at` is the time the ages were judged by. `targeted` tells that only some batches were asked
    about.
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

    def having(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions, in order."""
        return tuple(change for change in self.changes if change.action in actions)

    @property
    def has_changes(self) -> bool:
        """Whether apply would do anything: START, ADOPT, VERIFY or FORGET."""
        return any(change.is_change for change in self.changes)

    @property
    def failed_guards(self) -> tuple[GuardCheck, ...]:
        """The guards that forbid this apply."""
        return tuple(check for check in self.guards if not check.holds and not check.overridden)

    @property
    def applyable(self) -> bool:
        """Whether apply may go on with it."""
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
    """The plan.

    Args:
        config: What is declared.
        state: What is known, None when there is no state yet.
        observed: What the server was heard to say.
        now: The local time.
        endpoint: Where starts would be sent.
        selected: The batch_ids to plan for, None for all. The rest is left alone, as if it were not there.
        overridden: Guards that may be passed this time.
    """
    notices: list[Notice] = []
    if observed.skew is not None and abs(observed.skew) > CLOCK_TOLERANCE:
        now = _moved(now, observed.skew)
        notices.append(
            Notice(text=f"The local clock is {_behind(observed.skew)} the server's, whose time is used here.")
        )
    entries = state.entries if state is not None else {}
    changes = []
    for batch in config.batches:
        if selected is None or batch.batch_id in selected:
            change = _declared(batch, entries.get(batch.batch_id), observed, config.service, now)
            changes.append(change)
            notices.extend(_notices(change, batch, config.service, now))
    notices.extend(_deadlines(changes, config.service, now))
    changes.extend(_undeclared(config, entries, selected))
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
        guards=_check(config.guards, changes, overridden),
        notices=tuple(notices),
    )


def decide(
    batch: Batch, entry: Entry | None, reading: Reading | None, *, listed: bool, service: Service, now: datetime
) -> tuple[Action, Reason]:
    """The decision table for a declared batch: first row that fits.

    Args:
        batch: The declaration.
        entry: What the state holds of it, if anything.
        reading: What the server said of it in this run, if anything.
        listed: Whether the account was listed, so that having no reading means absent.
        service: Which service; the 28 days are documented for phone.
        now: The time ages are judged by.
    """
    status = _status(entry, reading)
    by_read = reading is not None and reading.source is Source.READ
    if status in RUNNING:
        reason = Reason.COMPLETED if status == Status.COMPLETED else Reason.RUNNING
        return (Action.KEEP if entry is not None else Action.ADOPT), reason
    if status == Status.STOPPED and entry is not None and entry.recorded_as_started:
        return Action.KEEP, Reason.STOPPED_AFTER_START
    if entry is not None and entry.uncertain:  # safety: an attempt without an outcome may have been paid for
        return Action.VERIFY, Reason.UNCERTAIN
    if entry is not None and entry.phase in BEYOND and status in {Status.SUBMITTED, None}:  # safety: it ran once
        return (Action.BLOCKED if by_read else Action.VERIFY), Reason.CONTRADICTION
    if batch.hold:  # safety: the author said not to
        return Action.HOLD, Reason.HELD
    if status == Status.STOPPED:  # safety: what a start does to a stopped batch, and what it costs, is not documented
        return Action.BLOCKED, Reason.STOPPED
    if status is not None and status != Status.SUBMITTED:  # safety: nobody knows what a start would do to it
        return Action.BLOCKED, Reason.UNRECOGNISED
    if entry is not None and (rejected := _rejected_for_good(entry, reading)) is not None:
        return Action.BLOCKED, rejected
    submitted_at = _submitted_at(batch, entry, reading)
    if service is Service.PHONE and submitted_at is not None and now - submitted_at >= SURELY_EXPIRED:
        return Action.BLOCKED, Reason.EXPIRED
    if batch.not_before is not None and now < batch.not_before:
        return Action.WAIT, Reason.NOT_YET
    if reading is not None and not reading.found:
        return Action.BLOCKED, Reason.NOT_FOUND
    if listed and reading is None:  # safety: the list is a hint, only a single read can say that nothing was started
        return Action.VERIFY, Reason.ABSENT
    if reading is not None and reading.status is None:  # safety: listed without a status says nothing
        return Action.VERIFY, Reason.UNCLEAR
    if reading is None and entry is not None and not entry.found:  # nothing newer is known
        return Action.BLOCKED, Reason.NOT_FOUND
    if listed and not by_read and submitted_at is None and service is Service.PHONE:
        return Action.VERIFY, Reason.UNCLEAR  # safety: listed without a date it may be too old, as a single read shows
    return Action.START, _why_start(entry, status)


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


def check_approval(approved: Plan, state: State) -> None:
    """Refuse an approval that was given for another service, endpoint or state.

    Raises:
        RefusedError: It was.
    """
    _check_same(approved, state.service, state.endpoint, state.lineage)


def _check_same(approved: Plan, service: Service, endpoint: str, lineage: str | None) -> None:
    for what, theirs, ours in (
        ("service", approved.service.value, service.value),
        ("endpoint", approved.endpoint, endpoint),
        ("state file", approved.lineage, lineage),
    ):
        if theirs != ours and theirs is not None:  # safety: the reviewer approved starts somewhere else
            raise RefusedError(
                f"The plan was made for another {what}",
                f"The plan was made for {theirs}, this apply is for {ours}. Nothing was sent. Make a new plan here.",
            )


def approve(fresh: Plan, approved: Plan) -> Plan:
    """The fresh plan, less every start that the approved one did not offer.

    An approval can only deny: it never adds a start to the fresh plan. So an old approval repeats nothing, and a forged
    one starts nothing. Guards are checked on the starts that remain.

    Raises:
        RefusedError: The approval is for another service, endpoint or state.
    """
    _check_same(approved, fresh.service, fresh.endpoint, fresh.lineage)
    offered = {change.batch_id for change in approved.having(Action.START, Action.VERIFY)}
    changes = tuple(
        replace(change, action=Action.WAIT, reason=Reason.NOT_APPROVED)
        if change.action is Action.START and change.batch_id not in offered  # safety: nobody has seen it in a review
        else change
        for change in fresh.changes
    )
    overridden = {check.guard.name for check in fresh.guards if check.overridden}
    guards = _check(tuple(check.guard for check in fresh.guards), changes, overridden)
    return replace(fresh, changes=changes, guards=guards)


def is_expired(service: Service, submitted_at: datetime | None, now: datetime) -> bool:
    """Whether a refusal may be put down to age: 28 days, documented for phone only."""
    return service is Service.PHONE and submitted_at is not None and now - submitted_at >= DEADLINE


def _status(entry: Entry | None, reading: Reading | None) -> str | None:
    """The status to decide by: the observed one where the server gave one, else the known one."""
    if reading is not None and reading.status is not None:
        return reading.status
    if entry is None:
        return None
    return Status.SUBMITTED.value if entry.contradiction else entry.status


def _rejected_for_good(entry: Entry, reading: Reading | None) -> Reason | None:
    if entry.phase is not Phase.REJECTED or entry.cause not in FOR_GOOD:
        return None
    if entry.cause is Cause.EXPIRED:
        return Reason.EXPIRED
    if reading is not None and reading.status is not None:
        return None  # the server knows the batch after all
    return Reason.NOT_FOUND if entry.cause is Cause.NOT_FOUND else Reason.BAD_ID


def _why_start(entry: Entry | None, status: str | None) -> Reason:
    if entry is not None and entry.phase is Phase.RELEASED:
        return Reason.RELEASED
    if entry is not None and entry.attempts:
        return Reason.RETRY
    return Reason.SUBMITTED if status is not None else Reason.NEW


def _submitted_at(batch: Batch | None, entry: Entry | None, reading: Reading | None) -> datetime | None:
    """When the batch was submitted: as observed, else as known, else as declared."""
    if reading is not None and reading.date_submitted is not None:
        return reading.date_submitted
    if entry is not None and entry.submitted_at is not None:
        return entry.submitted_at
    return batch.submitted_at if batch is not None else None


def _records(batch: Batch, entry: Entry | None, reading: Reading | None) -> tuple[int | None, RecordsSource]:
    if reading is not None and reading.records is not None:
        return reading.records, RecordsSource.OBSERVED
    if entry is not None and entry.records is not None:
        return entry.records, RecordsSource.KNOWN
    if batch.records is not None:
        return batch.records, RecordsSource.DECLARED
    return None, RecordsSource.UNKNOWN


def _declared(batch: Batch, entry: Entry | None, observed: Observed, service: Service, now: datetime) -> Change:
    reading = observed.readings.get(batch.batch_id)
    action, reason = decide(batch, entry, reading, listed=observed.listed, service=service, now=now)
    records, source = _records(batch, entry, reading)
    submitted_at = _submitted_at(batch, entry, reading)
    return Change(
        name=batch.name,
        batch_id=batch.batch_id,
        action=action,
        reason=reason,
        status=_status(entry, reading),
        server_reason=reading.reason if reading is not None and reading.status else entry.reason if entry else None,
        records=records,
        records_source=source,
        submitted_at=submitted_at,
        deadline=_moved(submitted_at, DEADLINE) if submitted_at is not None else None,
        not_before=batch.not_before,
        reference_id=batch.reference_id,
        place=batch.place,
    )


def _undeclared(config: Config, entries: Mapping[str, Entry], selected: Collection[str] | None) -> list[Change]:
    """What to do with batches that the state knows and the configuration does not (any more)."""
    if selected is not None:
        return []
    declared = {batch.batch_id for batch in config.batches}
    changes = []
    for entry in entries.values():
        if entry.batch_id in declared:
            continue
        if entry.uncertain:  # safety: what came of it must be known before it may be forgotten
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
            )
        )
    return changes


def _check(
    guards: tuple[Guard, ...], changes: Collection[Change], overridden: Collection[GuardName]
) -> tuple[GuardCheck, ...]:
    starts = [change for change in changes if change.action is Action.START]
    unknown = sum(change.records is None for change in starts)
    measured = {
        GuardName.MAX_STARTS: len(starts),
        # safety: what nobody knows counts as the most a batch can hold
        GuardName.MAX_RECORDS: sum(MAX_RECORDS if change.records is None else change.records for change in starts),
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


def _notices(change: Change, batch: Batch, service: Service, now: datetime) -> list[Notice]:
    """What a person should know about one declared batch, beyond its line in the plan."""
    texts = []
    if change.reason is Reason.STOPPED_AFTER_START:
        why = f" ({change.server_reason})" if change.server_reason else ""
        texts.append(f"was started, but the server has stopped it{why}: its results may be incomplete.")
    if change.action in {Action.START, Action.VERIFY} and change.submitted_at is not None:
        age = now - change.submitted_at
        if age >= SURELY_EXPIRED:  # another service than phone: nothing is documented
            texts.append(f"is {age.days} days old; for {service.value} no limit is documented, the server will judge.")
        elif age >= EXPIRES_SOON:
            texts.append("is at its 28-day limit: the server judges whether it can still be started.")
    if (
        change.action is Action.WAIT
        and _too_late(batch, change.deadline)
        and not _too_late(batch, _declared_end(batch))
    ):
        texts.append("may not start before a time at which it can no longer be started (28 days after submission).")
    return [Notice(name=change.name, text=text) for text in texts]


def _too_late(batch: Batch, deadline: datetime | None) -> bool:
    return batch.not_before is not None and deadline is not None and batch.not_before > deadline


def _declared_end(batch: Batch) -> datetime | None:
    """The deadline by the author's own word; a `not_before` past that one is told as a problem of the YAML."""
    return _moved(batch.submitted_at, DEADLINE) if batch.submitted_at is not None else None


def expiring(change: Change, service: Service, now: datetime, within: timedelta = NEAR) -> bool:
    """Whether the batch is to be started and can be no longer than that. Source: CONTRACT "28 days".

    What is on hold is meant to be left alone.
    """
    waits = change.action in {Action.START, Action.VERIFY, Action.WAIT}
    if service is not Service.PHONE or not waits or change.deadline is None:
        return False
    return timedelta() < change.deadline - now <= within


def _deadlines(changes: Collection[Change], service: Service, now: datetime) -> list[Notice]:
    """One warning for all that must be started soon. The last day has a warning of its own (`_notices`)."""
    last_day = DEADLINE - EXPIRES_SOON
    near = [
        (change.deadline, change.name)
        for change in changes
        if change.deadline is not None and expiring(change, service, now) and change.deadline - now > last_day
    ]
    if not near:
        return []
    deadline, name = min(near)
    left = deadline - now
    soon = f"{left.days} days" if left >= timedelta(days=2) else f"{left // timedelta(hours=1)} hours"
    if len(near) == 1:
        return [Notice(name=name, text=f"can be started for {soon} more; after that it must be recreated.")]
    text = f"{len(near):,} batches can be started for less than 7 days more, the first of them for {soon}: {name}."
    return [Notice(text=text)]


def _moved(moment: datetime, by: timedelta) -> datetime:
    """The moment moved, or the end of time in that direction: a date from the server or a file may be any date."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta() else datetime.min.replace(tzinfo=UTC)


def _behind(skew: timedelta) -> str:
    minutes = round(abs(skew).total_seconds() / 60)
    return f"{minutes} minutes {'behind' if skew > timedelta() else 'ahead of'}"
