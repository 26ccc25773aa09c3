"""What is on disk: the state, and the journal of a run that is at work or died. Takes no lock and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state.codec import decode_state
from batchform.state.disk import paths, read_bytes
from batchform.state.known import State

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from batchform.state.disk import Paths
    from batchform.state.journal import Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is on disk.

    `state` is None when there is nothing yet; `leftover` counts the events of a journal that are folded in: another run
    is at work, or one died.
    """

    state: State | None
    leftover: int


def read(state_file: str | os.PathLike[str]) -> Known:
    """What is known now, without a lock and without writing anything.

    Raises:
        StateError: The files cannot be used.
    """
    files = paths(state_file)
    while True:
        before, journal, after = read_bytes(files.state), read_bytes(files.journal), read_bytes(files.state)
        if before == after:  # else a run committed meanwhile, and its journal may be gone: read again
            break
    base, leftover = combine(files, before, journal)
    if base is None or leftover is None:
        return Known(state=base, leftover=len(leftover.events) if leftover else 0)
    from batchform.state.events import fold  # noqa: PLC0415  # only beside a run that is at work or died

    return Known(state=fold(base, leftover.events, leftover.stories), leftover=len(leftover.events))


def combine(files: Paths, state: bytes | None, journal: bytes | None) -> tuple[State | None, Replay | None]:
    """The state on disk and the journal beside it, once they are known to belong together."""
    base = decode_state(state) if state is not None else None
    if journal is None:
        return base, None
    from batchform.state.journal import replay  # noqa: PLC0415  # only beside a run that is at work or died

    leftover = replay(journal, files.journal.name)
    header = leftover.header
    if header is None:
        return base, leftover
    if base is None:
        if header.serial > 0:
            raise StateError(
                "The state file is gone",
                f"{files.journal.name} builds on serial {header.serial} of {files.state}, which is not there. Nothing"
                " was sent. Restore it from version control, or run `batchform state recover`.",
            )
        return State(lineage=header.lineage, service=header.service, endpoint=header.endpoint), leftover
    same_lineage(base, header.lineage, files.journal)
    not_older(base, header.serial, files)
    return base, leftover


def same_lineage(base: State, lineage: str, path: Path) -> None:
    """Refuse a file of another state."""
    if base.lineage != lineage:
        raise StateError(
            "Two histories that do not belong together",
            f"{path} has lineage {lineage}, the state {base.lineage}. Nothing was sent. Put back the state that belongs"
            " to it, or run `batchform state recover`.",
        )


def not_older(base: State, serial: int, files: Paths) -> None:
    """Refuse a state from before the one that was built upon: it lacks what was committed in between."""
    if base.serial < serial:  # safety: outcomes that were recorded are missing from it
        raise StateError(
            "An older state was put in the place of the state",
            f"{files.state} has serial {base.serial}, but a run built on serial {serial}: what was committed in between"
            f" is missing. What the run itself recorded stands in {files.journal.name}. Put back the newer state from"
            " version control or from the .backup file, or run `batchform state recover`.",
        )
