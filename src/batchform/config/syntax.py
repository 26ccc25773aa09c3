"""A syntax error of the YAML parser -> a problem that says what to do.

libyaml and the parser in Python word their errors differently, and neither says what to write. The table matches the
words of both. An error that it does not match is shown as the parser words it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batchform.config.problems import Code, quote

if TYPE_CHECKING:
    from batchform.errors import Problem
    from batchform.source_text import SourceText

_INDENTATION = re.compile(r"[ ]*\t")

_KNOWN = (
    (
        ("mapping values are not allowed",),
        "`: ` is not allowed here, because no key can begin here.",
        "Quote a text that contains `: `. Put a nested key on a line of its own, indented further.",
    ),
    (("a quoted scalar", "stream"), "The closing quote is missing.", "Close the quotes."),
    (
        ("escape",),
        "Inside double quotes a backslash begins an escape, and YAML does not know this one.",
        "Write the backslash twice, or use single quotes.",
    ),
    (
        ("flow sequence",),
        "In a list that begins with `[`, a `,` or `]` is missing here.",
        "Add the missing `,` or `]`.",
    ),
    (
        ("flow mapping",),
        "In a mapping that begins with `{`, a `,` or `}` is missing here.",
        "Add the missing `,` or `}`.",
    ),
    (("cannot start any token",), "A text without quotes cannot begin with this character.", "Quote the text."),
    (
        ("while parsing a block",),
        "The indentation of this line matches no mapping or list before it.",
        "Start all keys of a mapping, and all dashes of a list, in the same column. Quote a text that contains quotes.",
    ),
)


_KEY_VALUE = "Write `key: value`, with a space after the colon. To continue the text before it, indent it further."
_CONFLICT = re.compile(r"^(?:<{7} .*|={7}|>{7} .*)$", re.MULTILINE)
_KEY_BEFORE_COLON = re.compile(r"[ ]*(?:- +)?([^\s:#'\"\[{][^:\n]*)$")
_NO_BLANK = re.compile(r"[ ]*[A-Za-z_][A-Za-z0-9_-]*:[^\s:/]\S*$")
_CLOSED = re.compile(r"[^\n]*['\"][ ]*$")


_LEVELS = 1000
"""How deep libyaml lets flow collections nest since PyYAML 6.0.4. No character opens more than one level."""


def nested_too_deeply(error: Any) -> int | None:
    """Where to cut the text so that the reader, not the parser, finds the nesting too deep; None for other errors.

    The parser scans up to 1,024 characters ahead, so it complains before the reader has seen the first level. The text
    before that offset opens at least 100 of the levels, which is more than the reader allows.
    """
    if "maximum nesting depth" not in str(getattr(error, "problem", None)):
        return None
    offset: int = error.problem_mark.index - (_LEVELS - 100)
    return offset


def describe(error: Any, source: SourceText) -> Problem:
    """The problem for an error of the parser, placed at the text to change."""
    context, complaint = str(getattr(error, "context", None) or ""), str(getattr(error, "problem", None) or error)
    mark, beginning = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    at = min(mark.index, len(source.text)) if mark else 0
    if "<document start>" in complaint:
        return second_document(source, at, at)
    said = f"{context}, {complaint}" if context else complaint
    began = beginning.index if beginning and beginning.index < at else None
    if told := _told_apart(source, said, at, began):
        return told
    detail, hint = f"The YAML parser says: {quote(said)[1:-1]}.", ""
    for words, meaning, advice in _KNOWN:
        if all(word in said for word in words):
            detail, hint = meaning, advice
            break
    if began is not None and not source.text[at:].strip():
        # The end of the file is of no help. The beginning of what is not closed is.
        return Code.NOT_YAML.problem(detail, hint=hint, place=source.place(began, began + 1))
    place = source.place(at, min(at + 1, len(source.text)))
    related = [(source.place(began, began + 1), "it began here")] if began is not None else []
    return Code.NOT_YAML.problem(detail, hint=hint, place=place, related=related)


def _told_apart(source: SourceText, said: str, at: int, began: int | None) -> Problem | None:
    """The problem for a common mistake, which the text around it shows better than the words of the parser."""
    text = source.text
    line = text.rfind("\n", 0, at) + 1
    if tab := _INDENTATION.match(text, line):
        detail = "YAML allows only spaces for indentation."
        place = source.place(tab.end() - 1, tab.end())
        return Code.TAB.problem(detail, hint="Replace the tab with spaces.", place=place)
    if conflict := _CONFLICT.search(text):
        detail = "This is the marker of a merge conflict in git."
        return _broken(source, conflict.span(), detail, "Resolve the conflict and remove the markers.")
    if "cannot start any token" in said and text.startswith("{%", at - 1):
        detail = "`{%` belongs to a template, not to YAML."
        return _broken(source, (at - 1, at + 1), detail, "Render the template first and validate the result.")
    if "expected ':'" in said and began is not None:
        end = text.find("\n", began)
        detail = "This looks like a key, but no `: ` follows it."
        span = (began, end if end >= 0 else len(text))
        return _broken(source, span, detail, _KEY_VALUE)
    if "scanning an a" in said and began is not None:
        detail = f"`{text[began]}` at the beginning of a text has a special meaning in YAML."
        return _broken(source, (began, at + 1), detail, "Quote the text.")
    if "while parsing a block" in said and text[at : at + 1] == ":":
        return _broken(source, (at, at + 1), "There is no key before this colon.", "Write `key: value`.")
    if "while parsing a block" in said and _CLOSED.match(text[line:at]):
        detail = "Nothing may follow the closing quote."
        hint = "Put the quotes around the whole text. Inside them, use the other kind of quote."
        return _broken(source, (at, at + 1), detail, hint)
    if "mapping values are not allowed" in said and (key := _KEY_BEFORE_COLON.match(text[line:at])):
        detail = "This looks like a key, but the line before it has a value already."
        before = text[text.rfind("\n", 0, max(line - 1, 0)) + 1 : max(line - 1, 0)]
        hint = "Start it in the same column as the keys around it."
        if _NO_BLANK.match(before):
            hint = "Write a space after the colon in the line before."
        return _broken(source, (line + key.start(1), line + key.end(1)), detail, hint)
    return None


def _broken(source: SourceText, span: tuple[int, int], detail: str, hint: str) -> Problem:
    return Code.NOT_YAML.problem(detail, hint=hint, place=source.place(*span))


def second_document(source: SourceText, start: int, end: int) -> Problem:
    """The problem of a file with a second document."""
    hint = "Put the second one into a file of its own. `-f` can be repeated."
    return Code.SECOND_DOCUMENT.problem(
        "A second YAML document begins here. A file holds one.", hint=hint, place=source.place(start, end)
    )
