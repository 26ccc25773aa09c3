"""Lines and columns that fit the terminal: tables of plans and reports, grids, labelled values, and wrapping.

Everything adapts to `Style.columns`. A row that is too wide continues on lines below it. Only three things are ever
cut: the end of the server's words, the middle of a name and the start of a path. No line is wider than the terminal
unless a single word is: a word is not broken, so that it can be copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.render.escape import breakable, cut, cut_middle, cut_start, defused, pad, width
from batchform.render.style import PROSE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from batchform.render.style import Style, Tone

_TEXT: Final = 24
"""The fewest columns for a text beside others. With fewer, the text is below them."""

_QUOTED: Final = 30
"""The fewest columns for the server's words beside a place."""

_NAME, _PATH = 24, 20
"""The fewest columns for a name or a path that is cut."""

_FEW: Final = 4
"""If at most one of so many rows is too wide, the others keep their form."""

_GAP, _NARROW = 3, 2
"""Blanks between two columns, and where there is little room."""


# --- Tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a table: `  + name   word   detail   place`, all printable.

    `elastic`: the detail ends in the server's words, which may be cut. Three blanks in a detail separate its parts.
    """

    symbol: str
    tone: Tone
    name: str
    word: str
    detail: str
    place: str = ""
    elastic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The widths of a table without its details, and its places as they are shown."""

    gap: int
    name: int
    word: int
    places: Sequence[str]

    @property
    def detail_at(self) -> int:
        """Where the details begin."""
        return 4 + self.name + self.word + 2 * self.gap

    def after(self, place: str) -> int:
        """The columns for the place of a row and the gap before it."""
        return self.gap + max(map(width, self.places)) if place else 0


def table(lines: Sequence[Line], style: Style) -> list[str]:
    """The rows, aligned. A row that is too wide takes more lines; the others stay as they are."""
    if not lines:
        return []
    names, word = max(width(line.name) for line in lines), max(width(line.word) for line in lines)
    places = [line.place for line in lines]
    short, path = min(names, max(_NAME, style.columns * 2 // 5)), _shortened(places)
    details = [min(width(line.detail), _QUOTED if line.elastic else style.columns) for line in lines]
    fewest, best = len(lines) + 1, _Columns(gap=0, name=0, word=0, places=())
    for gap, name, shown in (
        (_GAP, names, places),
        (_NARROW, names, places),
        (_NARROW, names, path),
        (_NARROW, short, path),
    ):
        columns = _Columns(gap=gap, name=name, word=word, places=shown)
        room = style.columns - columns.detail_at
        beside = room - columns.after("x")
        too_wide = sum(detail > (beside if place else room) for detail, place in zip(details, shown, strict=True))
        if too_wide < fewest:
            fewest, best = too_wide, columns
        if too_wide <= len(lines) // _FEW:
            break
    if style.columns - best.detail_at < _TEXT and fewest:
        return _below(lines, word, style)
    return _beside(lines, best, style)


def _shortened(places: Sequence[str]) -> list[str]:
    """The places without the file if there is only one, else with the ends of the paths."""
    if len({place.rpartition(":")[0] for place in places if place}) == 1:
        return [f"line {place.rpartition(':')[2]}" if place else "" for place in places]
    return [cut_start(place, _PATH) for place in places]


def _beside(lines: Sequence[Line], columns: _Columns, style: Style) -> list[str]:
    """Rows with the detail beside the word, and the place beside the detail, or on a line of its own below."""
    room = style.columns - columns.detail_at
    most = room - columns.after("x")
    details = [_detail(line, room, most if line.place else room) for line in lines]
    detail_columns = max((n for parts in details if (n := width(parts[-1])) <= most), default=0)
    gap = " " * columns.gap
    before_place = f"{' ' * detail_columns}{gap}" if detail_columns else ""
    rows = []
    for line, (*before, last), place in zip(lines, details, columns.places, strict=True):
        texts = [*before, last]
        if place and width(last) <= detail_columns:
            texts[-1] = f"{last}{before_place[width(last) :]}{style.dim(place)}"
        elif place:
            lead = before_place if width(before_place) + width(place) <= room else ""
            texts.append(f"{lead}{style.dim(cut_start(place, room))}")
        name = pad(cut_middle(line.name, columns.name), columns.name)
        word = pad(line.word, columns.word) if texts[0] else line.word
        head = f"  {style.paint(line.tone, line.symbol)} {name}{gap}{style.paint(line.tone, word)}"
        rows.append(f"{head}{gap}{texts[0]}" if texts[0] else head)
        rows += [" " * columns.detail_at + text for text in texts[1:]]
    return rows


def _detail(line: Line, room: int, before_place: int) -> list[str]:
    """The lines of a detail, at least one. Where it is too wide, each of its parts begins a line."""
    if width(line.detail) <= room:
        return [line.detail]
    if line.elastic:
        return [cut(line.detail, before_place if before_place >= _QUOTED else room)]
    return [piece for part in _parts(line.detail) for piece in wrap(part, room)]


def _below(lines: Sequence[Line], word: int, style: Style) -> list[str]:
    """Rows with detail and place below the name, for a narrow terminal."""
    name_columns = min(max(width(line.name) for line in lines), max(style.columns - 4 - _NARROW - word, 8))
    indent = " " * 6
    room = style.columns - len(indent)
    rows = []
    for line in lines:
        name = pad(cut_middle(line.name, name_columns), name_columns)
        head = f"  {style.paint(line.tone, line.symbol)} {name}{' ' * _NARROW}{style.paint(line.tone, line.word)}"
        parts = [cut(line.detail, room)] if line.elastic else _parts(line.detail)
        rows += [head, *_join([*parts, *([cut_start(line.place, room)] if line.place else [])], room, indent)]
    return rows


def _parts(detail: str) -> list[str]:
    return re.split(" {3,}", detail.strip()) if detail.strip() else []


def _join(parts: Iterable[str], room: int, indent: str) -> list[str]:
    """The parts on as few lines as possible. A part that is too wide is wrapped."""
    lines: list[str] = []
    for part in parts:
        if lines and width(lines[-1]) + _GAP + width(part) <= room:
            lines[-1] += " " * _GAP + part
        else:
            lines += wrap(part, room)
    return [indent + line for line in lines]


# --- Grids -----------------------------------------------------------------------------------------------------------


def grid(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    style: Style,
    *,
    numbers: Collection[int] = (),
    elastic: int = 0,
    optional: Sequence[int] = (),
) -> tuple[list[str], list[list[str]]]:
    """The heading, and the lines of each row. Where the rows are too wide, each is a name with labelled cells below.

    Args:
        headings: One for each column.
        rows: As many printable cells in each; `-` if there is no value.
        style: Colour and width.
        numbers: The columns to align on the right.
        elastic: The column whose cells may be cut in the middle.
        optional: The columns to leave out where there is little room, in this order.
    """
    widths = [max(map(width, column)) for column in zip(headings, *rows, strict=True)]
    empty = [at for at, cells in enumerate(zip(*rows, strict=True)) if set(cells) == {"-"} and at != elastic]
    least = min(widths[elastic], _NAME)
    kept = [*range(len(headings))]
    for gap, fewest, left_out in (
        (_GAP, widths[elastic], None),
        (_NARROW, widths[elastic], None),
        (_NARROW, least, None),
        *((_NARROW, least, at) for at in (*empty, *optional)),
    ):
        kept = [at for at in kept if at != left_out]
        room = style.columns - sum(widths[at] for at in kept if at != elastic) - gap * (len(kept) - 1)
        if room >= fewest:
            break
    else:
        return [], [_card(headings, row, style) for row in rows]
    widths[elastic] = min(widths[elastic], room)

    def line(cells: Sequence[str]) -> str:
        shown = [cut_middle(cell, widths[at]) for at, cell in enumerate(cells)]
        return (" " * gap).join(pad(shown[at], widths[at], right=at in numbers) for at in kept).rstrip()

    return [style.dim(line(headings))], [[line(row)] for row in rows]


def _card(headings: Sequence[str], cells: Sequence[str], style: Style) -> list[str]:
    """The first cell, and below it the others that have a value, each with its heading."""
    labelled = [f"{heading} {cell}" for heading, cell in zip(headings[1:], cells[1:], strict=True) if cell != "-"]
    return [cut_middle(cells[0], style.columns).rstrip(), *_join(labelled, style.columns - 2, "  ")]


# --- Text ------------------------------------------------------------------------------------------------------------


def labelled(pairs: Iterable[tuple[str, str]], style: Style) -> list[str]:
    """A label and a text on each line, the texts aligned; below their labels where there is little room."""
    pairs = [*pairs]
    indent = 2 + max((width(label) for label, _ in pairs), default=0) + _GAP
    lines = []
    for label, text in pairs:
        if style.columns - indent < _TEXT:
            lines += [f"  {style.dim(label)}", *wrap(text, style.columns, first=" " * 4, rest=" " * 4)]
            continue
        first, *rest = wrap(text, style.columns, first=" " * indent, rest=" " * indent)
        lines += [f"  {style.dim(label)}{first[2 + width(label) :]}".rstrip(), *rest]
    return lines


_WORD = re.compile(r"(?:[0-9,]+ )?(?:`[^`]{1,60}`|\S)+")

_ESCAPED: Final = 3
"""Columns that `defused` may add to a line."""


def wrap(text: str, columns: int, *, first: str = "", rest: str = "") -> list[str]:
    """A printable text, broken at blanks into lines of at most `columns`, and at most `PROSE`.

    `first` is put before the first line and `rest` before the others. Text in `backticks` is one word if it fits
    on a line, because people copy it, and so is a number with the word after it. A longer word is left whole, except in
    scripts that have no blanks. No line begins with a command to a CI system.
    """
    columns = min(columns, PROSE)
    lines: list[str] = []
    indent, line = first, ""
    found = _WORD.findall(text)
    for word in (part for one in found for part in ([one] if width(rest) + width(one) <= columns else one.split(" "))):
        if line and width(indent) + width(line) + 1 + width(word) > columns:
            lines.append((indent + defused(line)).rstrip())
            indent, line = rest, ""
        left = word
        while not line and width(indent) + width(left) > columns and (piece := _piece(left, columns - width(indent))):
            lines.append((indent + defused(piece)).rstrip())
            indent, left = rest, left[len(piece) :].lstrip()
        line = f"{line} {left}" if line else left
    if line or not lines:
        lines.append((indent + defused(line)).rstrip())
    return lines


def _piece(word: str, columns: int) -> str:
    """The longest beginning of a word that fits and ends where a line may end; empty if there is none."""
    taken, end = 0, 0
    for number, character in enumerate(word):
        taken += width(character)
        if taken > columns - _ESCAPED:
            break
        if breakable(word[number : number + 2]):
            end = number + 1
    return word[:end]


def pack(sentences: Iterable[str], columns: int) -> list[str]:
    """Sentences on as few lines as possible. Only a sentence longer than a line is broken."""
    lines: list[str] = []
    for sentence in sentences:
        if lines and width(lines[-1]) + 1 + width(sentence) <= min(columns, PROSE):
            lines[-1] += " " + sentence
        else:
            lines.extend(wrap(sentence, columns, rest="  "))
    return lines
