"""The words for what happened: events, the results of a run, and why it ended. Text and JSON print the same ones."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from batchform.api.refusal import advice
from batchform.apply import Result
from batchform.engine import ForeignAnswers, Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.model import RATE_LIMIT
from batchform.plan import Action
from batchform.render.escape import printable
from batchform.render.style import Tone
from batchform.render.words import ACTIONS, CAUSES, Mark, Wording, batches, count, credits_words, problem_words, stake
from batchform.state.events import (
    AlreadyStarted,
    Charged,
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
    from collections.abc import Mapping

    from batchform.apply import Report
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
            by_status = ", confirmed by its status" if what.evidence is Evidence.STATUS else ""
            return Tone.GREEN, f"started{by_status}"
        case AlreadyStarted():
            return Tone.CYAN, "already started elsewhere; nothing was spent"
        case Unknown():
            return Tone.YELLOW, f"outcome unknown ({problem_words(what.problem)}); its status decides"
        case Released():
            return Tone.PLAIN, "the earlier attempt had no effect; it can be started again"
        case Rejected():
            cause = "" if what.cause is Cause.REFUSED else f", {CAUSES[what.cause].word}"
            return Tone.RED, f"rejected{cause}: {problem_words(what.problem)}"
        case Seen():
            return Tone.PLAIN, _seen(what)
        case Charged():
            return Tone.PLAIN, charge_words(what.credits, final=what.final)
        case Declared():
            return Tone.DIM, "declared under this name"
        case Forgotten():
            return Tone.DIM, "undeclared; no request was sent"
        case Removed():
            return Tone.YELLOW, "removed from the state by hand"
    assert_never(what)


def charge_words(credits_charged: int | None, *, final: bool) -> str:
    """`charged 950 credits so far`, or that the charge is not known."""
    if credits_charged is None:
        return "the charge is unknown" if final else "the charge is not known yet"
    return f"charged {count(credits_charged, 'credit')}{'' if final else ' so far'}"


def _seen(what: Seen) -> str:
    if not what.found:
        return "not found on the server"
    if not what.status:
        return "seen without a status"
    reason = f" ({printable(what.reason, 200)})" if what.reason else ""
    return f"seen {printable(what.status, 60).rstrip()}{reason}"


# --- Results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Wording):
    """The words for a result, its mark in the table, and its level in the JSON stream."""

    mark: Mark
    level: str = "info"


RESULTS: Mapping[Result, Shown] = {
    Result.STARTED: Shown(mark=ACTIONS[Action.START], word="started"),
    Result.ADOPTED: Shown(mark=ACTIONS[Action.ADOPT], word="adopted"),
    Result.FORGOTTEN: Shown(mark=ACTIONS[Action.FORGET], word="forgotten"),
    Result.ALREADY_STARTED: Shown(mark=ACTIONS[Action.ADOPT], word="already started"),
    Result.REJECTED: Shown(mark=ACTIONS[Action.BLOCKED], word="rejected", level="error"),
    Result.UNKNOWN: Shown(
        mark=ACTIONS[Action.VERIFY],
        word="unknown",
        level="error",
        next="Run `batchform apply` again: it reads their status before it sends anything, so nothing is paid twice.",
    ),
    Result.BLOCKED: Shown(mark=ACTIONS[Action.BLOCKED], word="blocked", level="error"),
    Result.NOT_ATTEMPTED: Shown(
        mark=replace(ACTIONS[Action.WAIT], tone=Tone.YELLOW),
        word="not attempted",
        level="warn",
        next="Nothing was spent on these. Run `batchform apply` again to start them.",
    ),
    Result.NOT_APPROVED: Shown(
        mark=ACTIONS[Action.WAIT],
        word="not approved",
        next="The saved plan does not have these starts, or has them with fewer records. Make a new plan to have them"
        " approved.",
    ),
}
"""In the order of the totals."""


def closing_words(report: Report) -> str:
    """`Apply complete! 3 started, 1 adopted. 9,800 records.`, with every result that occurred, on one line."""
    numbers = {kind: len(report.having(kind)) for kind in RESULTS}
    confirmed = report.confirmed
    numbers[Result.STARTED] -= len(confirmed)
    shown = [f"{n:,} {RESULTS[kind].word}" for kind, n in numbers.items() if n or kind is Result.STARTED]
    if confirmed:
        shown.insert(1, f"{len(confirmed):,} confirmed from an earlier run")
    started = [one.change for one in report.having(Result.STARTED) if one.change.action is Action.START]
    sizes = ", ".join(part for part in (stake(started), credits_words(started, report.rate)) if part)
    return f"{headline(report)} {', '.join(shown)}.{f' {sizes}.' if sizes else ''}"


def headline(report: Report) -> str:
    """The prefix of the line that closes a report."""
    return "Apply complete!" if report.complete else "Apply incomplete."


# --- Why a run ended early --------------------------------------------------------------------------------------------


def end_text(end: End, *, accepted: bool = False) -> str:
    """Why a run ended early, and what to do about it, on one line. `accepted`: a start was accepted before."""
    match end:
        case Stopped() if end.problem.status is None:
            return printable(end.problem.detail)
        case Stopped():
            what = "further starts" if accepted and end.problem.status == 403 else "every request"
            return f"The server refuses {what} ({problem_words(end.problem)}). {advice(end.problem)}"
        case ServiceDown():
            return (
                f"{batches(end.batches)} in a row got no usable answer: the service seems to be down."
                " Run `batchform apply` again later."
            )
        case Starved():
            return (
                f"No request was admitted for {count(end.windows, 'minute')}: another client uses up the account's"
                f" {RATE_LIMIT} requests per minute. Run `batchform apply` again when it has finished."
            )
        case ForeignAnswers():
            return (
                "Several answers in a row had the Reference-Id of another request, the last one"
                f" {printable(end.reference_id, 80)}. So no answer can be trusted. Ask the administrator of your proxy"
                " or gateway, or the vendor, to return the header `Reference-Id` unchanged. Then run"
                " `batchform apply` again."
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
