"""The state: the list of its batches, and one batch in full."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from batchform.render.escape import printable
from batchform.render.layout import grid, labelled
from batchform.render.words import CAUSES, Wording, batches, moment, problem_words, size
from batchform.state.codec import encode_time
from batchform.state.known import Evidence, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.render.style import Style
    from batchform.state.known import Entry, State

_HEADINGS: Final = ("NAME", "PHASE", "STATUS", "RECORDS", "LAST CHANGE")
_NUMBERS: Final = frozenset({3})

PHASES: Mapping[Phase, Wording] = {
    Phase.SEEN: Wording(word="seen", text="seen on the server, never attempted"),
    Phase.INTENDED: Wording(word="unknown", text="a start may have been sent, its outcome is unknown"),
    Phase.UNKNOWN: Wording(word="unknown", text="a start was sent, its outcome is unknown"),
    Phase.RELEASED: Wording(word="released", text="an earlier start had no effect, it can be started again"),
    Phase.NOT_ATTEMPTED: Wording(word="not attempted", text="no start reached the server, it can be started"),
    Phase.REJECTED: Wording(word="rejected", text="the server did not start it"),
    Phase.STOPPED: Wording(word="stopped", text="found stopped, never started by batchform"),
    Phase.ADOPTED: Wording(word="adopted", text="found running, recorded without a start"),
    Phase.ALREADY_STARTED: Wording(word="already started", text="started elsewhere before our attempt"),
    Phase.STARTED: Wording(word="started", text="started by batchform"),
}

_EVIDENCE: Mapping[Evidence, str] = {
    Evidence.ANSWER: "the answer to the start",
    Evidence.STATUS: "a later status",
}


def state_list_text(state: State, style: Style) -> str:
    """The batches in the state, sorted by name, and how many there are."""
    entries = sorted(state.entries.values(), key=lambda entry: (entry.name, entry.batch_id))
    if not entries:
        return "The state holds no batches."
    rows = [_row(entry) for entry in entries]
    undeclared = sum(not entry.declared for entry in entries)
    aside = f", {undeclared:,} of them undeclared" if undeclared else ""
    heading, blocks = grid(_HEADINGS, rows, style, numbers=_NUMBERS)
    return "\n".join([*heading, *chain.from_iterable(blocks), "", f"{batches(len(entries))}{aside}."])


def entry_text(entry: Entry, style: Style) -> str:
    """One batch of the state, one line for each field. Unknown fields are left out."""
    fields = [(label, text) for label, text in _fields(entry) if text is not None]
    return "\n".join([style.bold(printable(entry.name)), *labelled(fields, style)])


def _row(entry: Entry) -> tuple[str, ...]:
    phase = PHASES[entry.phase].word
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
        ("phase", f"{PHASES[entry.phase].word}: {PHASES[entry.phase].text}"),
        ("declared", "yes" if entry.declared else "no"),
        ("status", _text(entry.status)),
        ("server's reason", _text(entry.reason)),
        ("found", None if entry.found else "no: a single read did not find it"),
        ("contradiction", "recorded as started, but the server says submitted" if entry.contradiction else None),
        ("attempts", f"{entry.attempts:,}"),
        ("unconfirmed", "a start of ours may have had an effect without a clean answer" if entry.doubt else None),
        ("rejected because", CAUSES[entry.cause].text if entry.cause is not None else None),
        ("start confirmed by", _EVIDENCE[entry.evidence] if entry.evidence is not None else None),
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
