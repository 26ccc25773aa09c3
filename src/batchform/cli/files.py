"""Files that commands read and write by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state.store import read

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.state.known import State
    from batchform.state.store import Place


def read_state(file: Place) -> State:
    """Read the state without a lock.

    Raises:
        StateError: There is none, or it cannot be used.
    """
    known = read(file).state
    if known is None:
        raise StateError("There is no state", f"{file} does not exist. Name another file with `--state`.")
    return known


def is_ordinary(path: Path) -> bool:
    """Whether the path can be removed or replaced: nothing is there, or a regular file, and no link."""
    return not path.is_symlink() and (path.is_file() or not path.exists())


def write(path: Path, text: str) -> None:
    """Write the whole file or nothing. Pipes, devices and links are written to, not replaced.

    Raises:
        OSError: The file cannot be written.
    """
    if not is_ordinary(path):
        path.write_text(text, encoding="utf-8")
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
