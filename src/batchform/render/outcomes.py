"""The words for what happened: events, the results of a run, and why it ended. Text and JSON print the same ones."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final, assert_never

from batchform.api.refusal import advice
from batchform.apply import Result
from batchform.engine import Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.model import RATE_LIMIT
from batchform.render.escape import printable
from batchform.render.style import Tone
from batchform.render.words import count, problem_words, size
from batchform.state.events import (
    AlreadyStarted,
    Declared,
    Forgotten,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Removed,
    Seen,
    Started,
    Unknown,
)
from batchform.state.known import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.apply import Outcome, Report
    from batchform.engine import End
    from batchform.state.events import What

# --- Events -----------------------------------------------------------------------------------------------------------


def event_words(what: What) -> tuple[Tone, str]:
    """What happened, printable and uncut, and the tone to print it in."""
    match what:
        case Intended():
            return Tone.DIM, "sending the start"
        case NotAttempted():
            why = f" ({problem_words(what.problem)})" if what.problem is not None else ""
            return Tone.YELLOW, f"not attempted{why}; nothing was spent"
        case Started():
            by_status = ", as its status shows" if what.evidence is Evidence.STATUS else ""
            return Tone.GREEN, f"started{by_status}"
        case AlreadyStarted():
            return Tone.CYAN, "already started by somebody else; nothing was spent"
        case Unknown():
            return Tone.YELLOW, f"outcome unknown ({problem_words(what.problem)}); its status will tell"
        case Released():
            return Tone.PLAIN, "not started by the earlier attempt; it may be tried again"
        case Rejected():
            cause = "" if what.cause is Cause.REFUSED else f", {what.cause.value.replace('_', ' ')}"
            return Tone.RED, f"rejected{cause}: {problem_words(what.problem)}"
        case Seen():
            return Tone.PLAIN, _seen(what)
        case Declared():
            return Tone.DIM, "declared under this name"
        case Forgotten():
            return Tone.DIM, "no longer declared; the server was not touched"
        case Removed():
            return Tone.YELLOW, "removed from the state by hand"
    assert_never(what)


def _seen(what: Seen) -> str:
    if not what.found:
        return "not found on the server"
    if not what.status:
        return "seen without a status"
    reason = f" ({printable(what.reason, 200)})" if what.reason else ""
    return f"seen {printable(what.status, 60).rstrip()}{reason}"


# --- Results ----------------------------------------------------------------------------------------------------------

_ALWAYS: Final = frozenset({Result.STARTED, Result.ADOPTED, Result.FORGOTTEN})
"""What a complete apply counts even when there was none."""

ORDER: Final = (
    Result.STARTED,
    Result.ADOPTED,
    Result.FORGOTTEN,
    Result.ALREADY_STARTED,
    Result.REJECTED,
    Result.UNKNOWN,
    Result.BLOCKED,
    Result.NOT_ATTEMPTED,
    Result.NOT_APPROVED,
)


def result_word(result: Result) -> str:
    """`already started`."""
    return result.value.replace("_", " ")


def closing_words(report: Report) -> str:
    """`Apply complete! ...` or `Apply incomplete. ...`, with every kind that occurred, on one line."""
    numbers = [
        f"{number:,} {result_word(kind)}"
        for kind in ORDER
        if (number := len(report.having(kind))) or (report.complete and kind in _ALWAYS)
    ]
    text = f"{headline(report)} {', '.join(numbers) or 'Nothing was done'}."
    if started := report.having(Result.STARTED):
        text += f" {' + '.join(records_of(started))}."
    return text


def headline(report: Report) -> str:
    """The prefix of the line that closes a report."""
    return "Apply complete!" if report.complete else "Apply incomplete."


def records_of(outcomes: Sequence[Outcome]) -> list[str]:
    """`9,800 records` and `2 batches of unknown size`, each only if there are any."""
    known = [o.change.records for o in outcomes if o.change.records is not None]
    unknown = len(outcomes) - len(known)
    parts = [size(sum(known))] if known else []
    return [*parts, *([f"{count(unknown, 'batch', 'batches')} of unknown size"] if unknown else [])]


# --- Why a run ended early --------------------------------------------------------------------------------------------


def end_text(end: End) -> str:
    """Why a run ended early, and what to do about it, on one line."""
    match end:
        case Stopped() if end.problem.status is None:
            return printable(end.problem.detail)
        case Stopped():
            return f"The server refuses every call ({problem_words(end.problem)}). {advice(end.problem)}"
        case ServiceDown():
            return (
                f"{count(end.batches, 'batch', 'batches')} in a row got no usable answer: the service seems to be down."
                " Run apply again later."
            )
        case Starved():
            return (
                f"{count(end.windows, 'minute')} in a row let no request through: something else is using the"
                f" account's {RATE_LIMIT} requests per minute. Run apply again when it is done."
            )
        case Interrupted():
            return f"Interrupted by {_signal(end.signum)}: no start was sent after it."
        case Unrecordable():
            detail = f" {printable(' '.join(end.error.detail.split()))}" if end.error.detail else ""
            return f"{printable(end.error.summary)}.{detail}"
    assert_never(end)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
