"""`batchform why`: what would be done with one batch, and why."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from batchform.cli import environment, session
from batchform.cli.options import config_option, settle_option, state_option
from batchform.errors import UsageError
from batchform.model import NOTHING_OBSERVED
from batchform.plan import plan
from batchform.render.text.why import Case, why_text
from batchform.state.reader import read

if TYPE_CHECKING:
    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.state.known import State


@click.command()
@click.argument("batch", metavar="NAME|ID")
@config_option
@state_option
@click.option("--refresh", is_flag=True, help="Ask the server what is actual. Needs the token; writes nothing.")
@settle_option
@click.pass_obj
def command(
    terminal: Terminal,
    *,
    batch: str,
    configs: tuple[str, ...],
    state: str | None,
    refresh: bool,
    settle: float,
) -> None:
    """Tell what would be done with one batch, and why.

    The line of the configuration, what the state holds, what the server says, the row of the decision table that
    fitted, and what would change it.
    """
    asked = session.question(configs, state)
    known = read(asked.state_file).state
    where = environment.endpoint()
    session.check_belongs(known, asked.config, where if refresh else None)
    batch_id = _find(asked, known, batch)
    declared = next((one for one in asked.config.batches if one.batch_id == batch_id), None)
    now_known, observed = known, NOTHING_OBSERVED
    if refresh:
        # The list tells of all; single reads go out for this one only, if it is declared.
        one = replace(asked, selected=frozenset({batch_id}) if declared is not None else None)
        looked = session.look(terminal, one, known, settle)
        now_known, observed = looked.state, looked.observed
    endpoint = known.endpoint if known is not None else str(where)
    made = plan(asked.config, now_known, observed, session.clock.now(), endpoint=endpoint)
    entry = now_known.entries.get(batch_id) if now_known is not None else None
    case = Case(
        name=declared.name if declared is not None else entry.name if entry is not None else batch,
        change=next((change for change in made.changes if change.batch_id == batch_id), None),
        batch=declared,
        entry=entry,
        reading=observed.readings.get(batch_id),
        refreshed=observed.listed,
    )
    terminal.data(why_text(case, made, terminal.style))


def _find(asked: Question, known: State | None, word: str) -> str:
    """The batch_id of the one that is meant.

    Raises:
        UsageError: Nothing is called so; names the nearest.
    """
    entries = known.entries if known is not None else {}
    names = {entry.name: entry.batch_id for entry in entries.values()}
    names |= {batch.name: batch.batch_id for batch in asked.config.batches}
    ids = {*entries, *(batch.batch_id for batch in asked.config.batches)}
    if word in names:
        return names[word]
    if word in ids:
        return word
    near = difflib.get_close_matches(word, [*names, *ids], n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"{len(asked.config.batches)} batches are declared."
    raise UsageError(f"{word} is neither declared nor in the state", f"{hint} Nothing was sent.")
