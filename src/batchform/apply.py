"""Carries out an approved plan: records new readings, forgets undeclared batches, starts batches, and reports.

`plan` makes every decision, `protocol` has the conversations with the server, and `engine` drives them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from batchform.engine import ForeignAnswers, Interrupted, Stopped, Task, Unrecordable
from batchform.errors import Exit, StateError
from batchform.model import BEYOND_START, Status
from batchform.plan import Action, Obstacle, is_expired
from batchform.planner import check_guards
from batchform.protocol import Order, Rules, check_rules, seen, start
from batchform.state.events import (
    AlreadyStarted,
    Declared,
    Event,
    Forgotten,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Started,
    Unknown,
    step,
)
from batchform.state.known import BEYOND, Evidence, check_belongs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from batchform.engine import End, Engine
    from batchform.estimate import Rate
    from batchform.model import Config, Observed, ServerProblem
    from batchform.plan import Change, Plan
    from batchform.state.events import What
    from batchform.state.known import Cause, Entry, State

_MAX_REFERENCE: Final = 256
_FORBIDDEN: Final = 403


def to_record(
    config: Config,
    state: State,
    observed: Observed,
    selected: Collection[str] | None,
    *,
    waiting: Collection[str] | None = (),
) -> Iterator[tuple[str, str, What]]:
    """The events about declared batches that the state lacks, as (batch_id, name, what).

    A new batch that is submitted makes an event only if it is in `waiting` (None: all). Then an offline plan shows its
    deadline, or that it is blocked.
    """
    for batch in config.batches:
        if selected is not None and batch.batch_id not in selected:
            continue
        entry = state.entries.get(batch.batch_id)
        if entry is not None and (not entry.declared or entry.name != batch.name):
            yield batch.batch_id, batch.name, Declared()
        reading = observed.readings.get(batch.batch_id)
        if reading is None:
            continue
        if entry is None and reading.found:
            is_start = reading.status == Status.SUBMITTED and waiting is not None and batch.batch_id not in waiting
            if is_start or reading.status is None:
                continue
        what = seen(reading)
        if reading.status in BEYOND_START and (entry is None or entry.labels is None):
            what = replace(what, labels=batch.labels)
        if _changes_entry(entry, batch.batch_id, batch.name, what):
            yield batch.batch_id, batch.name, what


def _changes_entry(entry: Entry | None, batch_id: str, name: str, what: What) -> bool:
    """Whether the event changes the entry, apart from the time it was seen."""
    moment = entry.updated_at if entry is not None else datetime.min.replace(tzinfo=UTC)
    run = entry.run if entry is not None else ""
    after = step(entry, Event(run=run, seq=0, at=moment, batch_id=batch_id, name=name, what=what))
    if entry is None or after is None:
        return after is not None
    return replace(after, seen_at=entry.seen_at) != entry


def carry_out(plan: Plan, *, config: Config, state: State, observed: Observed, engine: Engine, rules: Rules) -> None:
    """Carry out the plan. The engine records and reports every event, and keeps why the run ended early.

    Args:
        plan: The approved plan.
        config: The configuration it was made from.
        state: The state it was made from.
        observed: What the server said before it was made.
        engine: Records and sends.
        rules: Waits and numbers of tries.

    Raises:
        RefusedError: A guard blocks the plan.
        StateError: The state belongs to another service or endpoint, or is newer than the plan.
        UsageError: The rules are too short. Whatever is raised: nothing was recorded or sent.
    """
    check_guards(plan)  # safety: these checks also protect callers without the command line
    check_belongs(state, plan.service, plan.endpoint)
    check_rules(rules, plan.endpoint)
    for change in plan.having(Action.START):
        entry = state.entries.get(change.batch_id)
        if entry is not None and (entry.uncertain or entry.phase in BEYOND):  # safety: the plan did not know of it
            raise StateError(
                "The plan is older than the state",
                f"It starts {change.name}, but the state says {entry.phase.value}. Nothing was sent. Make a new plan.",
            )
    selected = {change.batch_id for change in plan.changes} if plan.targeted else None
    blocked = {change.batch_id for change in plan.having(Action.BLOCKED)}
    for batch_id, name, what in to_record(config, state, observed, selected, waiting=blocked):
        engine.record(batch_id, name, what)
    for change in plan.having(Action.FORGET):
        engine.record(change.batch_id, change.name, Forgotten())
    engine.run_tasks(_starts(plan, config, state, engine.run, rules))


def _starts(plan: Plan, config: Config, state: State, run: str, rules: Rules) -> Iterator[Task]:
    """A task for each batch to start."""
    labels = {batch.batch_id: batch.labels for batch in config.batches}
    for change in plan.having(Action.START):
        entry = state.entries.get(change.batch_id)
        order = Order(
            service=plan.service,
            batch_id=change.batch_id,
            reference_id=change.reference_id or reference_id(change.name, run),
            records=change.records,
            submitted_at=change.submitted_at,
            expired=is_expired(plan.service, change.submitted_at, plan.at),
            doubt=entry is not None and entry.doubt,
            labels=labels.get(change.batch_id),
        )
        yield Task(key=change.batch_id, conversation=start(order, rules), batch_id=change.batch_id, name=change.name)


def reference_id(name: str, run: str) -> str:
    """The Reference-Id of a start that declares none: the name and the run, in letters, digits and hyphens.

    Source: CONTRACT "Headers": the vendor's own SDK replaces dots.
    """
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    return f"{slug[: _MAX_REFERENCE - len(run) - 1]}-{run}"


# --- The report ------------------------------------------------------------------------------------------------------


class Result(StrEnum):
    """The result of one batch in one run."""

    STARTED = "started"
    ALREADY_STARTED = "already_started"
    ADOPTED = "adopted"
    FORGOTTEN = "forgotten"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    NOT_APPROVED = "not_approved"
    NOT_ATTEMPTED = "not_attempted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One line of the report. `evidence` says how a start is known, `recorded` whether the outcome is on disk."""

    change: Change
    result: Result
    evidence: Evidence | None = None
    cause: Cause | None = None
    problem: ServerProblem | None = None
    recorded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did with each batch, in the order of the plan. Batches without a result are left out."""

    outcomes: tuple[Outcome, ...]
    end: End | None = None
    rate: Rate | None = None

    def having(self, *results: Result) -> tuple[Outcome, ...]:
        """The outcomes with one of these results, in order."""
        return tuple(outcome for outcome in self.outcomes if outcome.result in results)

    @property
    def confirmed(self) -> tuple[Outcome, ...]:
        """The starts of an earlier run that this run confirmed. Its plan did not have them."""
        return tuple(outcome for outcome in self.having(Result.STARTED) if outcome.change.action is not Action.START)

    @property
    def accepted(self) -> bool:
        """Whether the server accepted a start in this run. Then a 403 is not about every request."""
        return any(outcome.evidence is Evidence.ANSWER for outcome in self.having(Result.STARTED))

    @property
    def complete(self) -> bool:
        """Whether the plan was carried out and every outcome is known."""
        return self.exit is Exit.DONE

    @property
    def exit(self) -> Exit:
        """The exit code: that of a signal, else of an unknown outcome, of an error, or of incomplete work."""
        if isinstance(self.end, Interrupted):
            return Exit(128 + self.end.signum)
        lost = isinstance(self.end, Unrecordable) or not all(outcome.recorded for outcome in self.outcomes)
        if lost or self.having(Result.UNKNOWN):  # an outcome that is not on disk is unknown to the next run
            return Exit.UNKNOWN
        ran_out = isinstance(self.end, Stopped) and self.end.problem.status == _FORBIDDEN and self.accepted
        if isinstance(self.end, (Stopped, ForeignAnswers)) and not ran_out:
            return Exit.ERROR
        too_large = any(outcome.change.obstacle is Obstacle.TOO_LARGE for outcome in self.outcomes)
        left = self.having(Result.REJECTED, Result.BLOCKED, Result.NOT_ATTEMPTED)
        if self.end is not None or left or too_large:  # an approved batch did not start
            return Exit.INCOMPLETE
        return Exit.DONE


def report(plan: Plan, events: Iterable[Event], unrecorded: Iterable[Event], end: End | None) -> Report:
    """Report what became of the plan.

    Args:
        plan: The plan.
        events: The recorded events of this run, including those before the plan was made.
        unrecorded: The events after the journal failed.
        end: Why the run ended early, if it did.
    """
    missing = tuple(unrecorded)
    last = {event.batch_id: event.what for event in (*events, *missing) if isinstance(event.what, _ATTEMPTS)}
    lost = {event.batch_id for event in missing}
    outcomes = []
    for change in plan.changes:
        outcome = _outcome(change, last.get(change.batch_id))
        if outcome is not None:
            outcomes.append(replace(outcome, recorded=change.batch_id not in lost))
    return Report(outcomes=tuple(outcomes), end=end, rate=plan.rate)


_ATTEMPTS = (Intended, NotAttempted, Started, AlreadyStarted, Unknown, Released, Rejected)


def _outcome(change: Change, what: What | None) -> Outcome | None:
    """The outcome of one batch, None without a result."""
    match change.action:
        case Action.ADOPT:
            return Outcome(change=change, result=Result.ADOPTED)
        case Action.FORGET if not isinstance(what, (Started, AlreadyStarted)):  # a start matters more
            return Outcome(change=change, result=Result.FORGOTTEN)
        case Action.BLOCKED:
            return Outcome(change=change, result=Result.BLOCKED)
        case Action.VERIFY:
            return Outcome(change=change, result=Result.UNKNOWN, problem=getattr(what, "problem", None))
        case Action.WAIT if change.obstacle in {Obstacle.NOT_APPROVED, Obstacle.TOO_LARGE}:
            return Outcome(change=change, result=Result.NOT_APPROVED)
        case Action.HOLD | Action.WAIT:
            return None
        case Action.KEEP if not isinstance(what, (Started, AlreadyStarted)):
            return None  # it was running before this run
        case Action.KEEP | Action.START | Action.FORGET:
            return _attempted(change, what)
    assert_never(change.action)


def _attempted(change: Change, what: What | None) -> Outcome:
    match what:
        case Started():
            return Outcome(change=change, result=Result.STARTED, evidence=what.evidence)
        case AlreadyStarted():
            return Outcome(change=change, result=Result.ALREADY_STARTED)
        case Rejected():
            return Outcome(change=change, result=Result.REJECTED, cause=what.cause, problem=what.problem)
        case Intended() | Unknown():
            return Outcome(change=change, result=Result.UNKNOWN, problem=getattr(what, "problem", None))
        case NotAttempted():
            return Outcome(change=change, result=Result.NOT_ATTEMPTED, problem=what.problem)
        case _:
            return Outcome(change=change, result=Result.NOT_ATTEMPTED)
