"""The workflows of examples/github-actions, executed as shipped: from a branch to a second run without changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from batchform.state.codec import decode_state
from batchform.state.reader import read
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

    def propose(self, name: str, records: int | None = None) -> str:
        """Push a branch that declares one more batch, and return its commit."""
        work = self.clone(f"work-{name}")
        git(work, "switch", "--quiet", "--create", name)
        size = f"    records: {records}\n" if records is not None else ""
        yaml = f"version: 1\nbatches:\n  {name}:\n    batch_id: {name}-1\n{size}"
        (work / "batches" / f"{name}.yaml").write_text(yaml, encoding="utf-8")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--message", f"Declare {name}")
        git(work, "push", "--quiet", "origin", name)
        return git(work, "rev-parse", "HEAD")

    def plan(self, head: str, number: int = 7, *, fork: bool = False, **more: str) -> Job:
        """Run the job of the pull request. If it succeeds, its artefact can be found."""
        self.runs += 1
        job = self.job(
            "plan", event="pull_request", sha=head, run_id=str(self.runs), fork=fork,
            github__event__pull_request__number=str(number), **more,
        ).run()  # fmt: skip
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
        self._note("pulls.json", sha, [{"number": 7, "head": {"sha": head}}])

    def apply(self, sha: str, event: str = "push", **more: str) -> Job:
        """Run the first job of the merge, which plans. Return the second, before its first step.

        If that is skipped, return the first.
        """
        self.runs += 1
        run: dict[str, Any] = {"event": event, "sha": sha, "run_id": str(self.runs), **more}
        planned = self.job("apply", "plan", **run).run()
        done = self.workflow("apply")["jobs"]
        outputs = {name: planned._text(value, planned.contexts) for name, value in done["plan"]["outputs"].items()}
        needs = {f"needs.plan.outputs.{name}": value for name, value in outputs.items()}
        assert done["apply"]["needs"] == "plan"
        if planned.failed or not planned._value(done["apply"]["if"], needs):
            return planned
        job = self.job("apply", "apply", **run)
        job.contexts |= needs
        job.log, job.before, job.masked = planned.log, planned.summary, planned.masked
        return job

    def _note(self, file: str, key: str, value: object) -> None:
        path = self.hub / file
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**known, key: value}), encoding="utf-8")

    def entries(self) -> Mapping[str, Entry]:
        """The entries of the state on its branch."""
        return decode_state(self.file("batchform-state", "batchform.state.json").encode()).entries

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
    assert f"commit {head}, [run](https://forge.invalid/org/repo/actions/runs/1)" in comment["body"]

    again = team.plan(head)
    assert not again.failed, again.log
    assert len(team.comments()) == 1, "the comment is updated, not repeated"
    assert "runs/2)" in team.comments()[0]["body"]

    sha = team.merge("a", head)
    applied = team.apply(sha)
    assert "start 2 batches, 9,900 records at stake" in applied.before, "reviewers see the account's numbers"
    assert team.started() == {}, "the plan of the merge starts nothing"
    applied.run()
    assert not applied.failed, applied.log
    told = team.comments()[1]["body"]
    assert "**Apply complete! 2 started. 9,900 records.**" in told
    assert f"commit {sha}, [run](https://forge.invalid/org/repo/actions/runs/3)" in told
    assert team.started() == {UK: 1, "a-1": 1}
    assert {key: entry.phase.value for key, entry in team.entries().items()} == {UK: "started", "a-1": "started"}
    assert "### batchform apply: complete" in applied.summary
    report = json.loads(Path(applied.contexts["steps.batchform.outputs.report-file"]).read_text(encoding="utf-8"))
    assert report["summary"]["started"] == 2
    assert applied.contexts["steps.batchform.outputs.exitcode"] == "0"
    assert applied.contexts["steps.batchform.outputs.records"] == "9900"
    kept = team.hub / "artifacts" / applied.contexts["github.run_id"]
    assert list(kept.rglob("batchform-report.json"))
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


@pytest.mark.parametrize("merges", ["ab", pytest.param("ba", marks=pytest.mark.full)])
@pytest.mark.parametrize("applies", ["ba", pytest.param("ab", marks=pytest.mark.full)])
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
    """Both are planned before one is applied. The second takes up the state that the first left."""
    base = git(team.bare, "rev-parse", "main")
    assert not team.apply(base, "workflow_dispatch").run().failed
    heads = {name: team.propose(name) for name in ("a", "b")}
    for number, head in enumerate(heads.values()):
        assert not team.plan(head, number).failed
    jobs = [team.apply(team.merge(name, head)) for name, head in heads.items()]
    for job in jobs:
        job.run()
        assert not job.failed, job.log
    assert {key: entry.phase.value for key, entry in team.entries().items()} == dict.fromkeys(
        (UK, "a-1", "b-1"), "started"
    )
    assert team.started() == {UK: 1, "a-1": 1, "b-1": 1}
    after = team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run()
    assert "No changes." in after.log


def test_a_killed_run_has_its_intents_on_the_branch(tmp_path: Path) -> None:
    """They were pushed before their starts left, so nothing has to be saved after the run."""
    hangs = {"operation": "start", "batch": "a-1", "fault": "hang", "act": True}
    with at_work(tmp_path, {**WORLD, "faults": [hangs]}) as team:
        job = team.apply(team.merge("a", team.propose("a")), "workflow_dispatch")
        job.kill_when = lambda: team.site.log.wait_for(2)
        job.run()
        assert job.cancelled
        copy = team.clone("copy", "batchform-state") / "batchform.state.json"
        known = read(copy).state
        assert known is not None
        assert {key for key, entry in known.entries.items() if entry.attempts} == {UK, "a-1"}


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


def test_a_branch_that_cannot_be_written_starts_nothing(team: Team) -> None:
    """A rule for the branch, or a token without rights: the job fails before a start is sent."""
    hook = team.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    job = team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run()
    assert job.failed
    assert "::error title=" in job.log
    assert team.started() == {}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, ()),
        ({"BATCHFORM_STATE": "git:state"}, ()),
        ({"BATCHFORM_STATE": "s3://bucket/key"}, ("remote",)),
        ({"BATCHFORM_STATE": "git:state", "STATE": "gs://bucket/key"}, ("remote",)),
        ({"STATE": "az://container/key"}, ("remote",)),
        ({"BATCHFORM_STATE": "s3://bucket/key", "STATE": "state.json"}, ()),
    ],
)
def test_the_action_installs_its_own_commit_with_locked_packages(
    given: dict[str, str], more: tuple[str, ...], team: Team
) -> None:
    """And what a store needs, if the state is in one. A second use of the action in the same job installs nothing."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    job = team.job("plan", event="pull_request", sha="")
    for _ in range(2):
        process = job.begin(action["runs"]["steps"][0]["run"], {"ACTION": str(ROOT), **given}, job.work)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert (job.folder / "temp" / "path").read_text().split() == [str(job.folder / "temp" / "batchform" / "bin")]
    assert assert_locked(team.installations(), *more) == str(ROOT)


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


def test_a_broken_configuration_replaces_the_comment(team: Team) -> None:
    """A reader must not take the plan of an earlier commit for that of this one."""
    assert not team.plan(team.propose("a")).failed
    work = team.folder / "work-a"
    (work / "batches" / "bad.yaml").write_text("version: 1\nbatchs: {}\n", encoding="utf-8")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Bad")
    git(work, "push", "--quiet", "origin", "a")
    head = git(work, "rev-parse", "HEAD")
    planned = team.plan(head)
    assert planned.failed
    assert "::error file=batches/bad.yaml,line=2,col=1," in planned.log
    (comment,) = team.comments()
    assert "### batchform plan: failed" in comment["body"]
    assert "    2 | batchs: {}" in comment["body"]
    assert f"commit {head}, [run](https://forge.invalid/org/repo/actions/runs/2)" in comment["body"]
    assert "    2 | batchs: {}" in planned.summary


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


def test_a_batch_larger_than_its_pull_request_said_is_not_started(team: Team) -> None:
    """The plan of the merge fails: the log, the summary and an annotation give the reason. Nothing is to approve."""
    assert not team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run().failed
    head = team.propose("a", records=10)
    assert not team.plan(head).failed
    sha = team.merge("a", head)
    merged = team.apply(sha)
    assert merged.failed
    assert merged.contexts["steps.batchform.outputs.exitcode"] == "3"
    assert "100 records, 10 were approved" in merged.log
    assert "::error title=The plan starts nothing::1 batch larger than approved" in merged.log
    assert "The plan starts nothing" in merged.summary
    assert team.started() == {UK: 1}
    by_hand = team.apply(sha, "workflow_dispatch").run()
    assert not by_hand.failed, by_hand.log
    assert team.started() == {UK: 1, "a-1": 1}


def test_a_partly_approved_merge_starts_the_rest_and_fails(team: Team) -> None:
    """The apply starts what both plans offer. It ends with exit 3, and its comment gives the reason."""
    head = team.propose("a", records=10)
    assert not team.plan(head).failed
    applied = team.apply(team.merge("a", head))
    assert "100 records, 10 were approved" in applied.log
    applied.run()
    assert applied.failed
    assert applied.contexts["steps.batchform.outputs.exitcode"] == "3"
    assert team.started() == {UK: 1}
    told = team.comments()[-1]["body"]
    assert "Apply incomplete. 1 started, 1 not approved" in told
    assert "100 records, 10 were approved" in told
    assert "::error title=Apply incomplete::Apply incomplete. 1 started, 1 not approved" in applied.log
    assert set(team.entries()) >= {UK}, "the state is saved also after a failure"


def test_the_limit_of_the_repository_holds_and_can_be_overridden_by_hand(team: Team) -> None:
    """No pull request can raise it. The input of the workflow reaches the command as one word, never as shell text."""
    sha = git(team.bare, "rev-parse", "main")
    limits: dict[str, Any] = {"vars.BATCHFORM_MAX_RECORDS": "100"}
    blocked = team.apply(sha, "workflow_dispatch", **limits)
    assert blocked.failed
    assert blocked.contexts["steps.batchform.outputs.exitcode"] == "6"
    assert "set in `BATCHFORM_MAX_RECORDS`" in blocked.summary
    assert "::error title=A guard blocks this plan::" in blocked.log
    forged = team.apply(
        sha, "workflow_dispatch", **limits, **{"inputs.override-guard": "$(touch forged);`touch forged`"}
    )
    assert forged.failed
    assert not list(forged.folder.rglob("forged"))
    assert "### batchform: failed" in forged.summary
    assert team.started() == {}
    allowed = team.apply(
        sha, "workflow_dispatch", **limits, **{"inputs.override-guard": "max_records max_starts"}
    ).run()
    assert not allowed.failed, allowed.log
    assert team.started() == {UK: 1}
    again = team.plan(team.propose("a"), **limits)
    assert again.failed, "the check of a pull request knows the limit, too"


def test_the_comment_shows_a_raised_guard(team: Team) -> None:
    """The job compares with the target branch."""
    work = team.clone("work-guard")
    git(work, "switch", "--quiet", "--create", "g")
    file = work / "batches" / "uk.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("100000", "900000"), encoding="utf-8")
    git(work, "commit", "--quiet", "--all", "--message", "Spend more")
    git(work, "push", "--quiet", "origin", "g")
    planned = team.plan(git(work, "rev-parse", "HEAD"))
    assert not planned.failed, planned.log
    (comment,) = team.comments()
    assert re.search(r"\*\*Warning:\*\* .*max_records.*100,000.*900,000", comment["body"]), comment["body"]


def test_the_nightly_job_saves_what_it_saw(tmp_path: Path) -> None:
    """It fails while a declared batch is not started. The next plan of a pull request is offline and knows its size."""
    with at_work(tmp_path, {"batches": {**WORLD["batches"], UK: {"records": 7_777, "age": "25d"}}}) as team:
        sha = git(team.bare, "rev-parse", "main")
        nightly = team.job("nightly", event="schedule", sha=sha, run_id="night").run()
        assert nightly.failed, "the batch is declared and not started"
        assert "1 to start" in nightly.log
        assert "1 batch must be started within that time" in nightly.log
        for command in ("refresh", "plan", "status"):
            assert f"### batchform {command}" in nightly.summary
        assert team.started() == {}
        assert team.entries()[UK].records == 7_777
        planned = team.plan(team.propose("a"))
        assert "|7,777|" in team.comments()[0]["body"], planned.log
        assert [entry.operation for entry in team.site.log.entries] == ["list"], "the plan is offline"


def test_a_refused_token_is_seen(team: Team) -> None:
    """Exit 1: an annotation and a summary, not only a line in the log."""
    refused = team.apply(
        git(team.bare, "rev-parse", "main"), "workflow_dispatch", **{"secrets.BATCHFORM_AUTH_TOKEN": "an-old-token"}
    )
    assert refused.failed
    assert refused.contexts["steps.batchform.outputs.exitcode"] == "1"
    assert "::error title=The server refused the request::401" in refused.log
    assert "### batchform: failed" in refused.summary
    assert "an-old-token" not in refused.summary + refused.log


def test_an_apply_that_is_refused_says_so_on_the_pull_request(team: Team) -> None:
    """The state changed its lineage between the plan and the approval: exit 6, and nothing is started."""
    head = team.propose("a")
    assert not team.plan(head).failed
    first = team.apply(git(team.bare, "rev-parse", "main"), "workflow_dispatch").run()
    assert not first.failed, first.log
    applied = team.apply(team.merge("a", head))
    git(team.bare, "update-ref", "-d", "refs/heads/batchform-state")
    applied.run()
    assert applied.failed
    assert applied.contexts["steps.batchform.outputs.exitcode"] == "6"
    assert "### batchform apply: failed" in team.comments()[-1]["body"]
    assert "The plan was made for another state file" in team.comments()[-1]["body"]
    assert "::error title=The plan was made for another state file::" in applied.log
    assert team.started() == {UK: 1}
