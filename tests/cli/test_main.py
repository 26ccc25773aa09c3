"""What every command does at its beginning and its end: names, help, the log level, a folder that is gone."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import types
from pathlib import Path

import pytest

from batchform.cli import version
from tests.cli.in_process import run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plann", "There is no command `plann`. Did you mean `plan`?"),
        ("stat", "Did you mean `state` or `status`?"),
        ("wibble", "There is no command `wibble`.\n  Try `batchform --help`."),
        ("\x1b[2J", "There is no command `\\x1b[2J`."),
        ("state lst", "Did you mean 'list'?"),
        ("help plann", "Did you mean `plan`?"),
        ("help plan now", "`batchform plan` has no commands\n  Try `batchform plan --help`."),
    ],
)
def test_a_wrong_command_names_the_right_one(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one is near."""
    assert run(*words.split()) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", ["", "plan", "state", "state merge"])
def test_help_is_a_command_too(words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints what `--help` prints, and fits into a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run("help", *words.split()) == 0
    shown = capsys.readouterr().out
    assert run(*words.split(), "--help") == 0
    assert shown == capsys.readouterr().out
    assert shown.startswith(f"Usage: batchform {words}".rstrip())
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_a_compiled_file_that_is_cut_off_is_no_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python leaves one when the disk is full, and raises EOFError when it reads it."""
    file, name = tmp_path / "version.pyc", "batchform.cli.version"
    py_compile.compile(str(version.__file__), str(file), doraise=True)
    file.write_bytes(file.read_bytes()[:100])
    cut_off = importlib.util.spec_from_file_location(name, file)
    assert cut_off is not None
    assert cut_off.loader is not None
    loader = cut_off.loader
    monkeypatch.setattr(importlib, "import_module", lambda _: loader.exec_module(types.ModuleType(name)))
    assert run("version") == 1
    assert "This installation is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "warned"), [("debug", False), ("", False), ("verbose", True), ("DEBUG", True)])
def test_an_unknown_log_level_is_a_warning(
    level: str, *, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the value that exists."""
    monkeypatch.setenv("BATCHFORM_LOG", level)
    assert run("version") == 0
    text = f"Warning: `BATCHFORM_LOG={level}` is ignored: the only value is `debug`.\n"
    assert capsys.readouterr().err == (text if warned else "")


@pytest.mark.parametrize("words", ["plan", "init", "state list", "validate"])
def test_a_current_folder_that_is_gone_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has a subject and says what to do."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(*words.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: The current folder cannot be used\n  No such file or directory: it may have been")
    assert "Change to a folder that exists." in said


def test_a_file_error_without_a_name_has_no_lone_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some calls do not say which file it was."""

    def broken(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "is_dir", broken)
    assert run("init") == 1
    assert capsys.readouterr().err == "Error: A file could not be used\n  Input/output error.\n"
