"""Repair a remote state that cannot be used: `state recover`.

The holder of a damaged journal is not known, so the repair first watches for a lease that nothing writes there, as a
takeover does. The damaged objects are copied to the current folder; the kept state replaces the one in the store before
a new journal replaces the old one, so an end in between loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchform.errors import StateError, StateLockedError
from batchform.state import disk
from batchform.state.codec import decode_state, encode_state
from batchform.state.journal import Header, salvage
from batchform.state.known import UNTOLD, check_home
from batchform.state.recovery import Part, Parts, Recovery, judge
from batchform.state.registers import Down, Taken
from batchform.state.remote.access import BACKUP, JOURNAL, STATE
from batchform.state.remote.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from batchform.state.registers import Held
    from batchform.state.remote.access import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What can be kept, and what was read for that."""

    recovery: Recovery
    held: Mapping[str, Held | None]


def examine(access: Access) -> Found:
    """Return what is wrong and what can be kept. Writes nothing.

    Raises:
        StateError: Nothing can be kept, the state is a copy of another one, or the store cannot be used.
    """
    held = {name: access.read(name) for name in (STATE, JOURNAL, BACKUP)}
    state, journal, backup = (
        Part(name=access.where + name, data=None if found is None else found.data) for name, found in held.items()
    )
    recovery = judge(Parts(where=access.where, state=state, journal=journal, backup=backup))
    notes = list(recovery.notes)
    if journal.data is None:
        notes.append(f"{journal.name} is missing. What a run recorded last may be missing, too.")
    elif _torn(journal):
        notes.append(f"{journal.name} is cut off. Its complete events are kept.")
        recovery = replace(recovery, damaged=(*recovery.damaged, journal.name))
    if recovery.state.home:
        check_home(recovery.state, access.where)
    elif state.data is not None and _is_readable(state.data):
        notes.append(f"{state.name} was put there by hand. Its content is kept.")
    return Found(recovery=replace(recovery, notes=tuple(notes)), held=held)


def _is_readable(data: bytes) -> bool:
    try:
        decode_state(data, trust=True)
    except StateError:
        return False
    return True


def _torn(journal: Part) -> bool:
    assert journal.data is not None
    return not journal.data.endswith(b"\n")


def accept(
    access: Access,
    found: Found,
    *,
    run: str,
    holder: Mapping[str, str],
    folder: Path,
    waiting: Callable[[float], None],
) -> tuple[Path, ...]:
    """Copy the damaged objects to this folder, and write the kept state and a new journal.

    Returns:
        The paths of the copies.

    Raises:
        StateLockedError: A run writes to the journal.
        StateError: The store or the folder cannot be written.
    """
    journal = found.held[JOURNAL]
    header = _header(journal)
    if header is None or header.open:
        _watch(access, journal, waiting)
    copies = tuple(
        _copy(folder, access.where + name, one.data, run)
        for name, one in found.held.items()
        if one is not None and access.where + name in found.recovery.damaged
    )
    state = replace(found.recovery.state, serial=found.recovery.state.serial + 1, home=access.where)
    before = found.held[STATE]
    lease = Lease(access, run, UNTOLD, holder, state)
    try:
        access.write(STATE, encode_state(state), None if before is None else before.tag)
    except Taken:
        raise _changed(access) from None
    except Down as down:
        raise access.not_usable(down) from None
    epoch = 0 if header is None else header.epoch
    if not lease.claim(replace(lease.header, epoch=epoch), None if journal is None else journal.tag):
        raise _changed(access)
    lease.release()
    return copies


def _header(journal: Held | None) -> Header | None:
    """The header, None where it cannot be read."""
    try:
        return None if journal is None else salvage(journal.data, "").header
    except StateError:
        return None


def _watch(access: Access, journal: Held | None, waiting: Callable[[float], None]) -> None:
    """Wait for a lease. Raises StateLockedError if the journal changes meanwhile."""
    began = access.clocks.monotonic()
    # safety: the run that wrote the journal may be certain, and its start on its way, for that long
    while access.clocks.monotonic() - began < access.lease:
        waiting(access.poll)
        if access.read(JOURNAL) != journal:
            raise StateLockedError(
                "The state is locked by another run",
                f"A run writes to {access.called.journal}. Recover when it has ended. Nothing was changed.",
            )


def _changed(access: Access) -> StateError:
    return StateError("The state was changed meanwhile", f"Run `state recover` again on {access.where}.")


def _copy(folder: Path, name: str, data: bytes, run: str) -> Path:
    path = folder / f"{name.replace(':', '/').rpartition('/')[2]}.damaged-{run}"
    try:
        disk.write_new(path, data)
    except OSError as error:
        raise StateError(
            "The damaged object cannot be copied", f"{path}: {error.strerror}. Nothing was changed."
        ) from error
    return path
