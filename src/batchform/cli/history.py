"""`batchform history`: the runs, and what was spent by month, label and so on."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from batchform.cli import environment
from batchform.cli.files import read_state
from batchform.cli.options import json_option, state_option
from batchform.errors import UsageError
from batchform.history import KEYS, keys_of, sum_up
from batchform.render.documents.history import history_document
from batchform.render.text.history import history_text
from batchform.state.merge import spending

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal
    from batchform.history import Spending
    from batchform.state.known import State


class Period(click.ParamType[tuple[datetime, datetime]]):
    """A year, a month or a day in UTC. The value is its beginning and its end, which is not part of it."""

    name = "date"

    def convert(  # noqa: D102  # click's own
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[datetime, datetime]:
        found = re.fullmatch(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", str(value), re.ASCII)
        try:
            year, month, day = found.groups() if found is not None else ("0", "", "")
            begin = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
            if day:
                return begin, begin + timedelta(days=1)
            if month:
                return begin, (begin + timedelta(days=31)).replace(day=1)
            return begin, begin.replace(year=begin.year + 1)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a date; write it as 2026, 2026-10 or 2026-10-31", param, ctx)


@click.command()
@state_option
@click.option(
    "--last", type=click.IntRange(min=1), metavar="N", help="Show only the last N runs. The totals count all runs."
)
@click.option(
    "--by",
    multiple=True,
    metavar="KEY[,KEY...]",
    help=f"Sum up what was spent by {', '.join(KEYS)}. Repeatable.",
)
@click.option(
    "--since", type=Period(), metavar="DATE", help="Only starts since then: 2026, 2026-10 or 2026-10-31, UTC."
)
@click.option("--until", type=Period(), metavar="DATE", help="Only starts until the end of then.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "markdown"]),
    help="The form of the sums. Default: text. Without --by, all but text sum up by month.",
)
@json_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    state: str | None,
    last: int | None,
    by: tuple[str, ...],
    since: tuple[datetime, datetime] | None,
    until: tuple[datetime, datetime] | None,
    form: str | None,
    as_json: bool,
) -> None:
    """Show what was spent: the runs of this state, or with --by the sums of what its batches cost.

    The runs are the last 1,000 that changed the state: user or CI job, commit, batches, records, overridden guards. The
    sums have each batch that was started, for 25 months, and the credits that `refresh --credits` has read.
    """
    if as_json and form not in {None, "json"}:
        raise UsageError(f"`--json` and `--format {form}` contradict each other", "Use one of them.")
    keys = keys_of(by or (("month",) if form not in {None, "text"} else ()))
    if not keys and (since or until):
        raise UsageError("`--since` and `--until` need `--by`", "Add `--by month`, for example.")
    if keys and last is not None:
        raise UsageError("`--last` counts runs", "Use `--since` with `--by`.")
    known = read_state(environment.state_file(state))
    if keys:
        begin, end = since[0] if since else None, until[1] if until else None
        found = sum_up(known, keys, since=begin, until=end)
        terminal.data(_sums(terminal, found, "json" if as_json else form or "text"))
    elif as_json:
        shown = known.runs if last is None else known.runs[-last:]
        terminal.data(json.dumps(history_document(known, shown), indent=2))
    else:
        terminal.data(history_text(known.runs, terminal.style, last=last, charged=_charged(known)))


def _sums(terminal: Terminal, found: Spending, form: str) -> str:
    from batchform.render import history_by  # noqa: PLC0415  # only with --by

    if form == "json":
        from batchform.render.documents.history_by import history_by_document  # noqa: PLC0415  # only as JSON

        return json.dumps(history_by_document(found), indent=2)
    if form == "csv":
        return history_by.history_by_csv(found)
    if form == "markdown":
        return history_by.history_by_markdown(found)
    return history_by.history_by_text(found, terminal.style, bar=_bar())


def _bar() -> str:
    """A column of a bar on a terminal, empty elsewhere."""
    if not sys.stdout.isatty():
        return ""
    return "\N{FULL BLOCK}" if sys.stdout.encoding.lower().startswith("utf") else "#"


def _charged(known: State) -> tuple[int, int, int]:
    """The credits that are known, of how many batches, and how many started batches have no known charge."""
    started = spending(known).values()
    charges = [entry.credits for entry in started if entry.credits is not None]
    return sum(charges), len(charges), len(started) - len(charges)
