"""Problems and errors, and the exit code of each kind of error.

A `Problem` is a value: an error or warning about a place in the user's files. One run reports all of them. A
`BatchformError` is an exception that ends the run. `cli` catches and shows it in one place. An HTTP answer is neither:
it is an expected outcome (see `api.contract`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batchform.source_text import Place, SourceText


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


class StateMissingError(StateError):
    """There is no state, although its journal continues one."""


class StateLockedError(BatchformError):
    """Another run has locked the state."""

    exit_code = Exit.LOCKED


class RefusedError(BatchformError):
    """Refused before any start was sent: by a guard, by the user, or for an approval of something else."""

    exit_code = Exit.REFUSED


class OutcomeUnknownError(BatchformError):
    """An outcome could not be recorded. The intent is on disk, so the next run verifies it before it sends again."""

    exit_code = Exit.UNKNOWN


class StateGoneError(OutcomeUnknownError):
    """The state was deleted while this run held it, and its intents with it."""


class ServerError(BatchformError):
    """The server refused the credentials, or gave no usable answer to a request that the command needs."""
