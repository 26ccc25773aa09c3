"""The journal: acknowledged events can be read, however the file ends."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from batchform.errors import Exit, OutcomeUnknownError, StateError
from batchform.model import Service
from batchform.state.codec import NewerFormatError
from batchform.state.events import Declared, Event, Forgotten, NotAttempted, Removed, Unknown
from batchform.state.journal import Header, Journal, replay, salvage
from batchform.state.known import Cause
from tests.state.samples import ALREADY, DOWN, INTENDED, RELEASED, STARTED, events, rejected, seen

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(lineage="lineage-1", serial=3, service=Service.PHONE, endpoint="https://api.example.test", run="run-1")
ALL_KINDS = events(
    INTENDED,
    NotAttempted(problem=DOWN),
    STARTED,
    ALREADY,
    Unknown(problem=DOWN),
    RELEASED,
    rejected(Cause.EXPIRED),
    seen("submitted"),
    Declared(),
    Forgotten(),
    Removed(),
)


def line(value: Any) -> bytes:
    """A complete line of a journal."""
    text = json.dumps(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the journal."""
    return tmp_path / "state.json.journal"


def written(path: Path, some: list[Event]) -> bytes:
    """The bytes of a journal in which each event was appended separately."""
    journal = Journal(path, HEADER)
    for one in some:
        journal.append([one])
    journal.close()
    return path.read_bytes()


# --- Replay ----------------------------------------------------------------------------------------------------------


def test_a_whole_journal_is_read_back(path: Path) -> None:
    """The header and every kind of event, in order."""
    found = replay(written(path, ALL_KINDS), "journal")
    assert (found.header, found.events, found.torn) == (HEADER, tuple(ALL_KINDS), b"")


def test_a_group_is_read_back_in_order(path: Path) -> None:
    """One append of many events equals many appends of one."""
    data = written(path, ALL_KINDS)
    path.unlink()
    journal = Journal(path, HEADER)
    journal.append(ALL_KINDS)
    journal.close()
    assert path.read_bytes() == data


def test_cut_at_any_byte_a_prefix_is_left(path: Path) -> None:
    """A crash never causes an error, and the result is always the first events."""
    data = written(path, ALL_KINDS)
    ends = [position + 1 for position, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        found = replay(data[:length], "journal")
        whole = sum(end <= length for end in ends)
        assert found.header == (HEADER if whole else None)
        assert found.events == tuple(ALL_KINDS[: max(0, whole - 1)])
        assert found.torn == data[([0, *ends])[whole] : length]


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, b"\0" * 10 + b"\n" + b"\0" * 10, b"\n", b"\n\n", b"\xff\r\n\r", b"00000000 {}\n"]
)
def test_a_tail_that_is_no_line_is_torn(path: Path, tail: bytes) -> None:
    """A file system that extends the file before it writes the data leaves zeros."""
    data = written(path, ALL_KINDS)
    found = replay(data + tail, "journal")
    assert (found.events, found.torn) == (tuple(ALL_KINDS), tail)


@pytest.mark.parametrize("data", [b"", b"\0" * 300, b"12345678 {", b"\n"])
def test_without_a_whole_header_there_is_nothing(data: bytes) -> None:
    """The run died before anything depended on the journal."""
    found = replay(data, "journal")
    assert (found.header, found.events, found.torn) == (None, (), data)


def test_a_flipped_bit_before_the_last_lines_is_damage(path: Path) -> None:
    """This includes the header: otherwise acknowledged outcomes would be lost without an error."""
    data = written(path, ALL_KINDS[:4])
    last_two = data.rindex(b"\n", 0, data.rindex(b"\n", 0, -1)) + 1
    for position in range(last_two - 1):
        mutated = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(StateError, match="damaged") as caught:
            replay(mutated, "a.journal")
        assert "a.journal" in caught.value.detail
        assert "state recover" in caught.value.detail
        assert "Nothing was sent" in caught.value.detail


def test_a_line_that_is_gone_whole_is_not_noticed_but_one_that_is_cut_is(path: Path) -> None:
    """A hole in the file leaves incomplete lines."""
    data = written(path, ALL_KINDS)
    with pytest.raises(StateError, match="damaged"):
        replay(data[:400] + data[500:], "journal")
    with pytest.raises(StateError, match="damaged"):
        replay(data[:400] + b"\0" * 100 + data[500:], "journal")


@pytest.mark.parametrize("change", [(b"\n", b"\r\n"), (b"run-1", b"run-2")], ids=["line ends", "every line"])
def test_a_journal_damaged_from_its_first_line_on_is_not_torn(path: Path, change: tuple[bytes, bytes]) -> None:
    """Converted line ends change every checksum. This is not the end that a crash leaves."""
    with pytest.raises(StateError, match="damaged") as caught:
        replay(written(path, ALL_KINDS).replace(*change), "journal")
    assert "state recover" in caught.value.detail


def test_what_is_whole_can_be_salvaged(path: Path) -> None:
    """`state recover` uses this."""
    lines = written(path, ALL_KINDS).splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1", b"2")
    lines[5] = b"\0" * 20 + b"\n"
    found = salvage(b"".join(lines) + b"torn", "journal")
    assert found.header == HEADER
    assert list(found.events) == [one for number, one in enumerate(ALL_KINDS, start=1) if number not in {3, 5}]


# --- Other journals --------------------------------------------------------------------------------------------------

HEAD = {
    "journal": 1,
    "lineage": "lineage-1",
    "serial": 3,
    "service": "phone",
    "endpoint": "https://api.example.test",
    "run": "run-1",
}


def test_the_format_is_the_one_described(path: Path) -> None:
    """The tests below depend on this format."""
    assert replay(line(HEAD), "journal").header == HEADER


@pytest.mark.parametrize("value", [{**HEAD, "journal": 0}, {**HEAD, "journal": None}, {"lineage": "x"}, [], 5, "x"])
def test_a_file_that_is_no_journal_is_refused(value: object) -> None:
    """Its first line is complete, but not the header of a journal."""
    with pytest.raises(StateError, match="another format") as caught:
        replay(line(value), "a.journal")
    assert "a.journal" in caught.value.detail


def test_a_newer_journal_is_refused() -> None:
    """The message says to upgrade."""
    with pytest.raises(NewerFormatError, match="newer format") as caught:
        replay(line({**HEAD, "journal": 3}), "a.journal")
    assert "Upgrade" in caught.value.detail


@pytest.mark.parametrize(
    "change",
    [
        {"serial": "x"},
        {"serial": None},
        {"serial": []},
        {"serial": float("inf")},
        {"serial": float("nan")},
        {"service": "fax"},
        {"service": None},
        {"service": []},
    ],
    ids=str,
)
def test_a_header_with_a_wrong_value_is_damage(change: dict[str, object]) -> None:
    """The checksum is correct."""
    with pytest.raises(StateError, match="damaged"):
        replay(line({**HEAD, **change}), "journal")


@pytest.mark.parametrize("key", ["lineage", "serial", "service", "endpoint", "run"])
def test_a_header_that_lacks_something_is_damage(key: str) -> None:
    """These fields say to which state the journal belongs."""
    with pytest.raises(StateError, match="damaged"):
        replay(line({name: value for name, value in HEAD.items() if name != key}), "journal")


@pytest.mark.parametrize("value", [5, "x", [], {}, {"kind": "started"}, {**HEAD}])
def test_a_whole_line_that_is_no_event_is_damage_that_names_its_line(value: object) -> None:
    """A correct checksum does not make it an event."""
    with pytest.raises(StateError, match="damaged") as caught:
        replay(line(HEAD) + line(value), "a.journal")
    assert "a.journal:2" in caught.value.detail


@pytest.mark.parametrize("text", [b"{", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5_000, b"\xff"])
def test_a_line_that_is_no_json_is_a_bad_line_whatever_its_checksum(text: bytes) -> None:
    """At the end it counts as incomplete, before a valid line as damage."""
    bad = b"%08x %s\n" % (zlib.crc32(text), text)
    assert replay(line(HEAD) + bad, "journal").torn == bad
    with pytest.raises(StateError, match="damaged"):
        replay(line(HEAD) + bad + line(HEAD), "journal")


# --- Append ----------------------------------------------------------------------------------------------------------


class Disk:
    """Replaces `os.write` and `os.fsync`: counts the calls, writes partially, and becomes full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.room: int | None = None
        self.at_once: int | None = None
        self.sync_error: int | None = None
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write as much as fits, then raise ENOSPC."""
        self.calls.append("write")
        size = len(data) if self.at_once is None else min(self.at_once, len(data))
        if self.room is not None:
            size = min(size, self.room)
            if not size:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= size
        return self._write(descriptor, data[:size])

    def fsync(self, descriptor: int) -> None:
        """Succeed or raise an error."""
        self.calls.append("fsync")
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that can be observed and filled."""
    return Disk(monkeypatch)


def test_a_group_is_one_write_and_one_fsync(path: Path, disk: Disk) -> None:
    """The order is fixed, and the cost does not depend on the number of events."""
    journal = Journal(path, HEADER)
    disk.calls.clear()
    journal.append(ALL_KINDS)
    assert disk.calls == ["write", "fsync"]
    journal.close()


def test_the_header_and_the_folder_are_durable_before_anything_is_appended(path: Path, disk: Disk) -> None:
    """After a crash, a journal without a durable directory entry is lost."""
    Journal(path, HEADER).close()
    assert disk.calls == ["write", "fsync", "fsync"]


def test_a_short_write_is_continued(path: Path, disk: Disk) -> None:
    """`write` may write less than requested."""
    disk.at_once = 7
    assert replay(written(path, ALL_KINDS), "journal").events == tuple(ALL_KINDS)


@pytest.mark.parametrize("room", [0, 1, 60, 200])
def test_a_full_disk_ends_the_journal(path: Path, disk: Disk, room: int) -> None:
    """Acknowledged events stay. No further event is accepted, even if there is space again."""
    journal = Journal(path, HEADER)
    journal.append(ALL_KINDS[:2])
    disk.room = room
    with pytest.raises(OutcomeUnknownError, match="cannot be written") as caught:
        journal.append(ALL_KINDS[2:5])
    assert caught.value.exit_code is Exit.UNKNOWN
    assert "No space left" in caught.value.detail
    size = path.stat().st_size
    disk.room = None
    with pytest.raises(OutcomeUnknownError):
        journal.append(ALL_KINDS[5:])
    assert path.stat().st_size == size
    journal.close()
    found = replay(path.read_bytes(), "journal")
    assert found.events[:2] == tuple(ALL_KINDS[:2])
    assert found.events == tuple(ALL_KINDS[: len(found.events)])


def test_an_fsync_that_fails_ends_the_journal(path: Path, disk: Disk) -> None:
    """Linux drops the pages after a failed fsync, so a second fsync would succeed without effect."""
    journal = Journal(path, HEADER)
    disk.sync_error = errno.EIO
    with pytest.raises(OutcomeUnknownError):
        journal.append(ALL_KINDS[:1])
    disk.sync_error = None
    with pytest.raises(OutcomeUnknownError):
        journal.append(ALL_KINDS[1:2])
    journal.close()


def test_a_closed_journal_takes_nothing(path: Path) -> None:
    """Closing twice is allowed."""
    journal = Journal(path, HEADER)
    journal.close()
    journal.close()
    with pytest.raises(OutcomeUnknownError):
        journal.append(ALL_KINDS)


@pytest.mark.parametrize("replaced", [False, True], ids=["gone", "another's"])
def test_a_journal_that_was_taken_away_takes_nothing_more(path: Path, *, replaced: bool) -> None:
    """Another run commits the journal if the lock file was deleted. Later runs would not find events appended now."""
    journal = Journal(path, HEADER)
    journal.append(ALL_KINDS[:1])
    path.unlink()
    if replaced:
        Journal(path, HEADER).close()
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            journal.append(ALL_KINDS[1:])
    journal.close()


def test_another_journal_is_never_overwritten(path: Path) -> None:
    """Its events must be committed first."""
    data = written(path, ALL_KINDS)
    with pytest.raises(FileExistsError):
        Journal(path, HEADER)
    assert path.read_bytes() == data


@pytest.mark.parametrize("room", [0, 50])
def test_a_journal_that_cannot_be_begun_leaves_nothing(path: Path, disk: Disk, room: int) -> None:
    """Nothing depends on it, and the next attempt must succeed."""
    disk.room = room
    with pytest.raises(OSError, match="No space left"):
        Journal(path, HEADER)
    assert not path.exists()


def test_only_the_owner_reads_it(path: Path) -> None:
    """This does not depend on the umask."""
    before = os.umask(0)
    try:
        Journal(path, HEADER).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
