"""The files of a state, and how the state file is replaced so that no crash can damage it.

There are four files in one folder: the state; `.lock` (see `state.lock`); `.journal`, which exists during a run and
after a crash; and `.backup`, the state before the last commit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.errors import StateError
from batchform.state.codec import encode_state

if TYPE_CHECKING:
    from batchform.state.known import State


NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)  # Windows has none, but plans work there
_TO_READ: Final = os.O_RDONLY | NO_FOLLOW | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe without O_NONBLOCK would wait for its writer."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""The largest state or journal that is read: about a million batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The four files of one state, with links resolved: a rename must replace the file, not a link to it."""

    state: Path
    lock: Path
    journal: Path
    backup: Path


def paths(state: str | os.PathLike[str]) -> Paths:
    """The four files of a state file.

    Raises:
        StateError: It is a folder.
    """
    path = Path(os.path.realpath(state))
    if os.path.isdir(path):  # noqa: PTH112  # unlike that of Path, it never raises
        raise StateError("The state cannot be read", f"{path} is not a file.")
    return Paths(
        state=path,
        lock=path.with_name(path.name + ".lock"),
        journal=path.with_name(path.name + ".journal"),
        backup=path.with_name(path.name + ".backup"),
    )


def fsync_folder(path: Path) -> None:
    """Make the directory entries of `path`'s folder durable."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of `data`, with more than one write if necessary."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_bytes(path: Path) -> bytes | None:
    """The content of the file, None if it does not exist. Follows no link and never waits.

    Raises:
        StateError: It cannot be read, is not a file, or is too large.
    """
    try:
        descriptor = os.open(path, _TO_READ)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES:
                return b"".join(iter(lambda: os.read(descriptor, found.st_size + 1), b""))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError("The state cannot be read", f"{path}: {reason(error)}.") from error
    why = f"larger than {MAX_BYTES >> 20} MiB" if stat.S_ISREG(found.st_mode) else "not a file"
    raise StateError("The state cannot be read", f"{path} is {why}.")


def reason(error: OSError) -> str:
    """Why a file of a state cannot be opened."""
    if error.errno == errno.ELOOP:
        return "it is a link, and links beside the state are not followed. Remove it"
    return error.strerror or str(error)


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a new file durably. Raises OSError if it exists."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | NO_FOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        write_fully(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(files: Paths, state: State, run: str, *, backup: bool = True) -> bytes:
    """Replace the state file with `state`. After a crash at any moment it is the complete old or new file.

    With `backup`, the old file becomes the backup.

    Returns:
        The bytes on disk.

    Raises:
        StateError: The file could not be written or made durable.
    """
    data = encode_state(state)
    temporary = files.state.with_name(f".{files.state.name}.{run}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        write_new(temporary, data, _mode(files.state))
        if backup:
            _keep_backup(files, temporary)
        temporary.replace(files.state)
        fsync_folder(files.state)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateError(
            "The state file cannot be written",
            f"{files.state}: {error.strerror}. What was recorded is in the journal beside it, and the next run adds it"
            " to the state. Do not delete the journal.",
        ) from error
    return data


def keep_copy(path: Path, run: str) -> Path:
    """Copy a damaged file durably to a new name. Returns the path of the copy."""
    copy = path.with_name(f"{path.name}.damaged-{run}")
    try:
        write_new(copy, path.read_bytes())
    except OSError as error:
        raise StateError(
            "The damaged file cannot be copied", f"{copy}: {error.strerror}. Nothing was changed."
        ) from error
    return copy


def _mode(path: Path) -> int:
    """The mode of the file, or for a new file one that only its owner can read."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o600


def _keep_backup(files: Paths, temporary: Path) -> None:
    """Make the current state the backup, so that a backup exists at every moment."""
    copy = temporary.with_suffix(".backup")
    copy.unlink(missing_ok=True)
    try:
        try:
            os.link(files.state, copy)
        except FileNotFoundError:
            return
        except OSError:  # the file system has no hard links
            write_new(copy, files.state.read_bytes())
        copy.replace(files.backup)
    finally:  # after an error, or if the backup already is this file: then the rename did nothing
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
