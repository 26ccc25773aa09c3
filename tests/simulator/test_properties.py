"""Properties of every history of one world, with any requests, times and faults."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchform.simulator import Batch, ConsoleStart, Fault, Status, World
from batchform.simulator.faults import Answer, Drop, HalfBody, Hang, OddStatus, Reset, WrongBatchId
from tests.simulator.calls import BATCHES, NOW, TOKEN, request, status_of

IDS = ("b0", "b1", "b2")
DAY = 86_400.0

batches = st.tuples(
    *(
        st.builds(
            Batch,
            batch_id=st.just(batch_id),
            records=st.integers(1, 10_000),
            age=st.sampled_from([0.0, 27.99 * DAY, 28 * DAY, 29 * DAY]),
            status=st.sampled_from(Status),
            max_processing_time=st.sampled_from([None, 0.5, 60.0]),
        )
        for batch_id in IDS
    )
)
effects = st.sampled_from(
    [Answer(status=200), Answer(status=500), Drop(), Reset(), Hang(), HalfBody(), OddStatus(), WrongBatchId()]
)
faults = st.builds(
    Fault,
    effect=effects,
    operation=st.sampled_from(["*", "start", "status"]),
    batch_id=st.sampled_from(["*", *IDS]),
    times=st.sampled_from([1, 2, None]),
    act=st.sampled_from([None, True, False]),
)
worlds = st.builds(
    World,
    token=st.just(TOKEN),
    batches=batches,
    faults=st.lists(faults, max_size=4).map(tuple),
    console_starts=st.lists(
        st.builds(ConsoleStart, batch_id=st.sampled_from(IDS), at_request=st.integers(1, 20)), max_size=2
    ).map(tuple),
    credits=st.none() | st.integers(0, 20_000),
    rate_limit=st.integers(1, 8),
    rate_window=st.sampled_from([1.0, 2.5, 60.0]),
    other_traffic=st.sampled_from([0, 0, 1, 3, 20]),
    lag=st.integers(0, 2),
)
requests = st.sampled_from(
    [
        *(request(path=f"{BATCHES}/{batch_id}/start") for batch_id in IDS),
        *(request(path=f"{BATCHES}/{batch_id}/start") for batch_id in IDS),
        *(request(path=f"{BATCHES}/{batch_id}/stop") for batch_id in IDS),
        *(request("GET", f"{BATCHES}/{batch_id}") for batch_id in IDS),
        *(request("GET", f"{BATCHES}/{batch_id}/results") for batch_id in IDS),
        request("GET", BATCHES),
        request("GET", "/elsewhere"),
        request(token="wrong"),
    ]
)
histories = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 3.0, 61.0, DAY, -5.0]), requests), max_size=40)


@given(world=worlds, history=histories)
def test_no_batch_is_accepted_twice_and_credits_follow_from_what_was_accepted(world: World, history: Any) -> None:
    """At most one request starts a batch, and only a submitted one of at most 28 days. Each record is charged once."""
    records = {batch.batch_id: batch.records for batch in world.batches}
    now, accepted = NOW, []
    for step, asked in history:
        now += step
        decision = world.handle(asked, now)
        if decision.accepted:
            assert decision.operation == "start"
            accepted.append(decision.batch_id)
        assert decision.credits_charged == (records[str(decision.batch_id)] if decision.accepted else 0)
    assert len(accepted) == len(set(accepted))
    assert world.accepted == dict.fromkeys(accepted, 1)
    assert not set(accepted) & set(world.console_started)
    for batch in world.batches:
        if batch.status is not Status.SUBMITTED or batch.age > 28 * DAY:
            assert batch.batch_id not in (*accepted, *world.console_started)
    ours = sum(records[str(batch_id)] for batch_id in accepted)
    theirs = sum(records[batch_id] for batch_id in world.console_started)
    assert world.credits_charged == ours + theirs
    if world.credits is not None and not world.console_started:
        assert world.credits_charged <= world.credits


@given(world=worlds, history=histories)
def test_429_comes_exactly_when_the_window_is_spent(world: World, history: Any) -> None:
    """A model that keeps the time of each request agrees with every answer, and the rest is never negative."""
    now = latest = NOW
    world.begin(now)
    let_in: list[int] = []
    for step, asked in history:
        now += step
        latest = max(latest, now)
        window = math.floor(latest / world.rate_window)
        elapsed = latest - window * world.rate_window
        others = sum(
            number * world.rate_window / world.other_traffic <= elapsed for number in range(world.other_traffic)
        )
        spent = let_in.count(window) + others >= world.rate_limit
        decision = world.handle(asked, now)
        assert (decision.did.split("; ")[-1] == "throttled") is spent
        assert decision.remaining >= 0
        assert int(decision.response.header("X-Rate-Limit-Reset") or "") == math.ceil((window + 1) * world.rate_window)
        if spent:
            assert (decision.response.status, decision.remaining) == (429, 0)
        else:
            let_in.append(window)
            assert decision.remaining == world.rate_limit - let_in.count(window) - others


@given(world=worlds, history=histories)
def test_a_batch_only_ever_moves_forward(world: World, history: Any) -> None:
    """A batch goes from submitted to processing, then to completed or stopped, and then never changes."""
    order = {Status.SUBMITTED: 0, Status.PROCESSING: 1, Status.COMPLETED: 2, Status.STOPPED: 2}
    now = NOW
    world.begin(now)
    before = {batch_id: status_of(world, batch_id) for batch_id in IDS}
    for step, asked in history:
        now += step
        world.handle(asked, now)
        after = {batch_id: status_of(world, batch_id) for batch_id in IDS}
        for batch_id in IDS:
            assert after[batch_id] is before[batch_id] or order[after[batch_id]] > order[before[batch_id]]
        before = after
