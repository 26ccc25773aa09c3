"""Every code a source file can be refused with: one table, so that none is used twice and none changes its meaning.

BF1xx is about the file and its YAML, BF2xx about the shape of one file, BF3xx about batches and files together. The
summaries are fixed; what is particular to one case stands in the detail. The code is what people search for and what
CI rules are written against, so a code that is no longer needed is left unused.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from batchform.errors import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.source_text import Place

MAX_PROBLEMS = 1000
"""After so many problems the rest of a file is not looked at: nobody reads them, and a file can hold millions."""

LONGEST_QUOTE = 60
"""How many characters of a value a message quotes."""


class Code(Enum):
    """What can be wrong with the configuration: the code and its summary."""

    UNREADABLE = ("BF101", "The file cannot be read")
    NOT_REGULAR = ("BF102", "This is not a regular file")
    TOO_LARGE = ("BF103", "The file is too large")
    EMPTY_FOLDER = ("BF104", "The folder holds no YAML file")
    NOT_UTF8 = ("BF105", "The file is not UTF-8")
    BAD_CHARACTER = ("BF106", "A character that must not stand here")
    NOT_YAML = ("BF107", "The file is not valid YAML")
    TAB = ("BF108", "A tab in the indentation")
    SECOND_DOCUMENT = ("BF109", "More than one YAML document")
    TOO_DEEP = ("BF110", "Nested too deeply")
    TOO_MANY = ("BF111", "Too many values")
    DUPLICATE_KEY = ("BF112", "The same key twice")
    KEY_NOT_TEXT = ("BF113", "This key must be quoted")
    MERGE_KEY = ("BF114", "Merge keys are not supported")
    TAG = ("BF115", "Tags are not supported")
    UNKNOWN_ALIAS = ("BF116", "An alias without an anchor")
    RECURSIVE_ALIAS = ("BF117", "An alias that holds itself")
    TOO_MANY_PROBLEMS = ("BF118", "Too many problems")
    LEADS_OUT = ("BF119", "A link that leads out of the tree")

    EMPTY_FILE = ("BF201", "The file is empty")
    UNKNOWN_KEY = ("BF202", "Unknown key")
    MISSING_KEY = ("BF203", "A required key is missing")
    WRONG_KIND = ("BF204", "The wrong kind of value")
    UNQUOTED = ("BF205", "This text must be quoted")
    BAD_NAME = ("BF206", "Not a valid name")
    BAD_BATCH_ID = ("BF207", "Not a valid batch_id")
    BAD_REFERENCE_ID = ("BF208", "Not a valid reference_id")
    BAD_TEXT = ("BF209", "Not a valid text")
    BAD_NUMBER = ("BF210", "The number is out of range")
    BAD_TIME = ("BF211", "Not a valid time")
    BAD_VERSION = ("BF212", "Unsupported configuration version")
    BAD_SERVICE = ("BF213", "Unknown service")
    SCHEMA = ("BF214", "Refused by the schema")

    SAME_BATCH_ID = ("BF301", "The same batch_id under two names")
    SAME_NAME = ("BF302", "The same name in two files")
    SET_TWICE = ("BF303", "A setting that may stand in one file only")
    CASE_ONLY = ("BF304", "Two batch_ids that differ only in letter case")
    TOO_LATE = ("BF305", "A start that would come after the deadline")
    GUARD_NEVER_HOLDS = ("BF306", "A guard that can never hold")
    NAME_CASE = ("BF307", "Two names that differ only in letter case")

    @property
    def severity(self) -> Severity:
        """Whether it stops the run. A warning may be what the author meant: nothing is paid for that should not be."""
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR

    def problem(
        self, detail: str, *, place: Place | None, hint: str = "", related: Iterable[tuple[Place, str]] = ()
    ) -> Problem:
        """The problem with this code at `place`."""
        code, summary = self.value
        return Problem(
            code=code,
            summary=summary,
            detail=detail,
            hint=hint,
            severity=self.severity,
            place=place,
            related=tuple(related),
        )


_WARNINGS = frozenset({Code.CASE_ONLY, Code.TOO_LATE, Code.GUARD_NEVER_HOLDS, Code.NAME_CASE})


def too_many(place: Place | None) -> Problem:
    """The problem that closes a list of more than `MAX_PROBLEMS`; `place` is where the next one stands."""
    detail = f"{MAX_PROBLEMS:,} problems stand before this one; what follows was not looked at."
    hint = "Correct those first: often many have one cause."
    return Code.TOO_MANY_PROBLEMS.problem(detail, place=place, hint=hint)


def quote(text: str, longest: int = LONGEST_QUOTE) -> str:
    """`text` in double quotes, cut to `longest` and with no character left that could act on a terminal.

    What was not cut is also valid YAML, so it can be shown as what to write.
    """
    shown = "".join(map(_escape, text[:longest]))
    return f'"{shown}…"' if len(text) > longest else f'"{shown}"'


def quote_path(path: str) -> str:
    """`path` as `quote` shows it, but whole: cut, it would not say which file is meant."""
    return quote(path, len(path))


def how_to_quote(text: str) -> str:
    """The hint for an unquoted `text` that has to be quoted."""
    return "Put it in double quotes." if len(text) > LONGEST_QUOTE else f"Write `{quote(text)}`."


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _escape(character: str) -> str:
    """One character as it stands in a YAML double-quoted text."""
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
