"""`batchform import`: declare batches of the account that are not declared yet."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from batchform.apply import to_record
from batchform.cli import environment, files, network, session
from batchform.cli.environment import DEFAULT_CONFIG
from batchform.cli.options import config_option, lock_timeout_option, proxy_option, state_option, store_timeout_option
from batchform.config.selection import Item, select
from batchform.errors import Exit, RefusedError, UsageError
from batchform.model import Batch, Config, Observed, Service
from batchform.observe import account
from batchform.plan import Action
from batchform.planner import plan
from batchform.protocol import Rules
from batchform.render.declarations import Declaration, declarations_text, names_for
from batchform.render.escape import printable
from batchform.render.words import count
from batchform.source_text import Place
from batchform.state.events import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from batchform.cli.network import Access
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.model import Reading
    from batchform.plan import Plan
    from batchform.state.store import Store

_NOWHERE = Place(file="", line=1, column=1, end_line=1, end_column=1)
"""The place of a batch that no file declares yet."""


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@config_option
@state_option
@click.option("--all", "everything", is_flag=True, help="Every batch of the account that is not declared yet.")
@click.option("--status", metavar="STATUS", help="Only batches with this status, such as submitted.")
@click.option("--out", metavar="FILE", required=True, help="The YAML file to write. It must not exist yet.")
@click.option("--no-hold", is_flag=True, help="Do not declare submitted batches on hold: the next apply starts them.")
@click.option("--adopt", is_flag=True, help="Record running batches in the state. This costs nothing.")
@click.option(
    "--service",
    type=click.Choice([one.value for one in Service]),
    help="The service, if there is no configuration yet.",
)
@lock_timeout_option
@store_timeout_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    ids: tuple[str, ...],
    configs: tuple[str, ...],
    state: str | None,
    everything: bool,
    status: str | None,
    out: str,
    no_hold: bool,
    adopt: bool,
    service: str | None,
    lock_timeout: float | None,
    store_timeout: float,
    proxy: str | None,
) -> int:
    """Declare batches of the account that are not declared yet.

    Reads the account with one list call and writes a new YAML file. Starts nothing. Batches that are
    not started yet are declared on hold. ID can be a glob such as '3f0c*'.
    """
    if sum((bool(ids), status is not None, everything)) != 1:
        raise UsageError("No batches are selected", "Give batch_ids, `--status STATUS` or `--all`: one of the three.")
    scope = _scope(configs, state, service)
    files.check_outputs({"--out": out}, scope.files)
    path = Path(out)
    if os.path.lexists(path):
        raise _exists(path)
    access = network.access(proxy)
    with contextlib.ExitStack() as stack:
        store = None
        if adopt:  # held first, so that a state that cannot be used leaves no file that the next import would refuse
            fresh, run = scope.fresh_state(access.endpoint), access.run
            held = session.hold(
                terminal,
                scope.state_file,
                fresh=fresh,
                run=run,
                command="import",
                timeout=lock_timeout,
                patience=store_timeout,
            )
            store = stack.enter_context(held)
        readings, skew = _listed(terminal, scope, access)
        chosen = _chosen(scope, readings, ids, status)
        if not chosen:
            terminal.say("Nothing to import: the account has no such batch, or all of them are declared.")
            return Exit.DONE
        found = _declare(scope, chosen, skew, access)
        alone = not scope.config.files
        _write(path, declarations_text(found.plan, found.declarations, hold=not no_hold, alone=alone))
        terminal.say(*_summary(found, path, _plan_command(configs, path), hold=not no_hold))
        if store is not None:
            _adopt(terminal, scope, found, access.run, store)
    return Exit.DONE


def _chosen(
    scope: Scope, readings: Mapping[str, Reading], ids: tuple[str, ...], status: str | None
) -> Sequence[Reading]:
    """The batches to declare: those that were asked for and are not declared yet."""
    wanted = select(
        [Item(name=batch_id, batch_id=batch_id) for batch_id in sorted(readings)],
        ids,
        option="",
        among="batch in the list of the account",
        after="Only the list call was sent, and nothing was written.",
    )
    declared = {batch.batch_id for batch in scope.config.batches}
    return [
        reading
        for batch_id, reading in sorted(readings.items())
        if batch_id not in declared
        and (wanted is None or batch_id in wanted)
        and (status is None or reading.status == status)
    ]


def _scope(configs: tuple[str, ...], state: str | None, service: str | None) -> Scope:
    """The configuration; an empty one when the default file does not exist."""
    if configs == (DEFAULT_CONFIG,) and not os.path.lexists(DEFAULT_CONFIG):
        config = Config(service=Service(service or Service.PHONE))
        return session.Scope(config=config, selected=None, state_file=environment.state_file(state, configs))
    scope = session.load(configs, state)
    if service is not None and service != scope.config.service.value:
        raise UsageError(
            "The configuration is for another service",
            f"It is for {scope.config.service.value}. Use one configuration per service: write to another folder.",
        )
    return scope


def _listed(terminal: Terminal, scope: Scope, access: Access) -> tuple[Mapping[str, Reading], timedelta | None]:
    with session.connect(terminal, access) as server:
        listing = account(scope.config.service, server.engine, Rules())
        if listing is None:
            assert server.engine.end is not None  # the only case without a list
            raise session.error_of(server.engine.end)
        return listing.readings, server.engine.skew


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The batches to import, as if they were declared, and the plan for them."""

    config: Config
    observed: Observed
    plan: Plan
    declarations: tuple[Declaration, ...]


def _declare(scope: Scope, chosen: Sequence[Reading], skew: timedelta | None, access: Access) -> _Found:
    names = names_for(chosen, {batch.name for batch in scope.config.batches})
    batches = [Batch(name=names[one.batch_id], batch_id=one.batch_id, place=_NOWHERE) for one in chosen]
    config = replace(scope.config, guards=(), batches=tuple(sorted(batches, key=lambda batch: batch.name)))
    readings = {one.batch_id: one for one in chosen}
    observed = Observed(listed=True, readings=MappingProxyType(readings), skew=skew)
    made = plan(config, None, observed, session.clock.now(), endpoint=str(access.endpoint))
    declarations = tuple(Declaration(reading=readings[one.batch_id], change=one) for one in made.changes)
    return _Found(config=config, observed=observed, plan=made, declarations=declarations)


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise UsageError("The file cannot be written", f"{out}: {error.strerror}. No batch was started.") from error


def _exists(out: Path) -> RefusedError:
    return RefusedError(
        "The file exists already", f"{out}: import never overwrites a file. Name another one with `--out`."
    )


def _plan_command(configs: tuple[str, ...], out: Path) -> str:
    """The command that plans with this configuration and the new file."""
    files = [one for one in configs if os.path.lexists(one)]
    known = {os.path.realpath(one) for one in files}
    in_folder = os.path.realpath(out.parent) in known and out.suffix in {".yaml", ".yml"}
    if not in_folder and os.path.realpath(out) not in known:
        files.append(str(out))
    words = [] if files == [DEFAULT_CONFIG] else [word for one in files for word in ("-f", one)]
    return printable(shlex.join(["batchform", "plan", *words]))


def _summary(found: _Found, out: Path, command: str, *, hold: bool) -> list[str]:
    running, blocked = (len(found.plan.having(action)) for action in (Action.ADOPT, Action.BLOCKED))
    rest = len(found.plan.changes) - running - blocked
    parts = [(running, "running"), (0 if hold else rest, "to start"), (blocked + (rest if hold else 0), "on hold")]
    counts = ", ".join(f"{number:,} {word}" for number, word in parts if number)
    return [
        f"Wrote {count(len(found.declarations), 'declaration')} to {printable(str(out))}: {counts}.",
        f"Nothing was started. `{command}` shows what apply would do.",
        *(["To release a batch, delete its line `hold: true`."] if hold and rest else []),
    ]


def _adopt(terminal: Terminal, scope: Scope, found: _Found, run: str, store: Store) -> None:
    """Record the running batches."""
    running: Collection[str] = {change.batch_id for change in found.plan.having(Action.ADOPT)}
    now = session.clock.now()
    events = enumerate(to_record(found.config, store.state, found.observed, running), start=1)
    store.record(
        [
            Event(run=run, seq=number, at=now, batch_id=batch_id, name=name, what=what)
            for number, (batch_id, name, what) in events
        ]
    )
    store.commit(now)
    terminal.say(f"Adopted {count(len(running), 'batch', 'batches')} into {printable(str(scope.state_file))}.")
