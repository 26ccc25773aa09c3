"""What is known: the list of batches in the state, and one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.render.escape import pad, printable
from batchform.render.layout import grid, wrap
from batchform.render.words import count, moment, problem_words, size
from batchform.state.codec import encode_time
from batchform.state.known import Cause, Evidence, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.render.style import Style
    from batchform.state.known import Entry, State

_HEADINGS: Final = ("NAME", "PHASE", "STATUS", "RECORDS", "LAST CHANGE")
_NUMBERS: Final = frozenset({3})

PHASES: Mapping[Phase, str] = {
    Phase.SEEN: "seen on the server, never attempted",
    Phase.INTENDED: "a start was about to be sent, its outcome is not known",
    Phase.UNKNOWN: "a start was sent, its outcome is not known",
    Phase.RELEASED: "an earlier start had no effect, it may be started again",
    Phase.NOT_ATTEMPTED: "an attempt never reached the server, it may be started",
    Phase.REJECTED: "the server did not start it",
    Phase.STOPPED: "found stopped, never started by us",
    Phase.ADOPTED: "found running, started by somebody else",
    Phase.ALREADY_STARTED: "somebody else had started it before our attempt",
    Phase.STARTED: "started by us",
}

_CAUSES: Mapping[Cause, str] = {
    Cause.BAD_ID: "the server does not accept this batch_id",
    Cause.NOT_FOUND: "the server does not know this batch_id",
    Cause.EXPIRED: "too old to be started",
    Cause.REFUSED: "the server refused the call",
    Cause.NOT_STARTED: "the server answered, but the batch still waits",
}

_EVIDENCE: Mapping[Evidence, str] = {
    Evidence.ANSWER: "the start call's own answer",
    Evidence.STATUS: "a status the server gave afterwards",
}


def state_list_text(state: State, style: Style) -> str:
    """The batches in the state, sorted by name, and how many there are."""
    entries = sorted(state.entries.values(), key=lambda entry: (entry.name, entry.batch_id))
    if not entries:
        return "The state holds no batches."
    rows = [_row(entry) for entry in entries]
    undeclared = sum(not entry.declared for entry in entries)
    aside = f", {undeclared:,} of them no longer declared" if undeclared else ""
    lines = grid(_HEADINGS, rows, style, numbers=_NUMBERS)
    return "\n".join([*lines, "", f"{count(len(entries), 'batch', 'batches')}{aside}."])


def entry_text(entry: Entry, style: Style) -> str:
    """Everything the state holds of one batch, a field a line. What is not known is left out."""
    fields = [(label, text) for label, text in _fields(entry) if text is not None]
    columns = max(len(label) for label, _ in fields)
    lines = [style.bold(printable(entry.name))]
    for label, text in fields:
        first, *rest = wrap(text, first=" " * (columns + 5), rest=" " * (columns + 5))
        lines += [f"  {style.dim(pad(label, columns))}   {first[columns + 5 :]}", *rest]
    return "\n".join(line.rstrip() for line in lines)


def _row(entry: Entry) -> tuple[str, ...]:
    phase = entry.phase.value.replace("_", " ")
    return (
        printable(entry.name),
        phase if entry.declared else f"({phase})",
        "contradiction" if entry.contradiction else printable(entry.status or "-", 13),
        "-" if entry.records is None else f"{entry.records:,}",
        moment(entry.updated_at),
    )


def _fields(entry: Entry) -> list[tuple[str, str | None]]:
    return [
        ("batch_id", printable(entry.batch_id)),
        ("phase", f"{entry.phase.value.replace('_', ' ')}: {PHASES[entry.phase]}"),
        ("declared", "yes" if entry.declared else "no"),
        ("status", _text(entry.status)),
        ("server's reason", _text(entry.reason)),
        ("found", None if entry.found else "no: a single read did not find it"),
        ("contradiction", "recorded as started, but the server says submitted" if entry.contradiction else None),
        ("attempts", f"{entry.attempts:,}"),
        ("in doubt", "an attempt of ours may have been acted upon without a clean answer" if entry.doubt else None),
        ("rejected because", _CAUSES[entry.cause] if entry.cause is not None else None),
        ("known to be started by", _EVIDENCE[entry.evidence] if entry.evidence is not None else None),
        ("last problem", problem_words(entry.problem) if entry.problem is not None else None),
        ("reference_id", _text(entry.reference_id)),
        ("records", size(entry.records) if entry.records is not None else None),
        ("submitted at", _time(entry.submitted_at)),
        ("attempted at", _time(entry.intended_at)),
        ("settled at", _time(entry.settled_at)),
        ("seen at", _time(entry.seen_at)),
        ("updated at", _time(entry.updated_at)),
        ("run", printable(entry.run)),
    ]


def _text(value: str | None) -> str | None:
    return None if value is None else printable(value) or '""'


def _time(value: datetime | None) -> str | None:
    return None if value is None else encode_time(value)
