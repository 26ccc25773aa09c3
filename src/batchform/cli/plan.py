"""`batchform plan`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchform import __version__
from batchform.cli import environment, session
from batchform.cli.options import (
    config_option,
    override_option,
    selection_options,
    settle_option,
    state_option,
)
from batchform.errors import Exit, StateError, UsageError
from batchform.model import NOTHING_OBSERVED, GuardName
from batchform.plan import Plan, plan
from batchform.render.documents import plan_document
from batchform.render.text import notices_text, plan_text
from batchform.state.events import fold
from batchform.state.local import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.state.events import Event, State


@click.command()
@config_option
@state_option
@selection_options
@click.option("--refresh", is_flag=True, help="Ask the server what is actual. Needs the token; writes nothing.")
@click.option("--out", metavar="FILE", help="Save the plan, as an approval for `apply FILE`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes, 0 only when there are none.")
@override_option
@settle_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Show what apply would do.

    Compares the configuration with the state file. Needs no token and no network, takes no lock and writes nothing,
    unless --refresh or --out asks for it.
    """
    asked = session.question(options["configs"], options["state"], options["targets"], options["excludes"])
    terminal.problems(asked.config.warnings, asked.config.sources)
    made, leftover = _make(terminal, asked, options)
    if options["out"] is not None:
        _save(Path(options["out"]), made)
    if options["as_json"]:
        terminal.data(json.dumps(plan_document(made, version=__version__), indent=2))
    else:
        terminal.data(plan_text(made, terminal.style, recovered=leftover))
    notices = notices_text(made, terminal.talk_style)
    if notices:
        terminal.talk(notices)
    if not made.applyable:
        return Exit.REFUSED
    return Exit.CHANGES if options["detailed_exitcode"] and made.has_changes else Exit.DONE


def _make(terminal: Terminal, asked: Question, options: dict[str, Any]) -> tuple[Plan, int]:
    """The plan, and how many events of an unfinished run it takes into account."""
    known = read(asked.state_file)
    where = environment.endpoint()
    session.check_belongs(known.state, asked.config, where if options["refresh"] else None)
    state, observed = known.state, NOTHING_OBSERVED
    if options["refresh"]:
        state, observed = _look(terminal, asked, known.state, options)
    return plan(
        asked.config,
        state if known.state is not None else None,
        observed,
        session.clock.now(),
        endpoint=known.state.endpoint if known.state is not None else str(where),
        selected=asked.selected,
        overridden=tuple(GuardName(name) for name in options["overridden"]),
    ), known.leftover


def _look(terminal: Terminal, asked: Question, known: State | None, options: dict[str, Any]) -> tuple[State, Any]:
    """Observe without writing: what is settled on the way is folded in memory only."""
    from batchform.observe import Subject, observe  # noqa: PLC0415  # an offline plan does without

    where = environment.endpoint()
    state = known or session.fresh_state(asked.config, where)

    def record(events: Sequence[Event]) -> None:
        nonlocal state
        state = fold(state, events)

    with session.way(
        terminal,
        endpoint=where,
        token=environment.token(),
        run=environment.new_run(),
        parallelism=8,
        record=record,
        listen=lambda _: None,
    ) as way:
        subject = Subject(config=asked.config, selected=asked.selected, endpoint=str(where), state=lambda: state)
        observed = observe(
            subject, way.engine, session.rules(options["settle"], where), session.clock.now(), refresh=True
        )
        if way.engine.end is not None:
            raise session.ended(way.engine.end)
    return state, observed


def _save(path: Path, made: Plan) -> None:
    """Write the plan whole or not at all."""
    if path.is_dir():
        raise UsageError("The plan cannot be saved", f"{path} is a folder.")
    text = json.dumps(plan_document(made, version=__version__), indent=2) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StateError("The plan cannot be saved", f"{path}: {error.strerror}.") from error
