"""The progress of the declared batches: the table, the frame of a watch, and the line of a log."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final

from batchform.model import Service
from batchform.plan import Action, Obstacle, Reason, span
from batchform.render.escape import cut, cut_middle, pad, printable, width
from batchform.render.layout import grid, pack
from batchform.render.style import Tone
from batchform.render.words import ACTIONS, REASONS, batches, count
from batchform.state.codec import encode_time
from batchform.status import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.render.style import Style
    from batchform.status import Snapshot, Standing

_HEADINGS: Final = ("NAME", "STATUS", "RECORDS", "PROCESSED", "%", "STARTED (UTC)", "DEADLINE")
_NUMBERS: Final = frozenset({2, 3, 4})
_OPTIONAL: Final = (3, 5)
"""What narrow terminals do not show: the number processed, which the share implies; then the start."""
_NONE: Final = "-"

_BAR, _BAR_FROM = 20, 72
"""Columns of a progress bar, and of the narrowest terminal that has one."""

_LONGEST_STATUS: Final = 16

TONES: Mapping[Stage, Tone] = {
    Stage.PENDING: Tone.YELLOW,
    Stage.HELD: Tone.DIM,
    Stage.PROCESSING: Tone.CYAN,
    Stage.COMPLETED: Tone.GREEN,
    Stage.STOPPED: Tone.RED,
    Stage.BLOCKED: Tone.RED,
}

_ORDER: Final = (Stage.PROCESSING, Stage.STOPPED, Stage.BLOCKED, Stage.PENDING, Stage.HELD, Stage.COMPLETED)
"""The order of the totals, and of the batches on a screen that is too low for all."""


def status_text(snapshot: Snapshot, style: Style, *, only: Sequence[Standing] | None = None) -> str:
    """One line for each batch, and the totals.

    Args:
        snapshot: The progress of the batches.
        style: Colour or none.
        only: The batches to show, None for all.
    """
    shown = snapshot.standings if only is None else only
    if not shown:
        return "No batch expires within that time." if only is not None else "No batches are declared."
    rows = [_row(one, snapshot) for one in shown]
    heading, blocks = grid(_HEADINGS, rows, style, numbers=_NUMBERS, optional=_OPTIONAL)
    lines = [*heading, *chain.from_iterable(blocks), ""]
    if only is None:
        sentences = [f"{batches(len(snapshot.standings))}: {_counts(snapshot)}."]
        sentences += [] if snapshot.refreshed else ["From the state file only."]
    else:
        expired = sum(one.change.obstacle is Obstacle.EXPIRED for one in shown)
        sentences = (
            [f"{batches(len(shown) - expired)} must be started within that time."] if len(shown) > expired else []
        )
        sentences += [f"{count(expired, 'batch has', 'batches have')} expired: recreate them."] if expired else []
    return "\n".join([*lines, *pack(sentences, style.columns)])


def status_words(one: Standing) -> str:
    """A word or two for the status of a batch, printable."""
    change = one.change
    if change.reason is Reason.UNRECOGNISED and change.status:
        return printable(change.status, _LONGEST_STATUS)
    if one.stage is Stage.PROCESSING and change.reason is Reason.CONTRADICTION:
        return "just started"
    return REASONS[change.reason].word


def frame(snapshot: Snapshot, style: Style, *, columns: int, rows: int, left: float | None, footer: str) -> list[str]:
    """What a watch shows on a terminal: no more lines than it has, and no wider.

    Args:
        snapshot: The progress of the batches.
        style: Colour or none.
        columns: Of the terminal.
        rows: Of the terminal.
        left: Seconds until all have ended, None if unknown.
        footer: The last line, printable.
    """
    ordered = sorted(snapshot.standings, key=lambda one: _ORDER.index(one.stage))
    room = max(rows - 3, 1)
    shown = ordered if len(ordered) <= room else ordered[: room - 1]
    names = max((width(printable(one.change.name)) for one in shown), default=0)
    bar = _BAR if columns >= _BAR_FROM else 0
    names = max(min(names, columns - bar - _LONGEST_STATUS - 12), 8)
    lines = [_bar_line(one, style, names=names, bar=bar, columns=columns) for one in shown]
    if len(shown) < len(ordered):
        lines.append(cut(f"... and {len(ordered) - len(shown):,} more", columns))
    return [*lines, "", cut(progress_words(snapshot, left), columns), cut(footer, columns)][:rows]


def progress_words(snapshot: Snapshot, left: float | None) -> str:
    """`3 processing, 5 completed; 12,300 of 40,000 records, about 4 minutes left`, on one line."""
    return f"{_counts(snapshot)}{_under_way(snapshot, left)}" if snapshot.standings else "nothing is declared"


def log_words(snapshot: Snapshot, left: float | None) -> str:
    """`3 processing; 12,300 of 40,000 records, about 4 minutes left`, empty if nothing is."""
    number = len(snapshot.having(Stage.PROCESSING))
    return f"{number:,} processing{_under_way(snapshot, left)}" if number else ""


def _under_way(snapshot: Snapshot, left: float | None) -> str:
    """The records so far, and the time left. Completed batches stay in the total, so that it never shrinks."""
    words = ""
    ended = [one.change.records for one in snapshot.having(Stage.COMPLETED) if one.change.records]
    under_way = [one for one in snapshot.having(Stage.PROCESSING) if one.processed is not None and one.change.records]
    if under_way:
        done = sum(ended) + sum(one.processed or 0 for one in under_way)
        words += f"; {done:,} of {sum(ended) + sum(one.change.records or 0 for one in under_way):,} records"
    if left is not None:
        words += f", about {span(timedelta(seconds=left + 30)) if left >= 60 else f'{left:.0f} seconds'} left"
    return words


def changed_lines(before: Snapshot | None, after: Snapshot) -> list[str]:
    """One line for each batch whose status changed, for a log."""
    known = {one.change.batch_id: status_words(one) for one in before.standings} if before is not None else {}
    return [
        f"{cut_middle(printable(one.change.name), 40)}: {known[one.change.batch_id]} -> {words}"
        for one in after.standings
        if (words := status_words(one)) != known.get(one.change.batch_id, words)
    ]


def _counts(snapshot: Snapshot) -> str:
    """`3 processing, 1 on hold, 2 waiting`, in the order of the stages."""
    ordered = sorted(snapshot.standings, key=lambda one: (_ORDER.index(one.stage), one.change.action))
    return ", ".join(f"{number:,} {word}" for word, number in Counter(map(_stage_word, ordered)).items())


def _stage_word(one: Standing) -> str:
    if one.stage is Stage.HELD:
        return ACTIONS[one.change.action].counted
    if one.change.action is Action.VERIFY:
        return REASONS[one.change.reason].word
    return "not started" if one.stage is Stage.PENDING else one.stage.value


def _row(one: Standing, snapshot: Snapshot) -> tuple[str, ...]:
    share = one.share
    return (
        printable(one.change.name),
        status_words(one),
        _number(one.change.records),
        _number(one.processed),
        _NONE if share is None else f"{int(share * 100)}",
        encode_time(one.started_at)[:16].replace("T", " ") if one.started_at is not None else _NONE,
        _deadline(one, snapshot),
    )


def _number(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"


def _deadline(one: Standing, snapshot: Snapshot) -> str:
    """How long a batch can still be started, if it was not."""
    deadline = one.change.deadline
    waits = one.stage in {Stage.PENDING, Stage.HELD, Stage.BLOCKED}
    if deadline is None or snapshot.service is not Service.PHONE or not waits:
        return _NONE
    left = deadline - snapshot.at
    return f"in {span(left)}" if left > timedelta() else f"{span(left)} ago"


def _bar_line(one: Standing, style: Style, *, names: int, bar: int, columns: int) -> str:
    share = one.share
    name = pad(cut_middle(printable(one.change.name), names), names)
    word = pad(status_words(one), _LONGEST_STATUS)
    rest = ""
    if share is not None:
        full = int(share * bar)
        drawn = f"[{'#' * full}{'.' * (bar - full)}] " if bar else ""
        of = f"{_number(one.processed)} of {_number(one.change.records)}" if one.processed is not None else ""
        rest = f"{drawn}{int(share * 100):>3}%  {of}"
    if columns < names + 2 + _LONGEST_STATUS:
        return cut(f"{name}  {word}", columns).rstrip()
    rest = cut(rest, columns - names - _LONGEST_STATUS - 4) if columns > names + _LONGEST_STATUS + 4 else ""
    if not rest:
        return f"{name}  {style.paint(TONES[one.stage], word.rstrip())}"
    return f"{name}  {style.paint(TONES[one.stage], word)}  {rest}".rstrip()
