"""The lock: flock on a file that is never renamed or unlinked. The kernel releases it when the process ends."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from batchform.errors import StateError, StateLockedError
from batchform.state.disk import NO_FOLLOW, paths, reason, write_fully

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_POLL: Final = 0.1  # seconds between two attempts to lock


@contextlib.contextmanager
def locked(
    path: Path,
    holder: Mapping[str, str],
    timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Hold the lock during a `with` block. Waits up to `timeout` seconds; raises as `hold` does."""
    give_up = clock() + timeout
    while (descriptor := _try_lock(path)) is None:
        if clock() >= give_up:
            raise StateLockedError("The state is locked by another run", _describe(path))
        sleep(min(_POLL, max(0.0, give_up - clock())))
    try:
        with contextlib.suppress(OSError):  # a full disk: only the name of the holder is missing
            os.ftruncate(descriptor, 0)
            write_fully(descriptor, (json.dumps(holder, indent=2) + "\n").encode())
        yield
    finally:
        os.close(descriptor)  # this releases the lock; the file stays, so that all runs lock the same file


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, None if another run holds it."""
    try:
        import fcntl  # noqa: PLC0415  # Windows has none, but this module must import there
    except ImportError as error:
        raise StateError("This system cannot lock files", "apply runs on Linux and macOS only.") from error
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | NO_FOLLOW, 0o600)
    except OSError as error:
        raise StateError("The lock file cannot be opened", f"{path}: {reason(error)}. Nothing was sent.") from error
    held = False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StateError("The lock file cannot be opened", f"{path} is not a file. Nothing was sent.")
        # Another run holds the lock, or the file was deleted after `open`, so that other runs would lock another file.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(path.stat(), os.fstat(descriptor)) and _really_locked(path, fcntl.flock)
    except OSError as error:
        raise StateError(
            "This file system cannot lock",
            f"{path}: {error.strerror}. Without a lock, two runs could use one state. Keep the state on a local disk.",
        ) from error
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def _really_locked(path: Path, flock: Callable[[int, int], None]) -> bool:
    """Whether a second lock is refused while we hold it: on some file systems every lock succeeds."""
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC | NO_FOLLOW)
    try:
        flock(second, 2 | 4)  # LOCK_EX | LOCK_NB
    except OSError:
        return True
    finally:
        os.close(second)
    raise StateError(
        "This file system cannot lock",
        f"{path}: a lock was granted twice. Keep the state on a local disk.",
    )


def holder_of(state: Path) -> str | None:
    """Who holds the lock of this state, None if it is free. Nothing is created; the lock is held for a moment.

    Raises:
        StateError: This system or file system cannot lock.
    """
    path = paths(state).lock
    if not os.path.lexists(path):
        return None
    descriptor = _try_lock(path)
    if descriptor is None:
        return _holder(path)
    os.close(descriptor)
    return None


def _describe(path: Path) -> str:
    """The holder of the lock, and what to do."""
    return (
        f"{_holder(path)}. The lock is released when that run ends. To wait for it, use --lock-timeout 5m. Nothing was"
        " sent."
    )


def _holder(path: Path) -> str:
    """The holder of the lock, from the lock file."""
    try:
        holder = json.loads(path.read_bytes())
        who, when = holder["Who"], holder["Created"]
        job = f", {holder['Info']}" if holder.get("Info") else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"The lock file {path} does not name the run"
    return f"{holder['Operation']} by {who} since {when}{job}"
