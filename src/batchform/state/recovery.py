"""Repair a state or journal that cannot be used: `state recover`.

`examine` reads the files and returns what is wrong and what can be kept. After approval, `accept` copies the damaged
files and writes the kept state. `judge` is the same without files; `state.remote.recovery` uses it for a store. No paid
start can be lost this way: the server still knows what was started, and the next apply reads the statuses before it
sends.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state.codec import NewerFormatError, decode_state, digest, parse_state
from batchform.state.disk import keep_copy, paths, read_bytes, replace_durably
from batchform.state.events import fold
from batchform.state.journal import Replay, replay, salvage
from batchform.state.known import Entry, State

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The name and the content of a state, a journal or a backup. None: there is none."""

    name: str
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that was found at one place."""

    where: str
    state: Part
    journal: Part
    backup: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What can be kept. `notes` describe what is wrong and what will happen; `damaged` are the names to copy."""

    state: State
    notes: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.notes)


def examine(state_file: str | os.PathLike[str]) -> Recovery:
    """Return what is wrong and what can be kept. Writes nothing.

    Raises:
        NewerFormatError: Only a newer version reads the state or the journal.
        StateError: Nothing can be kept: no state, backup or journal can be read.
    """
    files = paths(state_file)
    state, journal, backup = (
        Part(name=path.name, data=read_bytes(path)) for path in (files.state, files.journal, files.backup)
    )
    return judge(Parts(where=str(files.state), state=state, journal=journal, backup=backup))


def judge(parts: Parts) -> Recovery:
    """Return what is wrong with these contents and what can be kept. Raises as `examine` does."""
    notes: list[str] = []
    damaged: list[str] = []
    state = _state(parts, notes, damaged)
    leftover = _journal(parts.journal, notes, damaged)
    header = leftover.header if leftover is not None else None
    if state is None:
        if header is None:
            raise StateError("There is nothing to recover", _nothing(parts))
        state = State(lineage=header.lineage, serial=header.serial, service=header.service, endpoint=header.endpoint)
        notes.append("There is no state and no backup. Only the events of the journal are kept.")
    if header is not None and header.lineage != state.lineage:
        notes.append(
            f"{parts.journal.name} belongs to a different state file (lineage {header.lineage}). It is copied and"
            " removed."
        )
        damaged.append(parts.journal.name)
    elif leftover is not None:
        if header is not None and header.serial > state.serial:
            notes.append(
                f"The state has serial {state.serial}, but {parts.journal.name} continues serial {header.serial}:"
                " outcomes recorded in between are missing. The events of the journal are kept. The next apply reads"
                " the other statuses from the server."
            )
            state = replace(state, serial=header.serial)
        state = fold(state, leftover.events, leftover.stories)
    return Recovery(state=state, notes=tuple(notes), damaged=tuple(damaged))


def _nothing(parts: Parts) -> str:
    text = f"{parts.where} and its backup contain no state."
    if found := " and ".join(part.name for part in (parts.state, parts.journal) if part.data is not None):
        text += f" Restore an older version. Only if there never was a state, delete {found}: the next run begins anew."
    return text


def accept(state_file: str | os.PathLike[str], recovery: Recovery, run: str) -> tuple[Path, ...]:
    """Copy the damaged files and write the kept state. The caller holds the lock.

    Nothing is removed before the new state is written, so a crash in between loses nothing. A damaged or changed state
    never becomes the backup: the backup stays, or is the new state if it cannot be read either.

    Returns:
        The paths of the copies.
    """
    files = paths(state_file)
    found = [path for path in (files.state, files.journal) if path.name in recovery.damaged and path.exists()]
    aside = tuple(keep_copy(path, run) for path in found)
    state = replace(recovery.state, serial=recovery.state.serial + 1)
    was_whole = files.state.name not in recovery.damaged
    replace_durably(files, state, run, backup=was_whole)
    if not was_whole and _backup(Part(name=files.backup.name, data=read_bytes(files.backup)), []) is None:
        replace_durably(files, state, run)
    files.journal.unlink(missing_ok=True)
    return aside


def _state(parts: Parts, notes: list[str], damaged: list[str]) -> State | None:
    name, data = parts.state.name, parts.state.data
    if data is not None:
        try:
            document = parse_state(data)
            state = decode_state(data, trust=True)
        except NewerFormatError:
            raise  # it is not damaged
        except StateError as error:
            notes.append(f"{name}: {error.summary}. {error.detail}")
            damaged.append(name)
        else:
            if document.get("digest") != digest(document):
                notes.append(f"{name} was changed after batchform wrote it. Its present content is kept.")
                notes.extend(_differences(parts.backup, state))
                damaged.append(name)
            return state
    backup = _backup(parts.backup, notes)
    if backup is not None:
        notes.append(f"The backup (serial {backup.serial}, {len(backup.entries)} batches) replaces the state.")
    return backup


def _backup(part: Part, notes: list[str]) -> State | None:
    """The last state that was whole, None if there is none."""
    if part.data is None:
        return None
    try:
        return decode_state(part.data)
    except NewerFormatError:
        raise  # it is not damaged
    except StateError as error:
        notes.append(f"{part.name} cannot be used: {error.summary}. {error.detail}")
        return None


def _differences(part: Part, state: State) -> list[str]:
    """The differences between a changed state and its backup, one line per batch."""
    notes: list[str] = []
    backup = _backup(part, notes)
    if backup is None:
        return notes or ["There is no backup for a comparison."]
    before = backup.entries
    lines = []
    for batch_id in sorted({*before, *state.entries}):
        old, new = before.get(batch_id), state.entries.get(batch_id)
        if old != new:
            name = (new or before[batch_id]).name
            lines.append(f"{name} ({batch_id}): {_changed(old, new)}.")
    return lines or ["The batches do not differ from the backup."]


def _changed(old: Entry | None, new: Entry | None) -> str:
    """`records 1,000 in the backup, 9,999 now`, for every field that differs."""
    if old is None or new is None:
        return f"{'absent' if old is None else old.phase} in the backup, {'absent' if new is None else new.phase} now"
    pairs = [(field.name, getattr(old, field.name), getattr(new, field.name)) for field in fields(Entry)]
    return "; ".join(f"{name} {_shown(was)} in the backup, {_shown(now)} now" for name, was, now in pairs if was != now)


def _shown(value: object) -> str:
    if value is None:
        return "absent"
    return f"{value:,}" if type(value) is int else str(value)


def _journal(part: Part, notes: list[str], damaged: list[str]) -> Replay | None:
    name, data = part.name, part.data
    if data is None:
        return None
    try:
        return replay(data, name)
    except NewerFormatError:
        raise  # it is not damaged
    except StateError as error:
        damaged.append(name)
        try:
            found = salvage(data, name)
        except StateError:
            notes.append(f"{error.summary}. No event of {name} can be read.")
            return None
        notes.append(f"{error.summary}. {len(found.events)} complete events of {name} are kept.")
        return found
