"""A plan: one line for each batch, then the totals, the records at stake, and what the plan does not cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.model import MAX_RECORDS, RATE_LIMIT, GuardName
from batchform.plan import Action, Reason
from batchform.render.escape import pad, printable, width
from batchform.render.layout import Line, pack, table, wrap
from batchform.render.text.drift import drift_lines
from batchform.render.words import (
    ACTIONS,
    OFFLINE,
    batches,
    blocked_by_guard,
    count,
    counts,
    credits_words,
    place_of,
    plan_totals,
    quoted,
    set_in,
    size,
    stake,
    told_by_author,
    why,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.drift import Drift
    from batchform.plan import Change, GuardCheck, Plan
    from batchform.render.style import Style

_LONG: Final = 20
"""From this many lines on, the starts come first and some actions are counted."""

_COUNTED: Final = (Action.ADOPT, Action.HOLD, Action.KEEP)
"""The actions that need no attention. A long plan counts their batches."""


def plan_text(
    plan: Plan, style: Style, *, recovered: int = 0, drift: Sequence[Drift] = (), applying: bool = False
) -> str:
    """The plan. Batches that are as declared are not shown.

    Args:
        plan: The plan.
        style: Colour or none.
        recovered: How many events of a run that is at work or was interrupted it includes.
        drift: Where the account differs from the state.
        applying: Whether it is the plan of an apply, which always reads the server.
    """
    blocks = [
        _before(plan, recovered, style),
        _drifted(drift, plan, style),
        change_lines(plan, style),
        _totals(plan, style, singly=applying and not plan.refreshed),
        _after(plan, style, applying=applying),
        _refused(plan, style),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def notices_text(plan: Plan, style: Style) -> str:
    """The plan's warnings, each beginning with `Warning: `."""
    lines = []
    for notice in plan.notices:
        about = f"{printable(notice.name)} " if notice.name is not None else ""
        first, *rest = wrap(f"Warning: {about}{printable(notice.text)}", style.columns, rest="  ")
        lines += [first.replace("Warning:", style.yellow("Warning:"), 1), *rest]
    return "\n".join(lines)


def change_lines(plan: Plan, style: Style) -> list[str]:
    """One line for each change but KEEP. A long plan shows the starts first, and counts what needs no attention."""
    shown = [change for change in plan.changes if change.action is not Action.KEEP]
    counted = []
    if len(shown) >= _LONG:
        counted = [action for action in _COUNTED if plan.having(action)]
        shown = [one for one in shown if one.action not in counted]
        shown.sort(key=lambda one: one.action is not Action.START)
    columns = max((width(size(change.records)) for change in shown if change.action is Action.START), default=0)
    lines = [_line(change, plan, columns) for change in shown]
    return table([*lines, *(_count(plan, action) for action in counted)], style)


def _count(plan: Plan, action: Action) -> Line:
    mark = ACTIONS[action]
    number = batches(len(plan.having(action)))
    return Line(symbol=mark.symbol, tone=mark.tone, name=number, word=mark.counted, detail="")


def _line(change: Change, plan: Plan, size_columns: int) -> Line:
    mark, detail = ACTIONS[change.action], why(change, plan)
    if change.action is Action.START:
        detail = f"{pad(size(change.records), size_columns, right=True)}   {detail}".rstrip()
    return Line(
        symbol=mark.symbol,
        tone=mark.tone,
        name=printable(change.name),
        word=word_of(change),
        detail=detail,
        place=place_of(change.place),
        elastic=bool(quoted(change)),
    )


def _before(plan: Plan, recovered: int, style: Style) -> list[str]:
    lines = []
    if plan.serial is None:
        lines.append("No state file yet: starting fresh.")
    if recovered:
        lines += wrap(
            f"Includes {count(recovered, 'event')} of a run that is at work or was interrupted.", style.columns
        )
    return lines


def _drifted(drift: Sequence[Drift], plan: Plan, style: Style) -> list[str]:
    if not drift:
        return []
    differ = count(len(drift), "batch differs", "batches differ")
    return [f"Drift: {differ} from the state.", *drift_lines(drift, plan, style)]


def _totals(plan: Plan, style: Style, *, singly: bool) -> list[str]:
    if not plan.has_changes:
        guards = (text for check in plan.failed_guards for text in _guard(check))
        first, *rest = pack([*_no_changes(plan), *guards], style.columns)
        return [first.replace("No changes.", style.bold("No changes."), 1), *rest]
    first, *rest = wrap(plan_totals(plan), style.columns, rest="  ")
    lines = [first.replace("Plan:", style.bold("Plan:"), 1), *rest]
    guards = (text for one in plan.guards if one.holds for text in _guard(one))
    sentences = pack([*stake_sentences(plan), *guards], style.columns)
    records = size(sum(change.records or 0 for change in plan.having(Action.START)))
    lines += [line.replace(f"At stake: {records}", f"At stake: {style.bold(records)}", 1) for line in sentences]
    for check in plan.guards:
        if not check.holds:
            lines += pack(_guard(check), style.columns)
    if singly:
        return lines  # a read for each batch was sent already
    return [*lines, *wrap(_requests(plan), style.columns, rest="  ")]


def _no_changes(plan: Plan) -> list[str]:
    kept = len(plan.having(Action.KEEP))
    said = [f"{count(kept, 'batch is', 'batches are')} as declared."] if kept else []
    if not plan.changes:
        said = ["No batches are selected." if plan.targeted else "No batches are declared."]
    said += [f"{number}." for number in counts(plan, Action.HOLD, Action.WAIT, Action.BLOCKED)]
    return [f"No changes. {said[0]}", *said[1:]] if said else ["No changes. "]


def stake_sentences(plan: Plan) -> list[str]:
    """How many records the starts spend, and how many more the verified batches may spend."""
    starts = plan.having(Action.START)
    sized = sum(change.records is not None for change in starts)
    known = stake(starts, f" ({batches(sized)}{told_by_author(starts)})")
    sentences = [f"At stake: {known}."] if known else []
    if estimate := credits_words(starts, plan.rate, basis=True):
        sentences.append(f"Estimate: {estimate}.")
    maybe = [change for change in plan.having(Action.VERIFY) if change.may_start]
    if maybe:
        most = sum(MAX_RECORDS if change.records is None else change.records for change in maybe)
        sentences.append(f"Verifying may add up to {size(most)}.")
    return sentences


def _guard(check: GuardCheck) -> list[str]:
    """The result of one guard."""
    guard = check.guard
    noun = "start" if guard.name is GuardName.MAX_STARTS else "record"
    head = f"Guard {guard.name.value} {guard.limit:,}"
    unknown = [f"A batch of unknown size counts as {count(MAX_RECORDS, 'record')}."] if check.unknown else []
    if check.holds:
        return [f"{head}{'' if guard.place else f' ({set_in(guard)})'}: ok.", *unknown]
    verdict = "overridden for this run" if check.overridden else "exceeded"
    return [f"{head}: {verdict}, {count(check.measured, noun)} (set in {set_in(guard)}).", *unknown]


def _requests(plan: Plan) -> str:
    """The requests it takes. A verified batch is read once, one with an unknown attempt twice."""
    verify = plan.having(Action.VERIFY)
    reads = len(verify) + sum(change.reason is Reason.UNCERTAIN for change in verify)
    starts = len(plan.having(Action.START))
    total = 1 + reads + starts
    parts = ["1 list", *([count(reads, "read")] if reads else []), *([count(starts, "start")] if starts else [])]
    words = f"API: {' + '.join(parts)} = " if total > 1 else "API: "
    if total <= RATE_LIMIT:
        return f"{words}{count(total, 'request')} of {RATE_LIMIT} per minute."
    return f"{words}{count(total, 'request')}, about {-(-total // RATE_LIMIT):,} minutes at {RATE_LIMIT} per minute."


def _after(plan: Plan, style: Style, *, applying: bool) -> list[str]:
    """What the plan does not cover."""
    lines = []
    if plan.targeted:
        lines += pack(["Only the selected batches are in this plan. The others stay as they are."], style.columns)
    if not plan.refreshed:
        singly = ["The account was not listed: the status of each batch to start was read instead."]
        lines += pack(singly if applying else [OFFLINE, "`batchform plan --refresh` reads the server."], style.columns)
    return lines


def _refused(plan: Plan, style: Style) -> list[str]:
    return wrap(blocked_by_guard(plan), style.columns, rest="  ") if plan.failed_guards else []
