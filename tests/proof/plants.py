"""Bugs to plant: a sweep must find them before its empty result counts. Each breaks the product in its own process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from batchform.state import disk, journal, local
from batchform.state.codec import encode_state
from batchform.state.event_codec import encode_event
from batchform.state.events import Intended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from batchform.state.events import Event
    from batchform.state.known import State


def outcome_before_intent() -> None:
    """The attempt is recorded together with its outcome, not before the request."""
    record = local.Store.record
    kept: list[Event] = []

    def late(self: local.Store, events: Sequence[Event]) -> None:
        kept.extend(events)
        if not any(isinstance(event.what, Intended) for event in events):
            record(self, tuple(kept))
            kept.clear()

    local.Store.record = late  # type: ignore[method-assign]  # that is the bug


def journal_removed_first() -> None:
    """The journal is removed before the state with its events is written."""
    commit = local.Store.commit

    def hasty(self: local.Store, now: datetime) -> bool:
        self._remove_journal()
        return commit(self, now)

    local.Store.commit = hasty  # type: ignore[method-assign]  # that is the bug


def written_in_place() -> None:
    """The state file is overwritten in place, as Terraform does with its local state."""

    def overwrite(files: disk.Paths, state: State, run: str, *, backup: bool = True) -> bytes:
        data = encode_state(state)
        descriptor = os.open(files.state, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        disk.write_fully(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
        disk.fsync_folder(files.state)
        return data

    disk.replace_durably = overwrite


def renamed_unsynced() -> None:
    """The new state replaces the old one before its content is durable."""

    def hasty(files: disk.Paths, state: State, run: str, *, backup: bool = True) -> bytes:
        data = encode_state(state)
        temporary = files.state.with_name(f".{files.state.name}.{run}.tmp")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        disk.write_fully(descriptor, data)
        os.close(descriptor)
        os.replace(temporary, files.state)  # noqa: PTH105  # the plain call, as such code has it
        disk.fsync_folder(files.state)
        return data

    disk.replace_durably = hasty


def journal_unsynced() -> None:
    """An event counts as durable once it is written."""

    def append(self: journal.Journal, events: Sequence[Event]) -> None:
        disk.write_fully(self._descriptor, b"".join(journal._line(encode_event(event)) for event in events))

    journal.Journal.append = append  # type: ignore[method-assign]  # that is the bug


def folder_unsynced() -> None:
    """The name of a file counts as durable once its content is."""

    def nothing(path: Any) -> None:
        """No bug."""

    disk.fsync_folder = nothing


PLANTS: Final[dict[str, Callable[[], None]]] = {
    plant.__name__: plant
    for plant in (
        outcome_before_intent,
        journal_removed_first,
        written_in_place,
        renamed_unsynced,
        journal_unsynced,
        folder_unsynced,
    )
}

TOUCHED: Final[tuple[tuple[Any, str], ...]] = (
    (disk, "replace_durably"),
    (disk, "fsync_folder"),
    (local.Store, "record"),
    (local.Store, "commit"),
    (journal.Journal, "append"),
)
"""What they change, so that a test can put it back."""
