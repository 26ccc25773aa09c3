"""`batchform state`: what is in the state, who holds it, and its repair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from batchform.cli import environment, session
from batchform.cli.files import check_outputs, companions, read_plain, read_state, write
from batchform.cli.options import (
    json_option,
    lock_timeout_option,
    repair_lock_timeout_option,
    state_option,
    store_timeout_option,
)
from batchform.cli.terminal import Waiting
from batchform.config.selection import Item, select, select_one
from batchform.errors import Exit, RefusedError, StateError, StateMissingError, UsageError
from batchform.render.documents.lock import file_lock_document, free_document, lock_text, store_lock_document
from batchform.render.documents.state import state_document
from batchform.render.escape import printable
from batchform.render.text.state import entry_text, state_list_text
from batchform.render.words import count
from batchform.state.address import parse_address
from batchform.state.codec import encode_state
from batchform.state.disk import paths, replace_durably
from batchform.state.events import Event, Removed, fold
from batchform.state.journal import replay
from batchform.state.known import State
from batchform.state.lock import holder_of, locked
from batchform.state.merge import merge as join
from batchform.state.recovery import Recovery, accept, examine
from batchform.state.store import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.cli.terminal import Terminal
    from batchform.state.store import Place

_LARGEST: Final = 256 << 20
"""Bytes of a file that `state push` reads."""


@click.group()
def command() -> None:
    """Show or repair the state."""


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
@lock_timeout_option
@store_timeout_option
@click.pass_obj
def rm(
    terminal: Terminal,
    /,
    *,
    batches: tuple[str, ...],
    state: str | None,
    lock_timeout: float | None,
    store_timeout: float,
) -> None:
    """Remove batches from the state. The server is not changed.

    batchform then no longer knows that it started them. If they are still declared, the next apply reads the account
    and adopts the running ones. NAME can be a glob such as 'uk-*'.
    """
    file = environment.state_file(state)
    known, run = read_state(file), environment.new_run()
    with session.hold(
        terminal, file, fresh=known, run=run, command="state rm", timeout=lock_timeout, patience=store_timeout
    ) as store:
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
        terminal.say(f"Removed {printable(entry.name)} ({printable(entry.batch_id)}), which was {entry.phase.value}.")


@command.command()
@state_option
@repair_lock_timeout_option
@store_timeout_option
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.pass_obj
def recover(
    terminal: Terminal,
    /,
    *,
    state: str | None,
    lock_timeout: float | None,
    store_timeout: float,
    auto_approve: bool,
) -> int:
    """Repair a state or journal that cannot be read.

    Shows what is wrong and what it would keep, then asks. Keeps a copy of each damaged file.
    """
    place, run = environment.state_file(state), environment.new_run()
    holder = environment.holder("state recover", run, place, session.clock.now())
    if isinstance(place, Path):
        with locked(paths(place).lock, holder, lock_timeout or 0.0):
            found = examine(place)
            if _accepted(terminal, found, auto_approve=auto_approve):
                _recovered(terminal, found, accept(place, found, run))
        return Exit.DONE
    from batchform.state.remote import recovery  # noqa: PLC0415  # for remote states only
    from batchform.state.remote.access import Access  # noqa: PLC0415  # the same
    from batchform.state.store import registers  # noqa: PLC0415  # the same

    access = Access(registers(place), store_timeout)
    seen = recovery.examine(access)
    if _accepted(terminal, seen.recovery, auto_approve=auto_approve):
        waiting = Waiting(terminal, "Waiting until no other run can hold the state ...", at_once=True)
        copies = recovery.accept(access, seen, run=run, holder=holder, folder=Path.cwd(), waiting=waiting)
        _recovered(terminal, seen.recovery, copies)
    return Exit.DONE


def _accepted(terminal: Terminal, found: Recovery, *, auto_approve: bool) -> bool:
    """Show what would be kept, and ask. False if there is nothing to repair."""
    for note in found.notes:
        terminal.say(printable(note))
    if not found.needed:
        terminal.say("The state is not damaged.")
        return False
    batches = count(len(found.state.entries), "batch", "batches")
    if not auto_approve and not terminal.interactive:
        raise UsageError("This recovery has no approval", "Approval needs a terminal or `--auto-approve`.")
    if not auto_approve and not terminal.confirm(f"Replace the state with this one of {batches}?"):
        raise RefusedError("Recover was not approved", "Nothing was changed.")
    return True


def _recovered(terminal: Terminal, found: Recovery, copies: Sequence[Path]) -> None:
    for path in copies:
        terminal.say(f"Kept the damaged file as {printable(str(path))}.")
    batches = count(len(found.state.entries), "batch", "batches")
    terminal.say(f"Recovered {batches}.", "Run `batchform plan --refresh` to compare with the account.")


@command.command()
@click.argument("file", metavar="[FILE]", required=False)
@state_option
@click.pass_obj
def pull(terminal: Terminal, /, *, file: str | None, state: str | None) -> None:
    """Copy a state out of a store, to FILE or stdout.

    A copy can be read, for example by an offline plan. It cannot be changed: its home stays in the store.
    """
    place = environment.state_file(state)
    if isinstance(place, Path):
        raise UsageError("The state is a file", f"{place} can be copied as it is. Pull is for a state in a store.")
    copy = replace(read_state(place), home=str(place))
    text = encode_state(copy).decode()
    if file is None:
        terminal.data(text.rstrip("\n"))
        return
    out = environment.inside_checkout(Path(file))
    check_outputs({"FILE": file}, companions(out)[1:], over_state=True)
    there = read(out)
    if there.leftover or (there.state is not None and there.state.home != copy.home):
        # safety: what only that state knows as started would be forgotten
        raise UsageError(
            "`FILE` is another state", f"{file} is not a copy of {place}. Name another file. Nothing was written."
        )
    try:
        write(out, text)
    except OSError as error:
        raise StateError("The copy cannot be written", f"{file}: {error.strerror}.") from error
    terminal.message(f"Pulled: {count(len(copy.entries), 'batch', 'batches')}.")


@command.command()
@click.argument("file", metavar="FILE")
@state_option
@lock_timeout_option
@store_timeout_option
@click.pass_obj
def push(
    terminal: Terminal, /, *, file: str, state: str | None, lock_timeout: float | None, store_timeout: float
) -> None:
    """Merge FILE into the state: a copy of it, or the outcomes that a run could not write to its store.

    Nothing is overwritten, and a second push changes nothing. What either records as started stays started. A state
    that was deleted from its store is restored from such a FILE, as far as FILE has it.
    """
    place = environment.state_file(state)
    theirs, recorded_for = _pushed(Path(file))
    if theirs.home not in {"", str(place)}:
        raise StateError(
            "This is a copy of another state",
            f"{file} is a copy of {theirs.home}, not of {place}. Use --state with that address. Nothing was changed.",
        )
    # safety: a state of another place would go on there and here
    if recorded_for == str(place) and _is_gone(place, theirs):
        known = State(lineage=theirs.lineage, serial=theirs.serial, service=theirs.service, endpoint=theirs.endpoint)
    else:
        known = read_state(place)
    run = environment.new_run()
    with session.hold(
        terminal, place, fresh=known, run=run, command="state push", timeout=lock_timeout, patience=store_timeout
    ) as store:
        store.join(theirs)
        changed = store.commit(session.clock.now())
    batches = count(len(theirs.entries), "batch", "batches")
    terminal.note(f"Pushed: {batches} of {printable(file)}." if changed else "The state has all of this already.")


def _is_gone(place: Place, theirs: State) -> bool:
    """Whether the state was deleted from its store, so that `theirs` becomes the state again.

    Where its journal is still there, only a copy of the state does: `hold` refuses one that the journal is ahead of.
    """
    try:
        return not isinstance(place, Path) and read(place).state is None
    except StateMissingError:
        return theirs.home == str(place)


def _pushed(file: Path) -> tuple[State, str]:
    """The state in a file, or that of the events in a journal; and the address it was recorded for, "" for a file."""
    try:
        data = read_plain(file, _LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError("The file cannot be read", f"{file}: {why}. Nothing was changed.") from error
    if len(data) > _LARGEST:
        raise UsageError("The file is too large", f"{file} has more than {_LARGEST >> 20} MB. Nothing was changed.")
    if data.lstrip()[:1] == b"{":
        known = read_state(file)  # with its journal
        return known, known.home
    found = replay(data, str(file))
    header = found.header
    if header is None or found.torn:
        raise StateError("The journal is damaged", f"{file} is cut off. Nothing was changed.")
    empty = State(lineage=header.lineage, serial=header.serial, service=header.service, endpoint=header.endpoint)
    return fold(empty, found.events, found.stories), header.holder.get("Path", "")


@command.command()
@click.argument("to", metavar="ADDRESS|FILE")
@state_option
@lock_timeout_option
@store_timeout_option
@click.pass_obj
def migrate(
    terminal: Terminal, /, *, to: str, state: str | None, lock_timeout: float | None, store_timeout: float
) -> None:
    """Move a state file into a store, for example to s3://bucket/batchform.state.json, or back into a FILE.

    Tests first whether two runs are safe in the store. The old place stays as a copy, which no command changes. A
    second migrate after a failure completes the first.
    """
    place, target = environment.state_file(state), parse_address(to)
    if isinstance(place, Path) == (target is None):
        raise UsageError(
            "Migrate moves between a file and a store",
            "Write `batchform state migrate --state FILE s3://bucket/key`, or `--state s3://bucket/key FILE`. Nothing"
            " was changed.",
        )
    from batchform.cli.moves import Move  # noqa: PLC0415  # for remote states only

    move = Move(terminal=terminal, run=environment.new_run(), timeout=lock_timeout, patience=store_timeout)
    if isinstance(place, Path):
        assert target is not None
        move.into_store(place, target)
    else:
        move.into_file(place, environment.inside_checkout(Path(to)))


@command.command()
@state_option
@json_option
@store_timeout_option
@click.pass_obj
def lock(terminal: Terminal, /, *, state: str | None, as_json: bool, store_timeout: float) -> int:
    """Show which run holds the state. The exit code is 5 if one does."""
    place = environment.state_file(state)
    found = _lock_document(place, store_timeout)
    if as_json:
        terminal.data(json.dumps(found, indent=2))
    elif not found["locked"]:
        terminal.say("The state is free.")
    else:
        terminal.say(printable(lock_text(found)))
        if isinstance(place, Path):
            terminal.say("The kernel frees this lock when that run ends, however it ends.")
        else:
            terminal.say(
                f"If the run has died, the next run takes over after {found['lease_seconds']:.0f} s.",
                f"If it hangs, stop it with `batchform state unlock {printable(found['run'])}`.",
            )
    return Exit.LOCKED if found["locked"] else Exit.DONE


@command.command()
@click.argument("holder", metavar="RUN")
@state_option
@repair_lock_timeout_option
@store_timeout_option
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.pass_obj
def unlock(
    terminal: Terminal,
    /,
    *,
    holder: str,
    state: str | None,
    lock_timeout: float | None,
    store_timeout: float,
    auto_approve: bool,
) -> None:
    """Stop a run that hangs and holds a state in a store.

    RUN is the id that `state lock` shows. A run that died needs no unlock. This takes as long as a lease (60 s, on a
    branch 300): until then, a start of that run may still be on its way.
    """
    place = environment.state_file(state)
    if isinstance(place, Path):
        raise UsageError(
            "A state file needs no unlock", "The kernel frees its lock when the run ends. End that process instead."
        )
    from batchform.state.remote.reader import holding  # noqa: PLC0415  # for remote states only
    from batchform.state.remote.store import unlock as stop  # noqa: PLC0415  # the same
    from batchform.state.remote.takeover import not_held  # noqa: PLC0415  # the same
    from batchform.state.store import registers  # noqa: PLC0415  # the same

    engine = registers(place)
    found = holding(engine, store_timeout)
    if found is None or found.header.run != holder:
        raise not_held(holder)
    terminal.note(printable(lock_text(store_lock_document(found.header, found.written, session.clock.now()))))
    if not auto_approve and not terminal.interactive:
        raise UsageError("This unlock has no approval", "Approval needs a terminal or `--auto-approve`.")
    if not auto_approve and not terminal.confirm("Stop this run? It then sends nothing more."):
        raise RefusedError("Unlock was not approved", "Nothing was changed.")
    run = environment.new_run()
    recovered = stop(
        engine,
        found,
        run=run,
        holder=environment.holder("state unlock", run, place, session.clock.now()),
        folder=Path.cwd(),
        timeout=lock_timeout or 0.0,
        patience=store_timeout,
        waiting=Waiting(terminal, "Waiting until that run can send nothing more ...", at_once=True),
    )
    terminal.say(f"Unlocked. {count(recovered, 'event')} of that run are in the state.")


def _lock_document(place: Place, patience: float) -> dict[str, Any]:
    """Who holds the state."""
    if isinstance(place, Path):
        held = holder_of(place)
        return free_document() if held is None else file_lock_document(held)
    from batchform.state.remote.reader import holding  # noqa: PLC0415  # for remote states only
    from batchform.state.store import registers  # noqa: PLC0415  # the same

    found = holding(registers(place), patience)
    return free_document() if found is None else store_lock_document(found.header, found.written, session.clock.now())


@command.command()
@click.argument("ours")
@click.argument("theirs")
@click.option("--out", metavar="FILE", help="Write the result to this file instead of stdout. It may be OURS.")
@repair_lock_timeout_option
@click.pass_obj
def merge(terminal: Terminal, /, *, ours: str, theirs: str, out: str | None, lock_timeout: float | None) -> None:
    """Merge two diverged copies of one state.

    Use it when another run saved its copy first. What either copy records as started stays started. The order does not
    matter, and a second merge changes nothing. Journals beside the copies are included, also without a state file, and
    so is what the file of --out holds already.
    """
    if out is None:
        both = _merged(Path(ours), Path(theirs))
        terminal.data(encode_state(both).decode().rstrip("\n"))
        return
    run = environment.new_run()
    kept = [one for copy in (ours, theirs) for one in companions(Path(copy))[1:]]
    check_outputs({"--out": out}, kept, over_state=True)
    environment.inside_checkout(Path(out))
    _merged(Path(ours), Path(theirs))  # what cannot be merged leaves no lock file
    files = paths(out)
    holder = environment.holder("state merge", run, files.state, session.clock.now())
    with locked(files.lock, holder, lock_timeout or 0.0):
        both = _merged(Path(ours), Path(theirs))
        there = read(files.state).state
        if there is not None:  # safety: what only that state knows as started would be forgotten
            both = join(both, there)
        replace_durably(files, both, run)
    terminal.message(f"Merged: {count(len(both.entries), 'batch', 'batches')}.")


def _merged(ours: Path, theirs: Path) -> State:
    """Both copies merged. A journal without events and without a state adds nothing."""
    known = [read(file).state for file in (ours, theirs) if file.exists() or paths(file).journal.exists()]
    found = [state for state in known if state is not None]
    if len(known) < 2 or not found:
        advice = "Check the path: merge needs two copies of one state. Nothing was changed."
        return join(read_state(ours, advice), read_state(theirs, advice))  # names the copy that does not exist
    return join(found[0], found[-1])


def _items(state: State) -> list[Item]:
    return [Item(name=entry.name, batch_id=entry.batch_id) for entry in state.entries.values()]
