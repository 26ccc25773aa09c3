"""Colour, or none. Colour only repeats what the symbols and words say already."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Tone(Enum):
    """How a word is painted; the value is the parameter of the terminal's SGR sequence."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@dataclass(frozen=True, slots=True)
class Style:
    """Paints text, or leaves it as it is when `color` is False. Pad before painting: the sequences take no columns."""

    color: bool

    def paint(self, tone: Tone, text: str) -> str:
        """The text in this tone."""
        if not self.color or not text or tone is Tone.PLAIN:
            return text
        return f"\x1b[{tone.value}m{text}\x1b[0m"

    def bold(self, text: str) -> str:
        """For what must be found at a glance."""
        return self.paint(Tone.BOLD, text)

    def dim(self, text: str) -> str:
        """For what is there if wanted."""
        return self.paint(Tone.DIM, text)

    def red(self, text: str) -> str:
        """For what is blocked, rejected or wrong: `!`."""
        return self.paint(Tone.RED, text)

    def green(self, text: str) -> str:
        """For starts: `+`."""
        return self.paint(Tone.GREEN, text)

    def yellow(self, text: str) -> str:
        """For what is not known: `?`."""
        return self.paint(Tone.YELLOW, text)

    def cyan(self, text: str) -> str:
        """For what is taken as it is: `=`."""
        return self.paint(Tone.CYAN, text)
