"""Files that commands read and write by name."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.errors import StateError, UsageError
from batchform.state.disk import NO_FOLLOW, paths
from batchform.state.store import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batchform.plan import Plan
    from batchform.state.known import State
    from batchform.state.store import Place

_STREAMS: Final = (Path("/dev"), Path("/proc"))
"""Links in these folders, such as `/dev/stdout`, are made by the system and lead to streams."""

_READ_FROM: Final = (
    "BATCHFORM_AUTH_TOKEN_FILE",
    "BATCHFORM_CLIENT_ID_FILE",
    "BATCHFORM_CLIENT_SECRET_FILE",
    "BATCHFORM_CA_BUNDLE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
"""Variables of the environment that name files to read."""
_STATE: Final = re.compile(rb'\s*\{\s*"format_version":\s*"[0-9.]+",\s*"lineage":|[0-9a-f]{8} \{"journal":')


def read_state(file: Place, advice: str = "Name another file with `--state`.") -> State:
    """Read the state without a lock. `advice` is the next step if there is none.

    Raises:
        StateError: There is none, or it cannot be used.
    """
    known = read(file).state
    if known is None:
        raise StateError("There is no state", f"{file} does not exist. {advice}")
    return known


def read_plain(path: Path, most: int) -> bytes:
    """The first `most` bytes of a plain file. Never waits.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would wait for its writer
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        return stream.read(most)


def read_plan(file: str) -> Plan:
    """Load a saved plan.

    Raises:
        UsageError: It cannot be read, or is not a saved plan.
    """
    from batchform.render.documents.saved import MAX_BYTES, load_plan  # noqa: PLC0415  # only with an approval

    try:
        data = read_plain(Path(file), MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError("The plan cannot be read", f"{file}: {why}. Nothing was sent.") from error
    return load_plan(data)


def companions(state: Place) -> tuple[Path, ...]:
    """The state file, its lock, its journal and its backup. None of a state in a store."""
    if not isinstance(state, Path):
        return ()
    files = paths(state)
    return files.state, files.lock, files.journal, files.backup


def check_outputs(
    outputs: Mapping[str, str | None], protected: Iterable[str | os.PathLike[str]], *, over_state: bool = False
) -> None:
    """Check the files that options write, before anything is written or removed.

    Args:
        outputs: The files by their options, None for an option that is not given.
        protected: The files that the command reads: the state and its companions, the configuration, the saved plan.
            Files with credentials or certificates that the environment names are added.
        over_state: Whether a file may be a state that the command does not read.

    Raises:
        UsageError: A file is protected, holds a state, or is the file of another option, or it is neither absent nor a
            plain file nor a stream.
    """
    kept = [*protected, *filter(None, map(os.environ.get, _READ_FROM))]
    taken: dict[str, str] = {}
    for option, file in outputs.items():
        if file is None:
            continue
        why = _why_not(file)
        if why is None and any(_is_same(file, one) for one in kept):  # safety: without the state, batches start again
            why = "is read by this command, or belongs to the state"
        if why is None and not over_state and _holds_state(Path(file)):  # safety: the same, for a state named elsewhere
            why = "holds a state"
        if why is None and not _is_stream(Path(file)):
            other = next((name for name, one in taken.items() if _is_same(file, one)), None)
            why = f"is already the file of `{other}`" if other else None
            taken[option] = file
        if why is not None:
            raise UsageError(
                f"`{option}` cannot write this file", f"{file} {why}. Name another file. Nothing was sent or written."
            )


def _why_not(file: str) -> str | None:
    """Why the file cannot be written, None if it can."""
    if not Path(file).name or "\0" in file:
        return "is not the name of a file"
    try:
        mode = os.lstat(file).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if stat.S_ISREG(mode) or _is_stream(Path(file)):
        return None
    if stat.S_ISDIR(mode):
        return "is a folder"
    return "is a link" if stat.S_ISLNK(mode) else "is not a plain file"


def _holds_state(path: Path) -> bool:
    """Whether the file begins as a state or a journal does."""
    try:
        return bool(_STATE.match(read_plain(path, 200)))
    except (OSError, ValueError):
        return False


def _is_same(file: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    if os.path.realpath(file) == os.path.realpath(other):
        return True
    with suppress(OSError):  # one of them does not exist
        return Path(file).samefile(other)  # a hard link, or another spelling where case does not count
    return False


def _is_stream(path: Path) -> bool:
    """Whether the path names a pipe or a character device, or is a link of the system, such as `/dev/stdout`."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            parent = path.parent.resolve()
            return any(parent.is_relative_to(folder) for folder in _STREAMS) and not path.is_dir()
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def remove(path: Path) -> None:
    """Remove a plain file, so that a run that fails does not leave the result of an earlier run."""
    with suppress(OSError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            path.unlink()


def write(path: Path, text: str) -> None:
    """Write the whole file or nothing. A stream is written to, not replaced. The path was checked by `check_outputs`.

    Raises:
        OSError: The file cannot be written.
    """
    if _is_stream(path):
        with os.fdopen(_open_stream(path), "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    temporary = path.with_name(f".batchform-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | NO_FOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o666), "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _open_stream(path: Path) -> int:
    """A descriptor for a stream. Standard output is shared, so that a file behind it is not written from its start.

    A pipe without a reader is an error at once: it would wait for ever, after the starts, and hold the lock.
    """
    for own in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if os.path.samestat(path.stat(), os.fstat(own.fileno())):
                own.flush()
                return os.dup(own.fileno())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)  # a slow reader gets everything
    return descriptor
