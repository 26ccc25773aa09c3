"""Events, the table of their effects on the entry of a batch, and the fold from events to the state.

The journal, the state file and the screen use the same events. The state is the fold of all events so far, so crash
recovery needs no separate code: opening the store folds the journal of the interrupted run.

The table is total: every event has a defined effect in every phase, because the events of a run may be folded into a
newer state than the one with which the run began. Four phases (`BEYOND`) never change to a startable one: once a batch
is known to be started, no late event allows another start. Only `Removed`, which is `state rm`, ends that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from batchform.model import BEYOND_START, RUNNING, Source, Status
from batchform.state.known import (
    BEYOND,
    PAST_KEPT,
    RUNS_KEPT,
    UNCERTAIN,
    UNTOLD,
    Cause,
    Entry,
    Evidence,
    Phase,
    Run,
    TimeSource,
)
from batchform.state.merge import charge_order, join, start_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from batchform.model import ServerProblem
    from batchform.state.known import State, Story

T = TypeVar("T")

FORGET_AFTER = timedelta(days=35)
"""How long an undeclared entry is kept after its last event. Longer than a batch can be started, so that removing a
batch from the YAML and adding it again never pays twice."""

_CLOCKS_DIFFER = timedelta(days=1)
"""A date of the server that is later than its reading by more than this is not believed."""


# --- Events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """A start is about to be sent. Durable before the first byte is sent."""

    reference_id: str
    records: int | None = None
    submitted_at: datetime | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAttempted:
    """The last attempt had no effect: it was provably not sent, or cleanly throttled."""

    problem: ServerProblem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The server accepted our start."""

    status: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyStarted:
    """Our start was refused because the batch had already been started."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The outcome of the last attempt is unknown."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Two single reads, far enough apart, showed that the attempt with the unknown outcome had no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The server refused to start the batch."""

    cause: Cause
    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the server reported about a batch. `found` is False if a single read did not find it.

    `labels` are the declared ones, if the state lacks those of a started batch.
    """

    source: Source
    found: bool = True
    status: str | None = None
    reason: str | None = None
    records: int | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What the server reported as charged for a batch. `credits` None: no usable number.

    `status`: it has ended with this status, None if the server did not say so. `final`: it is not read again.
    `statistics` count the results.
    """

    status: str | None = None
    credits: int | None = None
    final: bool = False
    statistics: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The batch is declared (again), with the name of the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """The batch is no longer declared. Nothing was sent to the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A user removed the batch from the state."""


What = (
    Intended
    | NotAttempted
    | Started
    | AlreadyStarted
    | Unknown
    | Released
    | Rejected
    | Seen
    | Charged
    | Declared
    | Forgotten
    | Removed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of one batch. `run` and `seq` identify it; `seq` counts from 1 within a run."""

    run: str
    seq: int
    at: datetime
    batch_id: str
    name: str
    what: What


# --- The table -------------------------------------------------------------------------------------------------------

_STARTABLE = (Phase.SEEN, Phase.RELEASED, Phase.NOT_ATTEMPTED, Phase.REJECTED)

# For each event: the phases that it changes, and the new phase. None means "no entry yet". Other phases stay.
# A phase of BEYOND changes only to another phase of BEYOND, with better evidence for the same fact.
TRANSITIONS: Mapping[type[What], Mapping[Phase | None, Phase]] = {
    Intended: {
        None: Phase.INTENDED,
        **dict.fromkeys(_STARTABLE, Phase.INTENDED),
        # safety: the earlier attempt has no outcome, so the outcome of a later one must not clear it
        Phase.INTENDED: Phase.UNKNOWN,
    },
    NotAttempted: {None: Phase.NOT_ATTEMPTED, Phase.INTENDED: Phase.NOT_ATTEMPTED},
    Started: {None: Phase.STARTED, **dict.fromkeys(Phase, Phase.STARTED)},
    AlreadyStarted: {
        None: Phase.ALREADY_STARTED,
        **{phase: Phase.ALREADY_STARTED for phase in Phase if phase is not Phase.STARTED},
    },
    Unknown: {None: Phase.UNKNOWN, Phase.INTENDED: Phase.UNKNOWN, **dict.fromkeys(_STARTABLE, Phase.UNKNOWN)},
    Released: {Phase.INTENDED: Phase.RELEASED, Phase.UNKNOWN: Phase.RELEASED},
    Rejected: {
        None: Phase.REJECTED,
        Phase.INTENDED: Phase.REJECTED,
        Phase.UNKNOWN: Phase.REJECTED,
        **dict.fromkeys(_STARTABLE, Phase.REJECTED),
    },
    Charged: {},
    Declared: {},
    Forgotten: {},
}

# safety: the refusal of one attempt says nothing about an earlier attempt that may have had an effect
_REJECTED_IN_DOUBT: Mapping[Phase | None, Phase] = {
    before: after for before, after in TRANSITIONS[Rejected].items() if before is not Phase.UNKNOWN
}

# The effect of `Seen` depends on the status.
_SEEN_STOPPED: Mapping[Phase | None, Phase] = {
    **dict.fromkeys((None, Phase.SEEN, Phase.NOT_ATTEMPTED, Phase.REJECTED), Phase.STOPPED),
    **dict.fromkeys((Phase.INTENDED, Phase.RELEASED), Phase.STARTED),
}
_SEEN_RUNNING: Mapping[Phase | None, Phase] = {
    before: Phase.ADOPTED if after is Phase.STOPPED else after for before, after in _SEEN_STOPPED.items()
} | {Phase.STOPPED: Phase.ADOPTED}
_SEEN_OURS: Mapping[Phase | None, Phase] = dict.fromkeys((*_STARTABLE, *UNCERTAIN), Phase.STARTED)
_SEEN_ALREADY: Mapping[Phase | None, Phase] = {Phase.UNKNOWN: Phase.ALREADY_STARTED}
_SEEN_ELSE: Mapping[Phase | None, Phase] = {None: Phase.SEEN}
_SEEN_AFTER_ALL: Mapping[Phase | None, Phase] = {Phase.REJECTED: Phase.SEEN}


def _row(entry: Entry | None, what: What) -> Mapping[Phase | None, Phase]:
    """The row of the table for this event."""
    doubt = entry is not None and entry.doubt
    if not isinstance(what, Seen):
        return _REJECTED_IN_DOUBT if doubt and isinstance(what, Rejected) else TRANSITIONS[type(what)]
    if what.status in BEYOND_START:
        if doubt:
            return _SEEN_OURS  # one attempt of ours may have had an effect, whatever was answered later
        if entry is not None and entry.phase is Phase.UNKNOWN:
            return _SEEN_ALREADY  # every attempt of ours was refused
        return _SEEN_RUNNING if what.status in RUNNING else _SEEN_STOPPED
    if what.status is not None and entry is not None and entry.cause in {Cause.BAD_ID, Cause.NOT_FOUND}:
        return _SEEN_AFTER_ALL  # the id exists after all
    return _SEEN_ELSE


def step(entry: Entry | None, event: Event, who: str = "") -> Entry | None:
    """The entry after the event, None if there is none or it was removed. `who` is the user of the event's run."""
    after = _step(entry, event, who)
    return after if after is None or after.phase not in BEYOND else _dated(after, event)


def _step(entry: Entry | None, event: Event, who: str) -> Entry | None:
    """The entry after the event, without the time of its start."""
    what = event.what
    if isinstance(what, Removed):
        return None
    before = entry.phase if entry is not None else None
    phase = _row(entry, what).get(before, before)
    if phase is None:  # the event says nothing about a batch that is not in the state
        return None
    base = entry or Entry(batch_id=event.batch_id, name=event.name, phase=phase, updated_at=event.at, run=event.run)
    # The later time: with a journal folded late or a wrong clock, the entry must not look old to `expire`.
    after = replace(base, phase=phase, updated_at=max(base.updated_at, event.at), run=event.run)
    # safety: if an attempt ends without an outcome, it may have had an effect
    again = before in UNCERTAIN and isinstance(what, Intended)
    if again or (before is Phase.INTENDED and isinstance(what, Released)):
        after = replace(after, doubt=True)
    match what:
        case Intended():
            after = replace(
                after,
                name=event.name,
                attempts=after.attempts + 1,
                reference_id=what.reference_id,
                records=_known(what.records, after.records),
                submitted_at=_known(what.submitted_at, after.submitted_at),
                intended_at=event.at,
                cause=None,
                problem=None,
            )
            if phase is Phase.STARTED:  # an earlier attempt started it
                return after
            return replace(after, labels=_known(what.labels, after.labels), who=who, attempt_run=event.run)
        case NotAttempted():
            if phase is before:
                return after
            if phase is Phase.NOT_ATTEMPTED and after.doubt:
                after = replace(after, phase=Phase.RELEASED)
            return replace(after, problem=what.problem or after.problem, settled_at=event.at)
        case Started():
            evidence = base.evidence if before is Phase.STARTED and base.evidence else what.evidence
            return replace(_settled(after, what.status, event.at), evidence=evidence)
        case AlreadyStarted():
            return _settled(after, what.status, event.at)
        case Unknown():
            if phase is not Phase.UNKNOWN:
                return after
            doubt = after.doubt or what.problem.status not in {400, 404}
            return replace(after, doubt=doubt, problem=what.problem, settled_at=None)
        case Released():
            return after if phase is before else replace(after, settled_at=event.at)
        case Rejected():
            if phase is not Phase.REJECTED:
                return after
            return replace(after, cause=what.cause, problem=what.problem, settled_at=event.at)
        case Seen():
            return _seen(after, what, event)
        case Charged():
            return _charged(after, what, event.at)
        case Declared():
            return replace(after, declared=True, name=event.name)
        case Forgotten():
            return replace(after, declared=False)
    assert_never(what)


def _settled(after: Entry, status: str, at: datetime) -> Entry:
    """The entry of a batch that is known to be started."""
    if after.status in {Status.COMPLETED, Status.STOPPED} and status == Status.PROCESSING:
        status = after.status  # the answer came late: the batch has already ended
    ended_at = _known(after.ended_at, at) if status in _ENDED else after.ended_at
    return replace(
        after,
        status=status,
        found=True,
        contradiction=False,
        cause=None,
        problem=None,
        settled_at=at,
        ended_at=ended_at,
    )


_ENDED = frozenset({Status.COMPLETED.value, Status.STOPPED.value})


def _dated(after: Entry, event: Event) -> Entry:
    """The entry of a started batch with the best known time of its start."""
    what, found = event.what, [after]
    if after.phase is Phase.STARTED and after.time_source is not TimeSource.REQUEST:
        answered = isinstance(what, Started) and what.evidence is Evidence.ANSWER
        ours = event.at if answered else _known(after.intended_at, event.at)
        found.append(replace(after, started_at=ours, time_source=TimeSource.REQUEST))
    if isinstance(what, Seen) and (told := _believed(what.started_at, event.at)) is not None:
        found.append(replace(after, started_at=told, time_source=TimeSource.ACCOUNT))
    bound = after.ended_at if after.ended_at is not None and after.ended_at < event.at else event.at
    if after.started_at is None or bound < after.started_at:
        found.append(replace(after, started_at=bound, time_source=TimeSource.LATEST))
    return max(found, key=start_order)


def _believed(told: datetime | None, at: datetime) -> datetime | None:
    """A date from the server, None if it is in the future."""
    return None if told is None or told - at > _CLOCKS_DIFFER else told


def _seen(after: Entry, what: Seen, event: Event) -> Entry:
    """The entry after `Seen`. Its phase has already changed."""
    back = after.phase in BEYOND and what.status == Status.SUBMITTED
    contradiction = after.contradiction or (back and what.source is Source.READ)
    by_status = after.phase is Phase.STARTED and after.evidence is None
    ended_at = after.ended_at
    if what.status in _ENDED:
        ended_at = _known(_believed(what.ended_at, event.at), _known(ended_at, event.at))
    labels = what.labels if after.labels is None and after.phase in BEYOND else after.labels
    return replace(
        after,
        labels=labels,
        ended_at=ended_at,
        # safety: a started batch stays started, whatever a late or wrong answer says
        status=after.status if back or what.status is None else what.status,
        reason=what.reason if what.status is not None else after.reason,
        found=what.found,
        contradiction=contradiction and what.status not in BEYOND_START,
        evidence=Evidence.STATUS if by_status else after.evidence,
        cause=after.cause if after.phase is Phase.REJECTED else None,
        problem=None if after.phase in BEYOND else after.problem,
        records=_known(what.records, after.records),
        submitted_at=_known(what.submitted_at, after.submitted_at),
        seen_at=event.at,
    )


def _charged(entry: Entry, what: Charged, at: datetime) -> Entry:
    """The entry after `Charged`. A final charge does not change."""
    said = replace(entry, credits=what.credits, final=what.final, charged_at=at, statistics=what.statistics)
    entry = max(entry, said, key=charge_order)
    if what.status is None:
        return entry
    return replace(entry, status=what.status, ended_at=_known(entry.ended_at, at))


def _known(new: T | None, old: T | None) -> T | None:
    return old if new is None else new


# --- Fold ------------------------------------------------------------------------------------------------------------


def fold(state: State, events: Iterable[Event], stories: Mapping[str, Story] = MappingProxyType({})) -> State:
    """The state after the events. Events that it already contains change nothing, so a journal may be folded twice.

    The serial does not change: it counts commits. `stories` say who ran what, by run.
    """
    entries, past = dict(state.entries), dict(state.past)
    runs = {run.id: run for run in state.runs}
    for event in events:
        run = runs.get(event.run)
        if run is not None and event.seq <= run.seq:
            continue
        before = entries.get(event.batch_id)
        if run is None:
            story = stories.get(event.run, UNTOLD)
            run = Run(id=event.run, at=event.at, seq=0, **{f.name: getattr(story, f.name) for f in fields(story)})
        after = step(before, event, run.who)
        runs[event.run] = replace(run, seq=event.seq, **_counted(run, before, event, after))
        if before is not None and before.uncertain and (after is None or not after.uncertain):
            _settle(runs, before)
        if after is not None:
            entries[event.batch_id] = after
        elif before is not None:
            _keep(past, entries.pop(event.batch_id))
        elif event.batch_id in past and isinstance(event.what, Charged):
            past[event.batch_id] = _charged(past[event.batch_id], event.what, event.at)
    return replace(
        state, entries=MappingProxyType(entries), past=MappingProxyType(past), runs=tuple(runs.values())[-RUNS_KEPT:]
    )


def _keep(past: dict[str, Entry], entry: Entry) -> None:
    """Keep the spending of a batch whose entry is deleted."""
    if entry.phase not in BEYOND or entry.contradiction:  # it was not started, says the server
        return
    kept = replace(Entry(**{name: getattr(entry, name) for name in _SPENDING}), declared=False)
    before = past.get(entry.batch_id)
    past[entry.batch_id] = kept if before is None else join(kept, before)


_SPENDING = (
    *("batch_id", "name", "phase", "status", "records", "labels", "who", "attempt_run", "started_at", "time_source"),
    *("ended_at", "credits", "final", "charged_at", "statistics", "updated_at", "run"),
)
"""The fields that are kept."""


_COUNTED: Mapping[Phase, str] = {
    Phase.STARTED: "started",
    Phase.ALREADY_STARTED: "already_started",
    Phase.ADOPTED: "adopted",
    Phase.REJECTED: "rejected",
    Phase.NOT_ATTEMPTED: "not_attempted",
}


def _counted(run: Run, before: Entry | None, event: Event, after: Entry | None) -> dict[str, Any]:
    """The numbers of the run that this event changes, with their new values."""
    was = before.phase if before is not None else None
    now = after.phase if after is not None else None
    changed: dict[str, Any] = {}
    if isinstance(event.what, Removed) and before is not None:
        changed["removed"] = run.removed + 1
    elif isinstance(event.what, Forgotten) and before is not None and before.declared:
        changed["forgotten"] = run.forgotten + 1
    if now is not None and now is not was and now in _COUNTED:
        changed[_COUNTED[now]] = getattr(run, _COUNTED[now]) + 1
    elif now is not was and now is Phase.RELEASED and isinstance(event.what, NotAttempted):
        changed["not_attempted"] = run.not_attempted + 1
    if now is Phase.STARTED and was is not Phase.STARTED and after is not None:
        if after.records is None:
            changed["unsized"] = run.unsized + 1
        else:
            changed["records"] = run.records + after.records
    if now in UNCERTAIN and was not in UNCERTAIN:
        changed["unknown"] = run.unknown + 1
    return changed


def _settle(runs: dict[str, Run], entry: Entry) -> None:
    """Take the entry off the unknown outcomes of the run that made the attempt: the last that began before it."""
    for run in reversed(runs.values()):
        if run.unknown > 0 and entry.intended_at is not None and entry.intended_at >= run.at:
            runs[run.id] = replace(run, unknown=run.unknown - 1)
            return


def expire(state: State, now: datetime) -> State:
    """The state without the undeclared entries whose last event is more than 35 days old.

    An entry whose outcome is unknown is never removed. The spending of a started batch is kept for 25 months.
    """
    entries, past = {}, dict(state.past)
    for key, entry in state.entries.items():
        if entry.declared or entry.uncertain or now - entry.updated_at <= FORGET_AFTER:
            entries[key] = entry
        else:
            _keep(past, entry)
    past = {key: entry for key, entry in past.items() if now - entry.spent_at <= PAST_KEPT}
    if len(entries) == len(state.entries) and len(past) == len(state.past):
        return state
    return replace(state, entries=MappingProxyType(entries), past=MappingProxyType(past))
