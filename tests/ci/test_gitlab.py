"""The pipeline of examples/gitlab-ci, its scripts executed as shipped."""

from __future__ import annotations

import json
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

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = ROOT / "examples" / "gitlab-ci"
UK = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"


def test_both_examples_save_the_state_by_the_same_script() -> None:
    """The tests of one cover the other."""
    other = ROOT / "examples" / "github-actions"
    assert (EXAMPLE / "ci" / "save-state.sh").read_text() == (other / "ci" / "save-state.sh").read_text()


class Pipeline(Forge):
    """Runs jobs of the example by name, each in its own clone, and passes artefacts to the jobs that need them."""

    jobs: int = 0

    def run(self, name: str, **variables: str) -> tuple[int, str, Path]:
        """Run one job and return its exit code, log and folder."""
        document = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"))
        job = {**document[".batchform"], **document[name]}
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        git(self.folder, "clone", "--quiet", f"file://{self.bare}", str(folder))
        for needed in job.get("needs", []):
            for path in document[needed]["artifacts"]["paths"]:
                shutil.copy(self.folder / f"kept-{needed}" / path, folder / path)
        environment = {
            **clean_environment(),
            "PATH": f"{self.tools()}:{clean_environment()['PATH']}",
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_JOB_URL": "https://forge.invalid/job/1",
            "BATCHFORM_ENDPOINT": self.endpoint,
            **document["variables"],
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

    def push(self, name: str, text: str) -> None:
        """Push a change of one file to main."""
        work = self.clone(f"work-{self.jobs}-{name}")
        (work / "batches" / f"{name}.yaml").write_text(text, encoding="utf-8")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--message", name)
        git(work, "push", "--quiet", "origin", "main")


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
        git(seed, "switch", "--quiet", "--orphan", "batchform-state")
        git(seed, "commit", "--quiet", "--allow-empty", "--message", "batchform's state")
        git(seed, "push", "--quiet", str(made.bare), "batchform-state")
        made.accepted = there.accepted  # type: ignore[attr-defined]  # the judge
        yield made


def test_it_installs_the_commit_with_locked_packages(pipeline: Pipeline, tmp_path: Path) -> None:
    """The commit of the variable, not the newest one."""
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
    }
    code, log = pipeline._script(["sh ci/install.sh"], EXAMPLE, environment)
    assert code == 0, log
    assert not Path(assert_locked(pipeline.installations())).exists(), "the checkout is removed"


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
    assert "No BATCHFORM_COMMENT_TOKEN" in log

    code, log, _ = pipeline.run("plan main")
    assert code == 0, log
    pipeline.push("late", "version: 1\nbatches:\n  a:\n    batch_id: a-1\n")  # after the plan that was approved
    code, log, _ = pipeline.run("apply", BATCHFORM_AUTH_TOKEN=TOKEN)
    assert code == 0, log
    assert "not in the approved plan" in log
    assert pipeline.accepted() == {UK: 1}  # type: ignore[attr-defined]  # the judge
    state = decode_state(pipeline.file("batchform-state", "batchform.state.json").encode())
    assert state.entries[UK].phase.value == "started"
    assert (tmp_path / "kept-apply" / "_state" / "batchform.state.json").exists()
    assert json.loads((tmp_path / "kept-apply" / "apply-report.json").read_text())["summary"]["started"] == 1
    assert TOKEN not in log

    code, log, _ = pipeline.run("nightly", BATCHFORM_AUTH_TOKEN=TOKEN)
    assert code == 2, "drift: one batch is declared and not started"
    assert "1 to start" in log
    assert "1 batch must be started within that time" in log, "deadlines are checked also when there is drift"


@contextmanager
def notes_service(notes: list[dict[str, Any]], calls: list[str]) -> Iterator[str]:
    """GitLab's notes, a page of one note each."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        protocol_version = "HTTP/1.0"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
            pass

        def _answer(self, value: Any, **headers: str) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            for name, one in headers.items():
                self.send_header(name.replace("_", "-"), one)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path.endswith("/user"):
                self._answer({"id": 5})
                return
            page = int(self.path.rpartition("=")[2])
            self._answer(notes[page - 1 : page], X_Next_Page=str(page + 1) if page < len(notes) else "")

        def _write(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
            assert self.headers["PRIVATE-TOKEN"] == "note-token"
            calls.append(f"{self.command} {self.path}")
            if self.command == "POST":
                notes.append({"id": len(notes) + 1, "author": {"id": 5}, "body": body})
            self._answer({})

        do_POST = _write  # noqa: N815  # the library's name
        do_PUT = _write  # noqa: N815  # the same

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_only_our_own_note_is_updated(pipeline: Pipeline) -> None:
    """A note of another user with our marker is not ours."""
    code, log, folder = pipeline.run("plan merge request")
    assert code == 0, log
    marker = (folder / "plan.md").read_text().split("\n")[0]
    notes: list[dict[str, Any]] = [{"id": 1, "author": {"id": 6}, "body": f"{marker}\nnothing to see"}]
    calls: list[str] = []
    with notes_service(notes, calls) as url:
        said = {
            "BATCHFORM_COMMENT_TOKEN": "note-token",
            "CI_API_V4_URL": url,
            "CI_PROJECT_ID": "3",
            "CI_MERGE_REQUEST_IID": "4",
        }
        for _ in range(2):
            code, log, _ = pipeline.run("plan merge request", **said)
            assert code == 0, log
    assert calls == ["POST /projects/3/merge_requests/4/notes", "PUT /projects/3/merge_requests/4/notes/2"]
