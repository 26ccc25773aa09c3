"""No secret comes out of a command: not from its environment, a file, or an old state."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from batchform.cli.network import find_credentials
from batchform.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "3f0c1f6e/2a55-t0ken"


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished command in this folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATCHFORM_")}
    return subprocess.run(
        [sys.executable, "-m", "batchform", *words],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("value", [TOKEN, f"/{TOKEN}", f"/{TOKEN[:3]}", f"./{TOKEN}", f"../{TOKEN}", f"~/{TOKEN}"])
def test_a_token_in_the_variable_for_its_file_is_not_printed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A token may begin with a slash, as Base64 does."""
    monkeypatch.delenv("BATCHFORM_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN_FILE", value)
    with pytest.raises(UsageError) as caught:
        find_credentials()
    assert value not in caught.value.detail
    assert "`BATCHFORM_AUTH_TOKEN_FILE`" in caught.value.detail


def test_a_file_that_exists_is_named_and_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a pipe would wait for its writer."""
    pipe = tmp_path / "token"
    os.mkfifo(pipe)
    monkeypatch.delenv("BATCHFORM_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN_FILE", str(pipe))
    with pytest.raises(UsageError, match="cannot be read") as caught:
        find_credentials()
    assert str(pipe) in caught.value.detail


@pytest.mark.parametrize("name", ["auth_token", "token", "Auth-Token", "client_secret", "api_key", "password"])
@pytest.mark.parametrize("form", [[], ["--format", "json"], ["--format", "github"]], ids=str)
def test_a_secret_in_the_yaml_is_not_shown(tmp_path: Path, name: str, form: list[str]) -> None:
    """The excerpt shows the line with asterisks, also if the place is elsewhere in the line."""
    (tmp_path / "batchform.yaml").write_text(
        f"version: 1\n{name}: {TOKEN}\nbatches:\n  a: {{batch_id: a1, bad: 1, {name}: '{TOKEN}', worse: 2}}\n"
    )
    ended = command(tmp_path, "validate", *form)
    assert ended.returncode == 1
    assert "2a55" not in ended.stdout + ended.stderr


def test_the_token_of_the_environment_is_shown_nowhere(tmp_path: Path) -> None:
    """Not from a text of the configuration, whatever its key."""
    (tmp_path / "batchform.yaml").write_text(f"version: 1\nbatches:\n  a: {{batch_id: a1, note: {TOKEN}}}\n")
    assert TOKEN in command(tmp_path, "validate").stderr
    ended = command(tmp_path, "validate", BATCHFORM_AUTH_TOKEN=TOKEN)
    assert "note: [token]" in ended.stderr


def test_the_plan_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """It is an error at once."""
    (tmp_path / "batchform.yaml").write_text("version: 1\nbatches: {a: {batch_id: a1}}\n")
    os.mkfifo(tmp_path / "plan.json")
    ended = command(tmp_path, "apply", "plan.json", BATCHFORM_AUTH_TOKEN=TOKEN)
    assert (ended.returncode, "The plan cannot be read" in ended.stderr) == (1, True)
