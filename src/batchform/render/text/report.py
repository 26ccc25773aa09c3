"""What a run did, whichever way it ended: one line a batch it touched, the totals, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from batchform.apply import Result
from batchform.engine import Stopped, Unrecordable
from batchform.plan import Reason
from batchform.render.escape import pad, printable, width
from batchform.render.layout import Line, table, wrap
from batchform.render.outcomes import ORDER, closing_words, end_text, headline, records_of, result_word
from batchform.render.style import Tone
from batchform.render.words import count, problem_words, size, word_of
from batchform.state.known import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.apply import Outcome, Report
    from batchform.render.style import Style

FOLDED_FROM: Final = 40
"""More lines than this without a problem are folded into one line a kind."""

_FEW: Final = 5
"""Kinds with no more lines than this are never folded."""

_ORDINARY: Final = frozenset({Result.STARTED, Result.ADOPTED, Result.FORGOTTEN, Result.NOT_ATTEMPTED})

_SYMBOLS: Mapping[Result, tuple[str, Tone]] = {
    Result.STARTED: ("+", Tone.GREEN),
    Result.ALREADY_STARTED: ("=", Tone.CYAN),
    Result.ADOPTED: ("=", Tone.CYAN),
    Result.FORGOTTEN: ("-", Tone.DIM),
    Result.REJECTED: ("!", Tone.RED),
    Result.BLOCKED: ("!", Tone.RED),
    Result.NOT_APPROVED: (".", Tone.DIM),
    Result.NOT_ATTEMPTED: (".", Tone.YELLOW),
    Result.UNKNOWN: ("?", Tone.YELLOW),
}

_CAUSES: Mapping[Cause, str] = {
    Cause.BAD_ID: "bad batch_id",
    Cause.NOT_FOUND: "not found",
    Cause.EXPIRED: "expired",
    Cause.REFUSED: "refused",
    Cause.NOT_STARTED: "not started",
}


def report_text(report: Report, style: Style, *, state_path: str) -> str:
    """What was done, what was not, and what to do next.

    Args:
        report: What came of the run.
        style: Colour or none.
        state_path: Where the outcomes were recorded.
    """
    blocks = [outcome_lines(report, style), _closing(report, style), _ended(report, state_path), _next(report)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def outcome_lines(report: Report, style: Style) -> list[str]:
    """One line a batch; where there are many, those without a problem are folded into one line a kind."""
    columns = max((width(size(o.change.records)) for o in report.having(Result.STARTED)), default=0)
    folded = _folded(report)
    lines = [_fold(some) for some in folded.values()]
    lines += [_line(o, report, columns) for o in report.outcomes if not (o.result in folded and _ordinary(o))]
    return table(lines, style)


def _folded(report: Report) -> dict[Result, list[Outcome]]:
    """The outcomes that are told by their number."""
    ordinary = [outcome for outcome in report.outcomes if _ordinary(outcome)]
    if len(ordinary) <= FOLDED_FROM:
        return {}
    kinds = {kind: [outcome for outcome in ordinary if outcome.result is kind] for kind in ORDER}
    return {kind: some for kind, some in kinds.items() if len(some) > _FEW}


def _ordinary(outcome: Outcome) -> bool:
    """Whether there is nothing to tell but the kind."""
    return outcome.result in _ORDINARY and outcome.problem is None and outcome.recorded


# --- One line --------------------------------------------------------------------------------------------------------


def _fold(outcomes: Sequence[Outcome]) -> Line:
    kind = outcomes[0].result
    symbol, tone = _SYMBOLS[kind]
    detail = " + ".join(records_of(outcomes)) if kind is Result.STARTED else ""
    return Line(symbol=symbol, tone=tone, name=f"{len(outcomes):,} batches", word=result_word(kind), detail=detail)


def _line(outcome: Outcome, report: Report, columns: int) -> Line:
    symbol, tone = _SYMBOLS[outcome.result]
    word = word_of(outcome.change) if outcome.result is Result.BLOCKED else result_word(outcome.result)
    detail = _detail(outcome, report, columns)
    if not outcome.recorded:
        detail = f"{detail}, NOT RECORDED"
    return Line(symbol=symbol, tone=tone, name=printable(outcome.change.name), word=word, detail=detail)


def _detail(outcome: Outcome, report: Report, columns: int) -> str:
    """What a person should know about it."""
    problem = problem_words(outcome.problem) if outcome.problem is not None else ""
    match outcome.result:
        case Result.STARTED:
            by_status = "   confirmed by its status" if outcome.evidence is Evidence.STATUS else ""
            return pad(size(outcome.change.records), columns, right=True) + by_status
        case Result.ALREADY_STARTED:
            return "by somebody else, nothing was spent"
        case Result.ADOPTED:
            status = "completed" if outcome.change.reason is Reason.COMPLETED else "processing"
            return f"found {status}, nothing was spent"
        case Result.FORGOTTEN:
            return "no longer declared; the server was not touched"
        case Result.REJECTED:
            cause = _CAUSES[outcome.cause] if outcome.cause is not None else "refused"
            return f"{cause}, {problem}" if problem else cause
        case Result.BLOCKED:
            return _BLOCKED.get(outcome.change.reason, "")
        case Result.NOT_APPROVED:
            return "not in the approved plan"
        case Result.NOT_ATTEMPTED:
            return problem or ("the run ended before its turn" if report.end is not None else "could not be sent")
        case Result.UNKNOWN:
            return problem or "the run ended before its outcome was known"
    assert_never(outcome.result)


_BLOCKED: Mapping[Reason, str] = {
    Reason.EXPIRED: "too old to be started: recreate it",
    Reason.STOPPED: "a restart is undocumented",
    Reason.UNRECOGNISED: "the server's status is not one we know",
    Reason.CONTRADICTION: "recorded as started, but now submitted",
    Reason.BAD_ID: "the server does not accept this batch_id",
    Reason.NOT_FOUND: "the server does not know this batch_id",
}


# --- The totals ------------------------------------------------------------------------------------------------------


def _closing(report: Report, style: Style) -> list[str]:
    first, *rest = wrap(closing_words(report), rest="  ")
    head = headline(report)
    tone = Tone.GREEN if report.complete else Tone.YELLOW
    return [first.replace(head, style.paint(tone, head), 1), *rest]


# --- What to do next -------------------------------------------------------------------------------------------------


def _ended(report: Report, state_path: str) -> list[str]:
    """Why the run ended early, and what became of the outcomes so far."""
    if report.end is None:
        return []
    path = printable(state_path)
    unrecorded = [outcome for outcome in report.outcomes if not outcome.recorded]
    if unrecorded or isinstance(report.end, Unrecordable):
        lost = f"{count(len(unrecorded), 'outcome stands', 'outcomes stand')} above only and not in {path}. "
        kept = (
            f"{lost if unrecorded else ''}Intents are on disk: the next apply asks the server before it sends a start."
        )
    else:
        started = len(report.having(Result.STARTED))
        none = "No batch is known to be" if report.having(Result.UNKNOWN) else "No batch was"
        kept = f"{count(started, 'batch was', 'batches were') if started else none} started;"
        kept += f" every outcome is recorded in {path}."
    return wrap(f"{end_text(report.end)} {kept}", rest="  ")


def _next(report: Report) -> list[str]:
    """What to do about each kind of trouble: a label and a text, in two columns."""
    causes = {outcome.cause for outcome in report.having(Result.REJECTED)}
    reasons = {outcome.change.reason for outcome in report.having(Result.BLOCKED)}
    if isinstance(report.end, Stopped):
        causes.discard(Cause.REFUSED)  # its end has said it
    steps = {result_word(result): text for result, text in _AFTER_RESULT.items() if report.having(result)}
    steps |= {_AFTER[word][0]: _AFTER[word][1] for word in _AFTER if word in causes | reasons}
    if not steps:
        return []
    columns = max(map(len, steps)) + 5
    lines = ["What to do next:"]
    for label, text in steps.items():
        lines += wrap(text, first=f"  {label}".ljust(columns), rest=" " * columns)
    return lines


_AFTER_RESULT: Mapping[Result, str] = {
    Result.UNKNOWN: "Run apply again: it reads their status before anything is sent, so nothing is paid for twice.",
    Result.NOT_ATTEMPTED: "Nothing was spent on these. Run apply again to start them.",
    Result.NOT_APPROVED: "The saved plan did not offer these starts. Plan again to have them approved.",
}

_AFTER: Mapping[Cause | Reason, tuple[str, str]] = {
    Cause.NOT_STARTED: ("not started", "The server answered, but the batch still waits. Run apply again to retry."),
    Cause.REFUSED: ("refused", "Mend what the server names, then run apply again."),
    Reason.EXPIRED: ("expired", "Recreate it and declare its new batch_id, or silence it with `hold: true`."),
    Reason.BAD_ID: ("bad id", "Compare the batch_id with the one the server gave out."),
    Reason.NOT_FOUND: ("not found", "Check the batch_id, the service, and that the token belongs to its account."),
    Reason.STOPPED: ("stopped", "Recreate it, or silence it with `hold: true`."),
    Reason.UNRECOGNISED: ("unrecognised", "Ask the vendor what the status means, or silence it with `hold: true`."),
    Reason.CONTRADICTION: (
        "contradiction",
        "Find out with the vendor whether it ran. `batchform state rm` then lets it be started again.",
    ),
}
"""What to do about a rejection or a block. A cause and a reason of the same value are the same trouble."""
