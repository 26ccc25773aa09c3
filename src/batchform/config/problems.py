"""The codes of all problems of a configuration, in one table, so that no code is used twice.

BF1xx is about the file and its YAML, BF2xx about the content of one file, BF3xx about batches and files together. The
summaries are fixed, and the detail describes the case. People search for a code and write CI rules with it, so its
meaning never changes and an old code is never used again.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from batchform.errors import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.source_text import Place

MAX_PROBLEMS = 1000
"""After so many problems the rest of a file is not checked: a file can hold millions."""

LONGEST_QUOTE = 60
"""The most characters of a value that a message quotes."""


class Code(Enum):
    """The problems a configuration can have: code and summary."""

    UNREADABLE = ("BF101", "The file cannot be read")
    NOT_REGULAR = ("BF102", "This is not a regular file")
    TOO_LARGE = ("BF103", "The file is too large")
    EMPTY_FOLDER = ("BF104", "The folder holds no YAML file")
    NOT_UTF8 = ("BF105", "The file is not UTF-8")
    BAD_CHARACTER = ("BF106", "This character is not allowed")
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
    LEADS_OUT = ("BF119", "A link that leads outside the folder")

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
    SET_TWICE = ("BF303", "A setting that belongs in one file only")
    CASE_ONLY = ("BF304", "Two batch_ids that differ only in letter case")
    TOO_LATE = ("BF305", "A start that would come after the deadline")
    GUARD_NEVER_HOLDS = ("BF306", "A guard that can never hold")
    NAME_CASE = ("BF307", "Two names that differ only in letter case")

    @property
    def severity(self) -> Severity:
        """Whether it stops the run. Warnings do not: the text may be intended."""
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
    """The last problem of a file with more than `MAX_PROBLEMS`. `place` is the place of the next one."""
    detail = f"This file has more than {MAX_PROBLEMS:,} problems. The rest of it was not checked."
    hint = "Correct the first ones: often many have one cause."
    return Code.TOO_MANY_PROBLEMS.problem(detail, place=place, hint=hint)


def quote(text: str, longest: int = LONGEST_QUOTE) -> str:
    """`text` in double quotes, cut to `longest`, with escapes for characters that could control a terminal.

    If it is not cut, it is valid YAML and can be shown as the text to write.
    """
    shown = "".join(map(_escape, text[:longest]))
    return f'"{shown}…"' if len(text) > longest else f'"{shown}"'


def quote_path(path: str) -> str:
    """`path` as `quote` shows it, but never cut."""
    return quote(path, len(path))


def how_to_quote(text: str) -> str:
    """The hint for an unquoted `text` that has to be quoted."""
    return "Put it in double quotes." if len(text) > LONGEST_QUOTE else f"Write `{quote(text)}`."


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _escape(character: str) -> str:
    """One character as it is written in a YAML double-quoted text."""
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
