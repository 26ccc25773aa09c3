"""The line of a place, cut to a length that can be shown: for carets in text, and for the snippet in JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchform.source_text import Place, SourceText

_BEFORE = 30
"""Characters kept before the place in a line that is cut."""

_SECRET = re.compile(
    r"(?:token|secret|passw|credential|api[_-]?key|authorization)[\w-]*[\"']?\s*[:=]\s*(?:bearer\s+|basic\s+)?([^\s,}]+)",
    re.IGNORECASE,
)
"""A key that names a secret, and its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One line: the text before the place, in it, and after it. `head`: text before it was cut.

    If a place covers several lines, `marked` is the part on its first line. The text is not escaped.
    """

    line: int
    before: str
    marked: str
    after: str
    head: bool = False


def excerpt(place: Place, source: SourceText, room: int) -> Excerpt:
    """The line of `source` in which `place` begins: all of it, or a part of at most about `room` characters.

    The cost does not grow with the length of the line.
    """
    text = source.text
    start = source.offset(place.line, place.column)
    begin = start - place.column + 1
    stop = _line_end(text, start, start + room)
    end = min(max(source.offset(place.end_line, place.end_column), start), stop)
    whole = stop - begin <= room and (stop == len(text) or text[stop] in "\r\n")
    skip = 0 if whole or end - begin <= room else max(start - _BEFORE - begin, 0)
    first = max(begin, begin + skip - 2 * _BEFORE)  # the key may stand before what is shown
    shown = _masked(text, first, stop)
    return Excerpt(
        line=place.line,
        before=shown[begin + skip - first : start - first],
        marked=shown[start - first : end - first],
        after=shown[end - first :],
        head=skip > 0,
    )


def _masked(text: str, begin: int, end: int) -> str:
    """A part of a text, with `*` for each character of a secret, so that the places stay."""

    def mask(match: re.Match[str]) -> str:
        return match[0][: match.start(1) - match.start()] + "*" * len(match[1])

    return _SECRET.sub(mask, text[begin:end])


def _line_end(text: str, start: int, most: int) -> int:
    """The end of the line from `start` on, without its line break, but not beyond `most`."""
    end = text.find("\n", start, most + 1)
    if end < 0:
        return min(most, len(text))
    return end - 1 if end > start and text[end - 1] == "\r" else end
