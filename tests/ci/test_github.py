"""The workflows of examples/github-actions, executed as shipped: from a branch to a second run without changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from batchform.state.codec import decode_state
from tests.ci.runner import EXAMPLE, ROOT, Forge, Job, assert_locked, git
from tests.e2e.harness import TOKEN, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchform.state.known import Entry

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is needed to stand in for gh")

UK = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"
WORLD = {
    "batches": {
        UK: {"records": 9800, "age": "2d"},
        "a-1": {"records": 100, "age": "2d"},
        "b-1": {"records": 200, "age": "2d"},
    }
}


class Team(Forge):
    """A forge with the example in its repository, and the steps of its users."""

    site: Site
    runs: int = 0

    def set_up(self) -> None:
        """Set up the repository as the README describes."""
        git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        self.hub.mkdir()
        seed = self.folder / "seed"
        shutil.copytree(EXAMPLE, seed)
        git(seed, "init", "--quiet", "--initial-branch=main")
        git(seed, "add", "--all")
        git(seed, "commit", "--quiet", "--message", "Begin")
        git(seed, "push", "--quiet", str(self.bare), "main")
        git(seed, "switch", "--quiet", "--orphan", "batchform-state")
        git(seed, "commit", "--quiet", "--allow-empty", "--message", "batchform's state")
        git(seed, "push", "--quiet", str(self.bare), "batchform-state")

    def propose(self, name: str) -> str:
        """Push a branch that declares one more batch, and return its commit."""
        work = self.clone(f"work-{name}")
        git(work, "switch", "--quiet", "--create", name)
        yaml = f"version: 1\nbatches:\n  {name}:\n    batch_id: {name}-1\n"
        (work / "batches" / f"{name}.yaml").write_text(yaml, encoding="utf-8")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--message", f"Declare {name}")
        git(work, "push", "--quiet", "origin", name)
        return git(work, "rev-parse", "HEAD")

    def plan(self, head: str, number: int = 7, *, fork: bool = False) -> Job:
        """Run the job of the pull request. If it succeeds, its artefact can be found."""
        self.runs += 1
        job = self.job("plan", event="pull_request", sha=head, number=number, run_id=str(self.runs), fork=fork).run()
        if not job.failed:
            self._note("runs.json", head, self.runs)
        return job

    def merge(self, name: str, head: str) -> str:
        """Merge as the forge does, and return the commit."""
        work = self.clone(f"merge-{name}")
        git(work, "merge", "--quiet", "--no-ff", "--message", f"Merge {name}", head)
        git(work, "push", "--quiet", "origin", "main")
        sha = git(work, "rev-parse", "HEAD")
        self.merged_from(sha, head)
        return sha

    def merged_from(self, sha: str, head: str) -> None:
        """Record that a commit on main is the merge of a pull request with this head."""
        self._note("pulls.json", sha, [{"head": {"sha": head}}])

    def apply(self, sha: str, event: str = "push") -> Job:
        """Return the job of the merge, before its first step."""
        self.runs += 1
        return self.job("apply", event=event, sha=sha, run_id=str(self.runs))

    def _note(self, file: str, key: str, value: object) -> None:
        path = self.hub / file
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**known, key: value}), encoding="utf-8")

    def entries(self) -> Mapping[str, Entry]:
        """The entries of the state on its branch."""
        return decode_state(self.file("batchform-state", "batchform.state.json").encode()).entries

    def on_branch(self) -> list[str]:
        """The files on the branch of the state."""
        return git(self.bare, "ls-tree", "--name-only", "batchform-state").split()

    def started(self) -> dict[str, int]:
        """The starts that the server accepted, with their counts."""
        return self.site.accepted()


@contextmanager
def at_work(folder: Path, world: Mapping[str, Any]) -> Iterator[Team]:
    """A repository and a simulator."""
    with site(folder, world, speed=0.0) as there:
        made = Team(folder=folder, endpoint=there.url, token=TOKEN)
        made.site = there
        made.set_up()
        yield made


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """The team with an ordinary account."""
    with at_work(tmp_path, WORLD) as made:
        yield made


def test_from_a_branch_to_a_second_run_that_finds_no_changes(team: Team) -> None:
    """Plan on the pull request, one comment, merge, apply, save the state. A second run finds no changes."""
    head = team.propose("a")
    planned = team.plan(head)
    assert not planned.failed, planned.log
    assert "Plan: 2 to start" in planned.log
    assert planned.masked == set()
    assert not team.site.log.entries, "a plan sends nothing"
    (comment,) = team.comments()
    unsized = "1 batch of unknown size (up to 10,000 records)"
    assert f"### batchform plan: start 2 batches, 9,800 records + {unsized} at stake" in comment["body"]
    assert "batches/a.yaml:3" in comment["body"]
    assert comment["body"].partition("<sub>")[0] in planned.summary

    again = team.plan(head)
    assert not again.failed, again.log
    assert len(team.comments()) == 1, "the comment is updated, not repeated"

    sha = team.merge("a", head)
    applied = team.apply(sha).run()
    assert not applied.failed, applied.log
    assert team.started() == {UK: 1, "a-1": 1}
    assert {key: entry.phase.value for key, entry in team.entries().items()} == {UK: "started", "a-1": "started"}
    assert "### batchform apply: complete" in applied.summary
    report = json.loads(Path(applied.contexts["steps.batchform.outputs.report-file"]).read_text(encoding="utf-8"))
    assert report["summary"]["started"] == 2
    assert applied.contexts["steps.batchform.outputs.exitcode"] == "0"
    assert applied.contexts["steps.batchform.outputs.records"] == "9900"
    kept = team.hub / "artifacts" / applied.contexts["github.run_id"]
    assert list(kept.rglob("batchform.state.json"))
    assert applied.masked == {TOKEN}
    assert TOKEN not in applied.log + applied.summary + planned.log

    tip = git(team.bare, "rev-parse", "batchform-state")
    second = team.apply(sha, "workflow_dispatch").run()
    assert not second.failed, second.log
    assert "No changes." in second.log
    assert team.started() == {UK: 1, "a-1": 1}
    assert git(team.bare, "rev-parse", "batchform-state") == tip
    team.runs += 1
    nightly = team.job("nightly", event="schedule", sha=sha, run_id=str(team.runs)).run()
    assert not nightly.failed, nightly.log


@pytest.mark.parametrize("merges", ["ab", "ba"])
@pytest.mark.parametrize("applies", ["ab", "ba"])
def test_each_apply_starts_what_its_own_plan_offered(team: Team, merges: str, applies: str) -> None:
    """Two pull requests, merged and applied in either order: each approval covers only its own plan."""
    assert not team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run().failed
    heads = {name: team.propose(name) for name in merges}
    for number, head in enumerate(heads.values(), start=1):
        assert not team.plan(head, number).failed
    for name in merges:
        both = team.merge(name, heads[name])
    for name in applies:  # main has both now: only the approvals differ
        team.merged_from(both, heads[name])
        before = set(team.started())
        job = team.apply(both).run()
        assert not job.failed, job.log
        assert ("not in the approved plan" in job.log) == (name == applies[0])
        assert set(team.started()) - before == {f"{name}-1"}, "no more and no less than its own plan offered"
    assert team.started() == {UK: 1, "a-1": 1, "b-1": 1}
    assert set(team.entries()) == {UK, "a-1", "b-1"}


def test_two_merges_at_once_lose_nothing(team: Team) -> None:
    """Two runs begin with the same state. The push of the second is rejected, and both outcomes are saved."""
    base = git(team.bare, "rev-parse", "main")
    assert not team.apply(base, "workflow_dispatch").run().failed
    heads = {name: team.propose(name) for name in ("a", "b")}
    for number, head in enumerate(heads.values()):
        assert not team.plan(head, number).failed
    jobs = [team.apply(team.merge(name, head)) for name, head in heads.items()]
    for job in jobs:
        job.run(until="Save the state")
    for job in jobs:
        job.run()
        assert not job.failed, job.log
    assert "Another run saved its state first" in jobs[1].log
    assert {key: entry.phase.value for key, entry in team.entries().items()} == dict.fromkeys(
        (UK, "a-1", "b-1"), "started"
    )
    assert team.started() == {UK: 1, "a-1": 1, "b-1": 1}
    after = team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run()
    assert "No changes." in after.log


def test_the_next_run_recovers_the_journal_of_a_killed_run(tmp_path: Path) -> None:
    """The journal is an artefact and on the branch. The next run recovers it and starts nothing twice."""
    hangs = {"operation": "start", "batch": "a-1", "fault": "hang", "act": True}
    with at_work(tmp_path, {**WORLD, "faults": [hangs]}) as team:
        sha = team.merge("a", team.propose("a"))
        job = team.apply(sha, "workflow_dispatch")
        job.kill_when = lambda: team.site.log.wait_for(2)
        job.run()
        assert job.cancelled
        (kept,) = (team.hub / "artifacts" / job.contexts["github.run_id"]).iterdir()
        assert (kept / "batchform.state.json.journal").exists()
        assert "batchform.state.json.journal" in team.on_branch()
        after = team.apply(sha, "workflow_dispatch").run()
        assert not after.failed, after.log
        assert team.started() == {UK: 1, "a-1": 1}
        assert {entry.phase.value for entry in team.entries().values()} == {"started"}
        assert "batchform.state.json.journal" not in team.on_branch()


def test_two_first_runs_at_once_pay_once(team: Team) -> None:
    """Two lineages are not merged: the second push fails, and the next run adopts the batches of both."""
    sha = team.merge("a", team.propose("a"))
    jobs = [team.apply(sha, "workflow_dispatch") for _ in range(2)]
    for job in jobs:
        job.run(until="Save the state")
    jobs[0].run()
    assert not jobs[0].failed, jobs[0].log
    jobs[1].run()
    assert jobs[1].failed
    assert "These are two different states" in jobs[1].log
    assert list((team.hub / "artifacts" / jobs[1].contexts["github.run_id"]).rglob("batchform.state.json"))
    after = team.apply(sha, "workflow_dispatch").run()
    assert not after.failed, after.log
    assert team.started() == {UK: 1, "a-1": 1}
    assert set(team.entries()) == {UK, "a-1"}


def test_a_proxy_is_passed_on_and_masked(team: Team) -> None:
    """It may hold a password. The simulator is on a loopback address, which uses no proxy."""
    proxy = "http://ann:p4ssw0rd@127.0.0.1:9"
    head = team.propose("a")
    team.plan(head)
    job = team.apply(team.merge("a", head))
    job.contexts["secrets.BATCHFORM_PROXY"] = proxy
    job.run()
    assert not job.failed, job.log
    assert job.masked == {TOKEN, proxy}
    assert "p4ssw0rd" not in job.log + job.summary


def test_a_push_that_fails_for_another_reason_is_not_repeated_forever(team: Team) -> None:
    """A protected branch, or a token without rights: the job fails and names the artefact with the state."""
    hook = team.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    job = team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run()
    assert job.failed
    assert "no other run is the cause" in job.log
    assert list((team.hub / "artifacts" / job.contexts["github.run_id"]).rglob("batchform.state.json"))


def test_the_action_installs_its_own_commit_with_locked_packages(team: Team) -> None:
    """A second use of the action in the same job installs nothing."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    job = team.job("plan", event="pull_request", sha="")
    for _ in range(2):
        process = job.begin(action["runs"]["steps"][0]["run"], {"ACTION": str(ROOT)}, job.work)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert (job.folder / "temp" / "path").read_text().split() == [str(job.folder / "temp" / "batchform" / "bin")]
    assert assert_locked(team.installations()) == str(ROOT)


def test_the_hook_for_pre_commit_checks_the_configuration(team: Team) -> None:
    """It runs `run`, which installs from the lock files; the command exits with 1 when the configuration is wrong."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    script, *words = hook["entry"].split()
    assert hook["language"] == "script"
    assert os.access(ROOT / script, os.X_OK)
    team.site.declare({"a": {"batch_id": "a"}})
    assert team.site.run(*words).code == 0
    team.site.declare({"a": {}})
    assert team.site.run(*words).code == 1


def test_a_plan_that_cannot_be_applied_is_shown_and_is_no_approval(team: Team) -> None:
    """Exit 6 fails the check, and the comment gives the reason. The merge finds no approval and sends nothing."""
    work = team.clone("work-guard")
    git(work, "switch", "--quiet", "--create", "g")
    file = work / "batches" / "uk.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("100000", "100"), encoding="utf-8")
    git(work, "commit", "--quiet", "--all", "--message", "Spend less")
    git(work, "push", "--quiet", "origin", "g")
    head = git(work, "rev-parse", "HEAD")
    planned = team.plan(head)
    assert planned.failed
    assert "(**blocked by a guard**)" in team.comments()[0]["body"]
    applied = team.apply(team.merge("g", head)).run()
    assert applied.failed
    assert "No plan was approved for this commit" in applied.log
    assert team.started() == {}


def test_errors_of_the_configuration_are_marked_in_the_pull_request(team: Team) -> None:
    """Annotations have paths from the root of the repository. The comment says so."""
    work = team.clone("work-bad")
    git(work, "switch", "--quiet", "--create", "bad")
    (work / "batches" / "bad.yaml").write_text("version: 1\nbatchs: {}\n", encoding="utf-8")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Bad")
    git(work, "push", "--quiet", "origin", "bad")
    planned = team.plan(git(work, "rev-parse", "HEAD"))
    assert planned.failed
    assert "::error file=batches/bad.yaml,line=2,col=1," in planned.log
    assert "### batchform plan: failed" in team.comments()[0]["body"]


def test_a_fork_gets_a_plan_without_a_comment(team: Team) -> None:
    """Without secrets and write permission, the plan is in the summary and the check is green."""
    (team.hub / "read-only").touch()
    planned = team.plan(team.propose("a"), fork=True)
    assert not planned.failed, planned.log
    assert "No comment could be written" in planned.log
    assert "### batchform plan: start 2 batches" in planned.summary
    assert team.comments() == []


def test_the_plan_of_a_fork_touches_nothing(team: Team) -> None:
    """An audit of all sockets and writes of the process finds none. No token is needed."""
    head = team.propose("a")
    checkout = team.clone("fork", "a")
    assert git(checkout, "rev-parse", "HEAD") == head
    audited = [sys.executable, str(Path(__file__).parents[1] / "e2e" / "audited.py"), "plan", "--file", "batches"]
    environment = {"PATH": "/usr/bin:/bin", "CI": "true", "BATCHFORM_STATE": "_state/batchform.state.json"}
    done = subprocess.run(
        audited, cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Plan: 2 to start" in done.stdout
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


def test_a_pull_request_without_batches_passes_the_required_check(tmp_path: Path) -> None:
    """Its job succeeds without a plan or comment. A skipped workflow would leave a required check pending."""
    with at_work(tmp_path, WORLD) as team:
        work = team.clone("work-docs")
        (work / "README.md").write_text("other\n", encoding="utf-8")
        git(work, "commit", "--quiet", "--all", "--message", "Change a page")
        git(work, "push", "--quiet", "origin", "HEAD:docs")
        job = team.plan(git(work, "rev-parse", "HEAD"))
        assert not job.failed, job.log
        assert "there is nothing to plan" in job.log
        assert not team.comments()
        assert not (team.hub / "artifacts").exists()


def test_the_merge_queue_gets_the_same_check(tmp_path: Path) -> None:
    """A queue may rebase several commits, so it always plans. There is no pull request to comment on."""
    with at_work(tmp_path, WORLD) as team:
        job = team.job("plan", event="merge_group", sha=team.propose("a")).run()
        assert not job.failed, job.log
        assert "2 to start" in job.log
        assert not team.comments()
        triggers = team.workflow("plan")[True]  # YAML 1.1 reads `on` as true
        assert triggers == {"pull_request": None, "merge_group": None}, "no filter, so no check stays pending"
