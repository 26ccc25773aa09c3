"""The way out when the state or its journal cannot be used: `state recover`.

`examine` reads what is there, says what is wrong and what would be kept; a person judges; `accept` puts the damaged
files aside (never away) and writes what was kept. What is lost that way is only knowledge: the server still knows what
was started, and the next apply looks before it sends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state.codec import NewerFormatError, decode_state, digest, parse_state
from batchform.state.disk import Paths, keep_copy, paths, read_bytes, replace_durably
from batchform.state.events import fold
from batchform.state.journal import Replay, replay, salvage
from batchform.state.known import State

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What can be kept. `notes` say what is wrong and what becomes of it; `damaged` are the files to put aside."""

    state: State
    notes: tuple[str, ...]
    damaged: tuple[Path, ...]

    @property
    def needed(self) -> bool:
        """Whether anything is wrong at all."""
        return bool(self.notes)


def examine(state_file: str | os.PathLike[str]) -> Recovery:
    """What is wrong, and what would be kept. Writes nothing.

    Raises:
        NewerFormatError: The state or the journal can be read by a newer version only.
        StateError: Nothing can be kept: no state, backup or journal can be read.
    """
    files = paths(state_file)
    notes: list[str] = []
    damaged: list[Path] = []
    state = _state(files, notes, damaged)
    leftover = _journal(files, notes, damaged)
    header = leftover.header if leftover is not None else None
    if state is None:
        if header is None:
            raise StateError("There is nothing to recover", f"{files.state} and its backup hold no state.")
        state = State(lineage=header.lineage, serial=header.serial, service=header.service, endpoint=header.endpoint)
        notes.append("There is no state and no backup: only what the journal tells is kept.")
    if header is not None and header.lineage != state.lineage:
        notes.append(f"{files.journal.name} belongs to another history ({header.lineage}): it is put aside.")
        damaged.append(files.journal)
    elif leftover is not None:
        if header is not None and header.serial > state.serial:
            notes.append(
                f"The state has serial {state.serial}, but {files.journal.name} builds on serial {header.serial}: what"
                " was committed in between is missing. The journal's own events are kept; the next apply asks the"
                " server about the rest."
            )
            state = replace(state, serial=header.serial)
        state = fold(state, leftover.events, leftover.stories)
    return Recovery(state=state, notes=tuple(notes), damaged=tuple(damaged))


def accept(state_file: str | os.PathLike[str], recovery: Recovery, run: str) -> tuple[Path, ...]:
    """Keep copies of the damaged files and write the state that was kept. The caller holds the lock.

    Until the new state is in its place nothing is taken away, so that a crash in between leaves what there was.

    Returns:
        Where the copies are.
    """
    files = paths(state_file)
    aside = tuple(keep_copy(path, run) for path in dict.fromkeys(recovery.damaged) if path.exists())
    replace_durably(files, replace(recovery.state, serial=recovery.state.serial + 1), run)
    files.journal.unlink(missing_ok=True)
    return aside


def _state(files: Paths, notes: list[str], damaged: list[Path]) -> State | None:
    data = read_bytes(files.state)
    if data is not None:
        try:
            document = parse_state(data)
            state = decode_state(data, trust=True)
        except NewerFormatError:
            raise  # it is not damaged
        except StateError as error:
            notes.append(f"{files.state.name}: {error.summary}. {error.detail}")
            damaged.append(files.state)
        else:
            if document.get("digest") != digest(document):
                notes.append(f"{files.state.name} was changed after it was written. It is taken as it stands now.")
                notes.extend(_differences(files, state))
                damaged.append(files.state)
            return state
    backup = read_bytes(files.backup)
    if backup is None:
        return None
    state = decode_state(backup)
    notes.append(f"The backup (serial {state.serial}, {len(state.entries)} batches) takes the state's place.")
    return state


def _differences(files: Paths, state: State) -> list[str]:
    """How a changed state differs from its backup, a line a batch."""
    data = read_bytes(files.backup)
    if data is None:
        return ["There is no backup to compare it with."]
    before = decode_state(data).entries
    lines = []
    for batch_id in sorted({*before, *state.entries}):
        old, new = before.get(batch_id), state.entries.get(batch_id)
        if old != new:
            was = "not there" if old is None else old.phase.value
            now = "gone" if new is None else new.phase.value
            name = (new or old).name if (new or old) else batch_id  # type: ignore[union-attr]  # one of them is there
            lines.append(f"{name} ({batch_id}): in the backup {was}, now {now}.")
    return lines or ["The batches are those of the backup."]


def _journal(files: Paths, notes: list[str], damaged: list[Path]) -> Replay | None:
    data = read_bytes(files.journal)
    if data is None:
        return None
    try:
        return replay(data, files.journal.name)
    except NewerFormatError:
        raise  # it is not damaged
    except StateError as error:
        damaged.append(files.journal)
        try:
            found = salvage(data, files.journal.name)
        except StateError:
            notes.append(f"{error.summary}: nothing of {files.journal.name} can be read.")
            return None
        notes.append(f"{error.summary}: {len(found.events)} whole events of {files.journal.name} are kept.")
        return found
