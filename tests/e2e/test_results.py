"""`batchform results` against the simulator: files, what is kept, waits, faults, memory, and where no number may be."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import ROOT, Site, Warm, site, warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FICTION = re.compile("44(?:1632960|7700900|2079460|11[3-8]4960|1214960)[0-9]{3}")
"""The numbers of the simulator."""

WORLD: dict[str, Any] = {
    "done": {"records": 3, "age": "2d", "status": "completed"},
    "cut": {"records": 4, "age": "2d", "status": "stopped", "records_processed": 1},
    "running": {"records": 10, "age": "2d", "status": "processing"},
    "new": {"records": 10, "age": "2d"},
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all tests of this file."""
    with warmed("tests.e2e.warm", 50.0, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


def declare(place: Site, *names: str, **held: str) -> None:
    """Declare batches by their ids; `held` ones are on hold."""
    batches: dict[str, Any] = {f"the-{name}": {"batch_id": name, "labels": {"is": name}} for name in names}
    place.declare(batches | {f"the-{name}": {"batch_id": name, "hold": True} for name in held})


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def results_fault(batch: str = "*", **fault: Any) -> dict[str, Any]:
    """A fault of the results call."""
    return {"operation": "results", "batch": batch, "forever": True, **fault}


# --- files -----------------------------------------------------------------------------------------------------------


def test_results_of_what_has_ended_are_written(tmp_path: Path, warm: Warm) -> None:
    """One file a batch, private; what is still processing makes it incomplete. The state does not change."""
    with site(tmp_path, {"batches": WORLD, "speed": 0}) as place:
        declare(place, "done", "cut", "running", new="held")
        ended = warm.run(place, "results", "--out", "out")
        assert ended.code == 3, ended
        assert "Wrote 2 files of personal data to out. 2 batches have no results yet." in ended.out
        assert names(tmp_path / "out") == ["the-cut.jsonl", "the-done.jsonl"]
        lines = (tmp_path / "out" / "the-cut.jsonl").read_text().splitlines()
        assert [json.loads(line)["confidence"] for line in lines] == ["verified", *["unprocessed"] * 3]
        assert not (tmp_path / "batchform.state.json").exists()
        assert len(place.requests("results")) == 2
        assert len(place.log.entries) == 3


def test_batches_are_selected_as_elsewhere(tmp_path: Path, warm: Warm) -> None:
    """By name, glob, label and id; a mistake is found before anything is sent."""
    with site(tmp_path, {"batches": WORLD, "speed": 0}) as place:
        declare(place, "done", "cut", "running")
        for pattern in ("the-done", "the-d*", "label:is=done", "done"):
            ended = warm.run(place, "results", pattern, "--out", pattern.replace("*", "").replace(":", ""))
            assert ended.code == 0, ended
            assert "Wrote 1 file " in ended.out
        before = len(place.log.entries)
        assert "matches no declared batch" in warm.run(place, "results", "nothing", "--out", "out").err
        assert len(place.log.entries) == before


def test_a_file_that_exists_is_kept_and_costs_no_request(tmp_path: Path, warm: Warm) -> None:
    """Unless it is forced."""
    with site(tmp_path, {"batches": WORLD, "speed": 0}) as place:
        declare(place, "done", "cut")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "the-done.csv").write_text("mine")
        kept = warm.run(place, "results", "--out", "out", "--format", "csv", "--all-fields")
        assert kept.code == 0
        assert "kept the-done.csv" in kept.out
        assert "Kept 1 file: `--force` fetches them again." in kept.out
        assert (tmp_path / "out" / "the-done.csv").read_text() == "mine"
        assert [entry.batch_id for entry in place.requests("results")] == ["cut"]
        with (tmp_path / "out" / "the-cut.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["metadata.operator_name"] for row in rows] == ["Example Mobile", "", "", ""]
        assert warm.run(place, "results", "the-done", "--out", "out", "--format", "csv", "--force").code == 0
        assert (tmp_path / "out" / "the-done.csv").read_text() != "mine"


def test_statistics_alone(tmp_path: Path, warm: Warm) -> None:
    """As text, and as JSON that fits its schema."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # slow to import

    schema = json.loads((ROOT / "schemas" / "results-1.json").read_text(encoding="utf-8"))
    with site(
        tmp_path, {"batches": WORLD, "speed": 0, "faults": [results_fault("done", fault="wrong_batch_id")]}
    ) as place:
        declare(place, "done", "cut", "running")
        text = warm.run(place, "results", "the-cut", "--stats")
        assert text.code == 0
        assert re.search("the-cut +stopped +4 +1 +read\n  verified +1\n  unprocessed +3\n", text.out), text
        told = json.loads(warm.run(place, "results", "--stats", "--json").out)
        Draft202012Validator(schema).validate(told)
        assert [(one["name"], one["results"], one["statistics"]) for one in told["batches"]] == [
            ("the-cut", "read", {"verified": 1, "unprocessed": 3}),
            ("the-done", "unreadable", None),
            ("the-running", "unfinished", None),
        ]
        assert told["batches"][1]["problem"]["title"] == "The answer names another batch"
    assert [path.name for path in tmp_path.iterdir()] == ["batchform.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Results need a folder"),
        (["--out", "out", "--stats"], "Results need a folder"),
        (["--stats", "--format", "csv"], "`--stats` writes no files"),
        (["--stats", "--force"], "`--stats` writes no files"),
        (["--stats", "--all-fields"], "`--stats` writes no files"),
        (["--stats", "--timeout", "5s"], "`--timeout` needs `--wait`"),
        (["--out", "batchform.yaml"], "`--out` cannot write to this folder"),
        (["--out", "out", "--format", "xml"], "'xml' is not one of"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, warm: Warm, words: list[str], said: str) -> None:
    """Before anything is sent or written."""
    with site(tmp_path, {"batches": WORLD}) as place:
        declare(place, "done")
        ended = warm.run(place, "results", *words)
        assert (ended.code, place.log.entries) == (1, []), ended
        assert said in " ".join(ended.err.split())


def test_a_checkout_refuses_results_that_git_would_commit(tmp_path: Path, warm: Warm) -> None:
    """Exit 6, and nothing is sent."""
    with site(tmp_path, {"batches": WORLD}) as place:
        declare(place, "done")
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        refused = warm.run(place, "results", "--out", "out")
        assert (refused.code, place.log.entries) == (6, [])
        assert "Git would commit these results" in refused.err
        (tmp_path / ".gitignore").write_text("out/\n")
        assert warm.run(place, "results", "--out", "out").code == 0


# --- waiting, signals ------------------------------------------------------------------------------------------------


def test_a_wait_takes_what_ends_meanwhile(tmp_path: Path, warm: Warm) -> None:
    """And exits 7 when the time is over, with the results of the others."""
    running = {"records": 200, "age": "1h", "status": "processing"}
    with site(tmp_path, {"batches": {"soon": running, "done": WORLD["done"]}, "speed": 40}) as place:
        declare(place, "soon", "done")
        ended = warm.run(place, "results", "--wait", "--out", "out")
        assert ended.code == 0, ended
        assert "Wrote 2 files" in ended.out
    with site(tmp_path, {"batches": {"never": running, "done": WORLD["done"]}, "speed": 0}) as place:
        declare(place, "never", "done")
        late = warm.run(place, "results", "--wait", "--timeout", "11s", "--out", "late")
        assert late.code == 7, late
        assert "Wrote 1 file" in late.out


@pytest.mark.parametrize("operation", ["list", "results"])
def test_a_signal_ends_it_without_half_a_file(tmp_path: Path, operation: str) -> None:
    """In each phase."""
    faults = [{"operation": operation, "fault": "hang", "forever": True}]
    with site(tmp_path, {"batches": WORLD, "speed": 0, "faults": faults}) as place:
        declare(place, "done")
        process = place.begin("results", "--out", "out")
        place.log.wait_for_operation(operation)
        process.terminate()
        ended = place.end(process)
        assert ended.code == 143, ended
        assert names(tmp_path / "out") == []


# --- faults ----------------------------------------------------------------------------------------------------------


def body(items: str, **more: Any) -> str:
    """An answer about the batch `done` with these items."""
    result = {"batch_id": "done", "status": "completed", "credits_charged": 1, **more}
    return json.dumps({"result": result | {"phones": 0}}).replace('"phones": 0', f'"phones": {items}')


NUMBER = "441632960555"
GOOD = f'{{"number": "{NUMBER}", "name": "x"}}'


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"fault": "wrong_batch_id"}, "names another batch"),
        ({"fault": "answer", "status": 404}, "404 Not Found"),
        ({"fault": "answer", "status": 500, "text": GOOD}, "500 Internal Server Error"),
        ({"fault": "answer", "status": 200}, "A scripted fault"),
        ({"fault": "answer", "status": 200, "text": body(f"[{GOOD}")[:-1]}, "not complete JSON"),
        ({"fault": "answer", "status": 200, "text": body(f'[{{"number": "{NUMBER}", "number": "1"}}]')}, "a key twice"),
        ({"fault": "answer", "status": 200, "text": body(f'["{NUMBER}"]')}, "not an object"),
        ({"fault": "answer", "status": 200, "text": body("null")}, "no list of items"),
        ({"fault": "half_body"}, "No complete answer"),
        ({"fault": "drop"}, "No complete answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answers_that_cannot_be_used_leave_no_file(
    tmp_path: Path, warm: Warm, fault: dict[str, Any], said: str
) -> None:
    """The batch beside it is written. No number is printed."""
    batches = {"done": WORLD["done"], "cut": WORLD["cut"]}
    with site(tmp_path, {"batches": batches, "faults": [results_fault("done", **fault)]}) as place:
        declare(place, "done", "cut")
        ended = warm.run(place, "results", "--out", "out")
        assert ended.code == 3, ended
        assert said in " ".join(ended.err.split())
        assert "The results of 1 batch could not be read" in ended.out
        assert names(tmp_path / "out") == ["the-cut.jsonl"]
        assert FICTION.search(ended.out + ended.err) is None


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_odd_values_are_written_right(tmp_path: Path, warm: Warm, form: str) -> None:
    """NaN is null; a formula is none in a table; two items for three records are said."""
    text = body('[{"number": NaN, "name": "=cmd()"}, {"number": "+447700900001", "name": "a\\nb"}]')
    faults = [results_fault("done", fault="answer", status=200, text=text)]
    with site(tmp_path, {"batches": WORLD, "faults": faults}) as place:
        declare(place, "done")
        ended = warm.run(place, "results", "--out", "out", "--format", form)
        assert ended.code == 0, ended
        assert "`the-done` has 3 records, but the server gave 2 items." in ended.err
        found = (tmp_path / "out" / f"the-done.{form}").read_bytes().decode()
    assert (
        found
        == {
            "jsonl": '{"number":null,"name":"=cmd()"}\n{"number":"+447700900001","name":"a\\nb"}\n',
            "csv": '"number","name"\r\n,"\'=cmd()"\r\n"+447700900001","a\nb"\r\n',
        }[form]
    )


def test_an_answer_that_is_behind_the_list_is_not_final(tmp_path: Path, warm: Warm) -> None:
    """It says processing: nothing is written."""
    faults = [results_fault("done", fault="odd_status", value="processing")]
    with site(tmp_path, {"batches": WORLD, "faults": faults}) as place:
        declare(place, "done")
        ended = warm.run(place, "results", "--out", "out")
        assert ended.code == 3
        assert "1 batch has no results yet." in ended.out
        assert names(tmp_path / "out") == []


def test_refused_credentials_end_it_after_what_was_written(tmp_path: Path, warm: Warm) -> None:
    """The others would be refused, too."""
    faults = [{"operation": "results", "fault": "answer", "status": 401, "times": 9}]
    with site(tmp_path, {"batches": WORLD, "speed": 0, "faults": faults}) as place:
        declare(place, "done", "cut")
        ended = warm.run(place, "results", "--out", "out")
        assert ended.code == 1
        assert "The server refused the request" in ended.err


def test_a_disk_that_is_full_is_said(tmp_path: Path) -> None:
    """Here, no file may grow beyond 100 bytes. Nothing of it stays."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    with site(tmp_path, {"batches": WORLD}) as place:
        declare(place, "done")
        ran = subprocess.run(
            # -B: Python would leave compiled files of 100 bytes.
            [sys.executable, "-Bc", f"{script}from batchform.cli.main import main; main()", "results", "--out", "out"],
            cwd=tmp_path,
            env=place.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 1, ran.stderr
        assert "The results cannot be written" in ran.stderr
        assert names(tmp_path / "out") == []


# --- memory ----------------------------------------------------------------------------------------------------------

PEAK = """
import re, sys
from batchform.cli.main import main
try:
    main()
finally:
    print("peak", re.search("VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("count", "code"),
    [(10_000, 0), (100_000, 3)],
    ids=["as many as a batch may have", "larger than allowed"],
)
def test_memory_is_bounded(tmp_path: Path, count: int, code: int) -> None:
    """The largest batch with all fields takes less than 150 MB; an answer that is larger than allowed, too."""
    batches = {"done": {"records": 10_000, "age": "2d", "status": "completed"}}
    faults = [results_fault(fault="items", count=count)]
    with site(tmp_path, {"batches": batches, "faults": faults}) as place:
        declare(place, "done")
        ran = subprocess.run(
            [sys.executable, "-c", PEAK, "results", "--out", "out", "--all-fields"],
            cwd=tmp_path,
            env=place.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        peak = re.search("peak ([0-9]+)", ran.stderr)
        assert peak is not None
        assert int(peak[1]) < 150_000
        if code:
            assert "announces" in ran.stderr
            assert names(tmp_path / "out") == []
            assert len(place.requests("results")) == 1


def test_a_hundred_batches_stay_within_the_rate_limit(tmp_path: Path, warm: Warm) -> None:
    """One list call and one request each."""
    batches = {f"b-{number}": {"records": 2, "age": "2d", "status": "completed"} for number in range(100)}
    with site(tmp_path, {"batches": batches}) as place:
        declare(place, *batches)
        ended = warm.run(place, "results", "--out", "out")
        assert ended.code == 0, ended
        assert len(names(tmp_path / "out")) == 100
        assert len(place.log.entries) == 101
        assert {entry.status for entry in place.log.entries} == {200}


# --- where no number may be ------------------------------------------------------------------------------------------


def test_numbers_are_in_the_result_files_and_nowhere_else(tmp_path: Path, warm: Warm) -> None:
    """Not in the state, its journal, a plan, a report, a log with debug, an error, or the names of files."""
    batches = {"done": WORLD["done"], "cut": WORLD["cut"], "new": {"records": 100, "age": "2d"}}
    odd = body(f'["{NUMBER}"]', reason=f"call {NUMBER}", statistics=[{"name": NUMBER, "value": 1}])
    faults = [
        {"operation": "results", "batch": "done", "fault": "half_body"},
        {"operation": "results", "batch": "done", "fault": "answer", "status": 500, "text": GOOD},
        {"operation": "results", "batch": "done", "fault": "answer", "status": 200, "text": odd},
    ]
    with site(tmp_path, {"batches": batches, "faults": faults, "speed": 100}) as place:
        declare(place, "done", "cut", "new")
        spoken = [
            place.run(*words, fast=True, BATCHFORM_LOG="debug")
            for words in (
                ("plan", "--refresh", "--out", "plan.json"),
                ("apply", "plan.json", "--report", "report.json"),
                ("results", "--wait", "--out", "out"),
                ("results", "--out", "out", "--force", "--format", "csv"),
                ("refresh", "--credits"),
                ("results", "--stats", "--json"),
                ("history", "--json"),
                ("status", "--json"),
            )
        ]
        assert len(names(tmp_path / "out")) >= 4
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {"plan.json", "report.json", "batchform.state.json"}
        for path in files:
            found = FICTION.search(path.read_bytes().decode("latin-1"))
            assert (found is not None) is (path.parent.name == "out"), path
        for ended in spoken:
            assert FICTION.search(ended.out + ended.err) is None, ended
        assert "/batches/done/results -> 200" in spoken[2].err
