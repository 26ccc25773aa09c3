"""What was spent, by month, label and so on: a table for a terminal, Markdown with a chart, CSV.

Labels and users are text from outside. A cell of the CSV never begins like a formula, and the chart shows letters and
digits only.
"""

from __future__ import annotations

import re
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Final

from batchform.history import TIMES, Sums
from batchform.render.escape import cut_middle, printable, width
from batchform.render.layout import grid, pack
from batchform.render.markdown import code
from batchform.render.words import batches, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.history import Spending
    from batchform.render.style import Style

_NOTHING: Final = "Nothing was started in this time."
_BAR: Final = 30  # columns
_LEAST_BAR: Final = 8
_KEY: Final = 30  # columns
_GAP: Final = 3
_BARS: Final = 24
"""The most bars in a chart."""

_NUMBERS: Final = tuple(field.name for field in fields(Sums))
_FORMULA: Final = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What a formula begins with in a spreadsheet, also in full width."""

_NOT_IN_CHART: Final = re.compile(r"[^\w .-]")


# --- Text ------------------------------------------------------------------------------------------------------------


def history_by_text(spending: Spending, style: Style, *, bar: str = "") -> str:
    """A table with a line for each group and one for the total. `bar` is a column of a bar, empty for no bars."""
    if not spending.groups:
        return _NOTHING
    columns = _columns(spending)
    headings = [cut_middle(printable(key).upper(), _KEY) for key in spending.by] + [_HEADINGS[name] for name in columns]
    rows = [[*map(_shown, group.values), *_cells(group.sums, columns)] for group in spending.groups]
    rows.append(["total", *["-"] * (len(spending.by) - 1), *_cells(spending.total, columns)])
    numbers = frozenset(range(len(spending.by), len(headings)))
    used = sum(max(map(width, column)) + _GAP for column in zip(headings, *rows, strict=True))
    room = min(_BAR, style.columns - used)
    if bar and room >= _LEAST_BAR:
        heights = [_height(group.sums, spending) for group in spending.groups]
        unit = (max(heights) or 1) / room
        headings.append("")
        for row, height in zip(rows, [*heights, 0], strict=True):
            row.append(bar * max(round(height / unit), 1 if height else 0))
    lines, blocks = grid(headings, rows, style, numbers=numbers)
    lines += [line for block in blocks[:-1] for line in block] + [style.bold(line) for line in blocks[-1]]
    notes = _notes(spending.total)
    return "\n".join([*lines, *([""] if notes else []), *pack(notes, style.columns)])


_HEADINGS: Final = {
    "starts": "STARTS",
    "records": "RECORDS",
    "credits_charged": "CREDITS",
    "credits_unknown": "UNKNOWN",
    "adopted": "ELSEWHERE",
    "refused": "REFUSED",
}


def _columns(spending: Spending) -> list[str]:
    """The columns. Those without any number but zero are left out."""
    always = {"starts", "records", "credits_charged"}
    return [name for name in _HEADINGS if name in always or getattr(spending.total, name)]


def _cells(sums: Sums, columns: Sequence[str]) -> list[str]:
    texts = {
        "records": f"{sums.records:,}{' + ?' if sums.unsized else ''}",
        "credits_charged": "-" if sums.credits_charged is None else f"{sums.credits_charged:,}",
    }
    return [texts.get(name) or f"{getattr(sums, name):,}" for name in columns]


def _shown(value: str | None) -> str:
    return "-" if value is None else cut_middle(printable(value), _KEY) or "-"


def _height(sums: Sums, spending: Spending) -> int:
    """What a bar shows: the credits, or the records where no charge is known at all."""
    return sums.records if spending.total.credits_charged is None else sums.credits_charged or 0


def _notes(total: Sums) -> list[str]:
    """What the numbers leave out."""
    elsewhere = "was started elsewhere" if total.adopted == 1 else "were started elsewhere"
    return [
        note
        for number, note in (
            (
                total.credits_unknown,
                f"The charge of {batches(total.credits_unknown)} is not known: `batchform refresh --credits` reads it.",
            ),
            (total.credits_open, f"The charge of {batches(total.credits_open)} can still change."),
            (total.unsized, f"The records of {batches(total.unsized)} are not known."),
            (total.adopted, f"{batches(total.adopted)} {elsewhere}, by another run or person."),
        )
        if number
    ]


# --- Markdown --------------------------------------------------------------------------------------------------------


def history_by_markdown(spending: Spending) -> str:
    """A table, and a chart of the first key that GitHub and GitLab draw."""
    title = f"### Spent, by {' and '.join(code(key) for key in spending.by)}"
    if not spending.groups:
        return f"{title}\n\n{_NOTHING}"
    columns = _columns(spending)
    head = [*(code(key) for key in spending.by), *(_HEADINGS[name].lower() for name in columns)]
    rule = [*["--"] * len(spending.by), *["--:"] * len(columns)]
    rows = [
        [*(code(value or "") or "-" for value in group.values), *_cells(group.sums, columns)]
        for group in spending.groups
    ]
    total = [
        f"**{cell}**" if cell else ""
        for cell in ("total", *[""] * (len(spending.by) - 1), *_cells(spending.total, columns))
    ]
    table = [f"|{'|'.join(cells)}|" for cells in (head, rule, *rows, total)]
    return "\n".join([title, "", *table, "", *_chart(spending), *_notes(spending.total)]).rstrip()


def _chart(spending: Spending) -> list[str]:
    """A bar for each value of the first key, as Mermaid draws it."""
    bars: dict[str, int] = {}
    for group in spending.groups:
        value = _NOT_IN_CHART.sub("_", group.values[0] or "none")[:_KEY]
        bars[value] = bars.get(value, 0) + _height(group.sums, spending)
    key = spending.by[0]
    # The latest, or the largest.
    chosen = list(bars.items())[-_BARS:] if key in TIMES else sorted(bars.items(), key=lambda bar: -bar[1])[:_BARS]
    most = max(height for _, height in chosen)
    if not most:
        return []
    what = "records" if spending.total.credits_charged is None else "credits"
    names = ", ".join(f'"{name}"' for name, _ in chosen)
    left = len(bars) - len(chosen)
    more = [f"The chart leaves out {count(left, 'value')} of {code(key)}.", ""] if left else []
    return [
        "```mermaid",
        "xychart-beta horizontal",  # vertical bars have no room for their names
        f'    title "{what} by {_NOT_IN_CHART.sub("_", key)[:_KEY]}"',
        f"    x-axis [{names}]",
        f'    y-axis "{what}" 0 --> {most}',
        f"    bar [{', '.join(str(height) for _, height in chosen)}]",
        "```",
        "",
        *more,
    ]


# --- CSV -------------------------------------------------------------------------------------------------------------


def history_by_csv(spending: Spending) -> str:
    """One header line, a line for each group, no total. A label that a batch lacks is empty."""
    rows = [[*spending.by, *_NUMBERS]]
    for group in spending.groups:
        numbers = ("" if number is None else str(number) for number in astuple(group.sums))
        rows.append([*(value or "" for value in group.values), *numbers])
    return "\n".join(",".join(_csv(cell) for cell in row) for row in rows)


def _csv(cell: str) -> str:
    """The cell on one line. One that begins like a formula begins with an apostrophe, which makes it text."""
    text = printable(cell)
    if _FORMULA.match(text.lstrip()):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if set(text) & set("\",;' ") else text
