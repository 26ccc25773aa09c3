"""The journal: every event of a run on disk before the next step that depends on it.

One file, append only: a header line, then one line per event, each `crc32 SPACE json LF`. Events of one round are
written with one write and one fsync (group commit), so the cost of an outcome does not grow with the state. A journal
that ends in a torn line is what a crash leaves: the torn part was never acknowledged, so nothing depended on it. A bad
line with a good one after it is damage, and stops the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from batchform.errors import OutcomeUnknownError, StateError
from batchform.model import Service
from batchform.state import disk
from batchform.state.codec import NewerFormatError, decode_story, encode_story
from batchform.state.event_codec import decode_event, encode_event
from batchform.state.known import UNTOLD, Story

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batchform.state.events import Event

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Which state a journal belongs to: its lineage, the serial it builds on, the run that writes it and its story."""

    lineage: str
    serial: int
    service: Service
    endpoint: str
    run: str
    story: Story = UNTOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a journal holds.

    `header` is None when not even the first line is whole; `torn` are the bytes after the last whole line.
    """

    header: Header | None
    events: tuple[Event, ...]
    torn: bytes

    @property
    def stories(self) -> dict[str, Story]:
        """Who ran what, by run."""
        return {} if self.header is None else {self.header.run: self.header.story}


_JSON: Final = json.JSONEncoder(separators=(",", ":"))


def _line(value: Any) -> bytes:
    text = _JSON.encode(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _value(line: bytes) -> Any | None:
    """The JSON value of one line, None when the checksum does not hold."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Journal:
    """The writing end. Made with its header durable; after a failed append it takes nothing more."""

    def __init__(self, path: Path, header: Header) -> None:
        """Create the file.

        Raises:
            FileExistsError: Another journal is there; it must be folded in first.
            OSError: It cannot be written.
        """
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._path = path
        self._broken = False
        head = {
            "journal": _VERSION,
            "lineage": header.lineage,
            "serial": header.serial,
            "service": header.service.value,
            "endpoint": header.endpoint,
            "run": header.run,
            **encode_story(header.story),
        }
        try:
            disk.write_fully(self._descriptor, _line(head))
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
            OutcomeUnknownError: They could not be made durable, now or before. Nothing may be sent any more.
        """
        if self._broken:
            raise OutcomeUnknownError("The journal cannot be written any more")
        try:
            disk.write_fully(self._descriptor, b"".join(_line(encode_event(event)) for event in events))
            os.fsync(self._descriptor)  # safety: what is not durable has not happened
            taken = not self.in_place()
        except OSError as error:
            self._broken = True  # the tail may be torn: a later line would make it damage in the middle
            raise OutcomeUnknownError(
                "The journal cannot be written",
                f"{error.strerror}. What was intended is on disk, so the next apply looks before it sends anything."
                " Make room, then run apply again.",
            ) from error
        if taken:  # safety: what the next run will not find has not happened either
            self._broken = True
            raise OutcomeUnknownError(
                "The journal was taken away",
                f"{self._path} was taken up by another run, or removed: two runs at once work on this state, which"
                " happens when its lock file is deleted. Nothing more is sent; run apply again when both have ended.",
            )

    def in_place(self) -> bool:
        """Whether the file at the journal's place is the one this end writes. It is not once another run took it up."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def replay(data: bytes, where: str) -> Replay:
    """What the bytes of a journal hold, in the order it was written.

    Raises:
        NewerFormatError: Only a newer version reads it.
        StateError: A line in the middle is damaged, or the header is not a header.
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
                f"{where}, before line {number}: a whole line follows a damaged one, so this is not a torn end."
                " Nothing was sent. `batchform state recover` keeps what can be read and puts the file aside.",
            )
        else:
            values.append(value)
    if torn.partition(b"\n")[2] and not values:  # safety: lines are appended only once the header is durable
        raise StateError(
            "The journal is damaged",
            f"{where}, line 1: the header is not whole, yet more follows it, so this is not a torn end. Nothing was"
            " sent. `batchform state recover` puts the file aside.",
        )
    if not values:
        return Replay(header=None, events=(), torn=torn)
    return Replay(
        header=_header(values[0], where),
        events=tuple(decode_event(value, f"{where}:{number}") for number, value in enumerate(values[1:], start=2)),
        torn=torn,
    )


def salvage(data: bytes, where: str) -> Replay:
    """Every whole line of a damaged journal, for a person who has decided to go on without the rest.

    The header may be among what is lost; events say by themselves which run they are of.
    """
    lines = [line[:-1] for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
    values = [value for line in lines if (value := _value(line)) is not None]
    header = (
        _header(values.pop(0), where) if values and isinstance(values[0], dict) and "journal" in values[0] else None
    )
    events = tuple(decode_event(value, f"{where}, whole line {number}") for number, value in enumerate(values, start=1))
    return Replay(header=header, events=events, torn=b"")


def _header(value: Any, where: str) -> Header:
    version = value.get("journal") if isinstance(value, dict) else None
    if isinstance(version, int) and version > _VERSION:
        raise NewerFormatError(
            "The journal has a newer format",
            f"{where} has format {version}, but this version reads format {_VERSION}. Upgrade batchform. The file was"
            " not changed, and nothing was sent.",
        )
    if version != _VERSION:
        raise StateError(
            "The journal has another format",
            f"The first line of {where} is not the header of a journal. The file was not changed, and nothing was sent."
            " `batchform state recover` keeps what can be read.",
        )
    try:
        return Header(
            lineage=str(value["lineage"]),
            serial=int(value["serial"]),
            service=Service(value["service"]),
            endpoint=str(value["endpoint"]),
            run=str(value["run"]),
            story=decode_story(value, where),
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise StateError("The journal is damaged", f"{where}, header: {error}.") from error
