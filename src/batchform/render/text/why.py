"""Explains the decision for one batch: configuration, state, server, the rule, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from batchform.model import DEADLINE, Service, Source
from batchform.plan import Action, Reason, RecordsSource, span
from batchform.render.escape import printable
from batchform.render.layout import labelled, wrap
from batchform.render.text.state import PHASES
from batchform.render.words import (
    REASONS,
    blocked_by_guard,
    count,
    listed,
    moment,
    next_step,
    place_of,
    problem_words,
    size,
)
from batchform.state.events import FORGET_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.model import Batch, Reading
    from batchform.plan import Change, Plan
    from batchform.render.style import Style
    from batchform.state.known import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All facts about one batch. `change` is None if the plan does not contain it.

    `refreshed`: the account was listed, so no reading means that the list does not contain the batch.
    """

    name: str
    change: Change | None
    batch: Batch | None
    entry: Entry | None
    reading: Reading | None
    refreshed: bool


def why_text(case: Case, plan: Plan, style: Style) -> str:
    """The decision, and below it what it rests on: a label and a text on each line. What is empty is left out."""
    facts = [
        ("declared", _declared(case.batch)),
        ("state", _known(case.entry)),
        ("server", _observed(case)),
        ("deadline", _deadline(case.change, plan)),
        ("rule", _rule(case.change)),
        ("next", _next(case, plan)),
    ]
    name = printable(case.name)
    first, *rest = wrap(_verdict(case), style.columns, rest="  ")
    lines = labelled([(label, text) for label, text in facts if text], style)
    return "\n".join([first.replace(name, style.bold(name), 1), *rest, *lines])


def _verdict(case: Case) -> str:
    name = printable(case.name)
    change = case.change
    if change is None:
        return f"{name}: nothing to do."
    match change.action:
        case Action.START:
            return f"{name} would be started, which spends credits for {_records(change)}."
        case Action.ADOPT:
            return f"{name} would be adopted: it is recorded without a start, and nothing is spent."
        case Action.VERIFY:
            return f"{name} would be verified: its status is read before anything is sent."
        case Action.FORGET:
            return f"{name} would be forgotten: marked as undeclared. No request is sent."
        case Action.KEEP:
            return f"{name} is as declared: nothing to do."
        case Action.HOLD | Action.WAIT:
            return f"{name} would not be started now."
        case Action.BLOCKED:
            return f"{name} is blocked: it would not be started."
    assert_never(change.action)


_SOURCES: Mapping[RecordsSource, str] = {
    RecordsSource.OBSERVED: "from the server",
    RecordsSource.KNOWN: "from the state",
    RecordsSource.DECLARED: "as declared",
}


def _records(change: Change) -> str:
    if change.records is None:
        return "an unknown number of records"
    return f"{size(change.records)} ({_SOURCES[change.records_source]})"


def _declared(batch: Batch | None) -> str:
    if batch is None:
        return "no"
    more = [
        *(["`hold: true`"] if batch.hold else []),
        *([f"`not_before` {moment(batch.not_before)}"] if batch.not_before is not None else []),
    ]
    return f"{place_of(batch.place)} with {listed([f'batch_id {printable(batch.batch_id)}', *more])}"


def _known(entry: Entry | None) -> str:
    if entry is None:
        return "not in the state"
    at = entry.settled_at or entry.intended_at or entry.seen_at
    words = PHASES[entry.phase].text
    words += f", since {moment(at)}" if at is not None else ""
    words += f", last status {printable(entry.status, 60)}" if entry.status else ""
    words += f", after {count(entry.attempts, 'attempt')}" if entry.attempts else ""
    words += f", in run {printable(entry.run, 40)}"
    if entry.contradiction:
        words += "; it was recorded as started, but the server has said submitted since"
    if entry.problem is not None:
        words += f"; the last problem: {problem_words(entry.problem).rstrip('.')}"
    return words


def _observed(case: Case) -> str:
    reading = case.reading
    if reading is None:
        if case.refreshed:
            unread = case.change is not None and case.change.action is Action.VERIFY
            return f"not in the account's list{', and no status read was answered' if unread else ''}"
        return "not read; `--refresh` reads it"
    source = "the account's list" if reading.source is Source.LIST else "a status read"
    if not reading.found:
        return f"{source} did not find it"
    if reading.status is None:
        return f"{source} has no status for it"
    said = [printable(reading.status, 60)]
    said += [f"because of {printable(reading.reason, 100)}"] if reading.reason else []
    if reading.records_processed is not None and reading.records is not None:
        said += [f"{reading.records_processed:,} of {size(reading.records)} processed"]
    elif reading.records is not None:
        said += [size(reading.records)]
    said += [f"submitted {moment(reading.date_submitted)}"] if reading.date_submitted is not None else []
    return f"{source} says {', '.join(said)}"


def _deadline(change: Change | None, plan: Plan) -> str:
    """How long it can still be started, if it was not."""
    waits = change is not None and change.action in {Action.START, Action.VERIFY, Action.HOLD, Action.WAIT}
    if change is None or change.deadline is None or not waits or plan.service is not Service.PHONE:
        return ""
    left = change.deadline - plan.at
    if left.total_seconds() <= 0:
        return f"the {DEADLINE.days} days ended {span(left)} ago"
    return f"can be started for another {span(left)}"


def _rule(change: Change | None) -> str:
    """The row of the decision table that matched."""
    if change is None:
        return "undeclared, and marked so already: no action"
    wording = REASONS[change.reason]
    rule = wording.rule or wording.text
    if change.action in {Action.ADOPT, Action.KEEP}:
        rule += ", in the state" if change.action is Action.KEEP else ", not in the state"
    elif change.reason is Reason.CONTRADICTION and change.action is Action.BLOCKED:
        rule += ", confirmed by a status read"
    elif change.action is Action.VERIFY and change.place is None:
        rule = f"undeclared, but {rule}"
    return f"{rule}: {change.action.name}"


def _next(case: Case, plan: Plan) -> str:
    """What would change the decision."""
    change = case.change
    if change is None:
        return _forgotten(case.entry, plan.at)
    if change.action is Action.START and plan.failed_guards:
        return blocked_by_guard(plan)
    return next_step(change)


def _forgotten(entry: Entry | None, now: datetime) -> str:
    if entry is None:
        return ""
    left = FORGET_AFTER - (now - entry.updated_at)
    kept = f"for another {span(left)}" if left.total_seconds() > 0 else "until the next apply"
    return f"The state keeps it {kept}, so that declaring it again never pays twice."
