"""The line a place stands in, cut to what can be shown around it: for carets in text, and for the snippet in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchform.source_text import Place, SourceText

_BEFORE = 30
"""Characters kept before the place in a line that cannot be shown whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One line: what stands before the place, in it, and after it. `head` tells that something before is cut off.

    Of a place over several lines, `marked` is what stands in its first. Nothing is escaped yet.
    """

    line: int
    before: str
    marked: str
    after: str
    head: bool = False


def excerpt(place: Place, source: SourceText, room: int) -> Excerpt:
    """The line of `source` that `place` stands in: whole when it has at most `room` characters, else a part of it.

    The cost does not grow with the length of the line.
    """
    text = source.text
    start = source.offset(place.line, place.column)
    begin = start - place.column + 1
    stop = _line_end(text, start, start + room)
    end = min(max(source.offset(place.end_line, place.end_column), start), stop)
    whole = stop - begin <= room and (stop == len(text) or text[stop] in "\r\n")
    skip = 0 if whole or end - begin <= room else max(start - _BEFORE - begin, 0)
    return Excerpt(
        line=place.line,
        before=text[begin + skip : start],
        marked=text[start:end],
        after=text[end:stop],
        head=skip > 0,
    )


def _line_end(text: str, start: int, most: int) -> int:
    """Where the line ends that goes on at `start`, at most at `most`; its line break does not belong to it."""
    end = text.find("\n", start, most + 1)
    if end < 0:
        return min(most, len(text))
    return end - 1 if end > start and text[end - 1] == "\r" else end
