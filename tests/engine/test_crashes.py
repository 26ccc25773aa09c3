"""The process dies at any step, any number of times, with any faults: nothing is paid for twice or lost.

Not an interruption: no handler runs, nothing more is recorded, and what is on its way to the server still gets there.
The next run has the journal and the server's word, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.contract import Answer, Broken, NotSent
from batchform.apply import Result
from batchform.engine import NO_MEMORY, Stopped
from batchform.errors import Exit, ServerError
from batchform.protocol import Rules
from batchform.state.known import Phase
from tests.engine.lab import RULES, Crash, Fate, Lab, Server, config, failed, ids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.api.contract import Reply, Request

LOST = Broken(cause="reset")
FINE = Fate()


def run(lab: Lab, names: Iterable[str], *, refresh: bool = True, rules: Rules = RULES) -> bool:
    """One apply; whether it ended by itself."""
    try:
        lab.apply(config(names), refresh=refresh, rules=rules)
    except Crash:
        return False
    except ServerError:
        return True
    return True


def calm() -> Lab:
    """Four batches, two at a time, with a lagging status and no failure."""
    return Lab(Server(ids(4), lag=6.0, list_lag=8.0), parallelism=2)


def rough() -> Lab:
    """The same, but the first starts are lost before or after the server accepts them."""

    def fate(request: Request, number: int) -> Fate:
        if request.method == "POST" and number < 5:
            return Fate(0.3, reaches=number % 2 == 0, reply=LOST)
        return Fate(0.2)

    return Lab(Server(ids(4), lag=6.0, list_lag=8.0), fate=fate, parallelism=2)


STEPS = {"calm": 22, "rough": 42}
"""A few more than a whole run takes."""


def lab_named(name: str) -> Lab:
    """One of the two."""
    return calm() if name == "calm" else rough()


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_below_reach_to_the_end_of_a_run(name: str) -> None:
    """A run without a crash takes fewer."""
    lab = lab_named(name)
    assert run(lab, ids(4))
    assert 0 < STEPS[name] - lab.steps < 12
    lab.check_all_started(ids(4))


@pytest.mark.parametrize("refresh", [True, False])
@pytest.mark.parametrize(("name", "step"), [(name, step) for name in STEPS for step in range(1, STEPS[name])])
def test_a_crash_at_any_step_is_made_good_by_the_next_run(name: str, step: int, *, refresh: bool) -> None:
    """Before and after every request, wait and record, with and without the list."""
    lab = lab_named(name)
    lab.crash_at = step
    run(lab, ids(4))
    lab.check_outcomes()
    lab.crash_at = None
    lab.fate = lambda _request, _number: FINE
    assert run(lab, ids(4), refresh=refresh)
    lab.check_all_started(ids(4))


@pytest.mark.parametrize(("name", "step"), [(name, step) for name in STEPS for step in range(1, STEPS[name])])
def test_where_memory_runs_out_the_run_ends_with_its_report(name: str, step: int) -> None:
    """At any step of the refresh or of the starts. The report has every outcome, and the next run heals the rest."""
    lab = lab_named(name)
    lab.short_at = step
    report = lab.apply(config(ids(4)))
    assert lab.steps < step or report.end == Stopped(problem=NO_MEMORY)
    assert report.exit in ({Exit.UNKNOWN, Exit.ERROR} if lab.steps >= step else {Exit.DONE, Exit.UNKNOWN})
    started = {one for one in ids(4) if one in lab.state().entries and lab.entry(one).recorded_as_started}
    assert {outcome.change.batch_id for outcome in report.having(Result.STARTED)} <= started
    assert {outcome.change.batch_id for outcome in report.outcomes} == set(ids(4))
    assert lab.run.run_tasks([]) == {}
    lab.check_outcomes()
    lab.fate = lambda _request, _number: FINE
    assert run(lab, ids(4))
    lab.check_all_started(ids(4))


@pytest.mark.parametrize("step", range(2, 40, 3))
def test_a_crash_in_the_recovery_is_made_good_as_well(step: int) -> None:
    """Die in the first run, then again during the verification, and again."""
    lab = rough()
    for _ in range(4):
        lab.crash_at = lab.steps + step
        run(lab, ids(4))
        lab.check_outcomes()
    lab.crash_at = None
    lab.fate = lambda _request, _number: FINE
    run(lab, ids(4))
    lab.check_all_started(ids(4))


# --- any faults ------------------------------------------------------------------------------------------------------

GARBAGE: list[Reply] = [
    LOST,
    NotSent(cause="refused"),
    failed(500),
    failed(503),
    failed(408),
    failed(429),
    failed(302),
    Answer(status=200),
    Answer(status=200, body=b"<html><title>Hello</title></html>"),
    Answer(status=200, body=b'{"result": {"batch_id": "b001", "status": "processing"}, "error": {"title": "x"}}'),
    Answer(status=200, body=b'{"result": {"batch_id": "other", "status": "submitted"}}'),
    Answer(status=200, body=b'{"result": {"status": "submitted"}}'),
    Answer(status=200, body=b'{"result": null}'),
]
PLAIN_NO: list[Reply] = [failed(400), failed(404), Answer(status=404, body=b"<html>")]
DEAF = {NotSent(cause="refused"), failed(429)}
"""Replies after which the server has certainly done nothing."""


@dataclass(frozen=True)
class Weather:
    """The fates of the requests, in order. Later requests succeed."""

    fates: tuple[Fate, ...]
    lag: float
    list_lag: float
    parallelism: int
    unlisted: frozenset[str]
    crashes: tuple[int, ...]


def weathers(replies: list[Reply]) -> st.SearchStrategy[Weather]:
    """Random faults, latencies, lags and crashes. A start shows within 9.5 s of the moment it was sent."""
    reply = st.one_of(st.none(), st.none(), st.sampled_from(replies))
    fate = st.builds(
        lambda latency, reaches, reply: Fate(latency, (reaches and reply not in DEAF) or reply is None, reply),
        st.sampled_from([0.01, 0.3, 2.0, 6.0]),
        st.booleans(),
        reply,
    )
    return st.builds(
        Weather,
        fates=st.lists(fate, max_size=30).map(tuple),
        lag=st.sampled_from([0.0, 1.0, 6.4]),
        list_lag=st.sampled_from([0.0, 6.4, 300.0]),
        parallelism=st.integers(1, 4),
        unlisted=st.frozensets(st.sampled_from(ids(5)), max_size=2),
        crashes=st.lists(st.integers(1, 60), max_size=4).map(tuple),
    )


def lab_in(weather: Weather) -> Lab:
    """Five batches with these faults."""
    server = Server(ids(5), lag=weather.lag, list_lag=weather.list_lag, unlisted=set(weather.unlisted))
    return Lab(
        server,
        fate=lambda _request, number: weather.fates[number] if number < len(weather.fates) else FINE,
        parallelism=weather.parallelism,
    )


@given(weather=weathers(GARBAGE))
def test_in_any_weather_every_batch_is_started_exactly_once(weather: Weather) -> None:
    """With any loss, damage, delay or crash, each batch is finally started once, by us."""
    lab = lab_in(weather)
    for crash in weather.crashes:
        lab.crash_at = lab.steps + crash
        run(lab, ids(5))
        lab.check_outcomes()
    lab.crash_at = None
    lab.fate = lambda _request, _number: FINE
    for _ in range(2):
        run(lab, ids(5))
    lab.check_all_started(ids(5))


@given(weather=weathers([*GARBAGE, *PLAIN_NO, *PLAIN_NO]), refresh=st.booleans())
def test_a_server_that_lies_about_failures_is_not_paid_twice(weather: Weather, *, refresh: bool) -> None:
    """A false 400 or 404 may leave a batch unknown, or rejected until the list shows it."""
    lab = lab_in(weather)
    for crash in (*weather.crashes, None):
        lab.crash_at = None if crash is None else lab.steps + crash
        run(lab, ids(5), refresh=refresh)
        for times in lab.server.accepted.values():
            assert len(times) == 1
    lab.fate = lambda _request, _number: FINE
    lab.clock.seconds += 60
    for _ in range(2):
        run(lab, ids(5))
    entries = lab.state().entries
    for batch_id, times in lab.server.accepted.items():
        assert len(times) == 1
        entry = entries[batch_id]
        believed = entry.phase is Phase.REJECTED and (batch_id in weather.unlisted or weather.list_lag > 60)
        assert entry.recorded_as_started or entry.uncertain or believed, entry


@given(weather=weathers(GARBAGE))
def test_a_longer_lag_is_covered_by_a_longer_settle_time(weather: Weather) -> None:
    """Where a status lags for longer, a longer `--settle` keeps the promise."""
    lab = lab_in(weather)
    lab.server.lag = 50.0
    for crash in (*weather.crashes, None):
        lab.crash_at = None if crash is None else lab.steps + crash
        run(lab, ids(5), rules=Rules(settle=60.0))
        lab.check_outcomes()


@pytest.mark.parametrize("reply", [LOST, failed(408), failed(502), failed(504)], ids=["lost", "408", "502", "504"])
def test_a_start_that_a_proxy_holds_is_not_repeated(reply: Reply) -> None:
    """The connection breaks at once, the request arrives 19 s later, and its status lags."""
    held = Fate(0.1, reply=reply, arrives=190.0)
    lab = Lab(Server(["a"], lag=9.0), fate=lambda request, number: held if number == 0 else FINE)
    lab.start(["a"])
    lab.reach(1_000.0)
    assert len(lab.server.accepted["a"]) == 1
    lab.check_outcomes()


def test_a_lag_beyond_the_settle_time_would_be_paid_twice() -> None:
    """The lab finds the planted bug: without the settle time it sees a second start."""
    lab = Lab(Server(["a"], lag=60.0), fate=lambda request, number: Fate(reply=LOST) if number == 0 else FINE)
    lab.start(["a"])
    assert len(lab.server.accepted["a"]) == 2
