"""`state recover`: nothing is deleted without a copy, and everything readable is kept."""

from __future__ import annotations

import errno
import json
import os
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from batchform.errors import StateError
from batchform.model import Service
from batchform.state.codec import NewerFormatError
from batchform.state.disk import paths
from batchform.state.events import Event, Intended, Started, What
from batchform.state.known import Evidence, State
from batchform.state.local import hold
from batchform.state.reader import read
from batchform.state.recovery import accept, examine

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FRESH = State(lineage="l", service=Service.PHONE, endpoint="https://e")


def started(run: str, batch_id: str) -> list[Event]:
    """An attempt and its outcome."""
    whats: tuple[What, ...] = (Intended(reference_id="r"), Started(status="processing", evidence=Evidence.ANSWER))
    return [
        Event(run=run, seq=number, at=NOW, batch_id=batch_id, name=batch_id, what=what)
        for number, what in enumerate(whats, start=1)
    ]


def run(file: Path, name: str, *batch_ids: str, commit: bool = True) -> None:
    """A run that starts these batches and may die before its commit."""
    with hold(file, fresh=FRESH, run=name, holder={}, now=NOW) as store:
        for batch_id in batch_ids:
            store.record(started(f"{name}-{batch_id}", batch_id))
        if commit:
            store.commit(NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state with two commits: `a`, then `b`."""
    file = tmp_path / "s.json"
    run(file, "one", "a")
    run(file, "two", "b")
    return file


def test_nothing_wrong_is_said_so(file: Path) -> None:
    """A valid state needs no recovery."""
    assert not examine(file).needed


def test_a_hand_edit_is_shown_and_accepted(file: Path) -> None:
    """The notes show the differences. After approval the state can be used, and the edited file is copied."""
    file.write_bytes(file.read_bytes().replace(b'"name": "b"', b'"name": "c"'))
    found = examine(file)
    assert any("c (b): absent in the backup, started now." in note for note in found.notes)
    (copy,) = accept(file, found, "r")
    assert b'"name": "c"' in copy.read_bytes()
    state = read(file).state
    assert state is not None
    assert {entry.name for entry in state.entries.values()} == {"a", "c"}


def edit(file: Path, **changed: object) -> None:
    """Change the entry of `b` by hand."""
    document = json.loads(file.read_text())
    document["batches"]["b"].update(changed)
    file.write_text(json.dumps(document))


def test_a_second_recovery_works_and_names_each_field(file: Path) -> None:
    """The backup is the last state that was whole, never the file that was recovered."""
    run(file, "three", "c")
    whole = paths(file).backup.read_bytes()
    for records in (9_999, 8_888):
        edit(file, records=records)
        found = examine(file)
        assert f"records absent in the backup, {records:,} now" in found.notes[1]
        accept(file, found, f"r{records}")
        assert not examine(file).needed
    assert paths(file).backup.read_bytes() == whole


def test_a_backup_that_is_damaged_too_is_named_and_replaced(file: Path) -> None:
    """The message is about the right file, and the next recovery has a backup again."""
    paths(file).backup.write_bytes(b"{")
    edit(file, records=5)
    found = examine(file)
    assert "s.json.backup cannot be used" in found.notes[1]
    accept(file, found, "r")
    edit(file, records=6)
    assert examine(file).notes[1:] == ("b (b): records 5 in the backup, 6 now.",)


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 100], ids=["empty", "cut", "zeros"])
def test_a_damaged_state_is_replaced_by_its_backup_and_the_journal(file: Path, damage: bytes) -> None:
    """The backup is one commit older. The events of a remaining journal are added to it."""
    run(file, "three", "c", commit=False)
    file.write_bytes(damage)
    journal = paths(file).journal
    found = examine(file)
    accept(file, found, "r")
    state = read(file).state
    assert state is not None
    assert set(state.entries) == {"a", "c"}
    assert not journal.exists()


def test_a_state_that_is_gone_is_told_by_its_journal(file: Path) -> None:
    """Without a state and a backup, the events of the journal are kept."""
    run(file, "three", "c", commit=False)
    file.unlink()
    paths(file).backup.unlink()
    found = examine(file)
    accept(file, found, "r")
    state = read(file).state
    assert state is not None
    assert set(state.entries) == {"c"}


def test_an_older_state_keeps_the_journals_own_events(file: Path) -> None:
    """An older state was restored beside the journal. It is refused, then accepted with a note about the gap."""
    older = paths(file).backup.read_bytes()
    run(file, "three", "c", commit=False)
    file.write_bytes(older)
    with pytest.raises(StateError, match="replaced by an older one"):
        read(file)
    found = examine(file)
    assert any("recorded in between are missing" in note for note in found.notes)
    accept(file, found, "r")
    state = read(file).state
    assert state is not None
    assert set(state.entries) == {"a", "c"}
    assert state.serial == 3


@pytest.mark.parametrize("line", [0, 1], ids=["header", "event"])
def test_a_damaged_journal_gives_what_is_whole(file: Path, line: int) -> None:
    """One line is damaged and valid lines follow. The valid lines and a copy of the file are kept."""
    run(file, "three", "c", commit=False)
    journal = paths(file).journal
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = b"x" + lines[line]
    journal.write_bytes(b"".join(lines))
    with pytest.raises(StateError, match="journal is damaged"):
        read(file)
    (copy,) = accept(file, examine(file), "r")
    assert copy.read_bytes() == b"".join(lines)
    state = read(file).state
    assert state is not None
    assert state.entries["c"].phase == "started"


def test_a_journal_of_another_history_is_put_aside(file: Path, tmp_path: Path) -> None:
    """Its events are not added, and a copy is kept."""
    other = tmp_path / "other.json"
    with hold(
        other, fresh=State(lineage="m", service=Service.PHONE, endpoint="https://e"), run="x", holder={}, now=NOW
    ) as it:
        it.record(started("x", "z"))
    paths(other).journal.rename(paths(file).journal)
    found = examine(file)
    assert accept(file, found, "r")
    state = read(file).state
    assert state is not None
    assert set(state.entries) == {"a", "b"}


def test_a_damaged_file_that_cannot_be_kept_stays_where_it_is(file: Path) -> None:
    """The file is not overwritten without a copy, and the message says why the copy failed."""
    file.write_bytes(b"{")
    found = examine(file)
    copy = paths(file).state.with_name("s.json.damaged-r")
    copy.write_bytes(b"in the way")
    with pytest.raises(StateError) as caught:
        accept(file, found, "r")
    assert caught.value.summary == "The damaged file cannot be copied"
    assert caught.value.detail == f"{copy}: {os.strerror(errno.EEXIST)}. Nothing was changed."
    assert (file.read_bytes(), copy.read_bytes()) == (b"{", b"in the way")


@pytest.mark.parametrize("which", ["state", "journal"])
def test_a_newer_format_is_refused(file: Path, which: str) -> None:
    """A file of a newer version is not damaged and must not be replaced."""
    run(file, "three", "c", commit=False)
    if which == "state":
        file.write_text(json.dumps({**json.loads(file.read_bytes()), "format_version": "2.0"}))
    else:
        text = b'{"journal":3}'
        paths(file).journal.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(NewerFormatError):
        examine(file)


def test_nothing_to_recover_is_an_error(tmp_path: Path) -> None:
    """There is no state, backup or journal."""
    with pytest.raises(StateError, match="nothing to recover"):
        examine(tmp_path / "s.json")
