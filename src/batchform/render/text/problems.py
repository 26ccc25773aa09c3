"""Problems of the configuration with their lines, and errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from batchform.errors import NO_SOURCES, ConfigError, Severity
from batchform.render.escape import cut, defused, printable, width
from batchform.render.excerpt import excerpt
from batchform.render.layout import wrap
from batchform.render.style import Tone
from batchform.render.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.errors import BatchformError, Problem
    from batchform.render.style import Style
    from batchform.source_text import Place, SourceText

_INDENT = "  "
_SHOWN = 50
"""At most this many problems are shown in full."""
_NO_CHARACTER = re.compile("[\udc80-\udcff]")
"""A byte that is no UTF-8, as `SourceText` has it."""


def problems_text(problems: Sequence[Problem], style: Style, sources: Mapping[str, SourceText] = NO_SOURCES) -> str:
    """Each problem with its place, its line, what to do, and related places; then the number of problems.

    Args:
        problems: The problems, in the order to show them. If there are too many, warnings are left out first.
        style: Colour or none.
        sources: The texts of the files whose lines are shown, by the name that the places use.
    """
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    errors = len(problems) - warnings
    shown = [*problems]
    if len(shown) > _SHOWN:
        ranked = sorted(range(len(shown)), key=lambda number: problems[number].severity is Severity.WARNING)
        shown = [problems[number] for number in sorted(ranked[:_SHOWN])]
    blocks = ["\n".join(_problem(problem, style, sources)) for problem in shown]
    counts = [count(errors, "error")] if errors else []
    counts += [count(warnings, "warning")] if warnings else []
    total = f"{', '.join(counts)}." if counts else ""
    if len(shown) < len(problems):
        total += f" {len(shown)} of them are shown; `batchform validate --format json` prints every one."
    return "\n\n".join([*blocks, *(["\n".join(wrap(total, style.columns))] if total else [])])


def error_text(error: BatchformError, style: Style) -> str:
    """The error's summary after `Error: `, and its detail below, with its line breaks."""
    if isinstance(error, ConfigError) and error.problems:
        return problems_text(error.problems, style, error.sources)
    lines = _headed("Error:", printable(error.summary), style, Tone.RED)
    for paragraph in error.detail.strip().split("\n") if error.detail.strip() else ():
        lines += wrap(printable(paragraph.strip()), style.columns, first=_INDENT, rest=_INDENT)
    return "\n".join(lines)


def _problem(problem: Problem, style: Style, sources: Mapping[str, SourceText]) -> list[str]:
    warning = problem.severity is Severity.WARNING
    place = f"{_place(problem.place)}: " if problem.place is not None else ""
    summary = f"{place}{printable(problem.summary)} [{printable(problem.code)}]"
    tone = Tone.YELLOW if warning else Tone.RED
    lines = _headed("Warning:" if warning else "Error:", summary, style, tone)
    if problem.place is not None:
        lines += _carets(problem.place, sources, style, tone)
    if problem.detail:
        lines += wrap(printable(problem.detail), style.columns, first=_INDENT, rest=_INDENT)
    if problem.hint:
        lines += wrap(f"Hint: {printable(problem.hint)}", style.columns, first=_INDENT, rest=_INDENT)
    for other, note in problem.related:
        lines += wrap(f"See {_place(other)}: {printable(note)}", style.columns, first=_INDENT, rest=_INDENT * 2)
        lines += _carets(other, sources, style, Tone.CYAN)
    return lines


def _carets(place: Place, sources: Mapping[str, SourceText], style: Style, tone: Tone) -> list[str]:
    """The line of the source with carets under the place; empty without the source."""
    if place.file not in sources:
        return []
    gutter = f"{place.line:>5} | "
    room = style.columns - width(gutter)
    found = excerpt(place, sources[place.file], room)
    # Each part is escaped by itself, so that the carets are under the characters of the place.
    before, marked, after = map(_stretch, (found.before, found.marked, found.after))
    if width(before) + min(width(marked), 1) > room or (found.head and before):
        before = "…" + _tail(before, room // 3)
    shown = defused(cut(gutter + before + marked + after, style.columns)).rstrip()
    carets = "^" * max(1, min(width(marked), room - width(before)))
    return [shown, f"{' ' * (len(gutter) - 2)}| {' ' * width(before)}{style.paint(tone, carets)}"]


def _tail(text: str, columns: int) -> str:
    """The end of a printable text."""
    while width(text) > columns:
        text = text[1:]
    return text


def _stretch(text: str) -> str:
    """A part of a line as it is shown: a tab as one blank, an invalid byte as its number."""
    text = _NO_CHARACTER.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text.replace("\t", " "))
    return printable(text)


def _headed(head: str, text: str, style: Style, tone: Tone) -> list[str]:
    """The lines of `head text`, the head painted."""
    first, *rest = wrap(f"{head} {text}", style.columns, rest=_INDENT)
    return [first.replace(head, style.paint(tone, head), 1), *rest]


def _place(place: Place) -> str:
    return f"{printable(place.file)}:{place.line}:{place.column}"
