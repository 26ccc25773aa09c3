"""The commands refresh, status, import and history, with wrong lists and large accounts."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from batchform.config.loader import load
from batchform.state.lock import locked
from tests.e2e.harness import ROOT, Warm, kill, site, warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FACTOR = 50.0


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all tests of this file."""
    with warmed("tests.e2e.warm", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


# --- wrong lists -----------------------------------------------------------------------------------------------------

TRUTH: dict[str, Any] = {
    "new": {"records": 10, "age": "2d"},
    "running": {"records": 10, "age": "2d", "status": "processing"},
    "done": {"records": 10, "age": "2d", "status": "completed"},
    "stopped": {"records": 10, "age": "2d", "status": "stopped"},
    "old": {"records": 10, "age": "30d"},
}
NOWHERE = "not-there"


def _body(*batches: Any) -> dict[str, Any]:
    text = json.dumps({"result": {"batches": list(batches)}})
    return {"operation": "list", "fault": "answer", "status": 200, "text": text, "forever": True}


def _all(**fields: Any) -> list[dict[str, Any]]:
    return [{"batch_id": batch_id, **fields} for batch_id in (*TRUTH, NOWHERE)]


LISTS: dict[str, dict[str, Any]] = {
    **{
        how: {"operation": "list", "fault": "list", "how": how, "forever": True}
        for how in ("truncated", "null_batches", "unordered", "null_fields", "foreign", "unknown_status")
    },
    "no batches": _body(),
    "other things than batches": _body(
        None, 5, "new", [], {}, {"batch_id": None}, {"batch_id": 7}, {"batch_id": "../x"}
    ),
    "no field but the id": _body(*_all()),
    "null everywhere": _body(*_all(status=None, records=None, date_submitted=None, records_processed=None)),
    "status of another kind": _body(*_all(status=5), *_all(status=["submitted"]), *_all(status="")),
    "an unheard-of status": _body(*_all(status="queued", records=10)),
    "numbers and dates out of range": _body(
        *_all(status=None, records=-5, records_processed=10**30, date_submitted="9999-12-31T23:59:59Z"),
        *_all(records=1e400, date_submitted="0001-01-01T00:00:00+14:00", reason={"a": 1}),
    ),
    "each twice, once as submitted and once beyond": _body(
        *({"batch_id": one, "status": "submitted"} for one in TRUTH if one != "old"),
        *({"batch_id": one, "status": TRUTH[one].get("status")} for one in TRUTH if one != "old"),
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_no_list_starts_what_a_single_read_would_forbid(tmp_path: Path, warm: Warm, name: str) -> None:
    """With any list, refresh, plan and apply start only the batch that is really submitted."""
    with site(tmp_path, {"batches": TRUTH, "faults": [LISTS[name]], "speed": 0}) as place:
        place.declare({f"the-{batch_id}": {"batch_id": batch_id} for batch_id in (*TRUTH, NOWHERE)})
        for words in (["plan", "--refresh"], ["refresh"], ["status"], ["why", "the-old", "--refresh"]):
            ended = warm.run(place, *words)
            assert ended.code in {0, 4}, ended
        assert place.requests("start") == []
        warm.apply(place)
        warm.apply(place)
        assert set(place.accepted()) <= {"new"}, place.accepted()
        assert {entry.batch_id for entry in place.requests("start")} <= {"new"}


def test_a_large_account_takes_one_request_and_names_the_declared_only(tmp_path: Path) -> None:
    """The account has 10,000 batches, of which 20 are declared."""
    batches: dict[str, Any] = {f"b-{number:05}": {"records": 5, "age": "2d"} for number in range(10_000)}
    declared = [f"b-{number:05}" for number in range(0, 10_000, 500)]
    with site(tmp_path, {"batches": batches}) as place:
        place.declare({f"batch-{batch_id}": {"batch_id": batch_id} for batch_id in declared})
        ended = place.run("plan", "--refresh", "--json")
        assert ended.code == 0, ended
        assert [entry.operation for entry in place.log.entries] == ["list"]
        plan = json.loads(ended.out)
        assert [change["batch_id"] for change in plan["resource_changes"]] == declared
        assert {word for word in ended.out.split('"') if word in batches} == set(declared)
        assert place.run("refresh").code == 0
        assert set(place.entries()) == set(declared)


# --- starts elsewhere at the same time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "result"), [("list", "adopted"), ("start", "already_started")], ids=["before the look", "during it"]
)
def test_what_a_colleague_starts_meanwhile_is_taken_as_it_is(
    tmp_path: Path, warm: Warm, moment: str, result: str
) -> None:
    """The colleague uses the web console during an apply. It spends nothing, exits 0, and the history shows it."""
    values = {"batches": {"b-1": {"records": 9800}}, "console_starts": [{"batch": "b-1", "before": moment}], "speed": 0}
    with site(tmp_path, values) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        ended = warm.run(place, "apply", "--auto-approve")
        assert ended.code == 0, ended
        assert "nothing was spent" in ended.out
        (run,) = json.loads(warm.run(place, "history", "--json").out)["runs"]
        assert (run["started"], run["records"], run[result]) == (0, 0, 1)


# --- refresh ---------------------------------------------------------------------------------------------------------


def test_a_second_refresh_finds_no_drift(tmp_path: Path, warm: Warm) -> None:
    """It also writes nothing."""
    with site(tmp_path, {"batches": TRUTH, "speed": 0}) as place:
        place.declare({f"the-{batch_id}": {"batch_id": batch_id} for batch_id in (*TRUTH, NOWHERE)})
        assert warm.run(place, "plan", "--refresh", "--detailed-exitcode").code == 2
        assert place.entries() == {}
        assert warm.run(place, "refresh", "--detailed-exitcode").code == 2
        assert set(place.entries()) == {*TRUTH, NOWHERE}
        state = (tmp_path / "batchform.state.json").read_bytes()
        assert "no drift" in warm.run(place, "refresh").out
        assert (tmp_path / "batchform.state.json").read_bytes() == state
        assert place.requests("start") == []


def test_ordinary_progress_is_no_drift(tmp_path: Path, warm: Warm) -> None:
    """A change from processing to completed is recorded."""
    with site(tmp_path, {"batches": {"b-1": {"records": 1}}, "speed": 1000}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        warm.apply(place)
        assert place.entries()["b-1"].status == "processing"
        assert warm.run(place, "refresh", "--detailed-exitcode").code == 0
        assert place.entries()["b-1"].status == "completed"


# --- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "declared", "words", "code"),
    [
        ({"b-1": {"status": "completed"}}, {}, [], 0),
        ({"b-1": {"status": "processing", "records": 500}}, {}, [], 0),
        ({"b-1": {"status": "processing", "records": 10_000, "max_processing_time": 1}}, {}, [], 3),
        ({"b-1": {"status": "stopped"}}, {}, [], 3),
        ({"b-1": {"status": "stopped"}}, {"hold": True}, [], 0),
        ({"b-1": {"age": "30d"}}, {}, [], 3),
        ({"b-1": {}}, {}, [], 3),
        ({"b-1": {}}, {"hold": True}, [], 0),
        ({"b-1": {"status": "processing", "records": 10_000}}, {}, ["--timeout", "1s"], 7),
    ],
    ids=[
        "completed",
        "completes",
        "stops",
        "stopped",
        "stopped and held",
        "blocked",
        "not started",
        "held",
        "not in time",
    ],
)
def test_a_wait_ends_with_what_came_of_it(
    tmp_path: Path, warm: Warm, *, batches: dict[str, Any], declared: dict[str, Any], words: list[str], code: int
) -> None:
    """Exit codes: 0 all completed, 3 some stopped or blocked, 7 not finished in time."""
    with site(tmp_path, {"batches": batches, "speed": 10}) as place:
        place.declare({"uk": {"batch_id": "b-1", **declared}})
        ended = warm.run(place, "status", "--wait", *words)
        assert ended.code == code, ended
        assert {entry.operation for entry in place.log.entries} <= {"list"}
        assert not (tmp_path / "batchform.state.json").exists()


@pytest.mark.parametrize(
    ("batch", "code"),
    [({"records": 10}, 0), ({"records": 10_000, "max_processing_time": 1}, 3), ({"records": 10_000}, 7)],
    ids=["completed", "stopped", "not in time"],
)
def test_apply_waits_and_tells_the_worse_of_both(tmp_path: Path, warm: Warm, batch: dict[str, Any], code: int) -> None:
    """The state has the start."""
    with site(tmp_path, {"batches": {"b-1": batch}, "speed": 1}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        ended = warm.run(place, "apply", "--auto-approve", "--wait", "--timeout", "2m")
        assert ended.code == code, ended
        place.paid_once(["b-1"])


def test_a_batch_that_the_list_does_not_name_is_read_singly(tmp_path: Path, warm: Warm) -> None:
    """The list may be incomplete, and a wait must end."""
    truncated = {"operation": "list", "fault": "list", "how": "null_batches", "forever": True}
    with site(tmp_path, {"batches": {"b-1": {"records": 1}}, "speed": 100, "faults": [truncated]}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        warm.apply(place)
        assert warm.run(place, "status", "--wait").code == 0


def test_status_without_the_server_needs_no_token(tmp_path: Path) -> None:
    """The output says that it is from the state."""
    with site(tmp_path, {"batches": {"b-1": {"records": 7}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        assert place.run("apply", "--auto-approve").code == 0
        before = len(place.log.entries)
        ended = place.run("status", "--no-refresh", BATCHFORM_AUTH_TOKEN="")
        assert ended.code == 0, ended
        assert "processing" in ended.out
        assert "From the state file only." in ended.out
        assert len(place.log.entries) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--timeout", "5m"],
        ["--detailed-exitcode"],
        ["--watch", "--no-refresh"],
        ["--wait", "--expiring", "7d"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, warm: Warm, words: list[str]) -> None:
    """Nothing is sent."""
    with site(tmp_path, {"batches": {"b-1": {}}}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        assert warm.run(place, "status", *words).code == 1
        assert place.log.entries == []


def test_tables_are_aligned_and_narrow_whatever_the_names(tmp_path: Path, warm: Warm) -> None:
    """The names have the maximum length, and the texts of the server have wide characters."""
    names = {f"{letter * 100}": f"{letter * 100}" for letter in "abc"}
    wide = [{"batch_id": one, "status": "処理中" * 20, "reason": "\u202e長い" * 50} for one in names.values()]
    with site(tmp_path, {"batches": dict.fromkeys(names.values()), "faults": [_body(*wide)]}) as place:
        place.declare({name: {"batch_id": batch_id} for name, batch_id in names.items()})
        for words in (["status"], ["refresh"], ["history"], ["why", "a" * 100, "--refresh"]):
            ended = warm.run(place, *words)
            for line in ended.out.splitlines():
                columns = sum(2 if ord(character) > 0x2E7F else 1 for character in line)
                assert columns <= 100 or len(line.split()) == 1, line  # a word is not broken
                assert "\u202e" not in line


# --- import ----------------------------------------------------------------------------------------------------------


def test_import_declares_what_the_account_has(tmp_path: Path, warm: Warm) -> None:
    """Some names need quotes in YAML, some ids are not valid names, some references are used twice."""
    batches: dict[str, Any] = {
        "1e5": {"records": 1},
        "_x": {"batch_reference_id": "no"},
        "-y": {"batch_reference_id": "2026-11-20"},
        "a": {"batch_reference_id": "same", "status": "processing"},
        "b": {"batch_reference_id": "same", "status": "completed"},
        "c": {"batch_reference_id": "a: b, (c)"},
        "old": {"age": "30d"},
        "cut": {"status": "stopped"},
        "declared": {},
    }
    with site(tmp_path, {"batches": batches}) as place:
        place.declare({"same": {"batch_id": "declared"}})
        ended = warm.run(place, "import", "--all", "--out", "more.yaml", "--adopt")
        assert ended.code == 0, ended
        config = load([tmp_path / "more.yaml", tmp_path / "batchform.yaml"])
        assert {batch.batch_id for batch in config.batches} == set(batches)
        assert {batch.batch_id for batch in config.batches if not batch.hold} == {"a", "b", "declared"}
        names = {batch.batch_id: batch.name for batch in config.batches}
        assert names["_x"] == "no"
        assert names["c"] == "a-b-c"
        assert names["-y"] == "2026-11-20"
        assert {names["a"], names["b"]} == {"same-2", "same-3"}
        assert set(place.entries()) == {"a", "b"}
        assert [entry.operation for entry in place.log.entries] == ["list"]
        again = warm.run(place, "import", "--all", "--out", "more.yaml")
        assert again.code == 6, again
        assert [entry.operation for entry in place.log.entries] == ["list"]


@pytest.mark.parametrize(("why", "code"), [("belongs to another service", 1), ("is locked by another run", 5)])
def test_an_import_that_cannot_adopt_writes_no_file(tmp_path: Path, warm: Warm, why: str, code: int) -> None:
    """Else the same command, repeated as soon as it is possible, would refuse to overwrite its own file."""
    batches = {"p": {"status": "processing"}, "e": {"status": "processing", "service": "email"}}
    with site(tmp_path, {"batches": batches}) as place:
        assert warm.run(place, "import", "--all", "--out", "phone.yaml", "--adopt").code == 0
        service = "email" if code == 1 else "phone"
        lock = contextlib.nullcontext() if code == 1 else locked(tmp_path / "batchform.state.json.lock", {}, 0.0)
        with lock:
            ended = warm.run(place, "import", "--all", "--service", service, "--out", "more.yaml", "--adopt")
        assert (ended.code, why in ended.err) == (code, True), ended
        assert not (tmp_path / "more.yaml").exists()
        assert len(place.requests("list")) == 1
        assert set(place.entries()) == {"p"}


def test_an_import_starts_nothing_unless_it_is_asked_to(tmp_path: Path, warm: Warm) -> None:
    """What is submitted is on hold, and the file says how to release it. `--no-hold` leaves it free."""
    batches = {f"b-{number}": {"batch_reference_id": f"UK mobiles/{number}:x"} for number in range(3)}
    with site(tmp_path, {"batches": batches, "speed": 0}) as place:
        ended = warm.run(place, "import", "--all", "--out", "batchform.yaml")
        assert "3 on hold" in ended.out
        assert "delete its line `hold: true`" in (tmp_path / "batchform.yaml").read_text()
        assert [batch.name for batch in load([tmp_path / "batchform.yaml"]).batches] == [
            f"UK-mobiles-{number}-x" for number in range(3)
        ]
        assert warm.apply(place).code == 0
        assert place.requests("start") == []
        (tmp_path / "batchform.yaml").unlink()
        assert "3 to start" in warm.run(place, "import", "--all", "--no-hold", "--out", "batchform.yaml").out
        assert warm.apply(place).code == 0
        place.paid_once([*batches])


def test_an_import_names_the_plan_that_has_the_new_file(tmp_path: Path, warm: Warm) -> None:
    """The default file needs no `-f`, a file in a folder is read with it. The files can be read together."""
    with site(tmp_path, {"batches": {"b-1": {}, "b-2": {}, "b-3": {}, "b-4": {}}}) as place:
        first = warm.run(place, "import", "b-1", "--out", "batchform.yaml")
        second = warm.run(place, "import", "b-2", "--out", "more of it.yaml")
        third = warm.run(place, "import", "b-3", "--out", "third.yaml", "-f", ".", "--state", "s.json")
        other = warm.run(place, "import", "b-4", "--out", "other.txt", "-f", ".", "--state", "s.json")
    assert "`batchform plan` shows" in first.out
    assert "`batchform plan -f batchform.yaml -f 'more of it.yaml'` shows" in second.out
    assert "`batchform plan -f .` shows" in third.out
    assert "`batchform plan -f . -f other.txt` shows" in other.out


def test_what_the_server_says_cannot_leave_its_comment(tmp_path: Path, warm: Warm) -> None:
    """The texts have line breaks (also the special ones of YAML), tags, quotes and control characters."""
    evil = [
        "a\n  evil: {batch_id: b-9}",
        "a\r\nbatches: {}",
        "\u2028x: 1",
        "\x85y: 2",
        "\ufeff# x",
        '"',
        "\x00",
        "'\t- !!x",
    ]
    listed = [
        {"batch_id": f"b-{number}", "status": text, "batch_reference_id": text, "reason": text, "records": 10**6}
        for number, text in enumerate(evil)
    ]
    with site(tmp_path, {"faults": [_body(*listed)]}) as place:
        ended = warm.run(place, "import", "--all", "--out", "all.yaml")
        assert ended.code == 0, ended
        config = load([tmp_path / "all.yaml"])
        assert {batch.batch_id for batch in config.batches} == {f"b-{number}" for number in range(len(evil))}
        assert all(batch.hold for batch in config.batches)  # a batch with an unknown status must not be started
        text = (tmp_path / "all.yaml").read_text(encoding="utf-8")
        assert all(character.isprintable() or character == "\n" for character in text)


def test_a_typing_error_in_an_id_names_the_nearest_and_writes_nothing(tmp_path: Path, warm: Warm) -> None:
    """Only the list call is sent."""
    with site(tmp_path, {"batches": dict.fromkeys(["3f0c1f6e-2a55", "9a7e-6d2b8a0c"])}) as place:
        ended = warm.run(place, "import", "3f0c1f6e-2a56", "--out", "one.yaml")
        assert ended.code == 1
        assert "Did you mean `3f0c1f6e-2a55`?" in ended.err
        assert [entry.operation for entry in place.log.entries] == ["list"]
        assert not (tmp_path / "one.yaml").exists()


def test_import_by_status_takes_those_only(tmp_path: Path, warm: Warm) -> None:
    """If there are none, the output says so."""
    with site(tmp_path, {"batches": {"a": {}, "b": {"status": "completed"}}}) as place:
        assert warm.run(place, "import", "--status", "submitted", "--out", "some.yaml").code == 0
        assert [batch.batch_id for batch in load([tmp_path / "some.yaml"]).batches] == ["a"]
        ended = warm.run(place, "import", "--status", "stopped", "--out", "none.yaml")
        assert ended.code == 0
        assert "Nothing to import" in ended.out
        assert not (tmp_path / "none.yaml").exists()


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_tells_who_spent_what(tmp_path: Path) -> None:
    """It has the command, the CI job, the commit and the overridden guard, but no run that changes nothing."""
    job: dict[str, Any] = {
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
        "GITHUB_SHA": "c" * 40,
    }
    with site(tmp_path, {"batches": {"b-1": {"records": 9800}, "b-2": {"status": "processing"}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1"}, "de": {"batch_id": "b-2"}}, guards={"max_records": 5})
        assert place.run("apply", "--auto-approve").code == 6
        place.run("apply", "--auto-approve", "--override-guard", "max_records", **job)
        assert place.run("apply", "--auto-approve").code == 0
        told = json.loads(place.run("history", "--json").out)
        (run,) = told["runs"]
        assert run["command"] == "apply"
        assert run["job"] == "https://github.example/o/r/actions/runs/7"
        assert run["commit"] == "c" * 40
        assert run["overrides"] == ["max_records"]
        assert (run["started"], run["records"], run["adopted"]) == (1, 9800, 1)
        assert told["summary"]["records"] == 9800
        text = place.run("history").out
        assert "guard overridden: max_records" in text
        assert "1 run: 1 batch started, 9,800 records." in text
        assert "1 batch adopted (found running, by a lost run or elsewhere)." in " ".join(text.split())


def test_a_run_that_died_keeps_its_story(tmp_path: Path) -> None:
    """The next run adds its events to the history under its id."""
    values = {
        "batches": {"b-1": {"records": 5}},
        "faults": [{"operation": "start", "fault": "hang", "act": True}],
        "speed": 0,
    }
    with site(tmp_path, values) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        process = place.begin("apply", "--auto-approve", GITHUB_SHA="a" * 40)
        place.log.wait_for(accepted=1)
        kill(process)
        assert "1 batch: 1 unknown." in place.run("status", "--no-refresh").out
        confirmed = place.run("apply", "--auto-approve", fast=True, GITHUB_SHA="b" * 40)
        assert confirmed.code == 0
        assert "Apply complete! 0 started, 1 confirmed from an earlier run." in confirmed.out
        told = json.loads(place.run("history", "--json").out)
        assert [run["commit"][0] for run in told["runs"]] == ["a", "b"]
        assert [run["unknown"] for run in told["runs"]] == [0, 0]
        assert told["summary"]["started"] == 1


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plan", ["plan", "--refresh", "--json"]),
        ("refresh", ["refresh", "--json"]),
        ("status", ["status", "--json"]),
        ("status", ["status", "--no-refresh", "--json"]),
        ("history", ["history", "--json"]),
        ("state", ["show", "batchform.state.json", "--json"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_each_document_fits_its_schema(tmp_path: Path, warm: Warm, name: str, words: list[str]) -> None:
    """The account has one batch of each kind."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # slow to import

    with site(tmp_path, {"batches": TRUTH, "speed": 0}) as place:
        place.declare({f"the-{batch_id}": {"batch_id": batch_id, "records": 3} for batch_id in (*TRUTH, NOWHERE)})
        if name in {"history", "state"}:
            warm.apply(place)
        schema = json.loads((ROOT / "schemas" / f"{name}-1.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(json.loads(warm.run(place, *words).out))


def test_the_last_line_of_a_waiting_stream_fits_its_schema(tmp_path: Path, warm: Warm) -> None:
    """The last line of `apply --wait --json` is `wait_complete`."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # slow to import

    with site(tmp_path, {"batches": {"b-1": {"records": 1}}, "speed": 1000}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        lines = warm.run(place, "apply", "--auto-approve", "--wait", "--json").out.splitlines()
        schema = json.loads((ROOT / "schemas" / "events-1.json").read_text(encoding="utf-8"))
        for line in lines:
            Draft202012Validator(schema).validate(json.loads(line))
        assert json.loads(lines[-1])["type"] == "wait_complete"
