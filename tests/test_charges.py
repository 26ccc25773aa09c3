"""Which charges are read, and what an answer says about one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from batchform.api.results import Results
from batchform.charges import CAN_CHANGE, charged, summed, to_read
from batchform.model import Observed, Reading, ServerProblem, Service, Source
from batchform.state.events import Charged
from batchform.state.known import Entry, Phase, State

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


def entry(batch_id: str = "b1", **known: Any) -> Entry:
    """A batch that we started and that was completed."""
    words: dict[str, Any] = {
        "batch_id": batch_id,
        "name": batch_id,
        "phase": Phase.STARTED,
        "status": "completed",
        "started_at": NOW - 10 * DAY,
        "ended_at": NOW - 10 * DAY,
        "updated_at": NOW - 10 * DAY,
        "run": "r1",
    }
    return Entry(**(words | known))


def state(*entries: Entry, past: tuple[Entry, ...] = ()) -> State:
    """A state with these entries."""
    return State(
        lineage="l",
        service=Service.PHONE,
        endpoint="e",
        entries={one.batch_id: one for one in entries},
        past={one.batch_id: one for one in past},
    )


def due(*entries: Entry, observed: Observed = Observed(), past: tuple[Entry, ...] = ()) -> list[str]:  # noqa: B008  # frozen
    """The batches whose charges are read."""
    return [one.batch_id for one in to_read(state(*entries, past=past), observed, None, NOW)]


def observed(status: str | None) -> Observed:
    """What the list says about the batch."""
    return Observed(listed=True, readings={"b1": Reading(batch_id="b1", source=Source.LIST, status=status)})


@pytest.mark.parametrize(
    ("known", "is_read"),
    [
        pytest.param({}, True, id="completed"),
        pytest.param({"status": "stopped"}, True, id="stopped"),
        pytest.param({"phase": Phase.ADOPTED}, True, id="adopted"),
        pytest.param({"phase": Phase.STOPPED, "status": "stopped"}, True, id="found stopped"),
        pytest.param({"phase": Phase.REJECTED}, False, id="never started"),
        pytest.param({"status": "processing"}, False, id="processing"),
        pytest.param({"status": "processing", "declared": False}, True, id="undeclared: nobody reads its status"),
        pytest.param({"credits": 5, "final": True, "charged_at": NOW - DAY}, False, id="final"),
        pytest.param({"credits": 5, "charged_at": NOW - DAY}, True, id="so far, read yesterday"),
        pytest.param({"credits": 5, "charged_at": NOW - HOUR}, False, id="so far, read an hour ago"),
        pytest.param({"charged_at": NOW - 9 * DAY}, True, id="unknown, read a day after its end"),
        pytest.param({"charged_at": NOW - 2 * DAY}, False, id="unknown, read 8 days after its end"),
        pytest.param({"charged_at": NOW - 9 * DAY, "ended_at": None}, True, id="unknown, its end too"),
    ],
)
def test_which_charges_are_read(known: dict[str, Any], *, is_read: bool) -> None:
    """Those of ended batches that are not final, and were not read lately."""
    assert due(entry(**known)) == (["b1"] if is_read else [])


@pytest.mark.parametrize(
    ("status", "is_read"), [("processing", False), ("stopped", True), (None, True), ("queued", False)]
)
def test_the_status_of_this_run_counts(status: str | None, *, is_read: bool) -> None:
    """A status that the server does not give is the known one."""
    assert due(entry(), observed=observed(status)) == (["b1"] if is_read else [])


def test_only_selected_batches_are_read() -> None:
    """`--target` and `--exclude` hold for the charges, too."""
    some = state(entry("b1"), entry("b2"))
    assert [one.batch_id for one in to_read(some, Observed(), {"b2"}, NOW)] == ["b2"]


def test_the_oldest_starts_are_read_first_and_those_read_before_last() -> None:
    """So a charge that stays unknown does not keep the others waiting."""
    old, new = entry("b1", started_at=NOW - 60 * DAY), entry("b2", started_at=NOW - 5 * DAY)
    asked = entry("b0", started_at=NOW - 90 * DAY, ended_at=NOW - 9 * DAY, charged_at=NOW - 8 * DAY)
    assert due(new, asked, old) == ["b1", "b2", "b0"]


def test_the_charge_of_a_deleted_entry_is_read() -> None:
    """It is only in `past`. One that is final there is not read for its entry either."""
    kept = entry("b1", declared=False)
    assert due(past=(kept,)) == ["b1"]
    assert due(entry("b1", phase=Phase.ADOPTED), past=(replace(kept, credits=3, final=True),)) == []


def results(status: str = "completed", credits_charged: int | None = 5) -> Results:
    """An answer."""
    return Results(
        batch_id="b1",
        status=status,
        reason=None,
        credits_charged=credits_charged,
        statistics={"verified": 5},
        count=5,
    )


RECENT: Final[dict[str, Any]] = {"ended_at": NOW - DAY}


@pytest.mark.parametrize(
    ("known", "found", "credits_charged", "final"),
    [
        pytest.param(RECENT, results(), 5, True, id="completed"),
        pytest.param(RECENT, results(credits_charged=0), 0, True, id="completed, nothing charged"),
        pytest.param(RECENT, results(credits_charged=None), None, False, id="completed, no usable number"),
        pytest.param({}, results(credits_charged=None), None, True, id="no usable number for 7 days"),
        pytest.param({"credits": 4}, results(credits_charged=None), 4, True, id="the last one counts"),
        pytest.param(RECENT | {"credits": 4}, results("stopped", None), None, False, id="none, known before"),
        pytest.param(RECENT, results("stopped"), 5, False, id="stopped: so far"),
        pytest.param({"ended_at": NOW - CAN_CHANGE}, results("stopped"), 5, True, id="stopped for 7 days"),
        pytest.param({"ended_at": NOW - CAN_CHANGE + HOUR}, results("stopped"), 5, False, id="stopped for less"),
        pytest.param({"ended_at": None}, results("stopped"), 5, False, id="stopped, its end unknown"),
    ],
)
def test_what_an_answer_says(
    known: dict[str, Any], found: Results, credits_charged: int | None, *, final: bool
) -> None:
    """A number, or none; final, or not."""
    assert charged(entry(**known), found, NOW) == Charged(
        status=found.status, credits=credits_charged, final=final, statistics={"verified": 5}
    )


@pytest.mark.parametrize("status", ["processing", "submitted", "queued"])
def test_a_batch_that_has_not_ended_says_nothing(status: str) -> None:
    """It says 0 until then."""
    assert charged(entry(), results(status, 0), NOW) is None


@pytest.mark.parametrize(
    ("status", "what"),
    [(404, Charged()), (400, Charged()), (200, Charged()), (503, None), (401, None), (429, None), (None, None)],
)
def test_an_answer_about_the_service_says_nothing_about_the_batch(status: int | None, what: Charged | None) -> None:
    """The attempt is noted only if the answer was about the batch. It never makes a charge final."""
    assert charged(entry(), ServerProblem(status=status, title="t"), NOW) == what


def test_the_numbers_of_a_refresh() -> None:
    """Each batch counts once for each number that it is part of."""
    told = [
        Charged(status="completed", credits=5, final=True),
        Charged(status="stopped", credits=2, final=False),
        Charged(status="completed"),
        None,
    ]
    found = summed(told, due=400)
    assert (found.read, found.credits, found.open, found.unknown, found.unanswered, found.left) == (
        3,
        7,
        1,
        1,
        297,
        100,
    )
    none = summed([], due=0)
    assert (none.read, none.unanswered, none.left) == (0, 0, 0)
