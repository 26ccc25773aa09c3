"""Text from anywhere -> text that is safe to print: one line, nothing hidden, nothing a terminal or CI log obeys.

Names, reasons and problems come from files, saved plans and the server. None of them may move the cursor, reorder what
a reviewer reads, hide a character from them, or pass for a command to the CI system whose log we write to. Whatever
comes from outside goes through `printable`, whatever is broken into lines through `layout.wrap`.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile

ELLIPSIS = "…"

_MARKS_IN_A_ROW = 2
"""More combining marks on one character than this are shown as escapes: a stack of them paints over other lines."""

# Characters that count as printable and yet show nothing, or join what should stand apart: fillers, variation
# selectors, the grapheme joiner, inherent vowels, the Braille blank.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# GitHub takes `::` for a command at the start of a line, behind blanks too, and `##[` anywhere; Azure `##vso[` and
# TeamCity `##teamcity[`. Source: actions/runner, ActionCommand.
_COMMAND = re.compile(r"(?:^|(?<=\s))::|##(?=[A-Za-z]*\[)")


def printable(text: str, limit: int | None = None) -> str:
    r"""`text` on one line, with what must not reach a terminal shown as an escape (`\x1b`, `\u202e`).

    Args:
        text: Anything, lone surrogates included.
        limit: The most columns to take; what is longer is cut and ends in an ellipsis. None: no limit.
    """
    if limit is not None:
        text = text[: 4 * limit + 4]  # more cannot show: nothing but marks takes no column, and few of those in a row
    if not (text.isascii() and text.isprintable()):
        text = "".join(_shown(text))
    text = defused(text)
    return text if limit is None else cut(text, limit)


def defused(line: str) -> str:
    """`line` without anything that a CI system would take for a command."""
    return _COMMAND.sub(lambda match: _escape(match[0][0]) + match[0][1:], line)


def width(text: str) -> int:
    """How many columns a printable text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled up with blanks to `columns`; `right` aligns it there."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, columns: int) -> str:
    """A printable text, or its beginning and an ellipsis where it takes more than `columns`."""
    if width(text) <= columns:
        return text
    return _head(text, columns - 1).rstrip() + ELLIPSIS


def cut_middle(text: str, columns: int) -> str:
    """A printable text, or its beginning and end: names often differ in their last characters only."""
    if width(text) <= columns:
        return text
    tail = _tail(text, (columns - 1) // 2)
    return _head(text, columns - 1 - width(tail)) + ELLIPSIS + tail


def cut_start(text: str, columns: int) -> str:
    """A printable text, or an ellipsis and its end: of a path, the last part says most."""
    return text if width(text) <= columns else ELLIPSIS + _tail(text, columns - 1)


def _head(text: str, columns: int) -> str:
    left = columns

    def fits(character: str) -> bool:
        nonlocal left
        left -= _columns(character)
        return left >= 0

    return "".join(takewhile(fits, text))


def _tail(text: str, columns: int) -> str:
    tail = _head(text[::-1], columns)[::-1]
    return tail.lstrip() if tail.isascii() else tail[sum(1 for _ in takewhile(_is_mark, tail)) :].lstrip()


def _shown(text: str) -> list[str]:
    """The characters, escaped where they must be."""
    shown = []
    marks = _MARKS_IN_A_ROW  # none may stand on what is printed before the text
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        hidden = not character.isprintable() or marks > _MARKS_IN_A_ROW or _INVISIBLE.match(character)
        shown.append(_escape(character) if hidden else character)
    return shown


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in {"Mn", "Me"}


def _columns(character: str) -> int:
    if _is_mark(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
