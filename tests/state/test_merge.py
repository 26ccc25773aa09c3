"""Merging two copies of one state loses nothing that either knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.errors import StateError
from batchform.model import NOTHING_OBSERVED, Batch, Config, Observed, Reading, Service, Source
from batchform.plan import Action, Reason
from batchform.planner import plan
from batchform.state.events import FORGET_AFTER, Event, Seen, expire, fold
from batchform.state.known import BEYOND, PAST_KEPT, RUNS_KEPT, Phase, Run, State
from batchform.state.merge import charge_order, merge, spending, start_order
from tests.properties import small
from tests.strategies import entries, whats

BASE = State(lineage="one", service=Service.PHONE, endpoint="https://api.experianaperture.io")
IDS = ("b1", "b2", "b3")


def anything() -> st.SearchStrategy[State]:
    """States of one lineage with any entries, including entries that no run produces."""
    known = st.fixed_dictionaries({}, optional={key: entries(key) for key in IDS})
    runs = st.lists(
        st.builds(Run, id=st.sampled_from("rstu"), at=small.MOMENTS, seq=st.integers(1, 9)),
        max_size=3,
        unique_by=lambda run: run.id,
    )
    return st.builds(
        lambda serial, known, past, runs: replace(
            BASE, serial=serial, entries=MappingProxyType(known), past=MappingProxyType(past), runs=tuple(runs)
        ),
        st.integers(0, 99),
        known,
        known,
        runs.map(lambda some: sorted(some, key=lambda run: (run.at, run.id))),
    )


def lived() -> st.SearchStrategy[State]:
    """States that the events of runs produce."""
    one = st.tuples(st.sampled_from("rs"), st.sampled_from(IDS[:2]), small.MOMENTS, whats())
    return st.lists(one, max_size=8).map(
        lambda some: fold(
            BASE,
            [
                Event(run=run, seq=number, at=at, batch_id=key, name=key, what=what)
                for number, (run, key, at, what) in enumerate(some, start=1)
            ],
        )
    )


def said(state: State) -> tuple[object, ...]:
    """The content of a state, independent of the order of its parts."""
    return state.serial, dict(state.entries), dict(state.past), state.runs


@given(a=anything(), b=anything())
def test_merging_is_commutative(a: State, b: State) -> None:
    """The order of the two copies does not matter."""
    assert said(merge(a, b)) == said(merge(b, a))


@given(a=anything(), b=anything(), c=anything())
def test_merging_is_associative(a: State, b: State, c: State) -> None:
    """Three copies can be merged in any order."""
    assert said(merge(merge(a, b), c)) == said(merge(a, merge(b, c)))


@given(a=anything(), b=anything())
def test_merging_is_idempotent(a: State, b: State) -> None:
    """Merging a copy that is already included changes nothing, so a push can be repeated."""
    assert said(merge(a, a)) == said(a)
    assert said(merge(merge(a, b), b)) == said(merge(a, b))


@given(a=anything(), b=anything())
def test_started_is_never_turned_into_anything_less(a: State, b: State) -> None:
    """A batch started in either copy is started. A doubt or contradiction stays."""
    both = merge(a, b)
    for key, entry in (*a.entries.items(), *b.entries.items()):
        after = both.entries[key]
        if entry.phase in BEYOND:
            assert after.phase in BEYOND
        if entry.phase is Phase.STARTED:
            assert after.phase is Phase.STARTED
        if entry.uncertain:
            assert after.uncertain or after.phase in BEYOND
        assert after.doubt or not entry.doubt
        assert after.contradiction or not entry.contradiction
        assert after.attempts >= entry.attempts


def spent(state: State) -> dict[str, tuple[object, ...]]:
    """What the history sums up, by batch."""
    return {
        key: (entry.phase, entry.records, entry.credits, entry.final, entry.started_at, entry.labels, entry.who)
        for key, entry in spending(state).items()
    }


@given(a=anything(), b=anything())
def test_no_charge_and_no_better_date_is_lost(a: State, b: State) -> None:
    """A number stays a number, a final charge stays final, and a known time is not replaced by a bound."""
    both = merge(a, b)
    for key, entry in (*a.entries.items(), *b.entries.items()):
        after = both.entries[key]
        assert charge_order(after) >= charge_order(entry)
        assert start_order(after) >= start_order(entry)
        assert after.credits is not None or entry.credits is None
        assert after.final or not entry.final or entry.credits is None


@given(a=lived())
def test_the_spending_is_that_of_one_batch_however_it_is_kept(a: State) -> None:
    """The sums are the same from an entry, from what is kept of it, and from a merge of both. Nothing counts twice."""
    late = max((entry.updated_at for entry in a.entries.values()), default=small.NOW)
    undeclared = replace(a, entries={key: replace(entry, declared=False) for key, entry in a.entries.items()})
    now = late + FORGET_AFTER + timedelta(seconds=1)
    later = expire(undeclared, now)
    kept = {
        key
        for key, entry in spending(a).items()
        if now - entry.spent_at <= PAST_KEPT and not (key in a.entries and a.entries[key].contradiction)
    }
    for state in (later, merge(a, later)):
        assert {key: value for key, value in spent(state).items() if key in kept} == {
            key: value for key, value in spent(a).items() if key in kept
        }


@given(
    a=lived(),
    b=lived(),
    batch=st.builds(Batch, name=st.just("b1"), batch_id=st.just("b1"), place=st.just(small.PLACE)),
    reading=st.none()
    | st.builds(Reading, batch_id=st.just("b1"), source=st.sampled_from(Source), status=st.just("submitted")),
)
def test_a_merge_never_allows_a_start_that_either_side_rules_out(
    a: State, b: State, batch: Batch, reading: Reading | None
) -> None:
    """A plan after the merge starts only batches that a plan with either copy would start.

    A batch of unknown age is an exception: the plan verifies it first, because the other copy may know the age.
    """
    observed = Observed(listed=True, readings={"b1": reading}) if reading else NOTHING_OBSERVED
    unaged = reading is not None and reading.source is Source.LIST

    def starts(state: State) -> bool:
        config = Config(batches=(batch,))
        made = plan(config, state, observed, small.NOW, endpoint=state.endpoint).changes[0]
        return made.action is Action.START or (unaged and made.reason is Reason.UNCLEAR)

    if starts(merge(a, b)):
        assert starts(a)
        assert starts(b)


@given(a=lived(), b=lived())
def test_events_of_either_run_are_not_folded_in_again(a: State, b: State) -> None:
    """A journal that one copy already contains changes nothing after the merge."""
    both = merge(a, b)
    late = [
        Event(run=run.id, seq=run.seq, at=run.at, batch_id="b1", name="b1", what=Seen(source=Source.READ))
        for run in (*a.runs, *b.runs)
    ]
    assert said(fold(both, late)) == said(both)


def test_only_the_newest_runs_are_kept() -> None:
    """The merged state keeps as many runs as any state."""
    runs = tuple(Run(id=f"r{n:05}", at=small.NOW, seq=1) for n in range(RUNS_KEPT + 5))
    both = merge(replace(BASE, runs=runs[:10]), replace(BASE, runs=runs[10:]))
    assert both.runs == runs[-RUNS_KEPT:]


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("lineage", replace(BASE, lineage="two")),
        ("service", replace(BASE, service=Service.EMAIL)),
        ("endpoint", replace(BASE, endpoint="http://127.0.0.1:1")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_states_of_different_worlds_are_not_merged(what: str, other: State) -> None:
    """A different lineage, service or endpoint is an error that names both values."""
    with pytest.raises(StateError, match=f"different (states|{what}s)$") as caught:
        merge(BASE, other)
    assert "nothing was merged" in caught.value.detail
