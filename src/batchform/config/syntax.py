"""What the YAML parser complains of -> a problem that says what to do.

libyaml and yaml's own parser word their complaints differently, and neither says what to write. This table knows both,
by the words that tell them apart; a complaint nobody foresaw is passed on as the parser put it.
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
        "A `: ` where no key can stand.",
        "Quote a text that holds `: `. A key of its own goes on a line of its own, indented further.",
    ),
    (("a quoted scalar", "stream"), "A quoted text has no end.", "Close the quotes."),
    (
        ("escape",),
        "Inside double quotes a backslash begins an escape, and this is none that YAML knows.",
        "Write the backslash twice, or use single quotes.",
    ),
    (("flow sequence",), "A list that began with `[` does not go on or end here.", "Add the missing `,` or `]`."),
    (("flow mapping",), "A mapping that began with `{` does not go on or end here.", "Add the missing `,` or `}`."),
    (("cannot start any token",), "No text can begin with this character.", "Quote the text."),
    (
        ("while parsing a block",),
        "This line belongs neither to the mapping or list before it nor to one of its own.",
        "Start the keys of one mapping in the same column, the dashes of one list too; quote a text that holds quotes.",
    ),
)


_KEY_VALUE = "Write `key: value`, with a blank behind the colon. If it goes on with the text before, indent it further."
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
    """The problem for what yaml raised, at what has to change."""
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
        # Where the file ends says nothing about what was left open; where that begins does.
        return Code.NOT_YAML.problem(detail, hint=hint, place=source.place(began, began + 1))
    place = source.place(at, min(at + 1, len(source.text)))
    related = [(source.place(began, began + 1), "what cannot go on began here")] if began is not None else []
    return Code.NOT_YAML.problem(detail, hint=hint, place=place, related=related)


def _told_apart(source: SourceText, said: str, at: int, began: int | None) -> Problem | None:
    """The problem, where the text around says more than the parser: what people write, and parsers stumble over."""
    text = source.text
    line = text.rfind("\n", 0, at) + 1
    if tab := _INDENTATION.match(text, line):
        detail = "YAML is indented with spaces only: how wide a tab is, everyone sees differently."
        place = source.place(tab.end() - 1, tab.end())
        return Code.TAB.problem(detail, hint="Put spaces in place of the tab.", place=place)
    if conflict := _CONFLICT.search(text):
        detail = "Git left the mark of a merge conflict here."
        return _broken(source, conflict.span(), detail, "Decide for one of the two sides and remove the marks.")
    if "cannot start any token" in said and text.startswith("{%", at - 1):
        detail = "`{%` belongs to a template; YAML has no such thing."
        return _broken(source, (at - 1, at + 1), detail, "Render the template first, and check what comes out of it.")
    if "expected ':'" in said and began is not None:
        end = text.find("\n", began)
        detail = "This reads like a key, but no `: ` follows it."
        span = (began, end if end >= 0 else len(text))
        return _broken(source, span, detail, _KEY_VALUE)
    if "scanning an a" in said and began is not None:
        detail = f"`{text[began]}` at the start of a text has a meaning of its own in YAML."
        return _broken(source, (began, at + 1), detail, "Quote the text.")
    if "while parsing a block" in said and text[at : at + 1] == ":":
        return _broken(source, (at, at + 1), "No key stands before this colon.", "Write `key: value`.")
    if "while parsing a block" in said and _CLOSED.match(text[line:at]):
        detail = "After the closing quote nothing may follow."
        hint = "Put the quotes around the whole text; inside them write the other kind of quote."
        return _broken(source, (at, at + 1), detail, hint)
    if "mapping values are not allowed" in said and (key := _KEY_BEFORE_COLON.match(text[line:at])):
        detail = "This reads like a key of its own, but the line before it has a value already."
        before = text[text.rfind("\n", 0, max(line - 1, 0)) + 1 : max(line - 1, 0)]
        hint = "Start it in the column of the keys around it."
        if _NO_BLANK.match(before):
            hint = "Write a blank behind the colon in the line before."
        return _broken(source, (line + key.start(1), line + key.end(1)), detail, hint)
    return None


def _broken(source: SourceText, span: tuple[int, int], detail: str, hint: str) -> Problem:
    return Code.NOT_YAML.problem(detail, hint=hint, place=source.place(*span))


def second_document(source: SourceText, start: int, end: int) -> Problem:
    """The problem of a file that goes on after the end of its document."""
    hint = "Put the rest into a file of its own; `-f` takes many."
    return Code.SECOND_DOCUMENT.problem(
        "A file holds one YAML document; here another begins.", hint=hint, place=source.place(start, end)
    )
