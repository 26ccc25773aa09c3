"""The pipeline of examples/gitlab-ci, its scripts executed as shipped."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from batchform.state.codec import decode_state
from tests.ci.runner import ROOT, Forge, assert_locked, clean_environment, git
from tests.e2e.harness import TOKEN, site
from tests.render.cases import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = ROOT / "examples" / "gitlab-ci"
UK = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"


class Pipeline(Forge):
    """Runs jobs of the example by name, each in its own clone, and passes artefacts to the jobs that need them."""

    accepted: Callable[[], dict[str, int]]
    """The judge."""
    jobs: int = 0
    base: str = ""

    def run(self, name: str, **variables: str) -> tuple[int, str, Path]:
        """Run one job and return its exit code, log and folder."""
        document = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"))
        job = {**document[".batchform"], **document[name]}
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        branch = variables.pop("branch", "main")
        git(self.folder, "clone", "--quiet", "--branch", branch, f"file://{self.bare}", str(folder))
        for needed in job.get("needs", []):
            for path in document[needed]["artifacts"]["paths"]:
                if (kept := self.folder / f"kept-{needed}" / path).exists():
                    shutil.copy(kept, folder / path)
        own = {key: one["value"] if isinstance(one, dict) else one for key, one in document["variables"].items()}
        environment = {
            **clean_environment(),
            "PATH": f"{self.tools()}:{clean_environment()['PATH']}",
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_JOB_URL": "https://forge.invalid/job/1",
            "CI_PIPELINE_SOURCE": "push",
            "CI_COMMIT_SHA": git(folder, "rev-parse", "HEAD"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.base or git(folder, "rev-parse", "HEAD"),
            "BATCHFORM_ENDPOINT": self.endpoint,
            **own,
            **({"BATCHFORM_AUTH_TOKEN": self.token} if "environment" in job else {}),
            **variables,
        }
        code, log = self._script(job["before_script"] + job["script"], folder, environment)
        if "after_script" in job:
            after, more = self._script(job["after_script"], folder, environment)
            assert after == 0, more
            log += more
        kept = self.folder / f"kept-{name}"
        for path in job.get("artifacts", {}).get("paths", []):
            if (folder / path).exists():
                (kept / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / path, kept / path)
        return code, log, folder

    @staticmethod
    def _script(lines: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout

    def push(self, name: str, text: str, branch: str = "main") -> None:
        """Push a change of one file."""
        work = self.clone(f"work-{self.jobs}-{name}")
        if branch != "main":
            git(
                work,
                "switch",
                "--quiet",
                *(["--create"] if f"origin/{branch}" not in git(work, "branch", "-a") else []),
                branch,
            )
        (work / "batches" / f"{name}.yaml").write_text(text, encoding="utf-8")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--message", name)
        git(work, "push", "--quiet", "origin", branch)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """A project with the example in it, and a simulator."""
    world = {"batches": {UK: {"records": 9800, "age": "2d"}, "a-1": {"records": 5, "age": "25d"}}}
    with site(tmp_path, world, speed=0.0) as there:
        made = Pipeline(folder=tmp_path, endpoint=there.url, token=TOKEN)
        git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(made.bare))
        seed = tmp_path / "seed"
        shutil.copytree(EXAMPLE, seed)
        git(seed, "init", "--quiet", "--initial-branch=main")
        git(seed, "add", "--all")
        git(seed, "commit", "--quiet", "--message", "Begin")
        git(seed, "push", "--quiet", str(made.bare), "main")
        made.accepted = there.accepted
        yield made


@pytest.mark.parametrize(
    ("state", "more"),
    [("git:state", ()), ("s3://bucket/key", ("remote",)), ("gs://bucket/key", ("remote",)), ("az://c/k", ("remote",))],
)
def test_it_installs_the_commit_with_locked_packages(
    state: str, more: tuple[str, ...], pipeline: Pipeline, tmp_path: Path
) -> None:
    """The commit of the variable, not the newest one; and what a store needs, if the state is in one."""
    own = tmp_path / "batchform"
    shutil.copytree(ROOT / "requirements", own / "requirements")
    git(own, "init", "--quiet", "--initial-branch=main")
    git(own, "add", "--all")
    git(own, "commit", "--quiet", "--message", "Reviewed")
    reviewed = git(own, "rev-parse", "HEAD")
    git(own, "rm", "--quiet", "-r", "requirements")
    git(own, "commit", "--quiet", "--message", "Newer")
    tools = tmp_path / "without-batchform"
    shutil.copytree(pipeline.tools(), tools)
    (tools / "batchform").unlink()
    environment = {
        **clean_environment(),
        "PATH": f"{tools}:/usr/bin:/bin",
        "BATCHFORM_REPOSITORY": f"file://{own}",
        "BATCHFORM_COMMIT": reviewed,
        "BATCHFORM_STATE": state,
    }
    code, log = pipeline._script(["sh ci/install.sh"], EXAMPLE, environment)
    assert code == 0, log
    assert not Path(assert_locked(pipeline.installations(), *more)).exists(), "the checkout is removed"


def test_an_image_with_batchform_installs_nothing(pipeline: Pipeline) -> None:
    """The tests of the jobs depend on it, too."""
    code, log, _ = pipeline.run("plan main")
    assert code == 0, log
    assert not (pipeline.folder / "pip.log").exists()


def test_from_a_merge_request_to_the_nightly_job(pipeline: Pipeline, tmp_path: Path) -> None:
    """The merge request shows numbers, apply starts what the plan of its pipeline offered, and the state is saved."""
    code, log, folder = pipeline.run("plan merge request")
    assert code == 0, log
    assert json.loads((folder / "report.json").read_text()) == {"create": 1, "update": 0, "delete": 0}
    assert (folder / "plan.md").read_text().startswith("<!-- batchform:plan ")
    assert "no BATCHFORM_API_TOKEN: no comment" in log

    code, log, _ = pipeline.run("plan main")
    assert code == 0, log
    assert "no BATCHFORM_API_TOKEN: no approval" in log
    assert pipeline.accepted() == {}, "a plan starts nothing"
    pipeline.push("late", "version: 1\nbatches:\n  a:\n    batch_id: a-1\n")  # after the plan that was approved
    code, log, _ = pipeline.run("apply")
    assert code == 0, log
    assert "not in the approved plan" in log
    assert pipeline.accepted() == {UK: 1}
    state = decode_state(pipeline.file("batchform-state", "batchform.state.json").encode())
    assert state.entries[UK].phase.value == "started"
    assert json.loads((tmp_path / "kept-apply" / "apply-report.json").read_text())["summary"]["started"] == 1
    assert TOKEN not in log

    code, log, _ = pipeline.run("nightly")
    assert code == 2, "one batch is declared and not started"
    assert "1 to start" in log
    assert "1 batch must be started within that time" in log, "deadlines are checked also when there is drift"
    state = decode_state(pipeline.file("batchform-state", "batchform.state.json").encode())
    assert state.entries["a-1"].records == 5, "the next offline plan knows its size"
    assert pipeline.accepted() == {UK: 1}


def test_a_guard_can_be_overridden_by_hand_only(pipeline: Pipeline) -> None:
    """A variable of the project sets the limit. The override reaches the command as words."""
    code, log, folder = pipeline.run("plan main", BATCHFORM_MAX_RECORDS="100")
    assert code == 6, log
    assert "set in `BATCHFORM_MAX_RECORDS`" in (folder / "plan.md").read_text()
    by_hand = {"CI_PIPELINE_SOURCE": "web", "BATCHFORM_MAX_RECORDS": "100"}
    code, log, folder = pipeline.run("plan main", **by_hand, BATCHFORM_OVERRIDE_GUARD="$(touch forged)")
    assert code == 1, log
    assert not list(folder.rglob("forged"))
    code, log, _ = pipeline.run("plan main", **by_hand, BATCHFORM_OVERRIDE_GUARD="max_records")
    assert code == 0, log
    code, log, _ = pipeline.run("apply", **by_hand, BATCHFORM_OVERRIDE_GUARD="max_records")
    assert code == 0, log
    assert pipeline.accepted() == {UK: 1}


class Hub:
    """GitLab's API for one project: what it holds, and the calls that write. A page has one item."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {"merge_requests/4/notes": []}
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The notes on the merge request."""
        return self.lists["merge_requests/4/notes"]

    def merged(self, sha: str, plan: bytes | None) -> None:
        """A merge request with this merge commit; its job made this plan, or failed."""
        self.lists[f"repository/commits/{sha}/merge_requests"] = [
            {"iid": 9, "state": "closed"},
            {"iid": 4, "state": "merged"},
        ]
        self.lists["merge_requests/4/pipelines"] = [{"id": 21, "project_id": 3}, {"id": 20, "project_id": 3}]
        self.lists["pipelines/21/jobs"] = [{"id": 31, "name": "another", "status": "success"}]
        status = "success" if plan is not None else "failed"
        self.lists["pipelines/20/jobs"] = [{"id": 30, "name": "plan merge request", "status": status}]
        self.files["jobs/30/artifacts/plan.json"] = plan or b""

    @contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """The variables that name it."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True
            protocol_version = "HTTP/1.0"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
                pass

            def _answer(self, body: bytes, code: int = 200, **headers: str) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                for name, one in headers.items():
                    self.send_header(name.replace("_", "-"), one)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                assert self.headers["PRIVATE-TOKEN"] == "api-token"
                path, _, query = self.path.removeprefix("/projects/3/").partition("?")
                if path == "/user":
                    self._answer(b'{"id": 5}')
                elif path in hub.files:
                    self._answer(hub.files[path])
                elif path in hub.lists:
                    found, page = hub.lists[path], int(query.rpartition("=")[2])
                    more = str(page + 1) if page < len(found) else ""
                    self._answer(json.dumps(found[page - 1 : page]).encode(), X_Next_Page=more)
                else:
                    self._answer(b"{}", 404)

            def _write(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
                hub.calls.append(f"{self.command} {self.path.removeprefix('/projects/3/')}")
                if self.command == "POST":
                    hub.notes.append({"id": len(hub.notes) + 1, "author": {"id": 5}, "body": body})
                else:
                    hub.notes[int(self.path.rpartition("/")[2]) - 1]["body"] = body
                self._answer(b"{}")

            do_POST = _write  # noqa: N815  # the library's name
            do_PUT = _write  # noqa: N815  # the same

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                url = f"http://127.0.0.1:{server.server_port}"
                yield {"CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "BATCHFORM_API_TOKEN": "api-token"}
            finally:
                server.shutdown()
                thread.join()


def test_the_note_of_a_merge_request_is_updated(pipeline: Pipeline) -> None:
    """A note of another user with our marker is not ours. A configuration that does not load replaces the plan."""
    pipeline.base = git(pipeline.bare, "rev-parse", "main")
    hub = Hub()
    with hub.served() as variables:
        variables |= {"CI_MERGE_REQUEST_IID": "4", "CI_PIPELINE_SOURCE": "merge_request_event"}
        text = (EXAMPLE / "batches" / "uk.yaml").read_text(encoding="utf-8")
        pipeline.push("uk", text.replace("100000", "900000"), branch="more")
        code, log, folder = pipeline.run("plan merge request", branch="more", **variables)
        assert code == 0, log
        assert "max_records" in hub.notes[0]["body"], "the raised guard is shown"
        hub.notes.insert(0, {"id": 1, "author": {"id": 6}, "body": hub.notes[0]["body"]})
        hub.notes[1]["id"] = 2
        pipeline.push("bad", "batchs: {}\n", branch="more")
        code, log, folder = pipeline.run("plan merge request", branch="more", **variables)
        assert code == 1, log
    assert hub.calls == ["POST merge_requests/4/notes", "PUT merge_requests/4/notes/2"]
    assert "### batchform plan: failed" in hub.notes[1]["body"]
    assert git(folder, "rev-parse", "HEAD") in hub.notes[1]["body"]
    assert "https://forge.invalid/job/1" in hub.notes[1]["body"]


def test_the_plan_of_the_merge_request_limits_the_merge(pipeline: Pipeline) -> None:
    """What its plan did not offer is not started. The report is a new note on the merge request."""
    code, log, folder = pipeline.run("plan merge request")
    assert code == 0, log
    plan = (folder / "plan.json").read_bytes()
    pipeline.push("late", "version: 1\nbatches:\n  a:\n    batch_id: a-1\n")
    hub = Hub()
    hub.notes.append({"id": 1, "author": {"id": 5}, "body": "<!-- batchform:plan 0 -->\nthe plan"})
    with hub.served() as variables:
        sha = git(pipeline.bare, "rev-parse", "main")
        hub.lists[f"repository/commits/{sha}/merge_requests"] = []
        code, log, _ = pipeline.run("plan main", **variables)
        assert code == 1, "a push without a merge request"
        assert "No plan was approved for this commit" in log
        hub.merged(sha, None)
        assert pipeline.run("plan main", **variables)[0] == 1, "its plan failed"
        hub.merged(sha, plan)
        code, log, folder = pipeline.run("plan main", **variables)
        assert code == 0, log
        assert "not in the approved plan" in log
        code, log, _ = pipeline.run("apply", **variables)
        assert code == 0, log
    assert pipeline.accepted() == {UK: 1}
    assert hub.calls == ["POST merge_requests/4/notes"]
    assert "**Apply complete! 1 started, 1 not approved. 9,800 records.**" in hub.notes[1]["body"]


def test_everything_that_the_pipeline_names_is_there() -> None:
    """Scripts, folders, needed jobs, and the name of the job by which the plan is found."""
    text = (EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    for script in re.findall(r"\bci/[\w.-]+", text):
        assert (EXAMPLE / script).is_file(), script
    for job in document.values():
        assert set(job.get("needs", [])) <= set(document) if isinstance(job, dict) else True
    assert 'JOB = "plan merge request"' in (EXAMPLE / "ci" / "merge_request.py").read_text(encoding="utf-8")
    assert "plan merge request" in document
    for lock in re.findall(r"requirements/[\w.]+", (EXAMPLE / "ci" / "install.sh").read_text(encoding="utf-8")):
        assert (ROOT / lock).is_file(), lock


@pytest.mark.parametrize("example", ["github-actions", "gitlab-ci"])
def test_the_schema_of_a_copied_example_is_found_by_editors(example: str) -> None:
    """The modeline names a file beside the configuration, which is the schema of this version."""
    folder = ROOT / "examples" / example / "batches"
    for file in folder.glob("*.yaml"):
        modeline = file.read_text(encoding="utf-8").splitlines()[0]
        named = modeline.removeprefix("# yaml-language-server: $schema=")
        assert (folder / named).resolve().parent == folder, "it is copied together with the configuration"
        check(folder / named, (ROOT / "schemas" / "config-1.json").read_text(encoding="utf-8").removesuffix("\n"))
