"""What happens while a plan is applied: a line an event, and more only for what the server said at length."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from batchform.render.escape import printable
from batchform.render.layout import wrap
from batchform.render.style import Tone
from batchform.render.words import problem_words
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
    from batchform.render.style import Style
    from batchform.state.events import Event, What


def event_text(event: Event, style: Style) -> str:
    """`uk-mobiles: started`, on more than one line if it is long: what the server said is not cut off."""
    name = printable(event.name, 40)
    tone, words = _said(event.what)
    first, *rest = wrap(f"{name}: {words}", rest="  ")
    told = first.removeprefix(f"{name}:")
    head = first if told == first else f"{style.bold(name)}:{style.paint(tone, told)}"
    return "\n".join([head, *(style.paint(tone, line) for line in rest)])


def event_words(what: What) -> str:
    """What happened, printable and uncut."""
    return _said(what)[1]


def _said(what: What) -> tuple[Tone, str]:
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
