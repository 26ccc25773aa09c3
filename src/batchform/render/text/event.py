"""The events of a run: one line for each, or more for a long answer from the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.render.escape import printable
from batchform.render.layout import wrap
from batchform.render.outcomes import event_words

if TYPE_CHECKING:
    from batchform.render.style import Style
    from batchform.state.events import Event


def event_text(event: Event, style: Style) -> str:
    """`uk-mobiles: started`, on more than one line if needed: the server's words are never cut."""
    name = printable(event.name, 40)
    tone, words = event_words(event.what)
    first, *rest = wrap(f"{name}: {words}", style.columns, rest="  ")
    rest_of_first = first.removeprefix(f"{name}:")
    head = first if rest_of_first == first else f"{style.bold(name)}:{style.paint(tone, rest_of_first)}"
    return "\n".join([head, *(style.paint(tone, line) for line in rest)])
