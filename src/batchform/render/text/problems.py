"""What is wrong: problems of the configuration with the line they stand in, and errors."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.errors import ConfigError, Severity
from batchform.render.escape import cut, defused, printable, width
from batchform.render.layout import COLUMNS, wrap
from batchform.render.style import Tone
from batchform.render.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.errors import BatchformError, Place, Problem
    from batchform.render.style import Style

_INDENT = "  "
_NO_SOURCES: Mapping[str, str] = MappingProxyType({})
_BEFORE = 24
"""Characters that are shown before the place in a line that is too long to be shown whole."""


def problems_text(problems: Sequence[Problem], style: Style, sources: Mapping[str, str] = _NO_SOURCES) -> str:
    """Each problem with its place, the line it stands in, what to do, and places it has to do with; then how many.

    Args:
        problems: What is wrong, in the order to show it in.
        style: Colour or none.
        sources: The text of each file by the name the places use, for those whose lines shall be shown.
    """
    blocks = ["\n".join(_problem(problem, style, sources)) for problem in problems]
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    warnings = len(problems) - errors
    counts = [count(errors, "error")] if errors else []
    counts += [count(warnings, "warning")] if warnings else []
    return "\n\n".join([*blocks, *([f"{', '.join(counts)}."] if counts else [])])


def error_text(error: BatchformError, style: Style) -> str:
    """The error's summary after `Error: `, its detail below. Line breaks in the detail are kept."""
    if isinstance(error, ConfigError) and error.problems:
        return problems_text(error.problems, style)
    lines = _headed("Error:", printable(error.summary), style, Tone.RED)
    for paragraph in error.detail.splitlines():
        lines += wrap(printable(paragraph), first=_INDENT, rest=_INDENT)
    return "\n".join(line.rstrip() for line in lines)


def _problem(problem: Problem, style: Style, sources: Mapping[str, str]) -> list[str]:
    warning = problem.severity is Severity.WARNING
    place = f"{_place(problem.place)}: " if problem.place is not None else ""
    summary = f"{place}{printable(problem.summary)} [{printable(problem.code)}]"
    tone = Tone.YELLOW if warning else Tone.RED
    lines = _headed("Warning:" if warning else "Error:", summary, style, tone)
    if problem.place is not None:
        lines += excerpt(problem.place, sources, style, tone)
    lines += wrap(printable(problem.detail), first=_INDENT, rest=_INDENT)
    if problem.hint:
        lines += wrap(f"Hint: {printable(problem.hint)}", first=_INDENT, rest=_INDENT)
    for other, note in problem.related:
        lines += wrap(f"See {_place(other)}: {printable(note)}", first=_INDENT, rest=_INDENT * 2)
        lines += excerpt(other, sources, style, Tone.CYAN)
    return lines


def excerpt(place: Place, sources: Mapping[str, str], style: Style, tone: Tone) -> list[str]:
    """The line of the source with carets under the place; nothing when the source is not at hand."""
    lines = sources.get(place.file, "").split("\n")
    if not 1 <= place.line <= len(lines):
        return []
    source = lines[place.line - 1].removesuffix("\r")
    start = min(place.column - 1, len(source))
    end = place.end_column - 1 if place.end_line == place.line else len(source)
    skip = start - _BEFORE if len(source) > COLUMNS - 20 and start > _BEFORE else 0
    # Each stretch is made printable by itself, so that the carets stand where the characters are shown.
    before = ("…" if skip else "") + _stretch(source[skip:start])
    marked = _stretch(source[start : max(end, start)])
    gutter = f"{place.line:>5} | "
    shown = cut(gutter + before + marked + _stretch(source[max(end, start) :]), COLUMNS)
    at = width(gutter) + width(before)
    if at >= COLUMNS:  # escapes may take ten columns each
        return [defused(shown)]
    carets = "^" * max(1, min(width(marked), COLUMNS - at))
    return [defused(shown).rstrip(), f"{' ' * (len(gutter) - 2)}| {' ' * width(before)}{style.paint(tone, carets)}"]


def _stretch(text: str) -> str:
    return printable(text.replace("\t", " "), 4 * COLUMNS)


def _headed(head: str, text: str, style: Style, tone: Tone) -> list[str]:
    """The lines of `head text`, the head painted."""
    first, *rest = wrap(f"{head} {text}", rest=_INDENT)
    return [first.replace(head, style.paint(tone, head), 1), *rest]


def _place(place: Place) -> str:
    return f"{printable(place.file)}:{place.line}:{place.column}"
