"""`batchform refresh`: read the account and record what changed. Starts nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from batchform import __version__
from batchform.apply import to_record
from batchform.cli import ci, network, session
from batchform.cli.options import (
    config_option,
    exclude_option,
    json_option,
    lock_timeout_option,
    proxy_option,
    settle_option,
    state_option,
    store_timeout_option,
    target_option,
)
from batchform.drift import drift, known_plan
from batchform.errors import Exit
from batchform.observe import charges, observe
from batchform.plan import Action, blocked
from batchform.planner import plan
from batchform.protocol import rules
from batchform.render.documents.plan import refresh_document
from batchform.render.text.drift import refresh_text
from batchform.render.text.plan import notices_text
from batchform.render.words import count

if TYPE_CHECKING:
    from batchform.charges import Charges
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.engine import Engine
    from batchform.model import Observed
    from batchform.state.store import Store


@click.command()
@config_option
@state_option
@target_option
@exclude_option
@json_option
@click.option(
    "--credits",
    "with_credits",
    is_flag=True,
    help="Also read what each ended batch was charged, one call a batch, at most 300 a run.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is drift or a blocked batch, else 0.")
@lock_timeout_option
@store_timeout_option
@settle_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    configs: tuple[str, ...],
    state: str | None,
    targets: tuple[str, ...],
    excludes: tuple[str, ...],
    as_json: bool,
    with_credits: bool,
    detailed_exitcode: bool,
    lock_timeout: float | None,
    store_timeout: float,
    settle: float,
    proxy: str | None,
) -> int:
    """Read the account and record what changed. Starts nothing.

    Shows as drift what changes an action or its costs. Reads the status of each batch whose start is unknown. With
    --credits, the state also learns what each batch cost, for `batchform history --by month`.
    """
    scope = session.load(configs, state, targets, excludes)
    ci.problems(terminal, scope.config.warnings, scope.config.sources)
    access = network.access(proxy)
    patience = rules(settle, access.endpoint)
    fresh = scope.fresh_state(access.endpoint)
    read: Charges | None = None
    with session.hold(
        terminal,
        scope.state_file,
        fresh=fresh,
        run=access.run,
        command="refresh",
        timeout=lock_timeout,
        patience=store_timeout,
    ) as store:
        before = store.state
        with session.connect(terminal, access, parallelism=8, store=store) as server:
            subject = scope.subject(access.endpoint, lambda: store.state)
            observed = observe(subject, server.engine, patience, session.clock.now(), refresh=True)
            now = session.clock.now()
            made = plan(scope.config, store.state, observed, now, endpoint=subject.endpoint, selected=scope.selected)
            found = drift(known_plan(scope.config, before, made, scope.selected), made)
            _record(scope, store, observed, server.engine)
            if with_credits and server.engine.end is None:
                read = charges(subject, observed, server.engine, patience, now)
            changed = _commit(store, server.engine)
    saved_as = str(scope.state_file) if changed else ""
    ci.summarise(terminal, "refresh", lambda style: refresh_text(found, made, style, saved_as=saved_as, charges=read))
    if as_json:
        document = refresh_document(made, found, version=__version__, changed=changed, charges=read)
        terminal.data(json.dumps(document, indent=2))
    else:
        terminal.data(refresh_text(found, made, terminal.style, saved_as=saved_as, charges=read))
    if notices := notices_text(made, terminal.message_style):
        terminal.message(notices)
    if unanswered := made.having(Action.VERIFY):
        batches = count(len(unanswered), "batch", "batches")
        terminal.warn(f"The server gave no answer about {batches}. Refresh again later. Nothing was started.")
        return Exit.UNKNOWN
    return Exit.CHANGES if detailed_exitcode and (found or blocked(made, scope.config)) else Exit.DONE


def _record(scope: Scope, store: Store, observed: Observed, engine: Engine) -> None:
    """Record what the server said."""
    if engine.end is None:
        for batch_id, name, what in to_record(scope.config, store.state, observed, scope.selected, waiting=None):
            engine.record(batch_id, name, what)
        engine.run_tasks([])  # makes the events durable


def _commit(store: Store, engine: Engine) -> bool:
    """Commit. Returns whether the state changed.

    Raises:
        ServerError: The refresh ended early. What was verified and read before is committed.
        OutcomeUnknownError: An event could not be written.
    """
    changed = store.commit(session.clock.now())
    if engine.end is not None:
        raise session.error_of(engine.end)
    return changed
