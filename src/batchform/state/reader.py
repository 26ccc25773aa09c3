"""Read the state and the journal of a current or interrupted run, without a lock and without writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.errors import StateError, StateMissingError
from batchform.state.codec import NewerFormatError, decode_state
from batchform.state.disk import paths, read_bytes
from batchform.state.known import State

if TYPE_CHECKING:
    import os

    from batchform.state.disk import Paths
    from batchform.state.journal import Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is on disk.

    `state` is None if there is no state yet. `leftover` is the number of events from a journal that are part of it:
    another run is active, or was interrupted.
    """

    state: State | None
    leftover: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a state and its journal are called in messages, and what keeps older ones."""

    state: str
    journal: str
    kept: str = "version control or from the .backup file"


def names(files: Paths) -> Names:
    """The names of a state in a folder."""
    return Names(state=str(files.state), journal=files.journal.name)


def read(state_file: str | os.PathLike[str]) -> Known:
    """Return the current state, without a lock and without writing.

    Raises:
        StateError: The files cannot be used.
    """
    files = paths(state_file)
    while True:
        before, journal, after = read_bytes(files.state), read_bytes(files.journal), read_bytes(files.state)
        if before == after:  # else a run has committed in between, and its journal may be gone: read again
            break
    base, leftover = combine(names(files), before, journal)
    if base is None or leftover is None:
        return Known(state=base, leftover=len(leftover.events) if leftover else 0)
    from batchform.state.events import fold  # noqa: PLC0415  # needed only if there is a journal

    return Known(state=fold(base, leftover.events, leftover.stories), leftover=len(leftover.events))


def decoded(called: Names, data: bytes) -> State:
    """The state in these bytes. Raises StateError with its name and what to do."""
    try:
        return decode_state(data)
    except NewerFormatError as error:
        raise NewerFormatError(error.summary, f"{called.state}: {error.detail}") from error
    except StateError as error:
        raise StateError(
            error.summary,
            f"{called.state}: {error.detail} Restore it from {called.kept}, or run `batchform state recover`, which"
            " shows what can be kept.",
        ) from error


def combine(called: Names, state: bytes | None, journal: bytes | None) -> tuple[State | None, Replay | None]:
    """Return the state and the journal, after checking that they belong together."""
    base = decoded(called, state) if state is not None else None
    if journal is None:
        return base, None
    from batchform.state.journal import replay  # noqa: PLC0415  # needed only if there is a journal

    leftover = replay(journal, called.journal)
    header = leftover.header
    if header is None:
        return base, leftover
    if base is None:
        if header.serial > 0:
            raise StateMissingError(
                "The state is missing",
                f"{called.journal} continues serial {header.serial} of {called.state}, which does not exist. If a"
                f" `state migrate` was interrupted, run it again. Else restore it from {called.kept}, or run `batchform"
                " state recover`. Nothing was sent.",
            )
        return State(lineage=header.lineage, service=header.service, endpoint=header.endpoint), leftover
    same_lineage(base, header.lineage, called.journal)
    not_older(base, header.serial, called)
    return base, leftover


def same_lineage(base: State, lineage: str, journal: str) -> None:
    """Refuse a journal of a different state file."""
    if base.lineage != lineage:
        raise StateError(
            "The journal belongs to a different state file",
            f"{journal} has lineage {lineage}, but the state has lineage {base.lineage}. Restore the state that belongs"
            " to the journal, or run `batchform state recover`. Until then, no start is sent.",
        )


def not_older(base: State, serial: int, called: Names) -> None:
    """Refuse a state that is older than the one with which the run began."""
    if base.serial < serial:  # safety: recorded outcomes are missing from it
        raise StateError(
            "The state was replaced by an older one",
            f"{called.state} has serial {base.serial}, but a run began with serial {serial}: outcomes recorded in"
            f" between are missing. Those of the run itself are in {called.journal}. Restore the newer state from"
            f" {called.kept}, or run `batchform state recover`. Until then, no start is sent.",
        )
