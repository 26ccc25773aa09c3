"""Files that commands write by name."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from batchform.cli import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """An open file keeps the old content, and no temporary file remains."""
    path = tmp_path / "plan.json"
    files.write(path, "old")
    with path.open() as before:
        files.write(path, "new")
        assert before.read() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["plan.json"]  # noqa: PTH208  # names are enough


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No temporary file remains."""
    path = tmp_path / "plan.json"
    path.write_text("old")

    def fail(_self: Path, _target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(PermissionError):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_and_a_link_are_written_to_and_stay(tmp_path: Path) -> None:
    """As are devices: `--out /dev/stdout` must not replace the device."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    files.write(pipe, "piped")
    reader.join()
    assert got == ["piped"]
    assert pipe.is_fifo()
    link.symlink_to("target")
    files.write(link, "linked")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "linked"


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_only_ordinary_files_may_be_removed(tmp_path: Path, kind: str) -> None:
    """`apply` removes the report of an earlier run."""
    path = tmp_path / "report"
    assert files.is_ordinary(path)
    path.write_text("")
    assert files.is_ordinary(path)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("target")
    else:
        path.mkdir()
    assert not files.is_ordinary(path)
