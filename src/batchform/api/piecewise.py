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
    from collections.abc import Iterator
    from json import JSONDecoder
    from typing import Any

PIECE: Final = 1 << 17
"""The number of bytes that are read at once."""

LONGEST: Final = 1 << 18
"""The most characters of one value, for example of one entry of a list. Up to a piece more may be read."""

MEMBERS: Final = 1_000
"""The most members of an object that is read in part."""

ENTRIES: Final = 1_000_000
"""The most entries of a list. With the largest answer to the list call, this leaves 67 bytes for each."""

Wanted: TypeAlias = "Mapping[str, Wanted] | Callable[[object], None] | None"
"""What is wanted of a value: these members of an object, each entry of a list, or with None everything."""

_INK = re.compile(r"[^ \t\n\r]")


def json_part(body: bytes, wanted: Wanted) -> object | None:
    """The wanted part of the JSON value in `body`, decoded as `decode.json_value` does. None if it is not JSON.

    A mapping keeps these members of an object; their names are in lower case. A function is called with each entry of a
    list, which is empty in the result. A value of another type is decoded as it is. A document that has more than the
    limits above allow counts as malformed. The function may have been called by then.
    """
    text = Text(body)
    try:
        value = _part(text, wanted)
        text.end()
    except (ValueError, RecursionError):
        return None
    return value


def _part(text: Text, wanted: Wanted) -> object:
    if callable(wanted) and text.peek() == "[":
        for entry in text.entries():
            wanted(entry)
        return []
    if isinstance(wanted, Mapping) and text.peek() == "{":
        found: dict[str, object] = {}
        for key in text.members():
            value = _part(text, wanted.get(key))
            if key in wanted:
                found[key] = AMBIGUOUS if key in found else value  # safety: a duplicate key proves nothing
        return found
    return text.value()


class TooLongError(ValueError):
    """A value has more characters than `LONGEST`."""


class Text:
    """The text of a body, read value by value. Only a piece of it, or one value, is in memory.

    Each method raises ValueError or RecursionError if the text is malformed or exceeds a limit.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._read = 0
        self._decoder = getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is not white space, empty at the end."""
        while True:
            found = _INK.search(self._text, self._at)
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._more():
                return ""

    def end(self) -> None:
        """Check that nothing follows."""
        if self.peek():
            raise ValueError("more follows")

    def value(self, decoder: JSONDecoder = JSON) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end + 2 < len(self._text) or not self._more():  # `1.` or `1e+` at the end of a piece may go on
                self._at = end
                return value

    def members(self) -> Iterator[str]:
        """The keys of the next object, in lower case. The caller reads the value of each before the next one."""
        if self._is_empty("{}"):
            return
        for _ in range(MEMBERS):
            if self.peek() != '"':
                raise ValueError("a key is not a string")
            key: str = self.value()
            self._take(":")
            yield key.lower()
            if self._take(",}") == "}":
                return
        raise ValueError("an object has too many members")

    def entries(self, decoder: JSONDecoder = JSON) -> Iterator[Any]:
        """The entries of the next list. A whole piece is decoded in one call if no object is in another."""
        if self._is_empty("[]"):
            return
        count, is_plain = 0, True
        while count < ENTRIES:
            found = self._objects(decoder) if is_plain else []
            is_plain = bool(found)
            found = found or [self.value(decoder)]
            yield from found
            count += len(found)
            if self._take(",]") == "]":
                return
        raise ValueError("a list has too many entries")

    def _objects(self, decoder: JSONDecoder) -> list[Any]:
        """All entries up to the last object that ends in this piece. Empty if they cannot be decoded in one call."""
        end = self._text.rfind("},", self._at)
        if end < 0 and len(self._text) - self._at <= LONGEST and self._more():
            end = self._text.rfind("},", self._at)
        if end < 0:
            return []
        try:
            found: list[Any] = decoder.decode(f"[{self._text[self._at : end + 1]}]")
        except ValueError:
            return []  # it is the end of an object inside an entry
        self._at = end + 1
        return found

    def _is_empty(self, brackets: str) -> bool:
        """Read the opening bracket, and the closing one if it is next."""
        self._take(brackets[0])
        if self.peek() != brackets[1]:
            return False
        self._take(brackets[1])
        return True

    def _take(self, allowed: str) -> str:
        """Read one of these characters."""
        found = self.peek()
        if not found or found not in allowed:
            raise ValueError(f"expected one of {allowed}")
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read another piece, and forget what was taken. False at the end."""
        if self._read >= len(self._body):
            return False
        rest = self._text[self._at :]
        if len(rest) > LONGEST:
            raise TooLongError("a value is too long")
        end = self._read + PIECE
        self._text = rest + self._decoder.decode(self._body[self._read : end], final=end >= len(self._body))
        self._read, self._at = end, 0
        return True
