"""The summary of each error of the state: fixed words that users can search for."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from batchform.errors import OutcomeUnknownError, StateError, StateLockedError, StateMissingError
from batchform.state.disk import keep_copy, paths
from batchform.state.journal import Header, Journal, replay
from batchform.state.local import hold
from batchform.state.reader import read
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from batchform.errors import BatchformError
    from batchform.state.local import Store

    Scene = Callable[[Path, pytest.MonkeyPatch], object]

HEADER = Header(lineage="lineage-1", serial=1, service=EMPTY.service, endpoint=EMPTY.endpoint, run="run-9")


def held(path: Path, run: str = "run-1") -> AbstractContextManager[Store]:
    """The state, locked by this run."""
    return hold(path, fresh=EMPTY, run=run, holder={}, now=NOW)


def committed(path: Path, run: str = "run-0") -> bytes:
    """Write the state of a finished run. Returns its bytes."""
    with held(path, run) as store:
        store.record(events(INTENDED, STARTED, batch=run, run=run))
        store.commit(NOW)
    return path.read_bytes()


def left(path: Path, **head: Any) -> bytes:
    """Leave the journal of an interrupted run. Returns its bytes."""
    words = {name: getattr(HEADER, name) for name in Header.__dataclass_fields__}
    journal = Journal(paths(path).journal, Header(**words | head))
    journal.append(events(INTENDED, STARTED, run="run-9"))
    journal.close()
    return paths(path).journal.read_bytes()


def full(*_: object, **__: object) -> NoReturn:
    """A call that fails because the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- The files -------------------------------------------------------------------------------------------------------


def not_to_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is not readable."""
    path.touch()
    monkeypatch.setattr("os.read", full)
    read(path)


def no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the state is a folder."""
    path.mkdir()
    read(path)


def not_to_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state file cannot be replaced."""
    monkeypatch.setattr(os, "replace", full)
    committed(path)


def not_to_be_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file to copy is missing."""
    keep_copy(path, "run-1")


def state_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal continues a state that does not exist."""
    left(path)
    read(path)


def other_history(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has another lineage."""
    committed(path)
    left(path, lineage="lineage-2")
    read(path)


def older_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal continues a newer state."""
    committed(path)
    left(path, serial=2)
    read(path)


# --- The lock --------------------------------------------------------------------------------------------------------


def locked_already(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run is active."""
    with held(path), held(path, "run-2"):
        pass


def no_locks_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is Windows."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    committed(path)


def no_lock_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is missing."""
    committed(path.parent / "missing" / "state.json")


def lock_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system has no locks."""
    monkeypatch.setattr(fcntl, "flock", full)
    committed(path)


def lock_lies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system grants every lock."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    committed(path)


# --- The run ---------------------------------------------------------------------------------------------------------


def torn_end_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path for the copy of the incomplete line is taken."""
    committed(path)
    paths(path).journal.write_bytes(left(path) + b"torn")
    (path.parent / "state.json.journal.torn-run-1").touch()
    committed(path, "run-1")


def journal_in_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another journal has appeared since the state was opened."""
    with held(path) as store:
        left(path)
        store.record(events(INTENDED))


def journal_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is written, but its journal cannot be removed."""
    with held(path) as store:
        store.record(events(INTENDED))
        really = Path.unlink
        monkeypatch.setattr(
            Path, "unlink", lambda one, **options: full() if one == paths(path).journal else really(one, **options)
        )
        store.commit(NOW)


# --- The journal -----------------------------------------------------------------------------------------------------


def disk_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event cannot be made durable."""
    with held(path) as store:
        store.record(events(INTENDED))
        monkeypatch.setattr(os, "fsync", full)
        store.record(events(STARTED, first=2))


def disk_was_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another event follows a failed one."""
    with held(path) as store:
        store.record(events(INTENDED))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", full)
            with pytest.raises(OutcomeUnknownError):
                store.record(events(STARTED, first=2))
        store.record(events(STARTED, first=2))


def journal_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal was removed during the run."""
    with held(path) as store:
        store.record(events(INTENDED))
        paths(path).journal.unlink()
        store.record(events(STARTED, first=2))


def damaged_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid line follows a damaged one."""
    head, first, second = left(path).splitlines(keepends=True)
    replay(head + b"x" + first + second, "journal")


def damaged_head(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is damaged."""
    replay(left(path).replace(b"\n", b"\r\n"), "journal")


def odd_head(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is complete but has a wrong value."""
    replay(left(path, serial="three"), "journal")


def other_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is missing."""
    _, *rest = left(path).splitlines(keepends=True)
    replay(b"".join(rest), "journal")


@pytest.mark.parametrize(
    ("scene", "kind", "summary"),
    [
        (not_to_be_read, StateError, "The state cannot be read"),
        (no_file, StateError, "The state cannot be read"),
        (not_to_be_written, StateError, "The state file cannot be written"),
        (not_to_be_kept, StateError, "The damaged file cannot be copied"),
        (state_gone, StateMissingError, "The state is missing"),
        (other_history, StateError, "The journal belongs to a different state file"),
        (older_state, StateError, "The state was replaced by an older one"),
        (locked_already, StateLockedError, "The state is locked by another run"),
        (no_locks_here, StateError, "This system cannot lock files"),
        (no_lock_file, StateError, "The lock file cannot be opened"),
        (lock_fails, StateError, "This file system cannot lock"),
        (lock_lies, StateError, "This file system cannot lock"),
        (torn_end_stays, StateError, "The journal's incomplete last line cannot be saved"),
        (journal_in_the_way, StateError, "The journal cannot be written"),
        (journal_stays, StateError, "The journal cannot be removed"),
        (disk_full, OutcomeUnknownError, "The journal cannot be written"),
        (disk_was_full, OutcomeUnknownError, "The journal can no longer be written"),
        (journal_gone, OutcomeUnknownError, "The journal was removed"),
        (damaged_line, StateError, "The journal is damaged"),
        (damaged_head, StateError, "The journal is damaged"),
        (odd_head, StateError, "The journal is damaged"),
        (other_format, StateError, "The journal has another format"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_error_is_called_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: Scene, kind: type[BatchformError], summary: str
) -> None:
    """The summary is fixed; only the detail depends on the case."""
    with pytest.raises(kind) as caught:
        scene(tmp_path / "state.json", monkeypatch)
    assert (type(caught.value), caught.value.summary) == (kind, summary)
