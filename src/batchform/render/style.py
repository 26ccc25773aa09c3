"""How a text is shown: its width, and colour or none. Colour only repeats what symbols and words say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

PROSE: Final = 100
"""The widest line of running text, on any terminal. A log has as many columns."""


class Tone(Enum):
    """A colour or weight. The value is the parameter of the terminal's SGR sequence."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@dataclass(frozen=True, slots=True)
class Style:
    """Adds colour to text if `color` is True. Pad first: the sequences take no columns.

    `columns`: of the terminal or log.
    """

    color: bool
    columns: int = PROSE

    def paint(self, tone: Tone, text: str) -> str:
        """The text in this tone."""
        if not self.color or not text or tone is Tone.PLAIN:
            return text
        return f"\x1b[{tone.value}m{text}\x1b[0m"

    def bold(self, text: str) -> str:
        """Text to be found at a glance."""
        return self.paint(Tone.BOLD, text)

    def dim(self, text: str) -> str:
        """Secondary text."""
        return self.paint(Tone.DIM, text)

    def yellow(self, text: str) -> str:
        """Unknown: `?`."""
        return self.paint(Tone.YELLOW, text)
