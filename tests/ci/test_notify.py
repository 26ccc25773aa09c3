"""The example that posts a report to a chat: its two steps as the README has them, against a receiver on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.harness import ROOT, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = ROOT / "examples" / "notify"
SECRET = "/services/T00/B00/s3cret-of-the-webhook"
RUN = "https://github.com/your-organisation/batches/actions/runs/42"
STEPS = [
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
]


class Receiver(HTTPServer):
    """A webhook. Keeps the texts, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.texts: list[str] = []
        self.status = 200

    @property
    def webhook(self) -> str:
        """The secret address."""
        return f"http://127.0.0.1:{self.server_port}{SECRET}"


class Handler(BaseHTTPRequestHandler):
    """Takes one post."""

    def do_POST(self) -> None:
        """Keep the text."""
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == SECRET:
            self.server.texts.append(json.loads(body)["text"])
        self.send_response(self.server.status)
        if self.server.status == 307:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook on loopback."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def notify(folder: Path, system: str, webhook: str, *, status: str, report: str) -> str:
    """Run the step of a system as the README has it. Returns what it prints."""
    shutil.copytree(EXAMPLE / "ci", folder / "ci", dirs_exist_ok=True)
    if system == "github":
        (step,) = STEPS[0]
        values = {
            "secrets.NOTIFY_WEBHOOK": webhook,
            "job.status": status,
            "steps.batchform.outputs.report-file": report,
            "github.server_url": "https://github.com",
            "github.repository": "your-organisation/batches",
            "github.run_id": "42",
        }
        given = {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda match: values[match[1]], text)
            for name, text in step["env"].items()
        }
        assert step["if"] == "always()"
        command = step["run"]
    else:
        (command,) = STEPS[1]["after_script"]
        given = {"CI_JOB_STATUS": status, "CI_JOB_URL": RUN, "NOTIFY_WEBHOOK": webhook}
        if report and report != "apply-report.json":
            (folder / report).replace(folder / "apply-report.json")
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "python3").unlink(missing_ok=True)
    (tools / "python3").symlink_to(sys.executable)
    ran = subprocess.run(
        ["sh", "-e", "-c", command],
        cwd=folder,
        env={"PATH": f"{tools}:{os.environ['PATH']}", **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_the_outcome_of_a_real_run_is_posted(tmp_path: Path, receiver: Receiver, system: str) -> None:
    """What was started, and what needs attention, by name only."""
    batches = {
        "b-new": {"records": 1200, "age": "2d"},
        "b-run": {"records": 7, "age": "2d", "status": "processing"},
        "b-old": {"records": 5, "age": "30d"},
    }
    with site(tmp_path, {"batches": batches}) as place:
        place.declare({f"the-{batch_id}": {"batch_id": batch_id} for batch_id in batches})
        assert place.run("apply", "--auto-approve", "--report", "outcomes.json", fast=True).code == 3
    assert "sent" in notify(tmp_path, system, receiver.webhook, status="failure", report="outcomes.json")
    assert [text.splitlines() for text in receiver.texts] == [
        [
            "batchform apply: failure, exit code 3: 1 started, 1 adopted, 1 blocked, 1,200 records",
            "- the-b-old: blocked",
            RUN,
        ]
    ]


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_refused_run_is_posted(tmp_path: Path, receiver: Receiver, system: str) -> None:
    """It has no report."""
    with site(tmp_path, {"batches": {"b": {"records": 5, "age": "2d"}}}) as place:
        place.declare({"uk": {"batch_id": "b"}}, guards={"max_records": 1})
        assert place.run("apply", "--auto-approve", "--report", "apply-report.json").code == 6
    notify(tmp_path, system, receiver.webhook, status="failed", report="")
    (text,) = receiver.texts
    assert text.splitlines() == [
        "batchform apply: failed",
        "There is no report: apply was refused before it sent anything, or it could not begin or end.",
        RUN,
    ]


def report(**fields: Any) -> str:
    """A report."""
    summary = {"started": 0, "records_started": 0}
    return json.dumps({"exit_code": 3, "end": None, "outcomes": [], "summary": summary} | fields)


def test_nothing_in_a_report_can_format_mention_or_link(tmp_path: Path, receiver: Receiver) -> None:
    """Names come from a file, and the reason of an end from the server. Ten batches are named."""
    hostile = "<!channel> @here *x* <https://evil.example|click> `y`\n_z_"
    outcomes = [{"name": hostile, "result": "rejected"}] * 12
    (tmp_path / "r.json").write_text(report(end={"kind": "stopped", "message": hostile}, outcomes=outcomes))
    notify(tmp_path, "github", receiver.webhook, status="failure", report="r.json")
    (text,) = receiver.texts
    assert not set(text) & set("<>@*`|&~")
    assert "_z_" in text  # slack formats it at the edge of a word at most
    assert len(text.splitlines()) == 1 + 1 + 10 + 1 + 1
    assert "... and 2 more" in text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"summary": 5}', '{"outcomes": [5]}', '{"end": 5}'])
def test_a_damaged_report_is_none(tmp_path: Path, receiver: Receiver, text: str) -> None:
    """The run is posted all the same."""
    (tmp_path / "r.json").write_text(text)
    notify(tmp_path, "github", receiver.webhook, status="cancelled", report="r.json")
    assert receiver.texts[0].startswith("batchform apply: cancelled\nThere is no report")


@pytest.mark.parametrize(
    ("status", "said"), [(500, "HTTPError 500"), (307, "HTTPError 307"), (403, "HTTPError 403"), (204, "sent")]
)
def test_a_webhook_that_refuses_does_not_fail_the_job(
    tmp_path: Path, receiver: Receiver, status: int, said: str
) -> None:
    """Its address is not printed, and a redirect not followed."""
    receiver.status = status
    (tmp_path / "r.json").write_text(report())
    assert said in notify(tmp_path, "github", receiver.webhook, status="success", report="r.json")
    assert len(receiver.texts) == 1


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ("", "is not set, so nothing was sent"),
        (f"http://example.invalid{SECRET}", "does not begin with https://"),
        (f"ftp://example.invalid{SECRET}", "does not begin with https://"),
        (f"http://127.0.0.1:9{SECRET}", "URLError"),
        (f"https://127.0.0.1:no{SECRET}", "could not be reached"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_said(tmp_path: Path, webhook: str, said: str) -> None:
    """Without its address."""
    assert said in notify(tmp_path, "github", webhook, status="success", report="")
