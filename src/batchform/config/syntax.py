"""What the YAML parser complains of -> a problem that says what to do.

libyaml and yaml's own parser word their complaints differently, and neither says what to write. This table knows both,
by the words that tell them apart; a complaint nobody foresaw is passed on as the parser put it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batchform.config.problems import Code, quote

if TYPE_CHECKING:
    from batchform.config.source import Source
    from batchform.errors import Problem

_INDENTATION = re.compile(r"[ ]*\t")

_KNOWN = (
    (
        ("mapping values are not allowed",),
        "A `: ` where no key can stand.",
        "Quote a text that holds `: `; otherwise check the indentation of this line and of the one before.",
    ),
    (("expected ':'",), "This reads like a key, but no `:` follows it.", "Write `key: value`."),
    (("a quoted scalar", "stream"), "A quoted text has no end.", "Close the quotes."),
    (
        ("escape",),
        "Inside double quotes a backslash begins an escape, and this is none that YAML knows.",
        "Write the backslash twice, or use single quotes.",
    ),
    (("flow sequence",), "A list that began with `[` does not go on or end here.", "Add the missing `,` or `]`."),
    (("flow mapping",), "A mapping that began with `{` does not go on or end here.", "Add the missing `,` or `}`."),
    (("cannot start any token",), "No text can begin with this character.", "Quote the text."),
    (("scanning an a", "alphabetic"), "After `*` or `&` a name has to follow.", "Quote a text that begins so."),
    (
        ("while parsing a block",),
        "This line belongs neither to the mapping or list before it nor to one of its own.",
        "Start the keys of one mapping in the same column, the dashes of one list too; quote a text that holds quotes.",
    ),
)


def describe(error: Any, source: Source) -> Problem:
    """The problem for what yaml raised, at the tab if there is one."""
    context, complaint = str(getattr(error, "context", None) or ""), str(getattr(error, "problem", None) or error)
    mark, beginning = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    at = min(mark.index, len(source.text)) if mark else 0
    if "<document start>" in complaint:
        return second_document(source, at, at)
    line = source.text.rfind("\n", 0, at) + 1
    if tab := _INDENTATION.match(source.text, line):
        detail = "YAML is indented with spaces only: how wide a tab is, everyone sees differently."
        place = source.place(tab.end() - 1, tab.end())
        return Code.TAB.problem(detail, hint="Put spaces in place of the tab.", place=place)
    said = f"{context}, {complaint}" if context else complaint
    detail, hint = f"The YAML parser says: {quote(said)[1:-1]}.", ""
    for words, meaning, advice in _KNOWN:
        if all(word in said for word in words):
            detail, hint = meaning, advice
            break
    began = source.place(beginning.index, beginning.index + 1) if beginning and beginning.index < at else None
    if began and not source.text[at:].strip():
        # Where the file ends says nothing about what was left open; where that begins does.
        return Code.NOT_YAML.problem(detail, hint=hint, place=began)
    place = source.place(at, min(at + 1, len(source.text)))
    related = [(began, "what cannot go on began here")] if began else []
    return Code.NOT_YAML.problem(detail, hint=hint, place=place, related=related)


def second_document(source: Source, start: int, end: int) -> Problem:
    """The problem of a file that goes on after the end of its document."""
    hint = "Put the rest into a file of its own; `-f` takes many."
    return Code.SECOND_DOCUMENT.problem(
        "A file holds one YAML document; here another begins.", hint=hint, place=source.place(start, end)
    )
