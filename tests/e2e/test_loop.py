"""The whole: the installed command in its own processes. The log of the simulator is the evidence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.render.documents.saved import MAX_BYTES
from tests.e2e.harness import TOKEN, Site, kill, site

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
STATE = "batchform.state.json"


def ids(count: int) -> list[str]:
    """This many batch ids."""
    return [f"b-{number:05}" for number in range(count)]


def declared(batch_ids: list[str]) -> dict[str, Any]:
    """Declarations of these batches."""
    return {f"batch-{batch_id}": {"batch_id": batch_id} for batch_id in batch_ids}


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Site]:
    """Three batches, declared and submitted."""
    with site(tmp_path, {"batches": dict.fromkeys(ids(3))}) as place:
        place.declare(declared(ids(3)))
        yield place


# --- scale, rate limit, interrupted runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [400, pytest.param(1000, marks=pytest.mark.full)])
def test_every_batch_that_needs_it_is_started_exactly_once(tmp_path: Path, count: int) -> None:
    """One list call, one start for each submitted batch, no 429. The second apply sends no start."""
    batches: dict[str, Any] = dict.fromkeys(ids(count))
    running = ids(count)[::20]
    batches |= {batch_id: {"status": "processing", "records": 10_000} for batch_id in running}
    wanted = [batch_id for batch_id in ids(count) if batch_id not in running]
    with site(tmp_path, {"batches": batches, "speed": 0}, rate_limit=150, rate_window=3.0) as place:
        place.declare(declared(ids(count)))
        first = place.run("apply", "--auto-approve")
        assert first.code == 0, first
        place.paid_once(wanted)
        assert len(place.requests("list")) == 1
        assert {entry.batch_id for entry in place.requests("start")} == set(wanted)
        assert [entry for entry in place.log.entries if entry.status == 429] == []
        assert not (tmp_path / f"{STATE}.journal").exists()
        serial = json.loads((tmp_path / STATE).read_text())["serial"]
        assert serial == 1
        second = place.run("apply", "--auto-approve")
        assert second.code == 0, second
        assert len(place.requests("start")) == len(wanted)
        assert place.run("plan", "--detailed-exitcode").code == 0
        place.token_stayed_home()


@pytest.mark.parametrize("after", [1, 20, 60])
def test_a_run_that_is_killed_pays_for_nothing_twice(tmp_path: Path, after: int) -> None:
    """After SIGKILL, the next apply has one accepted start for each batch, and every outcome in the state.

    The report of an earlier run is gone: it would say what this one did.
    """
    report = tmp_path / "report.json"
    report.write_text("of an earlier run")
    values = {"batches": dict.fromkeys(ids(80)), "lag": {"up_to": 2}, "seed": after}
    with site(tmp_path, values, latency=0.005, rate_limit=10_000) as place:  # its window uses the real clock
        place.declare(declared(ids(80)))
        process = place.begin("apply", "--auto-approve", "--settle", "1s", "--report", str(report))
        place.log.wait_for(accepted=after)
        kill(process)
        assert not report.exists() or report.read_text() != "of an earlier run"
        again = place.run("apply", "--auto-approve", fast=True)
        assert again.code == 0, again
        place.paid_once(ids(80))
        assert place.run("plan", "--detailed-exitcode").code == 0


def test_a_signal_ends_the_run_in_good_order(tmp_path: Path) -> None:
    """After TERM there is no new start, requests in flight get answers, and the state is committed."""
    with site(tmp_path, {"batches": dict.fromkeys(ids(60))}, latency=0.05) as place:
        place.declare(declared(ids(60)))
        process = place.begin("apply", "--auto-approve")
        place.log.wait_for(accepted=10)
        process.send_signal(signal.SIGTERM)
        ended = place.end(process)
        assert ended.code == 143, ended
        assert "Apply incomplete. " in ended.out
        assert "not attempted" in ended.out
        started = place.accepted()
        assert 10 <= len(started) < 60
        place.paid_once(sorted(started))
        assert not (tmp_path / f"{STATE}.journal").exists()
        assert place.run("apply", "--auto-approve").code == 0
        place.paid_once(ids(60))


# --- two at once -----------------------------------------------------------------------------------------------------


def test_of_two_applies_at_once_one_works_and_the_other_names_it(tmp_path: Path) -> None:
    """It exits 5 without waiting. With `--lock-timeout` it waits, and then has nothing to do."""
    with site(tmp_path, {"batches": dict.fromkeys(ids(30))}, latency=0.1) as place:
        place.declare(declared(ids(30)))
        first = place.begin("apply", "--auto-approve", "--parallelism", "1")
        place.log.wait_for(accepted=1)
        refused = place.run("apply", "--auto-approve", "--lock-timeout", "0s")
        assert refused.code == 5, refused
        assert f"process {first.pid}" in refused.err
        assert "apply by " in refused.err
        waited = place.run("apply", "--auto-approve", "--lock-timeout", "30s")
        assert waited.code == 0, waited
        assert place.end(first).code == 0
        place.paid_once(ids(30))


# --- credentials and other refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh", [True, False], ids=["list", "start"])
def test_a_wrong_token_stops_the_run_at_once(tmp_path: Path, refresh: bool) -> None:  # noqa: FBT001  # a table's value
    """There are at most `--parallelism` calls, and the rest is not attempted."""
    with site(tmp_path, {"batches": dict.fromkeys(ids(100))}) as place:
        place.declare(declared(ids(100)))
        words = ["apply", "--auto-approve", *([] if refresh else ["--no-refresh"])]
        ended = place.run(*words, BATCHFORM_AUTH_TOKEN="another-token-than-that")
        assert ended.code == 1, ended
        assert len(place.log.entries) <= 8
        assert place.accepted() == {}
        assert "not attempted" in ended.out
        assert "another-token" not in ended.out + ended.err
        assert place.run("apply", "--auto-approve").code == 0
        place.paid_once(ids(100))


def test_apply_without_a_person_needs_an_approval(few: Site) -> None:
    """Without a terminal, a saved plan or `--auto-approve`, nothing is sent."""
    ended = few.run("apply")
    assert ended.code == 1
    assert "--auto-approve" in ended.err
    assert few.log.entries == []


def test_a_guard_that_fails_shows_the_plan_and_sends_no_start(few: Site) -> None:
    """Plan and apply exit 6 and show how to override the guard. With the override, apply works."""
    few.declare(declared(ids(3)), guards={"max_starts": 2})
    for words in (["plan"], ["apply", "--auto-approve"]):
        ended = few.run(*words)
        assert ended.code == 6, ended
        assert "Plan: 3 to start" in ended.out
        assert "--override-guard max_starts" in ended.out
    assert few.requests("start") == []
    assert few.run("apply", "--auto-approve", "--override-guard", "max_starts").code == 0
    few.paid_once(ids(3))


# --- plans -----------------------------------------------------------------------------------------------------------


def test_an_offline_plan_opens_no_socket_and_writes_nothing(few: Site) -> None:
    """Python reports every effect in audit events. There may be a state or not."""
    audited = [sys.executable, str(Path(__file__).with_name("audited.py")), "plan"]
    for _ in range(2):
        before = sorted((path.name, path.stat().st_mtime_ns) for path in few.folder.iterdir())
        ended = subprocess.run(
            audited, cwd=few.folder, env=few.environment(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended
        assert json.loads(ended.stderr.splitlines()[-1]) == []
        assert sorted((path.name, path.stat().st_mtime_ns) for path in few.folder.iterdir()) == before
        few.run("apply", "--auto-approve")
    assert {entry.operation for entry in few.log.entries} == {"list", "start"}


def test_the_audit_sees_what_an_apply_does(few: Site) -> None:
    """The test above can fail: for an apply, the audit reports sockets and files."""
    audited = [sys.executable, str(Path(__file__).with_name("audited.py")), "apply", "--auto-approve"]
    ended = subprocess.run(audited, cwd=few.folder, env=few.environment(), capture_output=True, text=True, check=False)
    seen = " ".join(json.loads(ended.stderr.splitlines()[-1]))
    assert "socket.connect" in seen
    assert "os.rename" in seen


def test_a_saved_plan_is_an_approval_and_not_a_script(few: Site) -> None:
    """It starts only batches that it offered and that are not started yet. A second use does nothing."""
    assert few.run("plan", "--out", "plan.json", "--target", "batch-b-0000[01]").code == 0
    ended = few.run("apply", "plan.json")
    assert ended.code == 0, ended
    assert "not approved" in ended.out
    few.paid_once(ids(2))
    assert few.run("apply", "plan.json").code == 0
    few.paid_once(ids(2))
    shown = few.run("show", "plan.json")
    assert "Plan: 2 to start" in shown.out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("prior_state", "lineage"), "00000000-0000-4000-8000-000000000000"),
        (("configuration", "endpoint"), "https://api.experianaperture.io"),
        (("configuration", "service"), "email"),
    ],
    ids=["lineage", "endpoint", "service"],
)
def test_an_approval_for_something_else_sends_nothing(few: Site, key: tuple[str, str], value: str) -> None:
    """A plan for another state, endpoint or service exits 6 before any request."""
    few.run("apply", "--auto-approve", "--target", "batch-b-00000")
    few.run("plan", "--out", "plan.json")
    document = json.loads((few.folder / "plan.json").read_text())
    document[key[0]][key[1]] = value
    (few.folder / "plan.json").write_text(json.dumps(document))
    sent = len(few.log.entries)
    ended = few.run("apply", "plan.json")
    assert ended.code == 6, ended
    assert len(few.log.entries) == sent


def test_a_saved_plan_over_the_size_limit_is_refused(few: Site) -> None:
    """The message names the size."""
    with (few.folder / "plan.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    ended = few.run("apply", "plan.json")
    assert (ended.code, "too large" in ended.err) == (1, True), ended


def test_a_plan_of_another_state_starts_nothing(few: Site, tmp_path: Path) -> None:
    """A plan that was made with a deleted state exits 6."""
    few.run("apply", "--auto-approve", "--target", "batch-b-00000")
    few.run("plan", "--out", "plan.json")
    (few.folder / STATE).unlink()
    few.run("apply", "--auto-approve", "--target", "batch-b-00001")
    sent = len(few.log.entries)
    assert few.run("apply", "plan.json").code == 6
    assert len(few.log.entries) == sent
    few.paid_once_anywhere()


# --- states ----------------------------------------------------------------------------------------------------------


def test_a_state_of_another_endpoint_is_refused(few: Site) -> None:
    """Outcomes of the simulator are not outcomes of the real service. There is no request."""
    few.run("apply", "--auto-approve")
    sent = len(few.log.entries)
    ended = few.run("apply", "--auto-approve", BATCHFORM_ENDPOINT="https://127.0.0.1:1")
    assert ended.code == 1
    assert "another endpoint" in ended.err
    assert len(few.log.entries) == sent


def test_a_state_of_another_service_is_refused(few: Site) -> None:
    """Each service needs its own state."""
    few.run("apply", "--auto-approve")
    sent = len(few.log.entries)
    few.declare(declared(ids(3)), service="email")
    for words in (["plan"], ["apply", "--auto-approve"]):
        ended = few.run(*words)
        assert ended.code == 1
        assert "another service" in ended.err
    assert len(few.log.entries) == sent


@pytest.mark.parametrize("refresh", [True, False])
def test_a_batch_taken_out_and_put_back_is_not_started_again(few: Site, refresh: bool) -> None:  # noqa: FBT001  # a table's value
    """The state keeps the entry of a batch that is no longer declared."""
    flags = [] if refresh else ["--no-refresh"]
    few.run("apply", "--auto-approve")
    few.declare(declared(ids(2)))
    out = few.run("apply", "--auto-approve", *flags)
    assert "forgot" in out.out
    few.declare(declared(ids(3)))
    assert few.run("apply", "--auto-approve", *flags).code == 0
    assert len(few.requests("start")) == 3
    few.paid_once(ids(3))


@pytest.mark.parametrize("refresh", [True, False])
@pytest.mark.parametrize("kept", ["older", "none"])
def test_a_state_that_was_reverted_leads_to_no_second_start(few: Site, kept: str, refresh: bool) -> None:  # noqa: FBT001  # a table's value
    """With an older state or none, apply asks the server or the server refuses. Nothing is paid twice."""
    few.run("apply", "--auto-approve", "--target", "batch-b-00000")
    shutil.copy(few.folder / STATE, few.folder / "older")
    assert few.run("apply", "--auto-approve").code == 0
    (few.folder / STATE).unlink()
    if kept == "older":
        shutil.copy(few.folder / "older", few.folder / STATE)
    ended = few.run("apply", "--auto-approve", *([] if refresh else ["--no-refresh"]), fast=True)
    assert ended.code == 0, ended
    few.paid_once(ids(3))
    assert few.run("plan", "--detailed-exitcode").code == 0


def test_a_state_that_was_edited_by_hand_stops_the_run(few: Site) -> None:
    """The digest differs, so nothing is sent. `state recover` shows the difference and accepts it."""
    few.run("apply", "--auto-approve", "--target", "batch-b-00000")
    few.run("apply", "--auto-approve", "--target", "batch-b-00001")
    path = few.folder / STATE
    path.write_text(path.read_text().replace('"started"', '"rejected"', 1))
    sent = len(few.log.entries)
    for words in (["plan"], ["apply", "--auto-approve"], ["state", "list"]):
        ended = few.run(*words)
        assert ended.code == 1, ended
        assert "state recover" in ended.err
    assert len(few.log.entries) == sent
    recovered = few.run("state", "recover", "--auto-approve")
    assert recovered.code == 0, recovered
    assert "batch-b-00000 (b-00000): phase started in the backup, rejected now." in recovered.out
    assert few.run("apply", "--auto-approve").code == 0
    few.paid_once(ids(3))


def test_state_rm_forgets_and_the_next_apply_adopts(few: Site) -> None:
    """The refresh of the next apply adopts the removed batches without paying again."""
    few.run("apply", "--auto-approve")
    assert few.run("state", "rm", "batch-b-00001", "b-00002").code == 0
    assert set(few.entries()) == {"b-00000"}
    ended = few.run("apply", "--auto-approve")
    assert ended.code == 0
    assert "2 adopted" in ended.out
    assert len(few.requests("start")) == 3
    few.paid_once(ids(3))


# --- outputs ---------------------------------------------------------------------------------------------------------


def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # slow to import, used by one test

    return Draft202012Validator(json.loads((ROOT / "schemas" / f"{name}-1.json").read_text()))


def test_what_is_written_and_printed_fits_its_schema(tmp_path: Path) -> None:
    """This holds for the plan, the saved plan, the state, and each line of the event stream."""
    values = {
        "batches": dict.fromkeys(ids(4)) | {"b-00001": {"status": "processing"}, "b-00002": {"age": "40d"}},
        "faults": [{"operation": "start", "batch": "b-00000", "fault": "drop", "act": True}],
    }
    with site(tmp_path, values) as place:
        place.declare(declared(ids(4)), guards={"max_records": 100_000})
        plan = place.run("plan", "--json", "--out", "plan.json")
        _validator("plan").validate(json.loads(plan.out))
        _validator("plan").validate(json.loads((tmp_path / "plan.json").read_text()))
        stream = place.run("apply", "--auto-approve", "--json", fast=True)
        lines = [json.loads(line) for line in stream.out.splitlines()]
        for line in lines:
            _validator("events").validate(line)
        assert lines[0]["type"] == "version"
        assert {"planned_change", "apply_start", "apply_complete", "change_summary"} <= {line["type"] for line in lines}
        _validator("state").validate(json.loads((tmp_path / STATE).read_text()))
        place.token_stayed_home()


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_asking_for_help_loads_no_heavy_library(flag: str) -> None:
    """Start-up stays fast: jsonschema, urllib3 and yaml are not imported."""
    probe = (
        "import sys\n"
        f"sys.argv = ['batchform', {flag!r}]\n"
        "from batchform.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'jsonschema', 'urllib3', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "batchform" in ended.stdout


EXAMPLES: Final = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
CONFIGURED: Final = [path.name for path in EXAMPLES if any(path.glob("*.yaml")) or (path / "batches").is_dir()]


def test_every_example_has_a_page() -> None:
    """It says what it is for."""
    assert [path.name for path in EXAMPLES if not (path / "README.md").is_file()] == []
    assert len(CONFIGURED) >= 4


@pytest.mark.parametrize("example", CONFIGURED)
def test_every_example_is_valid_and_can_be_planned(example: str, tmp_path: Path) -> None:
    """Each example with a configuration works unchanged."""
    folder = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, folder)
    batches = folder / "batches" if (folder / "batches").is_dir() else folder
    with site(tmp_path, {}) as place:
        for words in (["validate", "-f", str(batches)], ["plan", "-f", str(batches)]):
            ended = place.run(*words)
            assert ended.code == 0, ended
        assert place.log.entries == []


def test_the_demo_shows_the_loop_to_its_end() -> None:
    """Start, wait, charge, results. Its last plan has no changes. The user's own settings do not matter."""
    command = [sys.executable, "-m", "batchform", "demo"]
    settings = {"CLIENT_ID": "id", "CLIENT_SECRET": "secret", "MAX_RECORDS": "1", "STATE": "s3://bucket/key"}
    environment = os.environ | {f"BATCHFORM_{name}": value for name, value in settings.items()}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No changes. " in ended.stdout.split("$ batchform plan --refresh")[1]
    folder = next(line.split()[-1].rstrip(".") for line in ended.stdout.splitlines() if "The demo works in" in line)
    written = sorted(Path(folder, "results").iterdir())
    assert [path.name for path in written] == ["cut-short.jsonl", "lost-answer.jsonl", "new-customers.jsonl"]
    shutil.rmtree(folder)
    assert "4 completed." in ended.stdout.split("$ batchform status --wait")[1]
    assert "Charges: 21,650 credits for 5 batches." in ended.stdout.split("$ batchform refresh --credits")[1]
    assert TOKEN not in ended.stdout
