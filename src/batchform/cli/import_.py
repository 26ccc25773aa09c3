"""`batchform import`: declarations for what the account holds and the configuration lacks."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from batchform.apply import to_record
from batchform.cli import environment, session
from batchform.cli.environment import DEFAULT_CONFIG
from batchform.cli.options import config_option, lock_timeout_option, state_option
from batchform.errors import Exit, Place, RefusedError, UsageError
from batchform.model import Batch, Config, Observed, Service
from batchform.observe import account
from batchform.plan import Action, plan
from batchform.protocol import Rules
from batchform.render.declarations import Declaration, declarations_text, names_for
from batchform.render.escape import printable
from batchform.render.layout import pack
from batchform.state.events import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from batchform.api.endpoint import Endpoint
    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.model import Reading
    from batchform.plan import Plan

_NOWHERE = Place(file="", line=1, column=1, end_line=1, end_column=1)
"""Where a batch is declared that is not yet."""


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@config_option
@state_option
@click.option("--all", "everything", is_flag=True, help="Every batch of the account that is not declared yet.")
@click.option("--status", metavar="STATUS", help="Those of this status, such as submitted.")
@click.option("--out", metavar="FILE", required=True, help="The YAML file to write. It must not exist yet.")
@click.option("--adopt", is_flag=True, help="Record those that run already in the state; nothing is spent.")
@click.option("--service", type=click.Choice([one.value for one in Service]), help="Only without a configuration.")
@lock_timeout_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Declare batches that the account has and the configuration lacks.

    One list call. Writes a new file and nothing else; no batch is started. What can no longer be started is declared
    on hold.
    """
    wish = _wish(options)
    asked = _asked(options)
    out = Path(options["out"])
    if os.path.lexists(out):
        raise _exists(out)
    endpoint = environment.endpoint()
    readings, skew = _listed(terminal, asked, endpoint)
    chosen = _choose(wish, readings, {batch.batch_id for batch in asked.config.batches})
    if not chosen:
        terminal.data("Nothing to import: whatever was asked for is declared already, or the account has none.")
        return Exit.DONE
    found = _declare(asked, chosen, skew, endpoint)
    _write(out, declarations_text(found.plan, found.declarations))
    terminal.data(_told(found, out))
    if options["adopt"]:
        _adopt(terminal, asked, found, endpoint, options["lock_timeout"])
    return Exit.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Which batches: these ids, those of this status, or all."""

    ids: tuple[str, ...]
    status: str | None
    everything: bool


def _wish(options: dict[str, Any]) -> _Wish:
    wish = _Wish(ids=options["ids"], status=options["status"], everything=options["everything"])
    if sum((bool(wish.ids), wish.status is not None, wish.everything)) != 1:
        raise UsageError("Which batches?", "Give their ids, or --status STATUS, or --all: one of the three.")
    return wish


def _asked(options: dict[str, Any]) -> Question:
    """The configuration as it is; an empty one when there is none at the usual place."""
    configs = options["configs"]
    if configs == (DEFAULT_CONFIG,) and not os.path.lexists(DEFAULT_CONFIG):
        config = Config(service=Service(options["service"] or Service.PHONE))
        return session.Question(
            config=config, selected=None, state_file=environment.state_file(options["state"], configs)
        )
    asked = session.question(configs, options["state"])
    if options["service"] is not None and options["service"] != asked.config.service.value:
        raise UsageError(
            "The configuration is for another service",
            f"It says {asked.config.service.value}. One configuration is for one service: write to another folder.",
        )
    return asked


def _listed(terminal: Terminal, asked: Question, endpoint: Endpoint) -> tuple[Mapping[str, Reading], timedelta | None]:
    with session.way(
        terminal,
        endpoint=endpoint,
        token=environment.token(),
        run=environment.new_run(),
        parallelism=1,
        record=lambda _: None,
        listen=lambda _: None,
    ) as way:
        listing = account(asked.config.service, way.engine, Rules())
        if listing is None:
            assert way.engine.end is not None  # there is no other way to no list
            raise session.ended(way.engine.end)
        return listing.readings, way.engine.skew


def _choose(wish: _Wish, readings: Mapping[str, Reading], declared: Collection[str]) -> list[Reading]:
    """The batches that are asked for and not declared yet.

    Raises:
        UsageError: An id is not in the list; names the nearest.
    """
    for batch_id in wish.ids:
        if batch_id not in readings:
            near = difflib.get_close_matches(batch_id, list(readings), n=3, cutoff=0.6)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"The list names {len(readings):,} batches."
            raise UsageError(
                f"{batch_id} is not in the account's list",
                f"{hint} Nothing was sent but the list call, and nothing was written.",
            )
    wanted = set(wish.ids)
    return [
        reading
        for batch_id, reading in sorted(readings.items())
        if batch_id not in declared
        and (wish.everything or batch_id in wanted or (wish.status is not None and reading.status == wish.status))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is imported: the batches, as if they were declared, and the plan for them."""

    config: Config
    observed: Observed
    plan: Plan
    declarations: tuple[Declaration, ...]


def _declare(asked: Question, chosen: Sequence[Reading], skew: timedelta | None, endpoint: Endpoint) -> _Found:
    names = names_for(chosen, {batch.name for batch in asked.config.batches})
    batches = [Batch(name=names[one.batch_id], batch_id=one.batch_id, place=_NOWHERE) for one in chosen]
    config = replace(asked.config, guards=(), batches=tuple(sorted(batches, key=lambda batch: batch.name)))
    readings = {one.batch_id: one for one in chosen}
    observed = Observed(listed=True, readings=MappingProxyType(readings), skew=skew)
    made = plan(config, None, observed, session.clock.now(), endpoint=str(endpoint))
    declarations = tuple(Declaration(reading=readings[one.batch_id], change=one) for one in made.changes)
    return _Found(config=config, observed=observed, plan=made, declarations=declarations)


def _write(out: Path, text: str) -> None:
    """Write a file that must not exist yet."""
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise UsageError("The file cannot be written", f"{out}: {error.strerror}. No batch was started.") from error


def _exists(out: Path) -> RefusedError:
    return RefusedError(
        "The file is there already", f"{out}: import never overwrites. Name another with --out. Nothing was written."
    )


def _told(found: _Found, out: Path) -> str:
    starts = found.plan.having(Action.START)
    blocked = len(found.plan.having(Action.BLOCKED))
    running = len(found.plan.having(Action.ADOPT))
    counts = f"{running:,} running, {len(starts):,} to start, {blocked:,} on hold"
    sentences = [
        f"Wrote {len(found.declarations):,} declarations to {printable(str(out))}: {counts}.",
        "Nothing was started; `batchform plan` shows what an apply would do.",
    ]
    return "\n".join(pack(sentences))


def _adopt(terminal: Terminal, asked: Question, found: _Found, endpoint: Endpoint, timeout: float | None) -> None:
    """Record those that run."""
    run = environment.new_run()
    running = frozenset(change.batch_id for change in found.plan.having(Action.ADOPT))
    with session.held(terminal, asked, endpoint, command="import", run=run, timeout=timeout) as store:
        now = session.clock.now()
        store.record(
            [
                Event(run=run, seq=number, at=now, batch_id=batch_id, name=name, what=what)
                for number, (batch_id, name, what) in enumerate(
                    to_record(found.config, store.state, found.observed, running), start=1
                )
            ]
        )
        store.commit(now)
    terminal.data(f"Adopted {len(running):,} into {printable(str(asked.state_file))}.")
