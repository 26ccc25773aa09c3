"""`batchform history`: what this state ever spent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from batchform.cli import environment
from batchform.cli.environment import DEFAULT_CONFIG
from batchform.cli.options import state_option
from batchform.errors import StateError
from batchform.render.documents.history import history_document
from batchform.render.text.history import history_text
from batchform.state.reader import read

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@state_option
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N runs; the totals count all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(terminal: Terminal, *, state: str | None, last: int | None, as_json: bool) -> None:
    """Show what this state ever spent: runs, who or which job, commit, batches, records, guards passed by.

    Runs that changed nothing are not among them. The last 1,000 are kept.
    """
    file = environment.state_file(state, (DEFAULT_CONFIG,))
    known = read(file).state
    if known is None:
        raise StateError("There is no state", f"{file} does not exist. Name another with --state.")
    if as_json:
        shown = known.runs if last is None else known.runs[-last:]
        terminal.data(json.dumps(history_document(known, shown), indent=2))
    else:
        terminal.data(history_text(known.runs, terminal.style, last=last))
