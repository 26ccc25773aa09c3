"""`batchform history`: the runs and their costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from batchform.cli import environment
from batchform.cli.files import read_state
from batchform.cli.options import json_option, state_option
from batchform.render.documents.history import history_document
from batchform.render.text.history import history_text

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@state_option
@click.option(
    "--last", type=click.IntRange(min=1), metavar="N", help="Show only the last N runs. The totals count all runs."
)
@json_option
@click.pass_obj
def command(terminal: Terminal, /, *, state: str | None, last: int | None, as_json: bool) -> None:
    """Show the runs of this state and what they started: user or CI job, commit, batches, records, overridden guards.

    Has the last 1,000 runs that changed the state.
    """
    known = read_state(environment.state_file(state))
    if as_json:
        shown = known.runs if last is None else known.runs[-last:]
        terminal.data(json.dumps(history_document(known, shown), indent=2))
    else:
        terminal.data(history_text(known.runs, terminal.style, last=last))
