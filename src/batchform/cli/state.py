"""`batchform state`: list, show, rm, recover, merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.cli import environment, session
from batchform.cli.files import check_outputs, companions, read_state
from batchform.cli.options import Duration, json_option, state_option
from batchform.config.selection import Item, select, select_one
from batchform.errors import Exit, RefusedError, UsageError
from batchform.render.documents.state import state_document
from batchform.render.escape import printable
from batchform.render.text.state import entry_text, state_list_text
from batchform.render.words import count
from batchform.state.codec import encode_state
from batchform.state.disk import paths, replace_durably
from batchform.state.events import Event, Removed
from batchform.state.lock import locked
from batchform.state.merge import merge as join
from batchform.state.recovery import accept, examine

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal
    from batchform.state.known import State


@click.group()
def command() -> None:
    """Show or repair the state."""


_lock_timeout = click.option(
    "--lock-timeout",
    type=Duration(),
    default="0s",
    metavar="DURATION",
    show_default=True,
    help="How long to wait for a lock that another run holds.",
)


@command.command("list")
@state_option
@json_option
@click.pass_obj
def list_(terminal: Terminal, /, *, state: str | None, as_json: bool) -> None:
    """List the batches in the state."""
    known = read_state(environment.state_file(state))
    terminal.data(json.dumps(state_document(known), indent=2) if as_json else state_list_text(known, terminal.style))


@command.command()
@click.argument("batch", metavar="NAME|ID")
@state_option
@json_option
@click.pass_obj
def show(terminal: Terminal, /, *, batch: str, state: str | None, as_json: bool) -> None:
    """Show everything the state has about one batch."""
    known = read_state(environment.state_file(state))
    batch_id = select_one(batch, _items(known), among="batch in the state")
    if as_json:
        terminal.data(json.dumps(state_document(known)["batches"][batch_id], indent=2))
    else:
        terminal.data(entry_text(known.entries[batch_id], terminal.style))


@command.command()
@click.argument("batches", metavar="NAME|ID...", nargs=-1, required=True)
@state_option
@_lock_timeout
@click.pass_obj
def rm(terminal: Terminal, /, *, batches: tuple[str, ...], state: str | None, lock_timeout: float) -> None:
    """Remove batches from the state. The server is not changed.

    batchform then no longer knows that it started them. If they are still declared, the next apply reads the account
    and adopts the running ones. NAME can be a glob such as 'uk-*'.
    """
    file = environment.state_file(state)
    known, run = read_state(file), environment.new_run()
    with session.hold(terminal, file, fresh=known, run=run, command="state rm", timeout=lock_timeout) as store:
        now = session.clock.now()
        chosen = select(_items(store.state), batches, option="", among="batch in the state") or ()
        entries = [entry for batch_id, entry in store.state.entries.items() if batch_id in chosen]
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
def recover(terminal: Terminal, /, *, state: str | None, lock_timeout: float, auto_approve: bool) -> int:
    """Repair a state or journal that cannot be read.

    Shows what is wrong and what it would keep, then asks. Keeps a copy of each damaged file.
    """
    file = environment.state_file(state)
    if not isinstance(file, Path):
        raise UsageError("Recover needs a state file", f"{file} cannot be recovered in its store yet.")
    run = environment.new_run()
    holder = environment.holder("state recover", run, file, session.clock.now())
    with locked(paths(file).lock, holder, lock_timeout):
        found = examine(file)
        for note in found.notes:
            terminal.data(printable(note))
        if not found.needed:
            terminal.data("The state is not damaged.")
            return Exit.DONE
        batches = count(len(found.state.entries), "batch", "batches")
        if not auto_approve and not terminal.interactive:
            raise UsageError("This recovery has no approval", "Approval needs a terminal or `--auto-approve`.")
        if not auto_approve and not terminal.confirm(f"Replace the state with this one of {batches}?"):
            raise RefusedError("Recover was not approved", "Nothing was changed.")
        for path in accept(file, found, run):
            terminal.data(f"Kept the damaged file as {printable(str(path))}.")
    terminal.data(f"Recovered {batches}. Run `batchform plan --refresh` to compare with the account.")
    return Exit.DONE


@command.command()
@click.argument("ours")
@click.argument("theirs")
@click.option("--out", metavar="FILE", help="Write the result to this file instead of stdout. It may be OURS.")
@_lock_timeout
@click.pass_obj
def merge(terminal: Terminal, /, *, ours: str, theirs: str, out: str | None, lock_timeout: float) -> None:
    """Merge two diverged copies of one state.

    Use it when another run saved its copy first. What either copy records as started stays started. The order does not
    matter, and a second merge changes nothing. Journals beside the copies are included.
    """
    if out is None:
        both = join(read_state(Path(ours)), read_state(Path(theirs)))
        terminal.data(encode_state(both).decode().rstrip("\n"))
        return
    run = environment.new_run()
    check_outputs({"--out": out}, [one for copy in (ours, theirs) for one in companions(Path(copy))[1:]])
    environment.inside_checkout(Path(out))
    files = paths(out)
    holder = environment.holder("state merge", run, files.state, session.clock.now())
    with locked(files.lock, holder, lock_timeout):
        both = join(read_state(Path(ours)), read_state(Path(theirs)))
        replace_durably(files, both, run)
    terminal.message(f"Merged: {count(len(both.entries), 'batch', 'batches')}.")


def _items(state: State) -> list[Item]:
    return [Item(name=entry.name, batch_id=entry.batch_id) for entry in state.entries.values()]
