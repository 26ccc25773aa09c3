"""The report of a run, however it ended: one line for each batch, the totals, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from batchform.apply import Result
from batchform.engine import Stopped, Unrecordable
from batchform.errors import StateGoneError
from batchform.plan import Reason
from batchform.render.escape import pad, printable, width
from batchform.render.layout import Line, labelled, table, wrap
from batchform.render.outcomes import RESULTS, closing_words, end_text, headline
from batchform.render.style import Tone
from batchform.render.words import CAUSES, REASONS, batches, count, next_step, problem_words, size, stake, why, word_of
from batchform.state.known import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.apply import Outcome, Report
    from batchform.plan import Change
    from batchform.render.style import Style

FOLDED_FROM: Final = 40
"""If more lines than this have no problem, each result gets one line for all its batches."""

_FEW: Final = 5
"""A result with no more lines than this is never folded."""

_ORDINARY: Final = frozenset({Result.STARTED, Result.ADOPTED, Result.FORGOTTEN, Result.NOT_ATTEMPTED})


def report_text(report: Report, style: Style, *, state_path: str) -> str:
    """What was done, what was not done, and what to do next.

    Args:
        report: The report of the run.
        style: Colour or none.
        state_path: Where the outcomes were recorded.
    """
    blocks = [
        outcome_lines(report, style),
        _closing(report, style),
        _ended(report, state_path, style),
        _next(report, style),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def outcome_lines(report: Report, style: Style) -> list[str]:
    """One line for each batch; many batches without a problem share one line for each result."""
    columns = max((width(size(o.change.records)) for o in report.having(Result.STARTED)), default=0)
    folded = _folded(report)
    lines = [_fold(some) for some in folded.values()]
    lines += [_line(o, report, columns) for o in report.outcomes if not (o.result in folded and _ordinary(o))]
    return table(lines, style)


def _folded(report: Report) -> dict[Result, list[Outcome]]:
    """The outcomes that share a line, by result."""
    ordinary = [outcome for outcome in report.outcomes if _ordinary(outcome)]
    if len(ordinary) <= FOLDED_FROM:
        return {}
    kinds = {kind: [outcome for outcome in ordinary if outcome.result is kind] for kind in RESULTS}
    return {kind: some for kind, some in kinds.items() if len(some) > _FEW}


def _ordinary(outcome: Outcome) -> bool:
    """Whether there is nothing to report but the result."""
    return outcome.result in _ORDINARY and outcome.problem is None and outcome.recorded


# --- One line --------------------------------------------------------------------------------------------------------


def _fold(outcomes: Sequence[Outcome]) -> Line:
    result = outcomes[0].result
    detail = stake([outcome.change for outcome in outcomes]) if result is Result.STARTED else ""
    return _marked(result, batches(len(outcomes)), RESULTS[result].word, detail)


def _line(outcome: Outcome, report: Report, columns: int) -> Line:
    word = word_of(outcome.change) if outcome.result is Result.BLOCKED else RESULTS[outcome.result].word
    detail = _detail(outcome, report, columns) + ("" if outcome.recorded else ", NOT RECORDED")
    return _marked(outcome.result, printable(outcome.change.name), word, detail)


def _marked(result: Result, name: str, word: str, detail: str) -> Line:
    mark = RESULTS[result].mark
    return Line(symbol=mark.symbol, tone=mark.tone, name=name, word=word, detail=detail)


def _detail(outcome: Outcome, report: Report, columns: int) -> str:
    """The phrase for one outcome."""
    problem = problem_words(outcome.problem) if outcome.problem is not None else ""
    match outcome.result:
        case Result.STARTED:
            by_status = "   confirmed by its status" if outcome.evidence is Evidence.STATUS else ""
            return pad(size(outcome.change.records), columns, right=True) + by_status
        case Result.ALREADY_STARTED:
            return "started elsewhere, nothing was spent"
        case Result.ADOPTED:
            return f"found {REASONS[outcome.change.reason].word}, nothing was spent"
        case Result.FORGOTTEN:
            return "undeclared; no request was sent"
        case Result.REJECTED:
            cause = CAUSES[outcome.cause or Cause.REFUSED].word
            return f"{cause}, {problem}" if problem else cause
        case Result.BLOCKED | Result.NOT_APPROVED:
            return why(outcome.change)
        case Result.NOT_ATTEMPTED:
            return problem or ("the run ended before its turn" if report.end is not None else "could not be sent")
        case Result.UNKNOWN:
            refused = "status reads cannot settle it" if outcome.change.stuck else ""
            return problem or refused or "the run ended before its outcome was known"
    assert_never(outcome.result)


# --- The totals ------------------------------------------------------------------------------------------------------


def _closing(report: Report, style: Style) -> list[str]:
    first, *rest = wrap(closing_words(report), style.columns, rest="  ")
    head = headline(report)
    tone = Tone.GREEN if report.complete else Tone.YELLOW
    return [first.replace(head, style.paint(tone, head), 1), *rest]


# --- What to do next -------------------------------------------------------------------------------------------------


def _ended(report: Report, state_path: str, style: Style) -> list[str]:
    """Why the run ended early, and where the outcomes so far are recorded."""
    if report.end is None:
        return []
    path = printable(state_path)
    unrecorded = sum(not outcome.recorded for outcome in report.outcomes)
    if unrecorded or isinstance(report.end, Unrecordable):
        lost = f"{count(unrecorded, 'outcome is', 'outcomes are')} shown above but not recorded in {path}. "
        kept = "The intents are recorded: the next apply reads the status of these batches before it sends a start."
        if isinstance(report.end, Unrecordable) and isinstance(report.end.error, StateGoneError):
            kept = ""
        why = end_text(report.end, accepted=report.accepted)
        return wrap(f"{why} {lost if unrecorded else ''}{kept}".rstrip(), style.columns, rest="  ")
    started = len(report.having(Result.STARTED))
    none = "No batch is known to be" if report.having(Result.UNKNOWN) else "No batch was"
    kept = f"{count(started, 'batch was', 'batches were') if started else none} started."
    why = end_text(report.end, accepted=report.accepted)
    return wrap(f"{why} {kept} Every outcome is recorded in {path}.", style.columns, rest="  ")


def _unsettled(report: Report) -> list[Change]:
    """The changes whose next step depends on the batch."""
    changes = [outcome.change for outcome in report.having(Result.UNKNOWN, Result.BLOCKED)]
    return [change for change in changes if change.stuck or change.reason is Reason.CONTRADICTION]


def _next(report: Report, style: Style) -> list[str]:
    """What to do about each result, cause and reason: a label and a text, in two columns."""
    causes = {outcome.cause for outcome in report.having(Result.REJECTED)}
    reasons = {outcome.change.reason for outcome in report.having(Result.BLOCKED)}
    if isinstance(report.end, Stopped):
        causes.discard(Cause.REFUSED)  # the sentence about the end has the advice
    found = [
        *(shown for result, shown in RESULTS.items() if report.having(result)),
        *(wording for cause, wording in CAUSES.items() if cause in causes),
        *(wording for reason, wording in REASONS.items() if reason in reasons - {Reason.CONTRADICTION}),
    ]
    steps = {one.word: one.next for one in found if one.next}
    if all(outcome.change.stuck for outcome in report.having(Result.UNKNOWN)):
        steps.pop(RESULTS[Result.UNKNOWN].word, None)
    steps |= {printable(one.name): next_step(one) for one in _unsettled(report)[:_FEW]}
    if not steps:
        return []
    return ["What to do next:", *labelled(steps.items(), style)]
