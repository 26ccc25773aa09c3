"""Any text -> text that is safe to print: one line, no hidden characters, no commands to a terminal or CI system.

Names, reasons and problems come from files, saved plans and the server. They must not move the cursor, reorder or hide
characters, or look like a command to the CI system that keeps the log. Text from outside goes through `printable`. Text
that is broken into lines goes through `layout.wrap`.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile

ELLIPSIS = "…"

_MARKS_IN_A_ROW = 2
"""More combining marks than this on one character are shown as escapes, because a stack covers other lines."""

# Characters that Python calls printable, but that are invisible or join other characters: fillers, variation
# selectors, the grapheme joiner, inherent vowels, the Braille blank.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# GitHub reads `::` as a command at the start of a line, also after blanks, and `##[` anywhere; Azure reads `##vso[`,
# TeamCity `##teamcity[`. Source: actions/runner, ActionCommand.
_COMMAND = re.compile(r"(?:^|(?<=\s))::|##(?=[A-Za-z]*\[)")


def printable(text: str, limit: int | None = None) -> str:
    r"""`text` on one line, with unsafe characters shown as escapes (`\x1b`, `\u202e`).

    Args:
        text: Any text, also with lone surrogates.
        limit: The most columns. Longer text is cut and ends in an ellipsis. None: unlimited.
    """
    if limit is not None:
        text = text[: 4 * limit + 4]  # more cannot be shown: only marks take no column, and few of them are kept
    if not (text.isascii() and text.isprintable()):
        text = "".join(_shown(text))
    text = defused(text)
    return text if limit is None else cut(text, limit)


def defused(line: str) -> str:
    """`line` with the start of each command to a CI system shown as an escape."""
    return _COMMAND.sub(lambda match: _escape(match[0][0]) + match[0][1:], line)


def width(text: str) -> int:
    """The columns that a printable text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled with blanks up to `columns`; `right` puts the blanks before it."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def breakable(pair: str) -> bool:
    """Whether a line may end between two characters: at a blank, and around wide ones, whose scripts have no blanks."""
    return len(pair) == 2 and not _is_mark(pair[1]) and (" " in pair or any(_columns(one) == 2 for one in pair))


def cut(text: str, columns: int) -> str:
    """A printable text of at most `columns`; longer text ends in an ellipsis."""
    if width(text) <= columns:
        return text
    return _head(text, columns - 1).rstrip() + ELLIPSIS


def cut_middle(text: str, columns: int) -> str:
    """A printable text of at most `columns`; longer text loses its middle, because names often differ at the end."""
    if width(text) <= columns:
        return text
    tail = _tail(text, (columns - 1) // 2)
    return _head(text, columns - 1 - width(tail)) + ELLIPSIS + tail


def cut_start(text: str, columns: int) -> str:
    """A printable text of at most `columns`; longer text loses its beginning, because paths differ at the end."""
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
    """The characters, the unsafe ones as escapes."""
    shown = []
    marks = _MARKS_IN_A_ROW  # a mark at the start would change the character before the text
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
