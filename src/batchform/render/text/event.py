"""What happens while a plan is applied: a line an event, and more only for what the server said at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.render.escape import printable
from batchform.render.layout import wrap
from batchform.render.outcomes import event_words

if TYPE_CHECKING:
    from batchform.render.style import Style
    from batchform.state.events import Event


def event_text(event: Event, style: Style) -> str:
    """`uk-mobiles: started`, on more than one line if it is long: what the server said is not cut off."""
    name = printable(event.name, 40)
    tone, words = event_words(event.what)
    first, *rest = wrap(f"{name}: {words}", rest="  ")
    told = first.removeprefix(f"{name}:")
    head = first if told == first else f"{style.bold(name)}:{style.paint(tone, told)}"
    return "\n".join([head, *(style.paint(tone, line) for line in rest)])
