"""Events, the table of what each one does to a batch's entry, and the fold that turns events into State.

One vocabulary serves the journal, the state file and the screen: whatever happens to a batch is an `Event`, and the
state is nothing but the fold of all events so far. That is why crash recovery has no code of its own: opening the store
folds the journal that a dead run left behind.

The table is total: every event has a defined effect on every phase, because a run's events may be folded onto a newer
state than the one the run began with. What protects the money is that four phases are never left again (`BEYOND`):
whatever arrives late, a batch once known to be started is never thought startable. Only `Removed`, a person's explicit
`state rm`, ends that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from batchform.model import BEYOND_START, RUNNING, Source, Status
from batchform.state.known import BEYOND, RUNS_KEPT, UNCERTAIN, UNTOLD, Cause, Entry, Evidence, Phase, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from batchform.model import ServerProblem
    from batchform.state.known import State, Story

T = TypeVar("T")

FORGET_AFTER = timedelta(days=35)
"""How long an undeclared entry is kept after its last event: longer than a batch can be started, so that taking a line
out of the YAML and putting it back never pays again."""


# --- What can happen -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """A start is about to be sent. On disk before the first byte leaves."""

    reference_id: str
    records: int | None = None
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAttempted:
    """The last intent provably reached nobody, or was cleanly throttled: it had no effect."""

    problem: ServerProblem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A start of ours was accepted."""

    status: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyStarted:
    """Our start was refused because somebody had started the batch before."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The last intent may or may not have been acted upon."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Two single reads, far enough apart, said that the uncertain attempt was not acted upon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The server did not start the batch."""

    cause: Cause
    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the server was heard to say of a batch. `found` is False when a single read did not find it."""

    source: Source
    found: bool = True
    status: str | None = None
    reason: str | None = None
    records: int | None = None
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The batch is declared (again), under the event's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """The batch is no longer declared. The server was not touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A person took the batch out of the state."""


What = (
    Intended
    | NotAttempted
    | Started
    | AlreadyStarted
    | Unknown
    | Released
    | Rejected
    | Seen
    | Declared
    | Forgotten
    | Removed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one batch. `run` and `seq` identify it: `seq` counts from 1 within a run."""

    run: str
    seq: int
    at: datetime
    batch_id: str
    name: str
    what: What


# --- The table -------------------------------------------------------------------------------------------------------

_STARTABLE = (Phase.SEEN, Phase.RELEASED, Phase.NOT_ATTEMPTED, Phase.REJECTED)

# For each event the phases it moves, and where to; None stands for "no entry yet". A phase that is not named stays.
# No row names a phase of BEYOND on the left, but for a stronger word on the same fact.
TRANSITIONS: Mapping[type[What], Mapping[Phase | None, Phase]] = {
    Intended: {
        None: Phase.INTENDED,
        **dict.fromkeys(_STARTABLE, Phase.INTENDED),
        # safety: the earlier intent never got an outcome, so the outcome of a later one must not clear it
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
    Declared: {},
    Forgotten: {},
}

# safety: a no to one attempt says nothing of an earlier one that may have been acted upon
_REJECTED_IN_DOUBT: Mapping[Phase | None, Phase] = {
    before: after for before, after in TRANSITIONS[Rejected].items() if before is not Phase.UNKNOWN
}

# `Seen` moves by what was seen.
_SEEN_RUNNING: Mapping[Phase | None, Phase] = {
    None: Phase.ADOPTED,
    Phase.SEEN: Phase.ADOPTED,
    Phase.NOT_ATTEMPTED: Phase.ADOPTED,
    Phase.REJECTED: Phase.ADOPTED,
    Phase.STOPPED: Phase.ADOPTED,
    Phase.INTENDED: Phase.STARTED,
    Phase.RELEASED: Phase.STARTED,
}
_SEEN_STOPPED: Mapping[Phase | None, Phase] = {
    None: Phase.STOPPED,
    Phase.SEEN: Phase.STOPPED,
    Phase.NOT_ATTEMPTED: Phase.STOPPED,
    Phase.REJECTED: Phase.STOPPED,
    Phase.INTENDED: Phase.STARTED,
    Phase.RELEASED: Phase.STARTED,
}
_SEEN_OURS: Mapping[Phase | None, Phase] = dict.fromkeys((*_STARTABLE, *UNCERTAIN), Phase.STARTED)
_SEEN_ALREADY: Mapping[Phase | None, Phase] = {Phase.UNKNOWN: Phase.ALREADY_STARTED}
_SEEN_ELSE: Mapping[Phase | None, Phase] = {None: Phase.SEEN}
_SEEN_AFTER_ALL: Mapping[Phase | None, Phase] = {Phase.REJECTED: Phase.SEEN}


def _row(entry: Entry | None, what: What) -> Mapping[Phase | None, Phase]:
    """The row of the table that holds for this event."""
    doubt = entry is not None and entry.doubt
    if not isinstance(what, Seen):
        return _REJECTED_IN_DOUBT if doubt and isinstance(what, Rejected) else TRANSITIONS[type(what)]
    if what.status in BEYOND_START:
        if doubt:
            return _SEEN_OURS  # whatever was said since, one attempt of ours may have been acted upon
        if entry is not None and entry.phase is Phase.UNKNOWN:
            return _SEEN_ALREADY  # every attempt of ours was answered with a refusal
        return _SEEN_RUNNING if what.status in RUNNING else _SEEN_STOPPED
    if what.status is not None and entry is not None and entry.cause in {Cause.BAD_ID, Cause.NOT_FOUND}:
        return _SEEN_AFTER_ALL  # the id exists after all
    return _SEEN_ELSE


def step(entry: Entry | None, event: Event) -> Entry | None:
    """The entry after the event; None when there is none (any more)."""
    what = event.what
    if isinstance(what, Removed):
        return None
    before = entry.phase if entry is not None else None
    phase = _row(entry, what).get(before, before)
    if phase is None:  # a word about a batch that nothing is known of, and that says nothing of it
        return None
    base = entry or Entry(batch_id=event.batch_id, name=event.name, phase=phase, updated_at=event.at, run=event.run)
    # The latest of the two: a journal folded in late, or a wrong clock, must not make the entry look old to `expire`.
    after = replace(base, phase=phase, updated_at=max(base.updated_at, event.at), run=event.run)
    # safety: an attempt is in doubt from the moment its intent is left without an outcome
    again = before in UNCERTAIN and isinstance(what, Intended)
    if again or (before is Phase.INTENDED and isinstance(what, Released)):
        after = replace(after, doubt=True)
    match what:
        case Intended():
            return replace(
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
        case Declared():
            return replace(after, declared=True, name=event.name)
        case Forgotten():
            return replace(after, declared=False)
    assert_never(what)


def _settled(after: Entry, status: str, at: datetime) -> Entry:
    """The entry of a batch that is now known to be started."""
    if after.status in {Status.COMPLETED, Status.STOPPED} and status == Status.PROCESSING:
        status = after.status  # it does not run again because an answer came late
    return replace(after, status=status, found=True, contradiction=False, cause=None, problem=None, settled_at=at)


def _seen(after: Entry, what: Seen, event: Event) -> Entry:
    """The entry after the server was heard; its phase has moved already."""
    back = after.phase in BEYOND and what.status == Status.SUBMITTED
    contradiction = after.contradiction or (back and what.source is Source.READ)
    by_status = after.phase is Phase.STARTED and after.evidence is None
    return replace(
        after,
        # safety: a batch beyond its start stays there, whatever a late or wrong answer says
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


def _known(new: T | None, old: T | None) -> T | None:
    return old if new is None else new


# --- Fold ------------------------------------------------------------------------------------------------------------


def fold(state: State, events: Iterable[Event], stories: Mapping[str, Story] = MappingProxyType({})) -> State:
    """The state after the events. Events that are part of it already change nothing, so a journal may be folded twice.

    The serial is left alone: it counts commits, not events. `stories` tell who ran what, by run.
    """
    entries = dict(state.entries)
    runs = {run.id: run for run in state.runs}
    for event in events:
        run = runs.get(event.run)
        if run is not None and event.seq <= run.seq:
            continue
        before = entries.get(event.batch_id)
        after = step(before, event)
        run = run or _begun(event, stories.get(event.run, UNTOLD))
        runs[event.run] = replace(run, seq=event.seq, **_counted(run, before, event, after))
        if after is None:
            entries.pop(event.batch_id, None)
        else:
            entries[event.batch_id] = after
    return replace(state, entries=MappingProxyType(entries), runs=tuple(runs.values())[-RUNS_KEPT:])


def _begun(event: Event, story: Story) -> Run:
    """A run of which this is the first event."""
    return Run(
        id=event.run,
        at=event.at,
        seq=event.seq,
        command=story.command,
        who=story.who,
        job=story.job,
        commit=story.commit,
        overrides=story.overrides,
    )


_COUNTED: Mapping[Phase, str] = {
    Phase.STARTED: "started",
    Phase.ALREADY_STARTED: "already_started",
    Phase.ADOPTED: "adopted",
    Phase.REJECTED: "rejected",
    Phase.NOT_ATTEMPTED: "not_attempted",
}


def _counted(run: Run, before: Entry | None, event: Event, after: Entry | None) -> dict[str, Any]:
    """The run's numbers that this event changes, as they are after it."""
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
    elif was in UNCERTAIN and now not in UNCERTAIN and _is_of(before, run):
        changed["unknown"] = run.unknown - 1
    return changed


def _is_of(entry: Entry | None, run: Run) -> bool:
    """Whether the entry's last attempt was made in this run, as far as it is counted there."""
    ours = entry is not None and entry.intended_at is not None and entry.intended_at >= run.at
    return ours and run.unknown > 0


def expire(state: State, now: datetime) -> State:
    """The state without the undeclared entries whose last event is more than 35 days old.

    An uncertain attempt is never dropped: nobody has said yet what came of it.
    """
    kept = {
        key: entry
        for key, entry in state.entries.items()
        if entry.declared or entry.uncertain or now - entry.updated_at <= FORGET_AFTER
    }
    return state if len(kept) == len(state.entries) else replace(state, entries=MappingProxyType(kept))
