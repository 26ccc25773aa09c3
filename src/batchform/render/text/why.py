"""Why one batch would be dealt with as it would: what is declared, known and seen of it, and the row that decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from batchform.model import Service, Source
from batchform.plan import Action, Reason
from batchform.render.escape import printable
from batchform.render.layout import wrap
from batchform.render.text.state import PHASES
from batchform.render.words import count, moment, place_of, problem_words, size, span
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
    """All that is known of one batch. `change` is None when the plan has nothing to say of it.

    `refreshed` tells that the account was listed, so that no reading means that the list does not name it.
    """

    name: str
    change: Change | None
    batch: Batch | None
    entry: Entry | None
    reading: Reading | None
    refreshed: bool


def why_text(case: Case, plan: Plan, style: Style) -> str:
    """One paragraph: what would be done, the configuration, the state, the server, the row, what would change it."""
    sentences = [
        _verdict(case),
        _declared(case.batch),
        _known(case.entry),
        _heard(case),
        *_aged(case.change, plan),
        _row(case),
        _way_out(case, plan),
    ]
    first, *rest = wrap(" ".join(sentence for sentence in sentences if sentence))
    name = printable(case.name)
    return "\n".join([first.replace(name, style.bold(name), 1), *rest])


def _verdict(case: Case) -> str:
    name = printable(case.name)
    change = case.change
    if change is None:
        return f"{name}: nothing would be done."
    match change.action:
        case Action.START:
            return f"{name} would be started, which spends credits for {_size(change)}."
        case Action.ADOPT:
            return f"{name} would be adopted: recorded as running, and nothing spent."
        case Action.VERIFY:
            return f"{name} would be verified: its status is read before anything else is decided."
        case Action.FORGET:
            return f"{name} would be forgotten: marked as no longer declared, and the server not touched."
        case Action.KEEP:
            return f"{name} is as declared: nothing would be done."
        case Action.HOLD | Action.WAIT:
            return f"{name} would not be started now."
        case Action.BLOCKED:
            return f"{name} is blocked: it would not be started."
    assert_never(change.action)


def _size(change: Change) -> str:
    if change.records is None:
        return "a number of records that nobody has told"
    return f"{size(change.records)} ({change.records_source.value})"


def _declared(batch: Batch | None) -> str:
    if batch is None:
        return "It is not declared (any more)."
    more = [
        *(["with `hold: true`"] if batch.hold else []),
        *([f"not to be started before {moment(batch.not_before)}"] if batch.not_before is not None else []),
    ]
    said = f", {' and '.join(more)}" if more else ""
    return f"It is declared in {place_of(batch.place)} with batch_id {printable(batch.batch_id)}{said}."


def _known(entry: Entry | None) -> str:
    if entry is None:
        return "The state holds nothing of it."
    words = f"The state has it as {entry.phase.value.replace('_', ' ')} ({PHASES[entry.phase]})"
    at = entry.settled_at or entry.intended_at or entry.seen_at
    words += f" since {moment(at)}" if at is not None else ""
    words += f", last status {printable(entry.status, 60)}" if entry.status else ""
    words += f", after {count(entry.attempts, 'attempt')}" if entry.attempts else ""
    words += f", in run {printable(entry.run, 40)}."
    if entry.contradiction:
        words += " It was recorded as started, but the server has said submitted since."
    if entry.problem is not None:
        words += f" The last problem was: {problem_words(entry.problem).rstrip('.')}."
    return words


def _heard(case: Case) -> str:
    reading = case.reading
    if reading is None:
        if case.refreshed:
            unread = case.change is not None and case.change.action is Action.VERIFY
            return f"The account's list does not name it{', and no single read was answered' if unread else ''}."
        return "The server was not asked (--refresh asks it)."
    who = "The account's list" if reading.source is Source.LIST else "A single status read"
    if not reading.found:
        return f"{who} did not find it."
    if reading.status is None:
        return f"{who} names it without a status."
    said = [printable(reading.status, 60)]
    said += [f"because of {printable(reading.reason, 100)}"] if reading.reason else []
    if reading.records_processed is not None and reading.records is not None:
        said += [f"{reading.records_processed:,} of {size(reading.records)} processed"]
    elif reading.records is not None:
        said += [size(reading.records)]
    said += [f"submitted {moment(reading.date_submitted)}"] if reading.date_submitted is not None else []
    return f"{who} says: {', '.join(said)}."


def _aged(change: Change | None, plan: Plan) -> list[str]:
    """How long it can still be started, where that matters."""
    waits = change is not None and change.action in {Action.START, Action.VERIFY, Action.HOLD, Action.WAIT}
    if change is None or change.deadline is None or not waits or plan.service is not Service.PHONE:
        return []
    left = change.deadline - plan.at
    if left.total_seconds() <= 0:
        return [f"Its 28 days were over {span(left)} ago."]
    return [f"It can be started for {span(left)} more."]


# --- The decision table, in words ------------------------------------------------------------------------------------

_ROWS: Mapping[Reason, str] = {
    Reason.NEW: "nothing stands against a start, and nothing was seen or tried before: START",
    Reason.SUBMITTED: "it waits for its start, and nothing stands against it: START",
    Reason.RETRY: "an earlier attempt had no effect and may be repeated: START",
    Reason.RELEASED: "two status reads have shown that the uncertain attempt had no effect: START",
    Reason.STOPPED_AFTER_START: "status stopped, recorded as started: KEEP, with a warning",
    Reason.HELD: "`hold: true`: HOLD",
    Reason.STOPPED: "status stopped, not started by us: BLOCKED, for what a restart does is not documented",
    Reason.UNRECOGNISED: "a status that nobody knows: BLOCKED",
    Reason.BAD_ID: "rejected for good, the server does not accept its batch_id: BLOCKED",
    Reason.NOT_FOUND: "the server does not know it: BLOCKED",
    Reason.EXPIRED: "28 days after its submission it can no longer be started: BLOCKED",
    Reason.NOT_YET: "`not_before` lies in the future: WAIT",
    Reason.ABSENT: "asked for, and absent from the list: VERIFY, for a list need not hold everything",
    Reason.UNCLEAR: "listed without a status: VERIFY",
    Reason.NOT_APPROVED: "the approved plan did not offer this start: WAIT",
    Reason.NOT_DECLARED: "not declared, and in the state so far: FORGET",
}


def _row(case: Case) -> str:
    """The row of the decision table that fitted first."""
    change = case.change
    if change is None:
        return "The row that decides: not declared, and marked so already: nothing."
    return f"The row that decides: {_row_words(change)}."


def _row_words(change: Change) -> str:
    match change.reason:
        case Reason.RUNNING | Reason.COMPLETED if change.action is Action.ADOPT:
            return "status processing or completed, not in the state: ADOPT"
        case Reason.RUNNING | Reason.COMPLETED:
            return "status processing or completed, in the state: KEEP"
        case Reason.UNCERTAIN:
            declared = "an" if change.place is not None else "not declared, but an"
            return f"{declared} attempt of ours has no known outcome: VERIFY"
        case Reason.CONTRADICTION:
            end = "BLOCKED, a single read has confirmed it" if change.action is Action.BLOCKED else "VERIFY"
            return f"recorded as started (or found stopped), yet said to be submitted: {end}"
        case reason:
            return _ROWS[reason]


def _way_out(case: Case, plan: Plan) -> str:
    """What would change it."""
    change = case.change
    if change is None:
        return _forgotten(case.entry, plan.at)
    if change.action is Action.START and plan.failed_guards:
        names = " ".join(f"--override-guard {check.guard.name.value}" for check in plan.failed_guards)
        return f"All the same a guard forbids this apply as it is; {names} lets it pass once."
    return _WAYS[change.reason]


_TO_STOP_IT = "`hold: true`, a later `not_before` or taking the line out would keep it from being started."

_WAYS: Mapping[Reason, str] = {
    Reason.NEW: _TO_STOP_IT,
    Reason.SUBMITTED: _TO_STOP_IT,
    Reason.RETRY: _TO_STOP_IT,
    Reason.RELEASED: _TO_STOP_IT,
    Reason.RUNNING: "Nothing starts it again; only `batchform state rm` makes batchform forget that it runs.",
    Reason.COMPLETED: "Nothing starts it again; only `batchform state rm` makes batchform forget that it ran.",
    Reason.STOPPED_AFTER_START: "It is never started again; what is missing has to be uploaded as a new batch.",
    Reason.UNCERTAIN: "The next `batchform apply` or `refresh` settles it by status reads.",
    Reason.CONTRADICTION: (
        "Find out with the vendor whether it ran; `batchform state rm` then lets it be started again."
    ),
    Reason.HELD: "Taking `hold: true` out would have it started.",
    Reason.STOPPED: "Recreate it and declare the new batch_id; `hold: true` silences it.",
    Reason.UNRECOGNISED: "Ask the vendor what the status means; `hold: true` silences it.",
    Reason.BAD_ID: "Compare the batch_id with the one the upload gave out.",
    Reason.NOT_FOUND: "Check the batch_id, the service, and that the token belongs to its account.",
    Reason.EXPIRED: "Recreate it and declare the new batch_id; `hold: true` silences it.",
    Reason.NOT_YET: "It is started by the first apply after that time.",
    Reason.ABSENT: "A status read that finds it decides.",
    Reason.UNCLEAR: "A status read that tells its status decides.",
    Reason.NOT_APPROVED: "Plan again to have it approved.",
    Reason.NOT_DECLARED: "Declaring it again keeps it; what was started is never started again.",
}


def _forgotten(entry: Entry | None, now: datetime) -> str:
    if entry is None:
        return ""
    left = FORGET_AFTER - (now - entry.updated_at)
    kept = f"for {span(left)} more" if left.total_seconds() > 0 else "until the next apply"
    return f"Its entry is kept {kept}, so that declaring it again never pays twice."
