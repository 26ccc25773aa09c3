"""Files that cannot be read: each is one clear problem, without waiting."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from batchform.config import reader
from batchform.config.source import MAX_BYTES
from batchform.source_text import SourceText

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.errors import Problem


def only(problems: tuple[Problem, ...]) -> Problem:
    """The only problem."""
    assert len(problems) == 1
    return problems[0]


def refused(data: bytes) -> Problem:
    """The one problem of a file with these bytes."""
    found = reader.parse(data, "f.yaml")
    assert found.root is None
    return only(found.problems)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """There is no text to point at, so the detail names the file."""
    path = str(tmp_path / "none.yaml")
    problem = only(reader.load(path).problems)
    assert (problem.code, problem.place) == ("BF101", None)
    assert path in problem.detail


def test_a_path_with_a_nul_is_refused() -> None:
    """The path is a problem, not a crash."""
    assert only(reader.load("a\0b").problems).code == "BF101"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """The reason is the operating system's own."""
    (tmp_path / "f.yaml").touch(mode=0)
    problem = only(reader.load(str(tmp_path / "f.yaml")).problems)
    assert problem.code == "BF101"
    assert "ermission" in problem.detail


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    """It has no writer, so a plain open would block forever."""
    os.mkfifo(tmp_path / "f.yaml")
    assert only(reader.load(str(tmp_path / "f.yaml")).problems).code == "BF102"


def test_a_socket_a_device_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only regular files are read."""
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.yaml")
    assert only(reader.load("s.yaml").problems).code == "BF101"
    assert only(reader.load("/dev/zero").problems).code == "BF102"
    assert only(reader.load(str(tmp_path)).problems).code == "BF102"


def test_a_sparse_gigabyte_is_refused_at_the_cap(tmp_path: Path) -> None:
    """No more than the cap is ever read."""
    with (tmp_path / "f.yaml").open("wb") as file:
        file.truncate(1 << 30)
    problem = only(reader.load(str(tmp_path / "f.yaml")).problems)
    assert problem.code == "BF103"
    assert "16 MiB" in problem.detail


def test_the_largest_file_is_still_read(tmp_path: Path) -> None:
    """The cap itself is allowed."""
    (tmp_path / "f.yaml").write_bytes(b"a: 1\n#" + b"x" * (MAX_BYTES - 6))
    assert reader.load(str(tmp_path / "f.yaml")).root == {"a": 1}


@pytest.mark.parametrize(
    ("data", "offset", "place"),
    [
        (b"a: 1\nb: M\xfcnchen\n", "0xfc at offset 9", "f.yaml:2:5"),
        (b"\xff\xfea\0:\0", "0xff at offset 0", "f.yaml:1:1"),
        ("\ufeffa: é".encode() + b"\xe9", "0xe9 at offset 8", "f.yaml:1:5"),
        (b"a: \xed\xa0\x80", "0xed at offset 3", "f.yaml:1:4"),
    ],
    ids=["latin-1", "utf-16", "after-bom", "surrogate"],
)
def test_bytes_that_are_not_utf8_are_refused_at_their_offset(data: bytes, offset: str, place: str) -> None:
    """The first bad byte is named, by its offset in the file and by its place."""
    problem = refused(data)
    assert problem.code == "BF105"
    assert offset in problem.detail
    assert str(problem.place) == place


@pytest.mark.parametrize("character", list("\0\x07\x1b\x7f\x85\x9b\u061c\u200e\u2028\u202e\u2066\ufeff\ufffe"))
def test_characters_that_cannot_be_seen_are_refused(character: str) -> None:
    """A reviewer would not see them."""
    problem = refused(f"# é\na: x{character}\n".encode())
    assert problem.code == "BF106"
    assert f"U+{ord(character):04X}" in problem.detail
    assert str(problem.place) == "f.yaml:2:5"


def test_a_bom_at_the_start_is_no_character() -> None:
    """Windows editors write one; columns count without it."""
    found = reader.parse(b"\xef\xbb\xbfa: 1\n", "f.yaml")
    assert found.root == {"a": 1}
    assert str(found.value_place(("a",))) == "f.yaml:1:4"


def test_windows_line_ends_are_read_and_a_lone_carriage_return_is_not() -> None:
    """Editors disagree whether a lone one ends a line."""
    assert reader.parse(b"a: 1\r\nb: 2\r\n", "f.yaml").root == {"a": 1, "b": 2}
    assert refused(b"a: 1\rb: 2\n").code == "BF106"


def test_columns_count_characters_and_ends_are_exclusive() -> None:
    """They do not count bytes or UTF-16 units."""
    source = SourceText("f.yaml", "é😀x\nyz")
    place = source.place(2, 5)
    assert (place.line, place.column, place.end_line, place.end_column) == (1, 3, 2, 2)
