"""The text of a file that a user wrote, and places in it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A range in one file. Lines and columns count from 1, columns in characters. The end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """`file:line:column`, which editors and terminals make clickable."""
        return f"{self.file}:{self.line}:{self.column}"


class SourceText:
    """The text of one file, without its BOM. Converts between offsets, places and bytes.

    A file can be one line of 16 MiB or millions of empty lines. So nothing is stored per line, only a few numbers per
    `_STRIDE` characters, and each method takes the same short time in any text.

    A byte that is not UTF-8 is in `text` as the lone surrogate of Python's `surrogateescape`.
    """

    _STRIDE: ClassVar = 1024  # characters

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text.removeprefix(_BOM)
        self._lead = 0 if self.text is text else len(_BOM.encode())

    def place(self, start: int, end: int) -> Place:
        """The place of `text[start:end]`."""
        line, column = self._position(start)
        if self.text.find("\n", start, end) < 0:
            end_line, end_column = line, column + end - start
        else:
            end_line, end_column = self._position(end)
        return Place(file=self.file, line=line, column=column, end_line=end_line, end_column=end_column)

    def offset(self, line: int, column: int) -> int:
        """The offset in `text` of a line and column, at most its length."""
        lines, _ = self._strides
        stride = max(bisect_left(lines, line - 1) - 1, 0)
        at = stride * self._STRIDE
        for _ in range(line - 1 - lines[stride]):
            at = self.text.find("\n", at) + 1
            if not at:
                return len(self.text)
        return min(at + column - 1, len(self.text))

    def byte(self, offset: int) -> int:
        """The number of bytes in the file before `text[offset]`, including a BOM."""
        if self.text.isascii():
            return self._lead + offset
        begin = offset - offset % self._STRIDE
        return self._lead + self._bytes[begin // self._STRIDE] + _bytes(self.text[begin:offset])

    def _position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1."""
        begin = offset - offset % self._STRIDE
        line = self._strides[0][begin // self._STRIDE] + self.text.count("\n", begin, offset) + 1
        return line, offset - self._line_start(offset) + 1

    def _line_start(self, offset: int) -> int:
        begin = offset - offset % self._STRIDE
        return self.text.rfind("\n", begin, offset) + 1 or self._strides[1][begin // self._STRIDE]

    @cached_property
    def _strides(self) -> tuple[array[int], array[int]]:
        """For the beginning of each stride: the number of line ends before it, and the offset where its line begins."""
        lines, starts = array("I", [0]), array("I", [0])
        for begin in range(0, len(self.text), self._STRIDE):
            end = begin + self._STRIDE
            lines.append(lines[-1] + self.text.count("\n", begin, end))
            starts.append(self.text.rfind("\n", begin, end) + 1 or starts[-1])
        return lines, starts

    @cached_property
    def _bytes(self) -> array[int]:
        """The number of bytes before the beginning of each stride."""
        begins = range(0, len(self.text), self._STRIDE)
        sizes = (_bytes(self.text[begin : begin + self._STRIDE]) for begin in begins)
        return array("I", accumulate(sizes, initial=0))


_BOM = "\ufeff"


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
