"""`batchform init` writes a valid configuration and keeps existing files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from batchform.cli.init import IGNORED, STARTER
from batchform.config import loader, schema
from tests.cli.in_process import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_what_it_writes_is_valid_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no warning, the example is on hold, and the modeline names the schema beside it."""
    assert run("init") == 0
    config = loader.load(["batchform.yaml"])
    assert (config.warnings, [batch.hold for batch in config.batches]) == ((), [True])
    modeline = (tmp_path / "batchform.yaml").read_text(encoding="utf-8").splitlines()[0]
    linked = tmp_path / modeline.removeprefix("# yaml-language-server: $schema=")
    assert linked.read_text(encoding="utf-8") == schema.text("config-1")
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()[1:] == list(IGNORED)
    assert capsys.readouterr().out.splitlines() == [
        "  batchform.yaml          written",
        "  batchform.schema.json   written",
        f"  .gitignore              {len((tmp_path / '.gitignore').read_text('utf-8').splitlines())} lines written",
        "",
        "Next:",
        "  1. Declare your batches in batchform.yaml. Its comments explain how.",
        "  2. Run `batchform validate`, then `batchform plan`.",
        "  3. Commit batchform.yaml, batchform.schema.json and .gitignore.",
        "  4. After the first apply, also commit batchform.state.json.",
    ]


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    """This holds for each line without its `#`."""
    before, optional, after = STARTER.partition("    # Optional:\n")
    assert optional
    (tmp_path / "f.yaml").write_text(before + re.sub(r"(?m)^    # ", "    ", after), encoding="utf-8")
    (batch,) = loader.load(["f.yaml"]).batches
    assert None not in {batch.records, batch.submitted_at, batch.not_before, batch.reference_id}
    assert batch.labels == {"team": "crm", "region": "uk"}


def test_files_that_exist_are_left_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines for git are appended once."""
    (tmp_path / "batchform.yaml").write_text("version: 1\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("*.pyc", encoding="utf-8")
    assert (run("init"), run("init")) == (0, 0)
    assert (tmp_path / "batchform.yaml").read_text(encoding="utf-8") == "version: 1\n"
    lines = (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines == ["*.pyc", "# batchform: commit the state, not these files", *IGNORED]
    first, _, second = capsys.readouterr().out.partition("state.json.\n")
    assert "batchform.yaml          exists, not changed" in first
    assert ".gitignore              4 lines added" in first
    assert ".gitignore              has these lines, not changed" in second


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """The target of a link is not written, even if it does not exist."""
    (tmp_path / "batchform.yaml").symlink_to("elsewhere.yaml")
    assert run("init") == 0
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_another_folder_may_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder must exist."""
    (tmp_path / "new").mkdir()
    assert run("init", "new") == 0
    assert (tmp_path / "new" / "batchform.yaml").exists()
    assert run("init", "none") == 1
    assert "There is no such folder" in capsys.readouterr().err


def test_trouble_with_gitignore_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error is a message, not a traceback."""
    (tmp_path / ".gitignore").mkdir()
    assert run("init") == 1
    assert "It is a folder" in capsys.readouterr().err
