"""The words that text, Markdown and JSON share: numbers, times, places, and one table for each kind of fact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from batchform.model import DEADLINE, MAX_RECORDS, Service
from batchform.plan import LAG, NEAR, Action, Reason, RecordsSource, span
from batchform.render.escape import printable
from batchform.render.style import Tone
from batchform.state.codec import encode_time
from batchform.state.known import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from batchform.estimate import Rate
    from batchform.model import Guard, ServerProblem
    from batchform.plan import Change, Plan
    from batchform.source_text import Place

_LONGEST_TEXT: Final = 400
"""The most columns for any text from the server."""


# --- Numbers, times, places ------------------------------------------------------------------------------------------


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 record`, `9,800 records`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def batches(number: int) -> str:
    """`1 batch`, `2 batches`."""
    return count(number, "batch", "batches")


def moment(time: datetime) -> str:
    """`2026-12-01 06:00 UTC`."""
    return encode_time(time)[:16].replace("T", " ") + " UTC"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def place_of(place: Place | None) -> str:
    """`batches.yaml:12`, or an empty string for no place."""
    return f"{printable(place.file)}:{place.line}" if place is not None else ""


def problem_words(problem: ServerProblem) -> str:
    """`503 Service Unavailable: try later`, printable."""
    title = printable(problem.title.strip(), _LONGEST_TEXT)
    detail = printable(problem.detail.strip().rstrip("."), _LONGEST_TEXT)
    head = " ".join(part for part in (str(problem.status or ""), title) if part)
    return ": ".join(part for part in (head, detail) if part) or "no details"


def set_in(guard: Guard) -> str:
    """Where the limit of a guard is set."""
    return place_of(guard.place) or guard.name.variable


# --- Records ---------------------------------------------------------------------------------------------------------


def size(records: int | None) -> str:
    """How many records, or that the number is unknown."""
    return "records unknown" if records is None else count(records, "record")


def stake(changes: Sequence[Change], note: str = "") -> str:
    """`9,800 records + 1 batch of unknown size (up to 10,000 records)`, or nothing. `note` follows the records."""
    known = [change.records for change in changes if change.records is not None]
    unknown = len(changes) - len(known)
    parts = [size(sum(known)) + note] if known else []
    most = f"(up to {count(MAX_RECORDS, 'record')}{' each' if unknown > 1 else ''})"
    return " + ".join([*parts, *([f"{batches(unknown)} of unknown size {most}"] if unknown else [])])


def told_by_author(starts: Sequence[Change]) -> str:
    """How many of the records at stake come from the configuration alone; empty if none do."""
    declared = sum(one.records or 0 for one in starts if one.records_source is RecordsSource.DECLARED)
    if not declared:
        return ""
    return ", as declared" if declared == sum(one.records or 0 for one in starts) else f", {declared:,} as declared"


def credits_words(changes: Sequence[Change], rate: Rate | None, *, basis: bool = False) -> str:
    """`about 16,900 credits (16,400 to 17,200), 338.00 EUR`, or nothing. `basis`: also where the estimate comes from.

    Batches of unknown size are not part of it.
    """
    records = sum(change.records or 0 for change in changes)
    if rate is None or not records:
        return ""
    about, least, most = (round(records * each) for each in (rate.per_record, rate.least, rate.most))
    spread = f" ({least:,} to {most:,})" if least != most else ""
    money = f", {about * rate.price:,.2f} {rate.currency}" if rate.price is not None else ""
    source = ", as configured"
    if rate.learnt:
        source = f", by the charges of the last {rate.learnt:,} batches"
    return f"about {count(about, 'credit')}{spread}{money}{source if basis else ''}"


# --- Actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How an action is shown in a table, and the word behind its number in a summary."""

    symbol: str
    tone: Tone
    counted: str


ACTIONS: Mapping[Action, Mark] = {
    Action.START: Mark(symbol="+", tone=Tone.GREEN, counted="to start"),
    Action.ADOPT: Mark(symbol="=", tone=Tone.CYAN, counted="to adopt"),
    Action.VERIFY: Mark(symbol="?", tone=Tone.YELLOW, counted="to verify"),
    Action.FORGET: Mark(symbol="-", tone=Tone.DIM, counted="to forget"),
    Action.KEEP: Mark(symbol="=", tone=Tone.DIM, counted="as declared"),
    Action.HOLD: Mark(symbol=".", tone=Tone.DIM, counted="on hold"),
    Action.WAIT: Mark(symbol=".", tone=Tone.DIM, counted="waiting"),
    Action.BLOCKED: Mark(symbol="!", tone=Tone.RED, counted="blocked"),
}


def counts(plan: Plan, *actions: Action) -> list[str]:
    """`2 to adopt` for each action that occurs."""
    return [f"{number:,} {ACTIONS[action].counted}" for action in actions if (number := len(plan.having(action)))]


def plan_totals(plan: Plan) -> str:
    """`Plan: 0 to start, 1 to adopt.` The number of starts is always there, other zeros are left out."""
    starts = f"{len(plan.having(Action.START)):,} {ACTIONS[Action.START].counted}"
    others = counts(plan, Action.ADOPT, Action.VERIFY, Action.FORGET, Action.BLOCKED)
    return f"Plan: {', '.join([starts, *others])}."


OFFLINE: Final = "Offline plan: based on the state file only."


def blocked_by_guard(plan: Plan) -> str:
    """That a guard blocks apply, and the option that overrides it once."""
    failed = [f"--override-guard {check.guard.name.value}" for check in plan.failed_guards]
    what, them = ("A guard blocks", "it") if len(failed) == 1 else (f"{len(failed)} guards block", "them")
    return f"{what} this apply. To override {them} once: `{' '.join(failed)}`"


# --- Reasons and causes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One fact: in a word or two, in a phrase of at most 42 columns, and what to do next.

    `rule` is the condition of the decision table, where the phrase is not enough.
    """

    word: str
    text: str = ""
    rule: str = ""
    next: str = ""


_TO_PREVENT: Final = "To prevent the start, set `hold: true` or a later `not_before`, or remove the declaration."
_NEVER_AGAIN: Final = "It is never started again. Only `batchform state rm` removes it from the state."
_RECREATE: Final = "Recreate it and declare the new batch_id, or set `hold: true`."
_READ_FIRST: Final = "The next `batchform apply` reads its status first."

REASONS: Mapping[Reason, Wording] = {
    Reason.NEW: Wording(word="not started", rule="declared, never attempted, and no status is known", next=_TO_PREVENT),
    Reason.SUBMITTED: Wording(word="submitted", rule="the server waits for a start", next=_TO_PREVENT),
    Reason.RETRY: Wording(word="not started", text="retry", rule="an earlier attempt had no effect", next=_TO_PREVENT),
    Reason.RELEASED: Wording(
        word="not started",
        text="retry, the earlier attempt had no effect",
        rule="two status reads showed that the unknown attempt had no effect",
        next=_TO_PREVENT,
    ),
    Reason.RUNNING: Wording(
        word="processing", text="already processing, nothing is spent", rule="status processing", next=_NEVER_AGAIN
    ),
    Reason.COMPLETED: Wording(
        word="completed", text="already completed, nothing is spent", rule="status completed", next=_NEVER_AGAIN
    ),
    Reason.STOPPED_AFTER_START: Wording(
        word="stopped",
        text="started, then stopped by the server",
        rule="status stopped, recorded as started",
        next="It is never started again. Upload the missing records as a new batch.",
    ),
    Reason.UNCERTAIN: Wording(
        word="unknown",
        text="the outcome of an attempt is unknown",
        next="The next `batchform apply` or `batchform refresh` verifies it with status reads.",
    ),
    Reason.CONTRADICTION: Wording(
        word="contradiction",
        text="recorded as started, but now submitted",
        rule="recorded as started (or found stopped), but the server says submitted",
        next="Ask the vendor's support whether it was started.",
    ),
    Reason.ABSENT: Wording(
        word="not in the list",
        text="not listed, and no status was read",
        rule="not listed, and no status was read",
        next=_READ_FIRST,
    ),
    Reason.UNCLEAR: Wording(word="no status", text="the list gives no clear status or date", next=_READ_FIRST),
    Reason.HELD: Wording(
        word="on hold", text="set in the configuration", rule="`hold: true`", next="To start it, remove `hold: true`."
    ),
    Reason.STOPPED: Wording(
        word="stopped",
        text="by the server",
        rule="status stopped, not started by this state; a restart is undocumented",
        next=_RECREATE,
    ),
    Reason.UNRECOGNISED: Wording(
        word="unrecognised",
        text="not a known status",
        rule="the status is not a known one",
        next="Ask the vendor what the status means, or set `hold: true`.",
    ),
    Reason.BAD_ID: Wording(
        word="bad id",
        text="the server does not accept this batch_id",
        next="Compare the batch_id with the one that the upload returned.",
    ),
    Reason.NOT_FOUND: Wording(
        word="not found",
        text="the server does not know this batch_id",
        next="Check the batch_id, the service, and that the token belongs to its account.",
    ),
    Reason.EXPIRED: Wording(word="expired", text=f"past the {DEADLINE.days}-day limit", next=_RECREATE),
    Reason.NOT_YET: Wording(
        word="waiting",
        text="not due yet",
        rule="`not_before` is in the future",
        next="The first `batchform apply` after that time starts it.",
    ),
    Reason.NOT_APPROVED: Wording(
        word="not approved", text="not in the approved plan", next="Make a new plan to have it approved."
    ),
    Reason.TOO_LARGE: Wording(
        word="not approved",
        text="larger than approved",
        next="Make a new plan to have it approved.",
    ),
    Reason.NOT_DECLARED: Wording(
        word="undeclared",
        text="undeclared; no request is sent",
        rule="undeclared, and in the state",
        next="To keep it, declare it again. A batch that was started is never started again.",
    ),
}

CAUSES: Mapping[Cause, Wording] = {
    Cause.NOT_STARTED: Wording(
        word="not started",
        text="the server did not start it",
        next="Run `batchform apply` again to retry.",
    ),
    Cause.REFUSED: Wording(
        word="refused",
        text="the server refused the request",
        next="Fix what the server reports, then run `batchform apply` again.",
    ),
    Cause.EXPIRED: REASONS[Reason.EXPIRED],
    Cause.BAD_ID: REASONS[Reason.BAD_ID],
    Cause.NOT_FOUND: REASONS[Reason.NOT_FOUND],
}
"""Why a start was rejected."""


def word_of(change: Change) -> str:
    """A word for what would be done, or for why nothing is done."""
    if change.is_change or change.action is Action.KEEP:
        return change.action.value
    return REASONS[change.reason].word


def quoted(change: Change) -> str:
    """The server's own words at the end of the phrase, printable; empty if there are none."""
    match change.reason:
        case Reason.STOPPED | Reason.STOPPED_AFTER_START:
            said = change.server_reason
        case Reason.UNRECOGNISED:
            said = change.status
        case _:
            said = None
    return printable((said or "").strip(), _LONGEST_TEXT)


def why(change: Change, plan: Plan | None = None) -> str:
    """The phrase for the reason, at most 42 columns without the server's words. A plan adds the time left or past."""
    text = REASONS[change.reason].text
    if change.reason is Reason.CONTRADICTION and change.recent:
        return "just started; its status may lag"
    if said := quoted(change):
        return f"{text}: {said}"
    if change.reason is Reason.NOT_YET and change.not_before is not None:
        return f"not before {moment(change.not_before)}"
    if change.reason is Reason.TOO_LARGE and change.approved is not None:
        now = change.counted if change.records is not None and change.records <= change.approved else change.records
        return f"{size(now)}, {change.approved:,} {'was' if change.approved == 1 else 'were'} approved"
    if plan is not None and change.reason is Reason.EXPIRED:
        if change.deadline is None or plan.at <= change.deadline:
            return f"{text}, says the server"
        return f"{span(plan.at - change.deadline)} {text}"
    if plan is not None and change.action is Action.START:
        return ", ".join(part for part in (text, _expiry(change, plan)) if part)
    return text


def next_step(change: Change) -> str:
    """What to do next about one batch: depends on its age and its Reference-Id."""
    remove = (
        f" Only if it was not, `batchform state rm {printable(change.name)}` lets it be started again. If it was, the"
        " second start is paid for as well."
    )
    if change.reason is Reason.CONTRADICTION:
        if change.recent:
            return f"A status may lag behind its start. Run apply again in {span(LAG)}. Remove nothing from the state."
        return f"Ask the vendor's support whether the batch was started.{remove}"
    if not change.stuck:
        return REASONS[change.reason].next
    ask = (
        "The server refused a start after an earlier one without a clear answer. Ask the vendor's support whether the"
        f" request with the Reference-Id {printable(change.stuck, 256)} started the batch."
    )
    return ask if change.recent else ask + remove


def _expiry(change: Change, plan: Plan) -> str:
    """How long a batch can still be started, if that is not long."""
    if plan.service is not Service.PHONE or change.deadline is None or (left := change.deadline - plan.at) > NEAR:
        return ""
    return f"expires in {span(left)}" if left > timedelta() else f"at the {DEADLINE.days}-day limit"
