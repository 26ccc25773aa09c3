"""What can go wrong, and the exit code each family ends with.

Two kinds of trouble live here. A `Problem` is a value: something wrong with the user's files, found together with all
the others and shown with its place. A `BatchformError` is an exception: a promise that cannot be kept, raised where it
broke and shown once, by the one error boundary in `cli`. An HTTP answer is neither: it is an expected outcome (see
`api.contract`).
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
    """The exit codes. They are part of the interface and never change their meaning."""

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
    """A stretch of one source file. Lines and columns count from 1, columns in characters; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """`file:line:column`, the form editors and terminals make clickable."""
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
    """Whether a problem stops the run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a source file.

    `code` is stable (`BF101`), `summary` short and fixed for the code, `detail` says what is wrong in the words of the
    domain, `hint` what to write instead (may be empty). `related` holds further places with a note each, such as the
    first of two duplicates. `place` is None only where there is no text to point at (a file that cannot be opened):
    then `detail` names the file.
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
        """Every place it has to do with, its own first."""
        return (*((self.place,) if self.place else ()), *(place for place, _ in self.related))


class BatchformError(Exception):
    """Something the user can act on: a short fixed `summary`; in `detail` what happened, why it matters, what to do."""

    exit_code: ClassVar[Exit] = Exit.ERROR

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class UsageError(BatchformError):
    """The command line or the environment asks for something that does not fit."""


NO_SOURCES: Mapping[str, SourceText] = MappingProxyType({})
"""For problems without a text to show."""


class ConfigError(BatchformError):
    """The configuration cannot be used.

    Carries every problem of one run, sorted by place, and the text of the files they stand in by the name their places
    use, to be shown beside them.
    """

    def __init__(self, problems: Iterable[Problem], sources: Mapping[str, SourceText] = NO_SOURCES) -> None:
        self.problems = tuple(problems)
        self.sources = sources
        super().__init__("The configuration is not valid")


class StateError(BatchformError):
    """The state file or its journal is damaged, foreign or cannot be written."""


class StateLockedError(BatchformError):
    """Another run holds the state's lock."""

    exit_code = Exit.LOCKED


class RefusedError(BatchformError):
    """Refused before anything was sent: a guard, an approval for something else, declined at the prompt."""

    exit_code = Exit.REFUSED


class OutcomeUnknownError(BatchformError):
    """An outcome could not be recorded; the intent on disk makes the next run look before it sends."""

    exit_code = Exit.UNKNOWN


class ServerError(BatchformError):
    """The server gave no usable answer to a question the command depends on, or refused the credentials."""
