"""Every decision: (Config, State, Observed, now) -> Plan.

Pure and total: no clock, file, socket or randomness, and a decision for every input. `decide` is the decision table, in
the order of the rows in ARCHITECTURE.md. The first row that matches decides.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from batchform.errors import RefusedError
from batchform.estimate import rate_of
from batchform.model import DEADLINE, RUNNING, GuardName, Service, Source, Status
from batchform.notices import notices_of
from batchform.plan import (
    CLOCK_TOLERANCE,
    LAG,
    SURELY_EXPIRED,
    Action,
    Change,
    GuardCheck,
    Obstacle,
    Plan,
    Reason,
    RecordsSource,
    moved,
)
from batchform.state.known import BEYOND, FOR_GOOD, Cause, Entry, Phase, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from batchform.model import Batch, Config, Guard, Observed, Reading


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
    local, server = now, moved(now, observed.skew or timedelta())
    at = server if abs(server - local) > CLOCK_TOLERANCE else local
    entries = state.entries if state is not None else {}
    changes = [
        _declared(batch, entries.get(batch.batch_id), observed, config.service, at=at, clocks=(local, server))
        for batch in config.batches
        if selected is None or batch.batch_id in selected
    ]
    notices = notices_of(changes, config, at=at, local=local, server=server)
    changes.extend(_undeclared(config, entries, selected, observed, local))
    changes.sort(key=lambda change: (change.name, change.batch_id))
    return Plan(
        service=config.service,
        endpoint=endpoint,
        lineage=state.lineage if state is not None else None,
        serial=state.serial if state is not None else None,
        at=at,
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
    waits = batch.hold or (batch.not_before is not None and min(clocks) < batch.not_before)
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
        held=action is Action.VERIFY and waits,
        recent=_is_recent(entry, clocks[0]),
        stuck=_stuck(entry, reading),
        submitted_at=submitted_at,
        deadline=moved(submitted_at, DEADLINE) if submitted_at is not None else None,
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
