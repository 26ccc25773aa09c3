"""batchform in CI: no questions, no colour, folded tables, outputs that cannot be forged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from batchform.cli import ci, session
from batchform.cli.terminal import Terminal
from batchform.state.disk import paths
from batchform.state.git import Git
from batchform.state.lock import locked
from batchform.state.objects import Objects
from batchform.state.remote.access import PATIENCE
from tests.ci.runner import outputs
from tests.e2e.harness import Site, site
from tests.strategies import texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = {f"b-{number:02}": {"batch_id": f"b-{number:02}"} for number in range(60)}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """A folder with sixty batches, and a simulator that knows them."""
    known = {name: {"records": 10, "age": "2d"} for name in MANY}
    with site(tmp_path, {"batches": known}) as made:
        made.declare(MANY)
        yield made


@pytest.mark.parametrize(
    ("system", "begin", "end"),
    [
        ("GITHUB_ACTIONS", "::group::Batches", "::endgroup::"),
        ("GITLAB_CI", "\x1b[0Ksection_start:", "\x1b[0Ksection_end:"),
    ],
)
def test_a_long_table_is_folded_and_nothing_else_differs(here: Site, system: str, begin: str, end: str) -> None:
    """The totals are not folded. Without the two markers, it is the same text as on a terminal."""
    plain = here.run("plan").out
    environment = {"CI": "true", system: "true"}
    told = here.end(here.begin("plan", **environment)).out  # type: ignore[arg-type]  # all are variables
    lines = told.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(begin))
    last = next(number for number, line in enumerate(lines) if line.startswith(end))
    assert len([line for line in lines[first:last] if line.startswith("  + ")]) == 60
    assert "Plan: 60 to start" in "\n".join(lines[last:])
    ours = ("::group::", "::endgroup::", "\x1b[0K")  # a carriage return is read as the end of a line
    assert [line for line in lines if not line.startswith(ours)] == plain.splitlines()


def test_a_short_table_is_not_folded(here: Site) -> None:
    """The log shows it whole."""
    here.declare({"b-01": {"batch_id": "b-01"}})
    assert "::group::" not in here.run("plan", GITHUB_ACTIONS="true").out


def test_nothing_is_asked_and_nothing_coloured_unless_forced(here: Site) -> None:
    """In CI, apply without an approval fails at once."""
    refused = here.run("apply", CI="true")
    assert refused.code == 1
    assert "This apply has no approval" in refused.err
    assert not here.requests("start")
    assert "\x1b" not in here.run("plan", CI="true").out
    assert "\x1b[32m" in here.run("plan", CI="true", FORCE_COLOR="1").out


def test_a_wait_for_the_lock_is_reported(here: Site) -> None:
    """In CI it waits ten minutes rather than none, and the log does not stand still meanwhile."""
    lock = paths(here.folder / "batchform.state.json").lock
    with locked(lock, {"Who": "a test", "Operation": "apply", "Created": "now"}, 0.0):
        process = here.begin("apply", "--auto-approve", fast=True, CI="true")
        assert process.stderr is not None
        assert process.stderr.readline() == "Waiting for another run to release the lock ...\n"
    ended = here.end(process)
    assert ended.code == 0, ended
    assert len(here.accepted()) == 60


@pytest.mark.parametrize("store", [Git, Objects])
def test_a_job_waits_longer_than_a_run_that_died_holds_a_state(store: type[Git | Objects]) -> None:
    """Else no job could take over: it would give up just before."""
    assert store.lease + 2 * store.poll + PATIENCE < session.CI_LOCK_TIMEOUT


@pytest.mark.full
def test_a_cancelled_job_ends_in_time(tmp_path: Path) -> None:
    """It ends within the 7.5 seconds between GitHub's first and second signal, even if a server hangs."""
    hangs = {"operation": "start", "batch": "a", "fault": "hang", "act": True}
    with site(tmp_path, {"batches": {"a": {"records": 1, "age": "2d"}}, "faults": [hangs]}) as here:
        here.declare({"a": {"batch_id": "a"}})
        process = here.begin("apply", "--auto-approve", CI="true")
        here.log.wait_for(1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended = here.end(process)
        assert time.monotonic() - began < 7.5
        assert ended.code == 130, ended
        assert here.entries()["a"].uncertain


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=texts(300))
@example(value="plan<<x\nfoo\nx\nexitcode=0")
def test_no_value_can_set_another_output(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delimiter of a value is random, so a text from a branch cannot set another output."""
    file = tmp_path / "output"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    ci.outputs(Terminal(), plan=value, starts="1")
    told = list(outputs(file.read_text(encoding="utf-8")))
    assert [name for name, _ in told] == ["plan", "starts"]
    assert told[1][1] == "1"


def test_a_summary_beyond_the_limit_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub drops the whole summary of a step that writes too much."""
    file = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    ci.summary(Terminal(), "x" * 60, 100)
    ci.summary(Terminal(), "y" * 60, 100)
    assert file.read_text(encoding="utf-8") == "x" * 60 + "\n"
    assert "The summary of the step is full" in capsys.readouterr().err


def test_outputs_that_cannot_be_written_change_nothing(here: Site) -> None:
    """A warning; the exit code stays batchform's own."""
    ended = here.run("plan", GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(here.folder))
    assert ended.code == 0, ended
    assert "The next steps get no values from this run" in ended.err


@pytest.mark.parametrize("variable", ["GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"])
@pytest.mark.parametrize("file", ["pipe", "x" * 300, "no/folder", "batchform.yaml/x"])
def test_what_github_cannot_be_told_changes_nothing(here: Site, variable: str, file: str) -> None:
    """Starts are paid for by then: the exit code is theirs, and a pipe without a reader holds nothing up."""
    os.mkfifo(here.folder / "pipe")
    here.declare({"b-01": {"batch_id": "b-01"}})
    where = {variable: str(here.folder / file)}
    ended = here.run("apply", "--auto-approve", "--report", "pipe", fast=True, GITHUB_ACTIONS="true", **where)
    assert ended.code == 0, ended
    assert "could not be written" in ended.err
    assert "The report could not be written" in ended.err
    assert here.entries()["b-01"].recorded_as_started


def test_an_outcome_report_is_written_however_the_run_ends(here: Site) -> None:
    """Exit 3 here: one batch does not exist. A path that cannot be written costs a warning, not the exit code."""
    here.declare({"b-01": {"batch_id": "b-01"}, "gone": {"batch_id": "gone"}})
    ended = here.run("apply", "--auto-approve", "--report", "report.json", fast=True)
    assert ended.code == 3, ended
    document = json.loads((here.folder / "report.json").read_text(encoding="utf-8"))
    assert document["exit_code"] == 3
    assert {one["name"]: one["result"] for one in document["outcomes"]} == {"b-01": "started", "gone": "blocked"}
    here.declare({"b-02": {"batch_id": "b-02"}}, guards={"max_records": 1})
    assert here.run("apply", "--auto-approve", "--report", "report.json", fast=True).code == 6
    assert not (here.folder / "report.json").exists(), "it would be the report of another run"
    here.declare({"gone": {"batch_id": "gone"}})
    again = here.run("apply", "--auto-approve", "--report", "no/such/folder.json", fast=True)
    assert again.code == 3
    assert "The report could not be written" in again.err


def test_the_table_in_a_file_is_not_folded(here: Site) -> None:
    """A file has no reader that unfolds it."""
    with (here.folder / "plan.txt").open("wb") as stream:
        command = [sys.executable, "-m", "batchform", "plan"]
        subprocess.run(command, cwd=here.folder, env=here.environment(GITHUB_ACTIONS="true"), stdout=stream, check=True)
    text = (here.folder / "plan.txt").read_text(encoding="utf-8")
    assert "Plan: 60 to start" in text
    assert "::group::" not in text


SHA = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("variables", "event", "found"),
    [
        ({}, None, ""),
        ({"CI_COMMIT_SHA": SHA}, None, SHA),
        ({"CI_COMMIT_SHA": "0" * 40, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": SHA}, None, SHA),
        ({"GITHUB_ACTIONS": "true", "GITHUB_SHA": SHA}, None, SHA),
        ({"GITHUB_ACTIONS": "true", "GITHUB_SHA": SHA}, "not JSON", SHA),
        ({"GITHUB_ACTIONS": "true", "GITHUB_SHA": SHA}, '{"pull_request": []}', SHA),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_SHA": "0" * 40},
            f'{{"pull_request": {{"head": {{"sha": "{SHA}"}}}}}}',
            SHA,
        ),
        ({"GITHUB_ACTIONS": "true", "GITHUB_SHA": "@everyone"}, None, ""),
    ],
)
def test_the_commit_is_the_head_of_the_pull_request(
    variables: dict[str, str], event: str | None, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the merge commit that GitHub makes for the check, which no author knows."""
    for name in ("GITHUB_ACTIONS", "GITHUB_SHA", "GITHUB_EVENT_PATH", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if event is not None:
        (tmp_path / "event.json").write_text(event)
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    assert ci.commit() == found


def test_a_failure_is_a_comment_that_replaces_only_a_comment(here: Site) -> None:
    """The key needs no configuration, so the plan and the failure have the same one. Another file stays as it is."""
    plan, comment = ("plan", "--markdown", "comment.md"), here.folder / "comment.md"
    assert here.run(*plan).code == 0
    marker = comment.read_text(encoding="utf-8").splitlines()[0]
    (here.folder / "batchform.yaml").write_text("batchs: {}\n", encoding="utf-8")
    assert here.run(*plan).code == 1
    text = comment.read_text(encoding="utf-8")
    assert text.splitlines()[:2] == [marker, "### batchform plan: failed"]
    assert "    1 | batchs: {}" in text
    comment.write_text("my notes", encoding="utf-8")
    assert here.run(*plan).code == 1
    assert comment.read_text(encoding="utf-8") == "my notes"
    for other in ("batchform.yaml", ".", "no/such/folder.md"):
        assert here.run("plan", "--markdown", other).code == 1
    assert (here.folder / "batchform.yaml").read_text(encoding="utf-8") == "batchs: {}\n"
    comment.unlink()
    assert here.run("apply", "--auto-approve", "--markdown", "comment.md").code == 1
    assert comment.read_text(encoding="utf-8").splitlines()[1] == "### batchform apply: failed"
    assert here.run("plan").code == 1


def test_an_apply_writes_a_comment_outside_of_github_too(here: Site) -> None:
    """On GitLab, a script sends it. The error has no annotation there."""
    here.declare({"b-01": {"batch_id": "b-01"}, "gone": {"batch_id": "gone"}})
    ended = here.run("apply", "--auto-approve", "--markdown", "apply.md", fast=True, GITLAB_CI="true")
    assert ended.code == 3, ended
    assert "::error" not in ended.err
    text = (here.folder / "apply.md").read_text(encoding="utf-8")
    assert "### batchform apply: incomplete\n\n**Apply incomplete. 1 started, 1 blocked. 10 records.**" in text


def test_each_error_is_in_the_summary_and_on_the_page_of_the_run(here: Site) -> None:
    """Usage, lock and refusal; a problem of the configuration is marked at its line instead."""
    summary = here.folder / "summary.md"
    github: dict[str, Any] = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    lock = paths(here.folder / "batchform.state.json").lock
    with locked(lock, {"Who": "a test", "Operation": "apply", "Created": "now"}, 0.0):
        held = here.run("apply", "--auto-approve", "--lock-timeout", "0s", **github)
    assert held.code == 5
    assert "::error title=The state is locked by another run::" in held.err, held
    usage = here.run("plan", "--override-guard", "all", **github)
    assert usage.code == 1
    assert "::error title=" in usage.err
    (here.folder / "batchform.yaml").write_text("batchs: {}\n", encoding="utf-8")
    broken = here.run("plan", **github)
    assert broken.err.count("::error ") == 2, "the unknown key and the missing version, no third one for the command"
    assert summary.read_text(encoding="utf-8").count("### batchform: failed") == 3
