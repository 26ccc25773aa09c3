"""`batchform why`: explain the decision for one batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from batchform.cli import environment, session
from batchform.cli.options import config_option, proxy_option, refresh_option, settle_option, state_option
from batchform.config.selection import Item, select_one
from batchform.model import NOTHING_OBSERVED
from batchform.planner import plan
from batchform.render.text.why import Case, why_text

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@click.argument("batch", metavar="NAME|ID")
@config_option
@state_option
@refresh_option
@settle_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    batch: str,
    configs: tuple[str, ...],
    state: str | None,
    refresh: bool,
    settle: float,
    proxy: str | None,
) -> None:
    """Explain the decision for one batch.

    Shows its declaration, the state, the answer of the server, the rule of the decision table that matches, and what
    would change the decision. NAME can be a glob such as 'uk-*', or label:key=value, that matches one batch.
    """
    scope = session.load(configs, state)
    endpoint = environment.endpoint()
    known = session.known(scope, endpoint if refresh else None).state
    entries = known.entries.values() if known is not None else ()
    batch_id = select_one(
        batch,
        scope.config.batches,
        [Item(name=entry.name, batch_id=entry.batch_id) for entry in entries],
        among="batch of the configuration or the state",
    )
    declared = next((one for one in scope.config.batches if one.batch_id == batch_id), None)
    now_known, observed = known, NOTHING_OBSERVED
    if refresh:
        # Single reads are only for this batch; an undeclared one is not selectable.
        only = replace(scope, selected=frozenset({batch_id}) if declared is not None else None)
        now_known, observed = session.refresh(terminal, only, known, settle, proxy)
    made = plan(
        scope.config,
        now_known,
        observed,
        session.clock.now(),
        endpoint=known.endpoint if known is not None else str(endpoint),
    )
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
