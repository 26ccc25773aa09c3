"""What can go wrong, and the exit code each family ends with.

Two kinds of trouble live here. A `Problem` is a value: something wrong with the user's files, found together with all
the others and shown with its place. A `BatchformError` is an exception: a promise that cannot be kept, raised where it
broke and shown once, by the one error boundary in `cli`. An HTTP answer is neither: it is an expected outcome (see
`api.contract`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class BatchformError(Exception):
    """Something the user can act on: a short fixed `summary`; in `detail` what happened, why it matters, what to do."""

    exit_code: ClassVar[Exit] = Exit.ERROR

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class UsageError(BatchformError):
    """The command line or the environment asks for something that does not fit."""


class ConfigError(BatchformError):
    """The configuration cannot be used. Carries every problem of one run, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
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
