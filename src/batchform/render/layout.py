"""Lines and columns: tables for plans, reports and states, and wrapping.

Every line fits `COLUMNS`, because CI logs and review comments do not scroll well. A table that is too wide loses, in
this order: the end of a text from the server, the place in the source, the middle of a name beyond 40 columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.render.escape import cut, cut_middle, cut_start, defused, pad, width

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from batchform.render.style import Style, Tone

COLUMNS = 100
"""The widest line."""

_NAME, _PLACE, _SHORTEST = (
    40,
    32,
    30,
)  # columns: the widest name and place, the least for a text
_GAP = "   "


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table: `  + name   word   detail   place`, all printable.

    `elastic`: the detail ends in the server's words, which may be cut.
    """

    symbol: str
    tone: Tone
    name: str
    word: str
    detail: str
    place: str = ""
    elastic: bool = False


def table(lines: Sequence[Line], style: Style) -> list[str]:
    """The lines, aligned. A place that would make its line too wide is left out."""
    if not lines:
        return []
    names = [cut_middle(line.name, _NAME) for line in lines]
    places = [cut_start(line.place, _PLACE) for line in lines]
    name_columns = max(map(width, names))
    word_columns = max(width(line.word) for line in lines)
    room = COLUMNS - 4 - name_columns - word_columns - 2 * len(_GAP)
    before_place = room - len(_GAP) - max(map(width, places))
    details = [_detail(line, room, before_place) for line in lines]
    detail_columns = max((n for n in map(width, details) if n <= before_place), default=0)
    painted = []
    for line, name, detail, place in zip(lines, names, details, places, strict=True):
        head = f"  {style.paint(line.tone, line.symbol)} {pad(name, name_columns)}"
        fits = bool(place) and width(detail) <= before_place
        word = pad(line.word, word_columns) if detail or fits else line.word
        text = [head, style.paint(line.tone, word), pad(detail, detail_columns)]
        if fits:
            text.append(style.dim(place))
        painted.append(_GAP.join(text).rstrip())
    return painted


def _detail(line: Line, room: int, before_place: int) -> str:
    if line.elastic and line.place and before_place >= _SHORTEST:
        return cut(line.detail, before_place)
    return cut(line.detail, room)


_WORD = re.compile(r"(?:`[^`]{1,60}`|\S)+")


def grid(
    headings: Sequence[str], rows: Sequence[Sequence[str]], style: Style, *, numbers: Collection[int] = ()
) -> list[str]:
    """Rows of printable cells below their headings, aligned. The first column is cut if the table is too wide.

    Args:
        headings: One for each column.
        rows: As many cells in each.
        style: Colour or none.
        numbers: The columns to align on the right.
    """
    columns = [max(map(width, column)) for column in zip(headings, *rows, strict=True)]
    columns[0] = min(columns[0], COLUMNS - sum(columns[1:]) - len(_GAP) * (len(columns) - 1))
    lines = []
    for number, (name, *others) in enumerate((headings, *rows)):
        cells = [
            pad(cell, columns[at], right=at in numbers)
            for at, cell in enumerate((cut_middle(name, columns[0]), *others))
        ]
        line = _GAP.join(cells).rstrip()
        lines.append(style.dim(line) if number == 0 else line)
    return lines


def wrap(text: str, *, first: str = "", rest: str = "") -> list[str]:
    """A printable text, broken at blanks into lines of at most `COLUMNS`.

    `first` is put before the first line and `rest` before the others. Text in `backticks` is one word, because people
    copy it. A word longer than a line is broken. No line begins with a command to a CI system.
    """
    lines: list[str] = []
    indent, line = first, ""
    for whole in _WORD.findall(text):
        word = whole
        if line and width(indent) + width(line) + 1 + width(word) > COLUMNS:
            lines.append((indent + defused(line)).rstrip())
            indent, line = rest, ""
        while not line and width(indent) + width(word) > COLUMNS:
            piece = _piece(word, COLUMNS - width(indent))
            lines.append((indent + defused(piece)).rstrip())
            indent, word = rest, word[len(piece) :].lstrip()
        line = f"{line} {word}" if line else word
    if line or not lines:
        lines.append((indent + defused(line)).rstrip())
    return lines


def _piece(word: str, columns: int) -> str:
    """The longest beginning of a word that fits, with 3 columns for the escape that `defused` may add."""
    taken = 0
    for number, character in enumerate(word):
        taken += width(character)
        if taken > columns - 3 and number:
            return word[:number]
    return word


def pack(sentences: Iterable[str]) -> list[str]:
    """Sentences on as few lines as possible. Only a sentence longer than a line is broken."""
    lines: list[str] = []
    for sentence in sentences:
        if lines and width(lines[-1]) + 1 + width(sentence) <= COLUMNS:
            lines[-1] += " " + sentence
        else:
            lines.extend(wrap(sentence, rest="  "))
    return lines
