"""The words that plans, accounts, events and states share: numbers, times, problems, reasons."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from batchform.model import DEADLINE, Service
from batchform.plan import NEAR, Action, Reason, RecordsSource
from batchform.render.escape import printable
from batchform.render.style import Tone
from batchform.state.codec import encode_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from batchform.errors import Place
    from batchform.model import ServerProblem
    from batchform.plan import Change

SYMBOLS: Mapping[Action, tuple[str, Tone]] = {
    Action.START: ("+", Tone.GREEN),
    Action.ADOPT: ("=", Tone.CYAN),
    Action.VERIFY: ("?", Tone.YELLOW),
    Action.FORGET: ("-", Tone.DIM),
    Action.KEEP: ("=", Tone.DIM),
    Action.HOLD: (".", Tone.DIM),
    Action.WAIT: (".", Tone.DIM),
    Action.BLOCKED: ("!", Tone.RED),
}

_LONGEST_TEXT = 400
"""The most columns that a text of the server's takes anywhere."""


# --- Numbers, times, places ------------------------------------------------------------------------------------------


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 record`, `9,800 records`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(time: timedelta) -> str:
    """A stretch of time in its fitting unit, rounded down: `3 days`, `30 hours`, `5 minutes`."""
    seconds = abs(time).total_seconds()
    if seconds >= 2 * 86_400:
        return count(int(seconds // 86_400), "day")
    if seconds >= 2 * 3600:
        return count(int(seconds // 3600), "hour")
    return count(int(seconds // 60), "minute")


def moment(time: datetime) -> str:
    """`2026-12-01 06:00 UTC`."""
    return encode_time(time)[:16].replace("T", " ") + " UTC"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def place_of(place: Place | None) -> str:
    """`batches.yaml:12`, and nothing for no place."""
    return f"{printable(place.file)}:{place.line}" if place is not None else ""


def size(records: int | None) -> str:
    """How many records; that nobody knows is said."""
    return "records unknown" if records is None else count(records, "record")


def told_by_author(starts: Sequence[Change]) -> str:
    """How many of the records at stake only the configuration tells of; nothing, when it is none."""
    declared = sum(one.records or 0 for one in starts if one.records_source is RecordsSource.DECLARED)
    if not declared:
        return ""
    return ", as declared" if declared == sum(one.records or 0 for one in starts) else f", {declared:,} as declared"


def problem_words(problem: ServerProblem) -> str:
    """`503 Service Unavailable: try later`, printable."""
    title = printable(problem.title.strip(), _LONGEST_TEXT)
    detail = printable(problem.detail.strip(), _LONGEST_TEXT)
    head = " ".join(part for part in (str(problem.status or ""), title) if part)
    return ": ".join(part for part in (head, detail) if part) or "no details"


# --- Why ------------------------------------------------------------------------------------------------------------


def word_of(change: Change) -> str:
    """The one word for what would be done, or for what stands in the way."""
    if change.action is Action.BLOCKED or change.reason is Reason.NOT_APPROVED:
        return change.reason.value.replace("_", " ")
    return change.action.value


def why(change: Change, service: Service, now: datetime) -> str:
    """What a person should know about the action, in at most 42 columns unless the server's own words are among it."""
    match change.reason:
        case Reason.NEW | Reason.SUBMITTED | Reason.RETRY | Reason.RELEASED:
            return ", ".join(_about_start(change, service, now))
        case Reason.RUNNING:
            return "already processing, nothing is spent"
        case Reason.COMPLETED:
            return "already completed, nothing is spent"
        case Reason.STOPPED_AFTER_START:
            return _with(change.server_reason, "started, then stopped by the server")
        case Reason.UNCERTAIN:
            return "an earlier attempt has no known outcome"
        case Reason.CONTRADICTION:
            return "recorded as started, but now submitted"
        case Reason.ABSENT:
            return "not in the account's list"
        case Reason.UNCLEAR:
            return "listed without a status"
        case Reason.HELD:
            return "declared, deliberately not started"
        case Reason.STOPPED:
            return _with(change.server_reason, "by the server; a restart is undocumented", "by the server")
        case Reason.UNRECOGNISED:
            return f'"{printable(change.status or "", 60)}" is no status we know'
        case Reason.BAD_ID:
            return "the server does not accept this batch_id"
        case Reason.NOT_FOUND:
            return "the server does not know this batch_id"
        case Reason.EXPIRED:
            return _overdue(change, now)
        case Reason.NOT_YET:
            return f"not before {moment(change.not_before)}" if change.not_before else "its time has not come"
        case Reason.NOT_APPROVED:
            return "not in the approved plan, stays unstarted"
        case Reason.NOT_DECLARED:
            return "no longer declared; the server is not touched"
    assert_never(change.reason)


def _about_start(change: Change, service: Service, now: datetime) -> list[str]:
    notes = []
    if change.reason is Reason.RETRY:
        notes.append("retry")
    if change.reason is Reason.RELEASED:
        notes.append("retry, the earlier attempt had no effect")
    if service is Service.PHONE and change.deadline is not None:
        left = change.deadline - now
        if left <= timedelta():
            notes.append(f"at the {DEADLINE.days}-day limit")
        elif left <= NEAR:
            notes.append(f"expires in {span(left)}")
    return notes


def _overdue(change: Change, now: datetime) -> str:
    limit = f"the {DEADLINE.days}-day limit"
    if change.deadline is None or now <= change.deadline:
        return f"past {limit}, as the server says"
    return f"{span(now - change.deadline)} past {limit}"


def _with(words: str | None, without: str, before: str = "") -> str:
    """The server's words after ours, where it said any."""
    return f"{before or without}: {printable(words.strip(), _LONGEST_TEXT)}" if words and words.strip() else without
