"""What a run received and the store did not take, in a file that `state push` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.errors import OutcomeUnknownError
from batchform.state import disk
from batchform.state.journal import encode_header, encode_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batchform.state.events import Event
    from batchform.state.journal import Header


def spill(folder: Path, header: Header, events: Sequence[Event], where: str) -> Path:
    """Write the events of a run to `batchform.outcomes-RUN.journal` in this folder; returns its path.

    Raises:
        OutcomeUnknownError: The file cannot be written either.
    """
    path = folder / f"batchform.outcomes-{header.run}.journal"
    temporary = path.with_name(f".{path.name}.tmp")
    data = encode_header(header) + b"".join(encode_line(event) for event in events)
    try:
        temporary.unlink(missing_ok=True)
        disk.write_new(temporary, data)
        temporary.replace(path)
        disk.fsync_folder(path)
    except OSError as error:
        raise OutcomeUnknownError(
            "Outcomes could not be recorded",
            f"Neither {where} nor {path} could be written: {error.strerror}. The intents are in the store, so the next"
            " apply verifies each batch before it starts anything.",
        ) from error
    return path
