"""Problems and errors, and the exit code of each kind of error.

A `Problem` is a value: an error or warning about a place in the user's files. One run reports all of them. A
`BatchformError` is an exception that ends the run. `cli` catches and shows it in one place. An HTTP answer is neither:
it is an expected outcome (see `api.contract`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Exit(IntEnum):
    """The exit codes. They are part of the interface, and their meaning never changes."""

    DONE = 0
    ERROR = 1
    CHANGES = 2
    INCOMPLETE = 3
    UNKNOWN = 4
    LOCKED = 5
    REFUSED = 6
    TIMEOUT = 7
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


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
    """The text of one file, its BOM removed: the place of any stretch of it, and where that place is.

    What a hostile file is made of must not matter, so nothing is kept per line: a few numbers for every `_STRIDE`
    characters answer each question in the same short time, in a text of one line as in one of millions.

    A byte that is no UTF-8 stands in `text` as the lone surrogate of Python's `surrogateescape`.
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
        """Where in `text` a place stands; inside the text, whatever is asked for."""
        lines, _ = self._strides
        stride = max(bisect_left(lines, line - 1) - 1, 0)
        at = stride * self._STRIDE
        for _ in range(line - 1 - lines[stride]):
            at = self.text.find("\n", at) + 1
            if not at:
                return len(self.text)
        return min(at + column - 1, len(self.text))

    def byte(self, offset: int) -> int:
        """How many bytes of the file stand before `text[offset]`, a BOM counted."""
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
        """For the beginning of each stride: how many line ends stand before it, and where its line begins."""
        lines, starts = array("I", [0]), array("I", [0])
        for begin in range(0, len(self.text), self._STRIDE):
            end = begin + self._STRIDE
            lines.append(lines[-1] + self.text.count("\n", begin, end))
            starts.append(self.text.rfind("\n", begin, end) + 1 or starts[-1])
        return lines, starts

    @cached_property
    def _bytes(self) -> array[int]:
        """How many bytes the text takes before the beginning of each stride."""
        begins = range(0, len(self.text), self._STRIDE)
        sizes = (_bytes(self.text[begin : begin + self._STRIDE]) for begin in begins)
        return array("I", accumulate(sizes, initial=0))


_BOM = "\ufeff"


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


class Severity(StrEnum):
    """An error stops the run, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error or warning about a configuration file.

    `code` is stable (`BF101`) and `summary` fixed for the code. `detail` says what is wrong, `hint` what to write
    instead (can be empty). `related` has further places with a note each, such as the first of two duplicates. `place`
    is None for a file that cannot be opened. Then `detail` names the file.
    """

    code: str
    summary: str
    detail: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    place: Place | None = None
    related: tuple[tuple[Place, str], ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Its place and the related ones."""
        return (*((self.place,) if self.place else ()), *(place for place, _ in self.related))


class BatchformError(Exception):
    """An error for the user: a short fixed `summary`, and in `detail` what happened, why it matters and what to do."""

    exit_code: ClassVar[Exit] = Exit.ERROR

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class UsageError(BatchformError):
    """The command line or the environment is wrong."""


NO_SOURCES: Mapping[str, SourceText] = MappingProxyType({})
"""For problems without a file text."""


class ConfigError(BatchformError):
    """The configuration is not valid. Has every problem, sorted by place, and the texts of their files by file name."""

    def __init__(self, problems: Iterable[Problem], sources: Mapping[str, SourceText] = NO_SOURCES) -> None:
        self.problems = tuple(problems)
        self.sources = sources
        super().__init__("The configuration is not valid")


class StateError(BatchformError):
    """The state file or its journal is damaged, belongs to something else, or cannot be written."""


class StateLockedError(BatchformError):
    """Another run has locked the state."""

    exit_code = Exit.LOCKED


class RefusedError(BatchformError):
    """Refused before any start was sent: by a guard, by the user, or for an approval of something else."""

    exit_code = Exit.REFUSED


class OutcomeUnknownError(BatchformError):
    """An outcome could not be recorded. The intent is on disk, so the next run verifies it before it sends again."""

    exit_code = Exit.UNKNOWN


class ServerError(BatchformError):
    """The server refused the credentials, or gave no usable answer to a request that the command needs."""
