"""What a run did, whichever way it ended: one line a batch it touched, the totals, and what to do next."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final, assert_never

from batchform.api.pacing import LIMIT
from batchform.apply import Result
from batchform.engine import Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.plan import Reason
from batchform.render.escape import pad, printable, width
from batchform.render.layout import Line, table, wrap
from batchform.render.style import Tone
from batchform.render.words import count, problem_words, size, word_of
from batchform.state.events import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.apply import Account, Outcome
    from batchform.engine import End
    from batchform.render.style import Style

FOLDED_FROM: Final = 40
"""More lines than this without a problem are folded into one line a kind."""

_FEW: Final = 5
"""Kinds with no more lines than this are never folded."""

_ORDINARY: Final = (Result.STARTED, Result.ADOPTED, Result.FORGOTTEN)

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


def account_text(account: Account, style: Style, *, state_path: str) -> str:
    """What was done, what was not, and what to do next.

    Args:
        account: What came of the run.
        style: Colour or none.
        state_path: Where the outcomes were recorded.
    """
    blocks = [outcome_lines(account, style), [_closing(account, style)], *_next_steps(account, state_path)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def outcome_lines(account: Account, style: Style) -> list[str]:
    """One line a batch; where there are many, those without a problem are folded into one line a kind."""
    columns = max((width(size(o.change.records)) for o in account.having(Result.STARTED)), default=0)
    ordinary = len(account.having(*_ORDINARY))
    folded = {kind for kind in _ORDINARY if ordinary > FOLDED_FROM and len(account.having(kind)) > _FEW}
    lines = [_fold(kind, account) for kind in _ORDINARY if kind in folded]
    lines += [_line(outcome, account, columns) for outcome in account.outcomes if outcome.result not in folded]
    return table(lines, style)


def end_text(end: End) -> str:
    """Why a run ended early, and what to do about it, on one line."""
    match end:
        case Stopped():
            return f"The server refused in a way that every further call would meet: {problem_words(end.problem)}. " + (
                _CREDENTIALS.get(end.problem.status or 0, "Something between here and the server may change requests.")
            )
        case ServiceDown():
            return (
                f"{count(end.batches, 'batch', 'batches')} in a row got no usable answer: the service seems to be down."
                " Run apply again later."
            )
        case Starved():
            return (
                f"{count(end.windows, 'minute')} in a row let no request through: something else is using the"
                f" account's {LIMIT} requests per minute. Run apply again when it is done."
            )
        case Interrupted():
            return f"Interrupted by {_signal(end.signum)}. No start was sent after that."
        case Unrecordable():
            detail = f" {printable(' '.join(end.error.detail.split()))}" if end.error.detail else ""
            return f"{printable(end.error.summary)}.{detail}"
    assert_never(end)


_CREDENTIALS: Mapping[int, str] = {
    401: "Check the token: it may be wrong, expired or for another product.",
    403: "Check that credits are left, and that the token may be used for this product and from here.",
}


# --- One line --------------------------------------------------------------------------------------------------------


def _fold(kind: Result, account: Account) -> Line:
    outcomes = account.having(kind)
    symbol, tone = _SYMBOLS[kind]
    detail = ", ".join(_stake(outcomes)) if kind is Result.STARTED else ""
    return Line(symbol=symbol, tone=tone, name=f"{len(outcomes):,} batches", word=_word(kind), detail=detail)


def _line(outcome: Outcome, account: Account, columns: int) -> Line:
    symbol, tone = _SYMBOLS[outcome.result]
    word = word_of(outcome.change) if outcome.result is Result.BLOCKED else _word(outcome.result)
    detail = _detail(outcome, account, columns)
    if not outcome.recorded:
        detail = f"{detail}, NOT RECORDED"
    return Line(symbol=symbol, tone=tone, name=printable(outcome.change.name), word=word, detail=detail)


def _word(result: Result) -> str:
    return result.value.replace("_", " ")


def _detail(outcome: Outcome, account: Account, columns: int) -> str:
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
            return "no longer declared; the server was not told"
        case Result.REJECTED:
            cause = _CAUSES[outcome.cause] if outcome.cause is not None else "refused"
            return f"{cause}: {problem}" if problem else cause
        case Result.BLOCKED:
            return _BLOCKED.get(outcome.change.reason, "")
        case Result.NOT_APPROVED:
            return "not in the approved plan"
        case Result.NOT_ATTEMPTED:
            return problem or ("the run ended before its turn" if account.end is not None else "could not be sent")
        case Result.UNKNOWN:
            return problem or "the run ended before its outcome was known"
    assert_never(outcome.result)


_BLOCKED: Mapping[Reason, str] = {
    Reason.EXPIRED: "too old to be started: recreate it",
    Reason.STOPPED: "a restart is undocumented",
    Reason.UNRECOGNISED: "the server's status is not one we know",
    Reason.CONTRADICTION: "recorded as started, server says submitted",
    Reason.BAD_ID: "the server does not accept this batch_id",
    Reason.NOT_FOUND: "the server does not know this batch_id",
}


# --- The totals ------------------------------------------------------------------------------------------------------


def _closing(account: Account, style: Style) -> str:
    """`Apply complete! ...` or `Apply incomplete. ...`, with every kind that occurred."""
    always = _ORDINARY if account.complete else ()
    numbers = [
        f"{number:,} {_word(kind)}"
        for kind in (*_ORDINARY, *(kind for kind in Result if kind not in _ORDINARY))
        if (number := len(account.having(kind))) or kind in always
    ]
    text = ", ".join(numbers) or "nothing was started"
    if started := account.having(Result.STARTED):
        text += f". {' + '.join(_stake(started))}"
    if account.complete:
        return f"{style.bold(style.green('Apply complete!'))} {text}."
    return f"{style.bold(style.yellow('Apply incomplete.'))} {text}."


def _stake(outcomes: Sequence[Outcome]) -> list[str]:
    known = [o.change.records for o in outcomes if o.change.records is not None]
    unknown = len(outcomes) - len(known)
    parts = [size(sum(known))] if known else []
    return [*parts, *([f"{count(unknown, 'batch', 'batches')} of unknown size"] if unknown else [])]


# --- What to do next -------------------------------------------------------------------------------------------------


def _next_steps(account: Account, state_path: str) -> list[list[str]]:
    steps = []
    if account.end is not None:
        steps.append(f"{end_text(account.end)} {_kept(account, state_path)}")
    if account.having(Result.UNKNOWN):
        steps.append(
            "Unknown: a start was sent, but nobody can say yet whether it was taken. Run apply again: it reads the"
            " status before anything is sent, so nothing is paid for twice."
        )
    causes = {outcome.cause for outcome in account.having(Result.REJECTED)}
    steps += [text for cause, text in _AFTER_REJECTION.items() if cause in causes]
    reasons = {outcome.change.reason for outcome in account.having(Result.BLOCKED)}
    steps += [text for some, text in _AFTER_BLOCK if reasons & some]
    if account.having(Result.NOT_APPROVED):
        steps.append("Not approved: the saved plan did not offer these starts. Plan again to have them approved.")
    if account.having(Result.NOT_ATTEMPTED):
        steps.append("Not attempted: nothing was spent on these. Run apply again to start them.")
    return [wrap(step, rest="  ") for step in steps]


def _kept(account: Account, state_path: str) -> str:
    """What became of the outcomes so far."""
    unrecorded = [outcome for outcome in account.outcomes if not outcome.recorded]
    path = printable(state_path)
    if unrecorded or isinstance(account.end, Unrecordable):
        return (
            f"{count(len(unrecorded), 'outcome is', 'outcomes are')} shown above only and not in {path}; what was about"
            " to be sent is on disk, so the next apply asks the server before it starts anything."
        )
    started = len(account.having(Result.STARTED))
    return f"{count(started, 'batch was', 'batches were')} started before that; every outcome is recorded in {path}."


_AFTER_REJECTION: Mapping[Cause, str] = {
    Cause.EXPIRED: "Expired: too old to be started. Recreate the batch and declare its new batch_id.",
    Cause.BAD_ID: "Bad batch_id: the server does not accept it. Compare it with the one the server gave out.",
    Cause.NOT_FOUND: "Not found: check the batch_id, the service, and that the token belongs to the account it is in.",
    Cause.REFUSED: "Refused: the server let nothing be started. Mend what it names, then run apply again.",
    Cause.NOT_STARTED: "Not started: the server answered, but the batch still waits. Run apply again to try once more.",
}

_AFTER_BLOCK: Final = (
    ({Reason.EXPIRED}, "Expired: recreate the batch and declare its new batch_id, or hold it with `hold: true`."),
    (
        {Reason.STOPPED, Reason.UNRECOGNISED},
        "Stopped or in an unknown status: recreate the batch, or hold it with `hold: true`.",
    ),
    (
        {Reason.CONTRADICTION},
        "Contradiction: find out with the vendor whether it ran. `batchform state rm` then lets it be started again.",
    ),
    (
        {Reason.BAD_ID, Reason.NOT_FOUND},
        "Bad id or not found: correct the batch_id, or check the token and the service.",
    ),
)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
