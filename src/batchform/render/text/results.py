"""The results of batches: a line for each, or its statistics, and the totals. Never an item."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from batchform.fetch import Kind
from batchform.render.escape import pad, printable, width
from batchform.render.layout import grid, pack
from batchform.render.text.status import status_words
from batchform.render.words import batches, count, problem_words
from batchform.status import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.fetch import Fetched
    from batchform.render.style import Style

_HEADINGS: Final = ("NAME", "STATUS", "ITEMS", "CREDITS", "RESULTS")
_NUMBERS: Final = frozenset({2, 3})
_NONE: Final = "-"
_STATUS, _RESULT = 16, 44  # columns


def results_text(found: Sequence[Fetched], style: Style) -> str:
    """A line for each batch, its statistics if it was only read, and the totals."""
    if not found:
        return "No batches are declared."
    heading, rows = grid(_HEADINGS, [_row(one) for one in found], style, numbers=_NUMBERS, optional=(2,))
    lines = list(heading)
    for one, row in zip(found, rows, strict=True):
        lines += [*row, *(_statistics(one, style) if one.kind is Kind.READ else ())]
    return "\n".join([*lines, "", *pack(_totals(found), style.columns)])


def _row(one: Fetched) -> tuple[str, ...]:
    known = one.results
    status = status_words(one.standing) if known is None else printable(known.status, _STATUS)
    items = None if known is None else known.count
    credits_charged = None if known is None else known.credits_charged
    return (
        printable(one.standing.change.name),
        status,
        _NONE if items is None else f"{items:,}",
        _NONE if credits_charged is None else f"{credits_charged:,}",
        printable(_result(one), _RESULT),
    )


def _result(one: Fetched) -> str:
    match one.kind:
        case Kind.WRITTEN:
            return _name(one)
        case Kind.KEPT:
            return f"kept {_name(one)}"
        case Kind.READ:
            return "read"
        case Kind.UNFINISHED:
            return "none yet" if one.standing.stage is Stage.PROCESSING or one.results else "none"
        case Kind.UNREADABLE:
            return "could not be read"


def _name(one: Fetched) -> str:
    return one.file.rpartition("/")[2]


def _statistics(one: Fetched, style: Style) -> list[str]:
    known = one.results.statistics if one.results is not None else {}
    shown = {printable(name, style.columns - 20): number for name, number in known.items()}
    widest = max(map(width, shown), default=0)
    return [f"  {pad(name, widest)}   {number:>13,}" for name, number in shown.items()]


def _totals(found: Sequence[Fetched]) -> list[str]:
    number = Counter(one.kind for one in found)
    sentences = []
    if number[Kind.WRITTEN]:
        folder = next(one.file.rpartition("/")[0] for one in found if one.kind is Kind.WRITTEN) or "."
        sentences.append(f"Wrote {count(number[Kind.WRITTEN], 'file')} of personal data to {printable(folder)}.")
    if number[Kind.READ]:
        sentences.append(f"Read the statistics of {batches(number[Kind.READ])}.")
    if number[Kind.KEPT]:
        sentences.append(f"Kept {count(number[Kind.KEPT], 'file')}: `--force` fetches them again.")
    if number[Kind.UNFINISHED]:
        sentences.append(f"{_have(number[Kind.UNFINISHED])} no results yet.")
    if number[Kind.UNREADABLE]:
        sentences.append(f"The results of {batches(number[Kind.UNREADABLE])} could not be read: run the command again.")
    return sentences


def _have(number: int) -> str:
    return count(number, "batch has", "batches have")


def warning_text(one: Fetched) -> str:
    """Why the results could not be read, or that they are fewer or more than the batch has records; else empty."""
    name, records = printable(one.standing.change.name), one.standing.change.records
    if one.problem is not None:
        return f"The results of `{name}` could not be read: {problem_words(one.problem)}."
    items = None if one.results is None or one.kind is not Kind.WRITTEN else one.results.count
    if items is None or records is None or items == records or not one.standing.observed:
        return ""
    return f"`{name}` has {count(records, 'record')}, but the server gave {count(items, 'item')}."
