"""`batchform state`: list, show, rm, recover, merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.cli import environment, session
from batchform.cli.environment import DEFAULT_CONFIG
from batchform.cli.options import Duration, state_option
from batchform.errors import Exit, RefusedError, StateError, UsageError
from batchform.render.documents.state import state_document
from batchform.render.escape import printable
from batchform.render.text.state import entry_text, state_list_text
from batchform.state.codec import encode_state
from batchform.state.disk import paths, replace_durably
from batchform.state.events import Event, Removed
from batchform.state.local import hold
from batchform.state.lock import locked
from batchform.state.merge import merge as join
from batchform.state.reader import read
from batchform.state.recovery import accept, examine

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal
    from batchform.state.known import Entry, State


@click.group()
def command() -> None:
    """Look into the state, or mend it."""


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_lock_timeout = click.option("--lock-timeout", type=Duration(), default="0s", metavar="DURATION", show_default=True)


@command.command("list")
@state_option
@_json
@click.pass_obj
def list_(terminal: Terminal, *, state: str | None, as_json: bool) -> None:
    """List what is known of every batch."""
    known = _known(_file(state))
    terminal.data(json.dumps(state_document(known), indent=2) if as_json else state_list_text(known, terminal.style))


@command.command()
@click.argument("batch", metavar="NAME|ID")
@state_option
@_json
@click.pass_obj
def show(terminal: Terminal, *, batch: str, state: str | None, as_json: bool) -> None:
    """Show all that is known of one batch."""
    known = _known(_file(state))
    entry = _entry(known, batch)
    if as_json:
        terminal.data(json.dumps(state_document(known)["batches"][entry.batch_id], indent=2))
    else:
        terminal.data(entry_text(entry, terminal.style))


@command.command()
@click.argument("batches", metavar="NAME|ID...", nargs=-1, required=True)
@state_option
@_lock_timeout
@click.pass_obj
def rm(terminal: Terminal, *, batches: tuple[str, ...], state: str | None, lock_timeout: float) -> None:
    """Take batches out of the state; the server is not touched.

    batchform forgets that it started them. If they are still declared, the next apply looks at the account and adopts
    what is running.
    """
    file = _file(state)
    known = _known(file)
    run = environment.new_run()
    now = session.clock.now()
    holder = environment.holder("state rm", run, file, now)
    story = environment.story("state rm")
    with hold(file, fresh=known, run=run, holder=holder, now=now, story=story, timeout=lock_timeout) as store:
        entries = [_entry(store.state, batch) for batch in dict.fromkeys(batches)]
        store.record(
            [
                Event(run=run, seq=number, at=now, batch_id=entry.batch_id, name=entry.name, what=Removed())
                for number, entry in enumerate(entries, start=1)
            ]
        )
        store.commit(now)
    for entry in entries:
        terminal.data(f"Removed {printable(entry.name)} ({printable(entry.batch_id)}), which was {entry.phase.value}.")


@command.command()
@state_option
@_lock_timeout
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.pass_obj
def recover(terminal: Terminal, *, state: str | None, lock_timeout: float, auto_approve: bool) -> int:
    """Mend a state or journal that cannot be used.

    Shows what is wrong and what would be kept, and asks. Damaged files are put aside, never deleted.
    """
    file = _file(state)
    run = environment.new_run()
    holder = environment.holder("state recover", run, file, session.clock.now())
    with locked(paths(file).lock, holder, lock_timeout):
        found = examine(file)
        for note in found.notes:
            terminal.data(printable(note))
        if not found.needed:
            terminal.data("Nothing is wrong with the state.")
            return Exit.DONE
        _confirm(terminal, found.state, auto_approve=auto_approve)
        for path in accept(file, found, run):
            terminal.data(f"Kept the damaged file as {printable(str(path))}.")
    terminal.data(f"Recovered: {len(found.state.entries)} batches. Run `batchform plan --refresh` to compare.")
    return Exit.DONE


@command.command()
@click.argument("ours")
@click.argument("theirs")
@click.option("--out", metavar="FILE", help="Write it there, which may be OURS, rather than to stdout.")
@_lock_timeout
@click.pass_obj
def merge(terminal: Terminal, *, ours: str, theirs: str, out: str | None, lock_timeout: float) -> None:
    """Join two states of one lineage that both went on.

    For when another run was first to save the state. Per batch, what both know is kept: what either knows to be started
    stays started. The order does not matter, and merging again changes nothing. Journals beside them count too.
    """
    if out is None:
        both = join(_known(Path(ours)), _known(Path(theirs)))
        terminal.data(encode_state(both).decode().rstrip("\n"))
        return
    run = environment.new_run()
    files = paths(out)
    holder = environment.holder("state merge", run, files.state, session.clock.now())
    with locked(files.lock, holder, lock_timeout):
        both = join(_known(Path(ours)), _known(Path(theirs)))
        replace_durably(files, both, run)
    terminal.talk(f"Merged: {len(both.entries):,} {'batch' if len(both.entries) == 1 else 'batches'}.")


def _confirm(terminal: Terminal, state: State, *, auto_approve: bool) -> None:
    if auto_approve:
        return
    if not terminal.interactive:
        raise UsageError("Nobody is here to approve", "Without a terminal, recover needs --auto-approve.")
    terminal.talk(f"\nGo on with this state of {len(state.entries)} batches?\n\n  Enter a value: ", end="")
    try:
        answer = input()
    except EOFError:
        answer = ""
    if answer.strip() != "yes":
        raise RefusedError("Recover was not approved", "Nothing was changed.")


def _file(state: str | None) -> Path:
    return environment.state_file(state, (DEFAULT_CONFIG,))


def _known(file: Path) -> State:
    known = read(file).state
    if known is None:
        raise StateError("There is no state", f"{file} does not exist. Name another with --state.")
    return known


def _entry(state: State, batch: str) -> Entry:
    """The entry with this id, or the only one with this name."""
    if batch in state.entries:
        return state.entries[batch]
    named = [entry for entry in state.entries.values() if entry.name == batch]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(sorted(entry.batch_id for entry in named))
        raise UsageError(f"{batch} is the name of several batches", f"Give the id: {ids}.")
    raise UsageError(f"{batch} is not in the state", "`batchform state list` shows what is.")
