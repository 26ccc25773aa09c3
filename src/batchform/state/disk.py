"""The files of a state, and how one is put in the place of another so that no crash can tear it.

Four files stand side by side: the state; `.lock` (see `state.lock`); `.journal`, there only while a run is at work or
after it died; `.backup`, the state before the last commit.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state.codec import encode_state

if TYPE_CHECKING:
    from batchform.state.known import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The four files of one state, links resolved: a rename must replace the file, not a link to it."""

    state: Path
    lock: Path
    journal: Path
    backup: Path


def paths(state: str | os.PathLike[str]) -> Paths:
    """The files that belong to this state file."""
    path = Path(os.path.realpath(state))
    return Paths(
        state=path,
        lock=path.with_name(path.name + ".lock"),
        journal=path.with_name(path.name + ".journal"),
        backup=path.with_name(path.name + ".backup"),
    )


def fsync_folder(path: Path) -> None:
    """Make the entries of `path`'s folder durable."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a short write is continued."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_bytes(path: Path) -> bytes | None:
    """The file's content, None when there is none. Raises StateError when it cannot be read."""
    try:
        is_file = path.is_file() or not path.exists()
        data = path.read_bytes() if is_file else None  # a pipe would be waited for for ever
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError("The state cannot be read", f"{path}: {error.strerror}.") from error
    if not is_file:
        raise StateError("The state cannot be read", f"{path} is not a file.")
    return data


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, durably."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_fully(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(files: Paths, state: State, run: str) -> bytes:
    """Put `state` in the state file's place; after a crash at any moment it is the old file or the new one, whole.

    Returns:
        The bytes that are on disk now.

    Raises:
        StateError: It could not be written, or not made durable.
    """
    data = encode_state(state)
    temporary = files.state.with_name(f".{files.state.name}.{run}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        write_new(temporary, data, _mode(files.state))
        _keep_backup(files, temporary)
        temporary.replace(files.state)
        fsync_folder(files.state)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateError(
            "The state file cannot be written",
            f"{files.state}: {error.strerror}. Every outcome stands in the journal beside it and is folded in by the"
            " next run; do not delete it.",
        ) from error
    return data


def keep_copy(path: Path, run: str) -> Path:
    """Copy a damaged file to a name of its own, durably; where the copy is."""
    copy = path.with_name(f"{path.name}.damaged-{run}")
    try:
        write_new(copy, path.read_bytes())
    except OSError as error:
        raise StateError(
            "The damaged file cannot be kept", f"{copy}: {error.strerror}. Nothing was changed."
        ) from error
    return copy


def _mode(path: Path) -> int:
    """The mode of the present file, or one that keeps a new file to its owner."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o600


def _keep_backup(files: Paths, temporary: Path) -> None:
    """The present state becomes the backup, without a moment in which there is none."""
    copy = temporary.with_suffix(".backup")
    copy.unlink(missing_ok=True)
    try:
        try:
            os.link(files.state, copy)
        except FileNotFoundError:
            return
        except OSError:  # a file system without hard links
            write_new(copy, files.state.read_bytes())
        copy.replace(files.backup)
    finally:  # after a failure; and where the backup is this very file already, a rename does nothing
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
