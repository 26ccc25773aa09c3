"""Decode a large JSON document piece by piece, and keep only what is wanted of it.

Decoded at once, a document takes up to 30 times its size: an empty list is 3 bytes of text and 64 bytes of memory, and
one unusual character makes a text four times as large. Here, values are decoded from a piece of the text. What is not
wanted is dropped at once.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from batchform.api.decode import AMBIGUOUS, JSON

if TYPE_CHECKING:
    from typing import Any

PIECE: Final = 1 << 20
"""The number of bytes that are read at once."""

LONGEST: Final = 1 << 20
"""The most characters of one value, for example of one entry of a list."""

MEMBERS: Final = 1_000
"""The most members of an object that is read in part."""

ENTRIES: Final = 500_000
"""The most entries of a list. With the largest answer to the list call, this leaves 134 bytes for each."""

Wanted: TypeAlias = "Mapping[str, Wanted] | Callable[[object], None] | None"
"""What is wanted of a value: these members of an object, each entry of a list, or with None everything."""

_SPACE = " \t\n\r"
_INK = re.compile(f"[^{_SPACE}]")


def json_part(body: bytes, wanted: Wanted) -> object | None:
    """The wanted part of the JSON value in `body`, decoded as `decode.json_value` does. None if it is not JSON.

    A mapping keeps these members of an object; their names are in lower case. A function is called with each entry of a
    list, which is empty in the result. A value of another type is decoded as it is. A document that has more than the
    limits above allow counts as malformed. The function may have been called by then.
    """
    text = _Text(body)
    try:
        value = _part(text, wanted)
        if text.peek():
            return None  # more follows
    except (ValueError, RecursionError):
        return None
    return value


class _Text:
    """The text of a body, of which only a piece is in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._read = 0
        self._decoder = getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._is_plain = True

    def peek(self) -> str:
        """The next character that is not white space, empty at the end."""
        character = self._text[self._at : self._at + 1]
        while not character or character in _SPACE:
            found = _INK.search(self._text, self._at)
            self._at = found.start() if found else len(self._text)
            if found is None and not self._more():
                return ""
            character = self._text[self._at : self._at + 1]
        return character

    def take(self, allowed: str) -> str:
        """The next character, which must be one of these."""
        found = self.peek()
        if not found or found not in allowed:
            raise ValueError(f"expected one of {allowed}")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = JSON.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end + 2 < len(self._text) or not self._more():  # `1.` or `1e+` at the end of a piece may go on
                self._at = end
                return value

    def values(self) -> list[Any]:
        """The next values of a list, one or more. A whole piece is decoded in one call if no object is in another."""
        self.peek()
        return (self._is_plain and self._objects()) or [self.value()]

    def _objects(self) -> list[Any]:
        """All values up to the last object that ends in this piece. Empty if they cannot be decoded in one call."""
        end = self._text.rfind("},", self._at)
        if end < 0 and len(self._text) - self._at <= LONGEST and self._more():
            end = self._text.rfind("},", self._at)
        if end >= 0:
            try:
                found: list[Any] = JSON.decode(f"[{self._text[self._at : end + 1]}]")
            except ValueError:
                pass  # it is the end of an object inside an entry
            else:
                self._at = end + 1
                return found
        self._is_plain = False
        return []

    def _more(self) -> bool:
        """Read another piece, and forget what was taken. False at the end."""
        if self._read >= len(self._body):
            return False
        rest = self._text[self._at :]
        if len(rest) > LONGEST:
            raise ValueError("a value is too long")
        end = self._read + PIECE
        self._text = rest + self._decoder.decode(self._body[self._read : end], final=end >= len(self._body))
        self._read, self._at = end, 0
        return True


def _part(text: _Text, wanted: Wanted) -> object:
    if callable(wanted) and text.peek() == "[":
        return _entries(text, wanted)
    if isinstance(wanted, Mapping) and text.peek() == "{":
        return _members(text, wanted)
    return text.value()


def _members(text: _Text, wanted: Mapping[str, Wanted]) -> dict[str, object]:
    found: dict[str, object] = {}
    text.take("{")
    if text.peek() == "}":
        text.take("}")
        return found
    for _ in range(MEMBERS):
        key = text.value()
        if not isinstance(key, str):
            raise ValueError("a key is not a string")  # noqa: TRY004  # malformed text, not a wrong argument
        key = key.lower()
        text.take(":")
        value = _part(text, wanted.get(key))
        if key in wanted:
            found[key] = AMBIGUOUS if key in found else value  # safety: a duplicate key proves nothing
        if text.take(",}") == "}":
            return found
    raise ValueError("an object has too many members")


def _entries(text: _Text, each: Callable[[object], None]) -> list[object]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return []
    count = 0
    while count < ENTRIES:
        entries = text.values()
        for entry in entries:
            each(entry)
        count += len(entries)
        if text.take(",]") == "]":
            return []
    raise ValueError("a list has too many entries")
