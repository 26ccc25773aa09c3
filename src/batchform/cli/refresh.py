"""`batchform refresh`: look at the account and record what is seen. Starts nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from batchform import __version__
from batchform.apply import to_record
from batchform.cli import ci, environment, session
from batchform.cli.options import (
    config_option,
    lock_timeout_option,
    selection_options,
    settle_option,
    state_option,
)
from batchform.drift import Drift, drift, known_plan
from batchform.errors import Exit
from batchform.observe import Subject, observe
from batchform.plan import Action, Plan, plan
from batchform.render.documents.plan import refresh_document
from batchform.render.text.drift import refresh_text
from batchform.render.text.plan import notices_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from batchform.cli.session import Question, Way
    from batchform.cli.terminal import Terminal
    from batchform.model import Observed
    from batchform.state.local import Store


@click.command()
@config_option
@state_option
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when the account differs from what was known.")
@lock_timeout_option
@settle_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Look at the account and record what is seen; start nothing.

    Shown as drift is only what changes an action or what it would spend. Earlier attempts without a known outcome are
    settled by reading their status.
    """
    asked = session.question(options["configs"], options["state"], options["targets"], options["excludes"])
    ci.problems(terminal, asked.config.warnings, asked.config.sources)
    return _tell(terminal, asked, _refresh(terminal, asked, options), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the account says: the plan now, where it differs from what was known, whether the state was written."""

    plan: Plan
    drift: tuple[Drift, ...]
    changed: bool


def _refresh(terminal: Terminal, asked: Question, options: dict[str, Any]) -> _Found:
    """Look, compare with what was known, and record."""
    endpoint, token, run = environment.endpoint(), environment.token(), environment.new_run()
    patience = session.rules(options["settle"], endpoint)
    timeout, where, selected = options["lock_timeout"], str(endpoint), asked.selected
    with session.held(terminal, asked, endpoint, command="refresh", run=run, timeout=timeout) as store:
        before = store.state
        with session.way(
            terminal,
            endpoint=endpoint,
            token=token,
            run=run,
            parallelism=8,
            record=store.record,
            listen=lambda _: None,
        ) as way:
            subject = Subject(config=asked.config, selected=selected, endpoint=where, state=lambda: store.state)
            observed = observe(subject, way.engine, patience, session.clock.now(), refresh=True)
            now = session.clock.now()
            made = plan(asked.config, store.state, observed, now, endpoint=where, selected=selected)
            return _Found(
                plan=made,
                drift=drift(known_plan(asked.config, before, made, selected), made),
                changed=_record(asked, store, observed, way),
            )


def _record(asked: Question, store: Store, observed: Observed, way: Way) -> bool:
    """Record what was seen, and commit. Returns whether anything was new.

    Raises:
        ServerError: The look ended early; what was settled until then is committed.
        OutcomeUnknownError: It could not be written.
    """
    engine = way.engine
    if engine.end is None:
        for batch_id, name, what in to_record(asked.config, store.state, observed, asked.selected, waiting=True):
            engine.record(batch_id, name, what)
        engine.run_tasks([])  # makes them durable
    changed = store.commit(session.clock.now())
    if engine.end is not None:
        raise session.ended(engine.end)
    return changed


def _tell(terminal: Terminal, asked: Question, found: _Found, options: dict[str, Any]) -> int:
    if options["as_json"]:
        document = refresh_document(found.plan, found.drift, version=__version__, changed=found.changed)
        terminal.data(json.dumps(document, indent=2))
    else:
        saved_as = str(asked.state_file) if found.changed else ""
        terminal.data(refresh_text(found.drift, found.plan, terminal.style, saved_as=saved_as))
    notices = notices_text(found.plan, terminal.talk_style)
    if notices:
        terminal.talk(notices)
    if unanswered := found.plan.having(Action.VERIFY):
        terminal.warn(_unanswered(unanswered))
        return Exit.UNKNOWN
    return Exit.CHANGES if options["detailed_exitcode"] and found.drift else Exit.DONE


def _unanswered(changes: Collection[object]) -> str:
    them = "1 batch" if len(changes) == 1 else f"{len(changes):,} batches"
    return f"the server gave no answer about {them}: refresh again later. Nothing was started."
