"""What is kept of a started batch: who started it, when, under which labels, and what it cost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from batchform.state.codec import FORMAT_VERSION, decode_state, digest, encode_state
from batchform.state.events import FORGET_AFTER, Charged, Forgotten, Removed, expire, fold
from batchform.state.known import PAST_KEPT, Evidence, Phase, State, Story, TimeSource
from batchform.state.merge import merge, spending
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, event, events, seen

LABELLED: Final = replace(INTENDED, records=40, labels={"team": "crm"})
COST: Final = Charged(status="completed", credits=38, final=True, statistics={"verified": 38})
STORIES: Final = {"run-1": Story(command="apply", who="ann@host")}
PAID: Final = fold(EMPTY, events(LABELLED, STARTED, COST), STORIES)
DAY: Final = timedelta(days=1)


def old(state: State, version: str) -> bytes:
    """The file of an older version, which had none of the fields."""
    document: dict[str, Any] = json.loads(encode_state(state))
    for row in document["batches"].values():
        for name in ("labels", "who", "attempt_run", "started_at", "time_source", "ended_at", "credits", "final"):
            row.pop(name, None)
        for name in ("charged_at", "statistics"):
            row.pop(name, None)
    document |= {"format_version": version}
    document["digest"] = digest(document)
    return json.dumps(document).encode()


def test_an_entry_says_who_started_it_when_under_which_labels_and_for_how_much() -> None:
    """The labels are those of the attempt, and the time is that of the answer."""
    entry = PAID.entries["b1"]
    assert (entry.labels, entry.who, entry.attempt_run) == ({"team": "crm"}, "ann@host", "run-1")
    assert (entry.started_at, entry.time_source) == (NOW + timedelta(minutes=2), TimeSource.REQUEST)
    assert (entry.credits, entry.final, entry.statistics) == (38, True, {"verified": 38})


def forgotten(after: timedelta) -> State:
    """The state so long after the batch was undeclared."""
    undeclared = fold(PAID, [event(Forgotten(), seq=9)])
    return expire(undeclared, undeclared.entries["b1"].updated_at + after)


def test_spending_outlives_the_entry() -> None:
    """After 35 days the entry is deleted, and a short record of its spending is kept."""
    state = forgotten(FORGET_AFTER + DAY)
    assert dict(state.entries) == {}
    kept = state.past["b1"]
    assert (kept.phase, kept.records, kept.credits, kept.labels, kept.who) == (
        Phase.STARTED, 40, 38, {"team": "crm"}, "ann@host",
    )  # fmt: skip
    assert (kept.attempts, kept.reference_id, kept.intended_at, kept.declared) == (0, None, None, False)
    assert decode_state(encode_state(state)) == state
    assert json.loads(encode_state(state))["past"].keys() == {"b1"}


def test_spending_is_kept_for_25_months() -> None:
    """Counted from the start. One batch of each age."""
    start = PAID.entries["b1"].spent_at
    state = forgotten(FORGET_AFTER + DAY)
    assert "b1" in expire(state, start + PAST_KEPT).past
    assert "b1" not in expire(state, start + PAST_KEPT + timedelta(seconds=1)).past
    assert timedelta(days=760) < PAST_KEPT < timedelta(days=790)


def test_what_was_never_started_leaves_nothing_behind() -> None:
    """It cost nothing."""
    state = fold(EMPTY, [*events(seen("submitted")), event(Forgotten(), seq=9)])
    assert expire(state, NOW + 2 * FORGET_AFTER).past == {}


def test_a_removed_batch_keeps_its_spending() -> None:
    """`state rm` lets it be started again. The money was spent all the same."""
    state = fold(PAID, [event(Removed(), seq=9)])
    assert dict(state.entries) == {}
    assert state.past["b1"].credits == 38


def test_a_batch_that_was_removed_because_it_never_ran_leaves_nothing() -> None:
    """The server says that it was not started."""
    state = fold(PAID, [event(seen("submitted"), seq=9), event(Removed(), seq=10)])
    assert state.past == {}


def test_a_batch_that_comes_back_is_counted_once() -> None:
    """It is declared again after its entry was deleted, and is adopted: the history still says that it was ours."""
    state = fold(forgotten(FORGET_AFTER + DAY), [event(seen("completed"), run="run-2", at=NOW + 99 * DAY)])
    assert state.entries["b1"].phase is Phase.ADOPTED
    (one,) = spending(state).values()
    assert (one.phase, one.credits, one.started_at) == (Phase.STARTED, 38, PAID.entries["b1"].started_at)
    again = fold(state, [event(Forgotten(), seq=2, run="run-2", at=NOW + 99 * DAY)])
    gone = expire(again, NOW + 140 * DAY)
    assert dict(gone.entries) == {}
    kept = gone.past["b1"]
    assert (kept.phase, kept.credits, kept.started_at, kept.labels) == (one.phase, 38, one.started_at, one.labels)


def test_a_charge_can_be_read_after_the_entry_is_deleted() -> None:
    """It is added to what was kept."""
    state = forgotten(FORGET_AFTER + DAY)
    unpaid = replace(state, past={"b1": replace(state.past["b1"], credits=None, final=False, statistics=None)})
    read = fold(unpaid, [event(COST, run="run-2", at=NOW + 50 * DAY)])
    assert (read.past["b1"].credits, read.past["b1"].final, dict(read.entries)) == (38, True, {})


def test_two_copies_of_which_one_forgot_count_a_batch_once() -> None:
    """The entry of the one and the record of the other are one batch."""
    both = merge(PAID, forgotten(FORGET_AFTER + DAY))
    assert (len(both.entries), len(both.past)) == (1, 1)
    assert [entry.credits for entry in spending(both).values()] == [38]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_state_of_an_older_format_has_its_starts(version: str) -> None:
    """The time of the attempt, and the user of the run that made it. It is written in the newer format."""
    later = fold(PAID, [event(INTENDED, batch="b2", run="run-2", at=NOW + DAY)], {"run-2": Story(who="bob@host")})
    state = decode_state(old(later, version))
    entry = state.entries["b1"]
    assert (entry.started_at, entry.time_source) == (NOW + timedelta(minutes=1), TimeSource.REQUEST)
    assert (entry.who, entry.attempt_run, entry.labels) == ("ann@host", "run-1", None)
    assert state.entries["b2"].started_at is None
    assert json.loads(encode_state(state))["format_version"] == FORMAT_VERSION
    assert decode_state(encode_state(state)) == state


def test_a_start_of_an_older_format_without_an_attempt_is_dated_by_its_outcome() -> None:
    """Its intent was lost, or it was started elsewhere."""
    known = fold(EMPTY, events(STARTED, seen("completed")))
    entry = decode_state(old(known, "1.0")).entries["b1"]
    assert (entry.started_at, entry.who) == (NOW + timedelta(minutes=1), "")
    adopted = fold(EMPTY, events(seen("completed"), Forgotten()))
    entry = decode_state(old(adopted, "1.0")).entries["b1"]
    assert (entry.started_at, entry.time_source) == (NOW + timedelta(minutes=1), TimeSource.LATEST)


def test_a_start_known_by_its_status_is_dated_by_its_attempt() -> None:
    """The status came long after it."""
    entry = fold(EMPTY, [event(LABELLED), event(seen("processing"), seq=2, at=NOW + DAY)]).entries["b1"]
    assert (entry.phase, entry.evidence) == (Phase.STARTED, Evidence.STATUS)
    assert (entry.started_at, entry.time_source) == (NOW + timedelta(minutes=1), TimeSource.REQUEST)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("labels", [1]), ("labels", {"a": 1}), ("statistics", {"a": -1}), ("credits", -1), ("final", 1), ("past", [])],
)
def test_a_wrong_value_is_damage(key: str, wrong: object) -> None:
    """It is named."""
    document: dict[str, Any] = json.loads(encode_state(PAID))
    (document if key == "past" else document["batches"]["b1"])[key] = wrong
    document["digest"] = digest(document)
    with pytest.raises(Exception, match="damaged") as caught:
        decode_state(json.dumps(document).encode())
    assert key in str(caught.value.detail)  # type: ignore[attr-defined]
