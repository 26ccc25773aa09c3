"""Sums of what was spent: each started batch once, in the period of its start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchform.errors import UsageError
from batchform.history import KEYS, Sums, keys_of, sum_up
from batchform.model import Service
from batchform.state.known import BEYOND, Entry, Phase, State
from batchform.state.merge import merge
from tests.strategies import entries

AT: Final = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
EMPTY: Final = State(lineage="l", service=Service.EMAIL, endpoint="e")


def entry(batch_id: str = "b1", **known: Any) -> Entry:
    """A batch that we started."""
    words: dict[str, Any] = {
        "batch_id": batch_id,
        "name": batch_id,
        "phase": Phase.STARTED,
        "records": 40,
        "labels": {"team": "crm"},
        "who": "ann@host",
        "started_at": AT,
        "credits": 38,
        "final": True,
        "updated_at": AT,
        "run": "r1",
    }
    return Entry(**(words | known))


def state(*some: Entry, past: tuple[Entry, ...] = ()) -> State:
    """A state of these."""
    return replace(EMPTY, entries={one.batch_id: one for one in some}, past={one.batch_id: one for one in past})


@pytest.mark.parametrize(
    ("key", "known", "value"),
    [
        ("month", {}, "2026-12"),
        ("day", {}, "2026-12-31"),
        ("week", {}, "2026-W53"),
        ("week", {"started_at": datetime(2027, 1, 1, tzinfo=UTC)}, "2026-W53"),
        ("month", {"started_at": None, "updated_at": datetime(2025, 1, 1, tzinfo=UTC)}, "2025-01"),
        ("service", {}, "email"),
        ("actor", {}, "ann"),
        ("actor", {"who": ""}, "unknown"),
        ("actor", {"phase": Phase.ADOPTED}, "elsewhere"),
        ("label:team", {}, "crm"),
        ("label:unit", {}, None),
        ("label:team", {"labels": None}, None),
    ],
)
def test_the_value_of_each_key(key: str, known: dict[str, Any], value: str | None) -> None:
    """Times are in UTC, and a week is that of ISO 8601."""
    (group,) = sum_up(state(entry(**known)), [key]).groups
    assert group.values == (value,)


def test_what_is_summed_up() -> None:
    """Starts by us and elsewhere, what is not known of them, and refusals, which are no starts."""
    found = sum_up(
        state(
            entry("b1"),
            entry("b2", phase=Phase.ADOPTED, credits=3, final=False),
            entry("b3", phase=Phase.STOPPED, credits=None, final=False, records=None),
            entry("b4", phase=Phase.REJECTED, settled_at=AT),
            entry("b5", phase=Phase.SEEN),
        ),
        ["service"],
    )
    assert found.total == Sums(
        starts=3,
        records=80,
        unsized=1,
        credits_charged=41,
        credits_unknown=1,
        credits_open=1,
        adopted=2,
        refused=1,
    )
    assert [group.sums for group in found.groups] == [found.total]


def test_no_known_charge_is_no_number() -> None:
    """It is not 0."""
    assert sum_up(state(entry(credits=None)), ["month"]).total.credits_charged is None
    assert sum_up(state(entry(credits=0)), ["month"]).total.credits_charged == 0
    assert sum_up(EMPTY, ["month"]) == replace(sum_up(EMPTY, ["month"]), groups=(), total=Sums())


def test_groups_are_sorted_by_their_values() -> None:
    """A batch without the label comes last."""
    some = [entry("b1", labels={"team": "ops"}), entry("b2", labels={}), entry("b3")]
    assert [group.values[0] for group in sum_up(state(*some), ["label:team"]).groups] == ["crm", "ops", None]


def test_the_period_of_a_start() -> None:
    """The beginning is part of it, the end is not. A refusal has its own time."""
    some = state(
        entry(), entry("b2", phase=Phase.REJECTED, settled_at=AT, started_at=None, updated_at=AT + timedelta(9))
    )
    assert sum_up(some, ["month"], since=AT, until=AT + timedelta(1)).total.starts == 1
    assert sum_up(some, ["month"], since=AT, until=AT + timedelta(1)).total.refused == 1
    assert sum_up(some, ["month"], until=AT).groups == ()
    assert sum_up(some, ["month"], since=AT + timedelta(seconds=1)).groups == ()


@settings(max_examples=30)  # entries take their time to be drawn
@given(
    st.lists(entries(), max_size=3, unique_by=lambda one: one.batch_id),
    st.lists(entries(), max_size=3, unique_by=lambda one: one.batch_id),
    st.lists(st.sampled_from(KEYS[:-1]), min_size=1, max_size=2, unique=True),
)
def test_the_groups_add_up_to_the_total_and_no_batch_counts_twice(
    some: list[Entry], others: list[Entry], by: list[str]
) -> None:
    """Also when a batch is in the entries and in the past, and after a merge with itself."""
    known = replace(
        EMPTY,
        entries=MappingProxyType({one.batch_id: one for one in some}),
        past=MappingProxyType({one.batch_id: replace(one, phase=Phase.STARTED) for one in others}),
    )
    found = sum_up(known, by)
    started = {one.batch_id for one in some if one.phase in BEYOND} | {one.batch_id for one in others}
    assert found.total.starts == len(started)
    for name in ("starts", "records", "unsized", "credits_unknown", "credits_open", "adopted", "refused"):
        assert sum(getattr(group.sums, name) for group in found.groups) == getattr(found.total, name)
    assert sum(group.sums.credits_charged or 0 for group in found.groups) == (found.total.credits_charged or 0)
    assert sum_up(merge(known, known), by) == found


def test_keys_are_given_one_by_one_or_with_commas() -> None:
    """The order is kept."""
    assert keys_of(["month,label:team", "actor"]) == ("month", "label:team", "actor")
    for wrong in (
        ["month,"],
        ["label"],
        ["label:"],
        ["Month"],
        ["month", "month"],
        ["month,week,day,service,actor"],
        [""],
    ):
        with pytest.raises(UsageError):
            keys_of(wrong)
