"""The environment of a run: the commit and the person for the history."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchform.cli import environment

HEAD = "c0ffee" + "0" * 34


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, outside of any CI job."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_DIR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the place of git."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_the_commit_is_the_head_of_the_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a subfolder. A CI variable wins."""
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    assert environment.story("apply").commit == ""
    (folder / ".git" / "HEAD").write_text(f"{HEAD}\n")
    (folder / "deeper").mkdir()
    monkeypatch.chdir(folder / "deeper")
    assert environment.story("apply").commit == HEAD
    monkeypatch.setenv("CI_COMMIT_SHA", "5" * 40)
    assert environment.story("apply").commit == "5" * 40


@pytest.mark.parametrize(
    "script",
    ["exit 128", f"echo {HEAD}; exit 1", "echo HEAD", "printf '\\377'", "exec sleep 60"],
    ids=["refuses", "fails late", "is not a commit", "is not text", "hangs"],
)
def test_a_git_without_an_answer_leaves_no_commit(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """It is stopped when it does not end."""
    monkeypatch.setattr(environment, "_GIT_TIMEOUT", 0.2 if "sleep" in script else 60.0)
    fake_git(folder, monkeypatch, script)
    assert environment.story("apply").commit == ""


def test_no_git_leaves_no_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git need not be installed."""
    monkeypatch.setenv("PATH", str(folder))
    assert environment.story("apply").commit == ""


def test_git_gets_no_token_and_no_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential helper or a wrapper must not see the token."""
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN", "secret")
    fake_git(folder, monkeypatch, f'[ -z "$BATCHFORM_AUTH_TOKEN" ] && [ "$GIT_TERMINAL_PROMPT" = 0 ] && echo {HEAD}')
    assert environment.story("apply").commit == HEAD


@pytest.mark.parametrize(
    ("variables", "who"),
    [
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat"}, "octocat"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", "GITHUB_TRIGGERING_ACTOR": "hubot"}, "hubot"),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "tanuki"}, "tanuki"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": ""}, "runner"),
        ({"GITHUB_ACTOR": "octocat", "GITLAB_USER_LOGIN": "tanuki"}, "runner"),
    ],
    ids=["github", "run again", "gitlab", "nobody", "no job"],
)
def test_the_history_names_who_caused_a_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], who: str
) -> None:
    """All jobs of a runner have the same user of the machine. Outside of a job these variables mean nothing."""
    monkeypatch.setenv("LOGNAME", "runner")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.story("apply").who == f"{who}@{platform.node()}"
    holder = environment.holder("apply", "r", folder, datetime(2026, 11, 23, tzinfo=UTC))
    assert holder["Who"] == f"{who}@{platform.node()} (process {os.getpid()})"


@pytest.mark.parametrize("name", ["HEAD", "config", "packed-refs", "refs/heads/main", ""])
def test_a_pipe_in_the_place_of_a_file_of_git_leaves_no_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Git waits for its writer. An empty name is `.git` itself."""
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=folder, check=True)
    path = folder / ".git" / name
    if name:
        path.unlink(missing_ok=True)
    else:
        path.rename(folder / "moved")
    os.mkfifo(path)
    monkeypatch.setattr(environment, "_GIT_TIMEOUT", 0.2)
    assert environment.story("apply").commit == ""
    assert environment.state_file(None) == Path(environment.STATE_NAME)
