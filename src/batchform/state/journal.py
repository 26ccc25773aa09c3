"""The journal: every event of a run is on disk before the next step that depends on it.

The file is append-only: a header line, then one line per event, each `crc32 SPACE json LF`. The events of one round are
written with one write and one fsync (group commit), so the cost does not depend on the size of the state. After a crash
the last line may be incomplete. It was never acknowledged, so nothing depended on it. An invalid line before a valid
one means that the file is damaged, and stops the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from batchform.errors import OutcomeUnknownError, StateError
from batchform.model import Service
from batchform.state import disk
from batchform.state.codec import NewerFormatError, decode_story, encode_story
from batchform.state.event_codec import decode_event, encode_event
from batchform.state.known import UNTOLD, Story

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batchform.state.events import Event

_VERSION: Final = 2
_OLDEST: Final = 1
"""Version 2 added the charges, the labels and the dates of starts and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The state and the run of a journal. `serial` is that of the state with which the run began.

    The rest makes the journal of a remote state a lock (`state.remote`): `epoch` grows by 1 each time the journal
    changes hands, `beat` with every write, `lease` is in seconds. A local journal leaves them out.
    """

    lineage: str
    serial: int
    service: Service
    endpoint: str
    run: str
    story: Story = UNTOLD
    epoch: int = 0
    beat: int = 0
    open: bool = True
    lease: float = 0.0
    holder: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The content of a journal.

    `header` is None if not even the first line is complete. `torn` are the bytes after the last complete line.
    """

    header: Header | None
    events: tuple[Event, ...]
    torn: bytes

    @property
    def stories(self) -> dict[str, Story]:
        """Who ran what, by run."""
        return {} if self.header is None else {self.header.run: self.header.story}


_JSON: Final = json.JSONEncoder(separators=(",", ":"))


def encode_header(header: Header) -> bytes:
    """The first line of a journal."""
    head = {
        "journal": _VERSION,
        "lineage": header.lineage,
        "serial": header.serial,
        "service": header.service.value,
        "endpoint": header.endpoint,
        "run": header.run,
        **encode_story(header.story),
    }
    if header.epoch:
        head |= {"epoch": header.epoch, "beat": header.beat, "open": header.open, "lease": header.lease}
        head["holder"] = dict(header.holder)
    return _line(head)


def encode_line(event: Event) -> bytes:
    """The line of one event."""
    return _line(encode_event(event))


def _line(value: Any) -> bytes:
    text = _JSON.encode(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _value(line: bytes) -> Any | None:
    """The JSON value of one line, None if the checksum or the JSON is wrong."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Journal:
    """An open journal for writing. Its header is durable. After a failed append, every further append fails."""

    def __init__(self, path: Path, header: Header) -> None:
        """Create the file.

        Raises:
            FileExistsError: There is a journal already; its events must be committed first.
            OSError: The file cannot be written.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | disk.NO_FOLLOW
        self._descriptor = os.open(path, flags, 0o600)
        self._path = path
        self._broken = False
        try:
            disk.write_fully(self._descriptor, encode_header(header))
            os.fsync(self._descriptor)
            disk.fsync_folder(path)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()  # nothing depends on it yet
            self.close()
            raise

    def append(self, events: Sequence[Event]) -> None:
        """Make the events durable together: one write, one fsync.

        Raises:
            OutcomeUnknownError: These or earlier events could not be made durable. Nothing more may be sent.
        """
        if self._broken:
            raise OutcomeUnknownError("The journal can no longer be written")
        try:
            disk.write_fully(self._descriptor, b"".join(encode_line(event) for event in events))
            os.fsync(self._descriptor)  # safety: an event counts only when it is durable
        except OSError as error:
            self._broken = True  # the last line may be incomplete: a line after it would count as damage
            raise OutcomeUnknownError(
                "The journal cannot be written",
                f"{error.strerror}. Every attempt is on disk, so the next apply reads the status before it sends a"
                " start. Free disk space, then run apply again.",
            ) from error
        self.check()

    def check(self) -> None:
        """Check that the next run would find our events.

        Raises:
            OutcomeUnknownError: The file was removed or replaced. Nothing more may be sent.
        """
        try:
            lost = not self.in_place()
        except OSError:  # the folder cannot be read any more
            lost = True
        if lost:  # safety: another run may hold the state by now
            self._broken = True
            raise OutcomeUnknownError(
                "The journal was removed",
                f"{self._path} was removed or replaced, probably by another run. Two runs can use one state if its lock"
                " file is deleted. This run sends nothing more. Run apply again when both runs have ended.",
            )

    def in_place(self) -> bool:
        """Whether the path still names our open file. It does not if another run has committed the journal."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file, without removing it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def replay(data: bytes, where: str) -> Replay:
    """Return the content of a journal, in the order in which it was written.

    Raises:
        NewerFormatError: Only a newer version reads it.
        StateError: A line in the middle is damaged, or the header is not valid.
    """
    values: list[Any] = []
    torn = b""
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        value = _value(line[:-1]) if line.endswith(b"\n") else None
        if value is None:
            torn += line
        elif torn:
            raise StateError(
                "The journal is damaged",
                f"{where}, before line {number}: a line is damaged, and it is not the last one. `batchform state"
                " recover` keeps the readable events and a copy of the file. Nothing was sent.",
            )
        else:
            values.append(value)
    if torn.partition(b"\n")[2] and not values:  # safety: lines are appended only after the header is durable
        raise StateError(
            "The journal is damaged",
            f"{where}, line 1: the header is damaged, but more lines follow it. `batchform state recover` keeps the"
            " readable events and a copy of the file. Nothing was sent.",
        )
    if not values:
        return Replay(header=None, events=(), torn=torn)
    return Replay(
        header=_header(values[0], where),
        events=tuple(decode_event(value, f"{where}:{number}") for number, value in enumerate(values[1:], start=2)),
        torn=torn,
    )


def salvage(data: bytes, where: str) -> Replay:
    """Return every complete line of a damaged journal, for `state recover`.

    The header may be lost; each event names its run.
    """
    lines = [line[:-1] for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
    values = [value for line in lines if (value := _value(line)) is not None]
    header = (
        _header(values.pop(0), where) if values and isinstance(values[0], dict) and "journal" in values[0] else None
    )
    events = tuple(
        decode_event(value, f"{where}, complete line {number}") for number, value in enumerate(values, start=1)
    )
    return Replay(header=header, events=events, torn=b"")


def _header(value: Any, where: str) -> Header:
    version = value.get("journal") if isinstance(value, dict) else None
    if isinstance(version, int) and version > _VERSION:
        raise NewerFormatError(
            "The journal has a newer format",
            f"{where} has format {version}, but this version reads formats up to {_VERSION}. Upgrade batchform. The"
            " file was not changed, and nothing was sent.",
        )
    if not isinstance(version, int) or version < _OLDEST:
        raise StateError(
            "The journal has another format",
            f"The first line of {where} is not the header of a journal. `batchform state recover` keeps the readable"
            " events and a copy of the file. Nothing was sent.",
        )
    try:
        return Header(
            lineage=str(value["lineage"]),
            serial=int(value["serial"]),
            service=Service(value["service"]),
            endpoint=str(value["endpoint"]),
            run=str(value["run"]),
            story=decode_story(value, where),
            epoch=int(value.get("epoch", 0)),
            beat=int(value.get("beat", 0)),
            open=value.get("open", True) is True,
            lease=float(value.get("lease", 0.0)),
            holder={str(key): str(word) for key, word in dict(value.get("holder", {})).items()},
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise StateError("The journal is damaged", f"{where}, header: {error}.") from error
