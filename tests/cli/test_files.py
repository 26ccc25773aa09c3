"""Files that commands write by name: which ones are refused, and how they are written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from batchform.api import trust
from batchform.cli import files
from batchform.errors import UsageError
from batchform.state.codec import encode_state
from batchform.state.journal import Header, Journal
from tests.cli.in_process import run
from tests.state.samples import EMPTY

if TYPE_CHECKING:
    from pathlib import Path

STATE = "batchform.state.json"
YAML = "version: 1\nbatches: {a: {batch_id: a1}}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and something at the place of a state and its companions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batchform.yaml").write_text(YAML)
    for name in (STATE, f"{STATE}.backup"):
        (tmp_path / name).write_text("kept")
    (tmp_path / "another.json").write_bytes(encode_state(EMPTY))
    header = Header(lineage="lineage-1", serial=0, service=EMPTY.service, endpoint=EMPTY.endpoint, run="run-1")
    Journal(tmp_path / "another.json.journal", header).close()
    (tmp_path / "linked.json").symlink_to(STATE)
    (tmp_path / "far.json").symlink_to("absent.json")
    os.link(STATE, tmp_path / "hard.json")
    (tmp_path / "folder").mkdir()
    return tmp_path


NOT_WRITTEN = [
    STATE,
    f"folder/../{STATE}",
    f"{STATE}.journal",
    f"{STATE}.lock",
    f"{STATE}.backup",
    "another.json",
    "another.json.journal",
    "linked.json",
    "hard.json",
    "far.json",
    "batchform.yaml",
    "folder",
]


@pytest.mark.parametrize("file", NOT_WRITTEN)
@pytest.mark.parametrize(
    "words",
    [
        ["apply", "--auto-approve", "--report"],
        ["apply", "--auto-approve", "--markdown"],
        ["plan", "--out"],
        ["plan", "--markdown"],
        ["plan", "--gitlab-report"],
        ["import", "--all", "--out"],
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_no_option_writes_the_state_or_the_configuration(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], file: str
) -> None:
    """Nor their companions, by any spelling, nor a folder or a link. Nothing is removed, and nothing is sent."""
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    monkeypatch.setenv("BATCHFORM_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN", "t0ken-of-the-tests")
    assert run(*words, file) == 1
    assert f"`{words[-1]}` cannot write this file" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("file", NOT_WRITTEN)
def test_the_comment_of_a_failure_writes_none_of_them(
    place: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """The configuration does not load, so the command fails before it knows its files."""
    (place / "batchform.yaml").write_text("batchs: {}\n", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert run("plan", "--markdown", file) == 1
    assert "Unknown key" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before


def test_a_saved_plan_is_not_overwritten_by_the_report(tmp_path: Path) -> None:
    """It is the approval of the run."""
    plan = tmp_path / "plan.json"
    plan.write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        files.check_outputs({"--report": str(plan)}, [plan])
    files.check_outputs({"--report": str(tmp_path / "other.json"), "--out": None}, [plan])


@pytest.mark.parametrize("other", ["a.json", "./a.json", "folder/../a.json", "hard.json"])
@pytest.mark.parametrize("exists", [True, False])
def test_two_options_do_not_write_the_same_file(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    exists: bool,  # noqa: FBT001  # a table
    other: str,
) -> None:
    """The second would replace the first. Nothing is written."""
    if exists:
        (place / "a.json").write_text("kept")
        (place / "hard.json").unlink()
        os.link("a.json", "hard.json")
    elif other == "hard.json":
        pytest.skip("a hard link to nothing")
    (place / STATE).unlink()
    assert run("plan", "--out", "a.json", "--markdown", other) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "`--markdown` cannot write this file" in said
    assert "is already the file of `--out`. Name another file. Nothing was sent or written." in said
    assert (place / "a.json").exists() == exists
    assert not exists or (place / "a.json").read_text() == "kept"


def test_a_stream_may_be_given_twice() -> None:
    """It is not replaced."""
    files.check_outputs({"--out": "/dev/null", "--markdown": "/dev/null"}, [])


SETTINGS = [
    *(f"BATCHFORM_{name}_FILE" for name in ("AUTH_TOKEN", "CLIENT_ID", "CLIENT_SECRET")),
    trust.ADDS,
    *trust.REPLACES,
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_option_writes_credentials_or_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """A token exists only there, and a bundle that is empty trusts nothing."""
    file = tmp_path / "secret"
    file.write_text("kept")
    (tmp_path / "link").symlink_to(file)
    monkeypatch.setenv(setting, str(tmp_path / "link"))
    with pytest.raises(UsageError, match="cannot write"):
        files.check_outputs({"--report": str(file)}, [])
    monkeypatch.setenv(setting, "a-token-by-mistake" * 200)
    files.check_outputs({"--report": str(file)}, [])


def test_the_base_of_a_plan_is_not_overwritten(place: Path) -> None:
    """It is read."""
    (place / STATE).unlink()
    (place / "base.yaml").write_text(YAML)
    command = [sys.executable, "-m", "batchform", "plan", "--base", "base.yaml", "--out", "base.yaml"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, (place / "base.yaml").read_text()) == (1, YAML)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """An open file keeps the old content, and no temporary file remains."""
    path = tmp_path / "plan.json"
    files.write(path, "old")
    with path.open() as before:
        files.write(path, "new")
        assert before.read() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["plan.json"]  # noqa: PTH208  # names are enough


def test_a_temporary_file_cannot_be_guessed_or_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its name is a link all the same, nothing is written through it."""
    outside, path = tmp_path / "outside", tmp_path / "plan.json"
    outside.write_text("kept")
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / f".batchform-{'00' * 8}.tmp").symlink_to(outside)
    with pytest.raises(FileExistsError):
        files.write(path, "new")
    assert (outside.read_text(), path.exists()) == ("kept", False)


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


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """`--out /dev/stdout` must not replace the stream."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files.check_outputs({"--out": str(pipe)}, [])
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        files.write(pipe, "without a reader, this would wait for ever")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    got: list[bytes] = []
    drain = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reader, 4096), b"")))
    os.set_blocking(reader, True)
    writer = os.open(pipe, os.O_WRONLY)  # so that the reader sees the end only when this is closed
    drain.start()
    files.write(pipe, "piped" * 100_000)  # more than the pipe holds
    os.close(writer)
    drain.join()
    os.close(reader)
    assert b"".join(got) == b"piped" * 100_000
    assert pipe.is_fifo()
    files.remove(pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_is_written_in_order(place: Path, into: str) -> None:
    """The saved plan comes first, then the plan for people, also where the output is a file."""
    (place / STATE).unlink()
    command = [sys.executable, "-m", "batchform", "plan", "--out", "/dev/stdout"]
    if into == "pipe":
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        with (place / "text").open("w") as stream:
            subprocess.run(command, stdout=stream, check=True)
        text = (place / "text").read_text()
    assert text.startswith("{\n")
    assert "\n}\n" in text
    assert "Plan: 1 to start" in text.partition("\n}\n")[2]
