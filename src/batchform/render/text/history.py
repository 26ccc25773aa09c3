"""What a state ever spent: one line for each run, and the totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.render.escape import cut, printable
from batchform.render.layout import grid, pack, wrap
from batchform.render.words import batches, count, size
from batchform.state.codec import encode_time
from batchform.state.known import RUNS_KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.render.style import Style
    from batchform.state.known import Run

_HEADINGS: Final = ("WHEN (UTC)", "COMMAND", "WHO", "COMMIT", "STARTED", "RECORDS")
_NUMBERS: Final = frozenset({4, 5})
_OPTIONAL: Final = (3, 1)
"""What narrow terminals do not show: first the commit, then the command."""
_WHO_AT: Final = 2
_COMMAND, _COMMIT = 12, 8  # columns

_ALSO: Final = ("already_started", "adopted", "rejected", "unknown", "not_attempted", "forgotten", "removed")
"""The other numbers of a run, in the order they are shown."""

_ELSEWHERE: Final = {
    "adopted": "adopted (found running, by a lost run or elsewhere)",
    "already_started": "already started elsewhere when our start arrived",
}
"""The starts that this state did not record as its own: each was paid for by another run or person."""


def history_text(
    runs: Sequence[Run], style: Style, *, last: int | None = None, charged: tuple[int, int, int] = (0, 0, 0)
) -> str:
    """The runs, oldest first, only the `last` ones if given, and the totals of all.

    `charged` has the credits that are known, of how many batches, and how many batches have no known charge.
    """
    if not runs:
        return "This state has no recorded runs."
    shown = runs if last is None else runs[len(runs) - min(last, len(runs)) :]
    rows = [_row(run) for run in shown]
    lines, blocks = grid(_HEADINGS, rows, style, numbers=_NUMBERS, elastic=_WHO_AT, optional=_OPTIONAL)
    for run, block in zip(shown, blocks, strict=True):
        lines += [*block, *_more(run, style)]
    return "\n".join([*lines, "", *pack([*_totals(runs, len(shown)), *_charges(*charged)], style.columns)])


def _row(run: Run) -> tuple[str, ...]:
    return (
        encode_time(run.at)[:16].replace("T", " "),
        printable(run.command, _COMMAND) or "-",
        printable(run.who) or "-",
        printable(run.commit[:_COMMIT], _COMMIT) or "-",
        f"{run.started:,}",
        _records(run),
    )


def _records(run: Run) -> str:
    if run.unsized:
        return f"{run.records:,} + ?"
    return f"{run.records:,}"


def _more(run: Run, style: Style) -> list[str]:
    """The other facts about a run, below its line."""
    words = [
        f"{number:,} {_ELSEWHERE.get(name, name.replace('_', ' '))}" for name in _ALSO if (number := getattr(run, name))
    ]
    if run.unsized:
        words.insert(0, f"{run.unsized:,} of unknown size")
    if run.overrides:
        words.append(f"guard overridden: {cut(', '.join(printable(name) for name in run.overrides), 60)}")
    lines = wrap(", ".join(words), style.columns, first="    ", rest="    ") if words else []
    if run.job:
        lines += wrap(printable(run.job), style.columns, first="    ", rest="    ")
    return [style.dim(line) for line in lines]


def _charges(credits_charged: int, known: int, unknown: int) -> list[str]:
    """What the vendor charged, if any charge is known."""
    if not known:
        return []
    rest = f"; {batches(unknown)} not known" if unknown else ""
    return [f"Charged: {count(credits_charged, 'credit')} for {batches(known)}{rest}."]


def _totals(runs: Sequence[Run], shown: int) -> list[str]:
    started, unsized = sum(run.started for run in runs), sum(run.unsized for run in runs)
    records = size(sum(run.records for run in runs))
    more = f" and {batches(unsized)} of unknown size" if unsized else ""
    sentences = [f"{count(len(runs), 'run')}: {batches(started)} started, {records}{more}."]
    for name, words in _ELSEWHERE.items():
        if number := sum(getattr(run, name) for run in runs):
            sentences.append(f"{batches(number)} {words}.")
    if shown < len(runs):
        sentences.append("The last one is shown." if shown == 1 else f"The last {shown:,} are shown.")
    if len(runs) >= RUNS_KEPT:
        sentences.append(f"Only the last {RUNS_KEPT:,} are kept.")
    return sentences
