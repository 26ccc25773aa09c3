"""What a reviewer approved is what is spent, through the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Warm, site, warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FACTOR = 50.0


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all tests of this file."""
    with warmed("tests.e2e.warm", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


def test_an_approval_of_10_records_does_not_start_10000(tmp_path: Path, warm: Warm) -> None:
    """Exit 3, nothing is started, and the report names both numbers."""
    with site(tmp_path, {"batches": {"b-1": {"records": 10_000}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1", "records": 10}})
        assert warm.run(place, "plan", "--out", "plan.json").code == 0
        ended = warm.run(place, "apply", "plan.json")
        assert ended.code == 3, ended
        assert "10,000 records, 10 were approved" in ended.out
        assert "declared 10, the account says 10,000" in ended.out + ended.err
        assert place.requests("start") == []
        assert warm.run(place, "plan", "--refresh", "--out", "plan.json").code == 0
        assert warm.run(place, "apply", "plan.json").code == 0
        place.paid_once(["b-1"])


def test_an_approval_of_an_unknown_number_says_what_it_approves(tmp_path: Path, warm: Warm) -> None:
    """Up to 10,000 records, in the plan and in the question."""
    with site(tmp_path, {"batches": {"b-1": {"records": 10_000}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})
        planned = warm.run(place, "plan", "--out", "plan.json", "--markdown", "plan.md")
        said = "1 batch of unknown size (up to 10,000 records)"
        assert said in planned.out
        assert said in (tmp_path / "plan.md").read_text()
        assert warm.run(place, "apply", "plan.json").code == 0
        place.paid_once(["b-1"])


def test_a_saved_plan_of_the_old_format_warns(tmp_path: Path, warm: Warm) -> None:
    """It approves any size, as it did when it was made."""
    with site(tmp_path, {"batches": {"b-1": {"records": 10_000}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1", "records": 10}})
        warm.run(place, "plan", "--out", "plan.json")
        plan = json.loads((tmp_path / "plan.json").read_text())
        assert plan["format_version"] == "1.2"
        (tmp_path / "plan.json").write_text(json.dumps(plan | {"format_version": "1.0"}))
        ended = warm.run(place, "apply", "plan.json")
        assert ended.code == 0, ended
        assert "an old format without sizes" in ended.out + ended.err
        place.paid_once(["b-1"])


BLOCKED = {
    "old": {"age": "30d", "records": 5},
    "stopped": {"status": "stopped"},
}


def test_what_apply_saw_blocked_stays_blocked_offline(tmp_path: Path, warm: Warm) -> None:
    """Expired, stopped and not found: the next offline plan starts none of them."""
    with site(tmp_path, {"batches": {"b-1": {}, **BLOCKED}, "speed": 0}) as place:
        place.declare({f"the-{name}": {"batch_id": name} for name in ("b-1", *BLOCKED, "nowhere")})
        assert warm.apply(place).code == 3
        place.paid_once(["b-1"])
        planned = json.loads(warm.run(place, "plan", "--json").out)
        assert planned["summary"]["start"] == 0
        reasons = {change["batch_id"]: change["action_reason"] for change in planned["resource_changes"]}
        assert reasons == {
            "b-1": "running",
            "nowhere": "not_found",
            "old": "expired",
            "stopped": "stopped",
        }


def test_a_batch_that_cannot_be_started_stays_red_until_a_person_acts(tmp_path: Path, warm: Warm) -> None:
    """The day before the deadline, the day after, and after the day after has been recorded."""
    for age in ("27d", "30d"):
        with site(tmp_path, {"batches": {"b-1": {"age": age, "records": 5}}, "speed": 0}) as place:
            place.declare({"uk": {"batch_id": "b-1"}})
            (tmp_path / "batchform.state.json").unlink(missing_ok=True)
            for _ in range(2):
                refreshed = warm.run(place, "refresh", "--detailed-exitcode")
                assert refreshed.code == (0 if age == "27d" else 2), refreshed
            for words in (
                ["plan", "--detailed-exitcode"],
                ["plan", "--refresh", "--detailed-exitcode"],
                ["status", "--expiring", "3d", "--detailed-exitcode"],
                ["status", "--no-refresh", "--expiring", "3d", "--detailed-exitcode"],
            ):
                ended = warm.run(place, *words)
                assert ended.code == 2, (age, ended)
            place.declare({"uk": {"batch_id": "b-1", "hold": True}})
            for words in (["plan"], ["refresh"], ["status", "--expiring", "3d"]):
                assert warm.run(place, *words, "--detailed-exitcode").code == 0, (age, words)


@pytest.mark.parametrize(
    ("cap", "code", "said"),
    [
        ("20", 0, "Guard max_records 20 (BATCHFORM_MAX_RECORDS): ok."),
        ("19", 6, "Guard max_records 19: exceeded, 20 records (set in BATCHFORM_MAX_RECORDS)"),
        ("100", 0, "Guard max_records 50: ok."),
        ("1e3", 1, "BATCHFORM_MAX_RECORDS is not a number"),
        ("-1", 1, "BATCHFORM_MAX_RECORDS is not a number"),
    ],
)
def test_a_cap_from_outside_holds_too(tmp_path: Path, cap: str, code: int, said: str) -> None:
    """The smaller limit wins, and the plan names its source."""
    with site(tmp_path, {"batches": {"b-1": {"records": 20}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1", "records": 20}}, guards={"max_records": 50})
        planned = place.run("plan", "--out", "plan.json", "--markdown", "plan.md", BATCHFORM_MAX_RECORDS=cap)
        assert planned.code == code, planned
        assert said in planned.out + planned.err
        applied = place.run("apply", "--auto-approve", BATCHFORM_MAX_RECORDS=cap)
        assert applied.code == code, applied
        assert bool(place.requests("start")) is (code == 0)
        if code == 6:
            assert "(set in `BATCHFORM_MAX_RECORDS`)" in (tmp_path / "plan.md").read_text()
            assert "exceeded" in place.run("show", "plan.json").out


def test_a_cap_needs_no_guard_in_the_configuration(tmp_path: Path) -> None:
    """BATCHFORM_MAX_STARTS limits how many batches one apply starts."""
    with site(tmp_path, {"batches": {"b-1": {}, "b-2": {}}, "speed": 0}) as place:
        place.declare({"uk": {"batch_id": "b-1"}, "fr": {"batch_id": "b-2"}})
        assert place.run("apply", "--auto-approve", BATCHFORM_MAX_STARTS="1").code == 6
        assert place.requests("start") == []


def test_a_plan_against_a_base_names_what_a_reviewer_must_see(tmp_path: Path, warm: Warm) -> None:
    """Guards, holds and batch_ids, in the log and in the visible part of the comment."""
    with site(tmp_path, {"batches": {}, "speed": 0}) as place:
        old = {"a": {"batch_id": "b-1", "hold": True}, "b": {"batch_id": "b-2"}, "c": {"batch_id": "b-3"}}
        new = {"a": {"batch_id": "b-1"}, "b": {"batch_id": "b-2", "hold": True}, "c": {"batch_id": "b-4"}}
        place.declare(old, name="base.yaml", guards={"max_records": 10_000})
        place.declare(new, guards={"max_records": 50_000, "max_starts": 9})
        ended = warm.run(place, "plan", "--base", "base.yaml", "--markdown", "plan.md")
        assert ended.code == 0, ended
        visible = (tmp_path / "plan.md").read_text().partition("<details>")[0].replace("`", "")
        for said in (
            "The guard max_starts was changed: none in the base, 9 now.",
            "The guard max_records was changed: 10,000 in the base, 50,000 now.",
            "Since the base, hold was removed for a.",
            "Since the base, hold was set for b.",
            "Since the base, the batch_id was changed for c.",
        ):
            assert said in " ".join(ended.err.split())
            assert said in visible
        assert "Since the base" not in warm.run(place, "plan", "--base", "batchform.yaml").err
        broken = warm.run(place, "plan", "--base", "nowhere.yaml")
        said = " ".join(broken.err.split())
        assert (broken.code, "The base cannot be loaded" in said, "The file cannot be read." in said) == (0, True, True)


def test_credits_that_run_out_end_with_exit_3_and_advice(tmp_path: Path, warm: Warm) -> None:
    """A 403 after an accepted start is not about every request. Before one, it is an error."""
    batches = {f"b-{number}": {"records": 10} for number in range(3)}
    with site(tmp_path, {"batches": batches, "credits": 10, "speed": 0}) as place:
        place.declare({f"the-{batch_id}": {"batch_id": batch_id} for batch_id in batches})
        ended = warm.run(place, "apply", "--auto-approve", "--parallelism", "1")
        said = " ".join(ended.out.split())
        assert ended.code == 3, ended
        assert "The server refuses further starts" in said
        assert "After buying some, run `batchform apply` again." in said
        assert ".)" not in said
        assert ".." not in said
        again = warm.run(place, "apply", "--auto-approve")
        assert again.code == 1, again
        assert "The server refuses every request" in again.out
