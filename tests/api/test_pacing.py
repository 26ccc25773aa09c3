"""The pacer against a server with fixed windows, with any latency and order of answers."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchform.api.contract import RateHeaders
from batchform.api.pacing import FARTHEST_RESET, Pacer, estimate, full_jitter

if TYPE_CHECKING:
    from collections.abc import Collection

NOTHING = RateHeaders()


def told(remaining: int, reset: int, date: int | None = None, limit: int | None = 150) -> RateHeaders:
    """Rate headers in one line."""
    return RateHeaders(limit=limit, remaining=remaining, reset_epoch=reset, date_epoch=date)


# --- a server with a fake clock --------------------------------------------------------------------------------------


@dataclass
class Server:
    """Fixed windows aligned to the epoch. Reset is rounded up, Date has whole seconds. Times are epoch seconds."""

    limit: int
    window: int
    headers: bool = True
    used: dict[int, int] = field(default_factory=dict)

    def take(self, at: float) -> tuple[bool, RateHeaders]:
        """Whether a request processed `at` is admitted, and the rate headers of the answer."""
        index = math.floor(at / self.window)
        before = self.used.get(index, 0)
        admitted = before < self.limit
        if admitted:
            self.used[index] = before + 1
        rate = RateHeaders(
            limit=self.limit,
            remaining=max(self.limit - self.used.get(index, 0), 0),
            reset_epoch=math.ceil((index + 1) * self.window),
            date_epoch=math.floor(at),
        )
        return admitted, rate if self.headers else NOTHING


@dataclass
class Outcome:
    """The result of a simulated run: seconds, and 429s per window of the server."""

    took: float
    throttled: dict[int, int]


def run(
    server: Server,
    *,
    requests: int,
    parallelism: int,
    latencies: list[tuple[float, float]],
    epoch: float,
    lost: Collection[int] = (),
    others: float = 0.0,
) -> Outcome:
    """Send `requests` through a pacer. `latencies` are (there, back) in seconds, used in turn.

    The requests whose numbers are in `lost` are processed, but their answers are lost. `others` is the number of
    foreign requests per second. The monotonic clock starts at 1,000 when the server's clock shows `epoch`.
    """
    pacer = Pacer(limit=server.limit, window=float(server.window))
    start = now = 1000.0
    shift = epoch - now
    queue: list[tuple[float, int, str]] = []  # arrivals at the server and back, and foreign requests
    answers: dict[int, tuple[bool, RateHeaders, int]] = {}
    todo, done, in_flight, number, asked = requests, 0, 0, 0, 0
    throttled: dict[int, int] = {}
    if others:
        heapq.heappush(queue, (now, -1, "other"))
    while done < requests:
        asked += 1
        assert asked < 400_000, "the pacer waits for ever"
        if todo and in_flight < parallelism:
            wait = pacer.admits(now)
            assert wait >= 0.0
            if wait == 0.0:
                pacer.sent(now)
                there, _ = latencies[number % len(latencies)]
                heapq.heappush(queue, (now + there, number, "arrives"))
                number, todo, in_flight = number + 1, todo - 1, in_flight + 1
                continue
            wakes = now + wait
        else:
            wakes = math.inf
        if queue and queue[0][0] <= wakes:
            now, which, what = heapq.heappop(queue)
        else:
            now = wakes
            continue
        if what == "other":
            server.take(now + shift)
            heapq.heappush(queue, (now + 1.0 / others, -1, "other"))
        elif what == "arrives":
            answers[which] = (*server.take(now + shift), math.floor((now + shift) / server.window))
            _, back = latencies[which % len(latencies)]
            heapq.heappush(queue, (now + back, which, "ends"))
        else:
            admitted, rate, index = answers.pop(which)
            in_flight -= 1
            if which in lost:
                pacer.failed(now)
                done += 1
            elif admitted:
                pacer.answered(rate, now)
                done += 1
            else:
                pacer.throttled(rate, now, 0.5)
                throttled[index] = throttled.get(index, 0) + 1
                todo += 1
    return Outcome(took=now - start, throttled=throttled)


def floor_of(server: Server, requests: int, parallelism: int, latency: float, epoch: float) -> float:
    """The minimal time in seconds, given the windows and the latency of the workers."""
    to_turn = server.window - epoch % server.window
    first = min(server.limit, parallelism * math.ceil(to_turn / latency))
    busy = math.ceil(requests / parallelism) * latency
    if requests <= first:
        return busy
    whole = math.ceil((requests - first) / server.limit) - 1
    last = requests - first - whole * server.limit
    return max(busy, to_turn + whole * server.window + math.ceil(last / parallelism) * latency)


LATENCY = st.tuples(st.floats(0.001, 2.0), st.floats(0.001, 2.0))
EPOCH = st.floats(1_700_000_000.0, 1_700_003_600.0)
SERVERS = st.builds(Server, limit=st.integers(1, 200), window=st.sampled_from([10, 30, 60]))


@given(
    server=SERVERS,
    headers=st.booleans(),
    requests=st.integers(1, 450),
    parallelism=st.sampled_from([1, 2, 8, 64]),
    latencies=st.lists(LATENCY, min_size=1, max_size=20),
    epoch=EPOCH,
)
@settings(deadline=None)
def test_it_never_draws_a_429_of_its_own(
    *,
    server: Server,
    headers: bool,
    requests: int,
    parallelism: int,
    latencies: list[tuple[float, float]],
    epoch: float,
) -> None:
    """Without other users of the account no request is throttled, with or without headers."""
    server.headers = headers
    outcome = run(
        server, requests=min(requests, server.limit * 6), parallelism=parallelism, latencies=latencies, epoch=epoch
    )
    assert outcome.throttled == {}


@given(
    server=SERVERS,
    requests=st.integers(1, 450),
    parallelism=st.sampled_from([1, 2, 8, 64]),
    latencies=st.lists(LATENCY, min_size=1, max_size=20),
    epoch=EPOCH,
    lost=st.sets(st.integers(0, 449), max_size=30),
)
@settings(deadline=None)
def test_lost_answers_are_counted_as_used(
    *,
    server: Server,
    requests: int,
    parallelism: int,
    latencies: list[tuple[float, float]],
    epoch: float,
    lost: set[int],
) -> None:
    """The server counted the requests with lost answers. They cause no 429 and no deadlock."""
    requests = min(requests, server.limit * 6)
    outcome = run(server, requests=requests, parallelism=parallelism, latencies=latencies, epoch=epoch, lost=lost)
    assert outcome.throttled == {}


@given(
    limit=st.integers(50, 200),
    requests=st.integers(1, 800),
    parallelism=st.sampled_from([1, 4, 8]),
    latency=st.floats(0.01, 0.3),
    spread=st.floats(0.0, 0.1),
    epoch=EPOCH,
)
@example(limit=50, requests=67, parallelism=8, latency=0.21875, spread=0.0, epoch=1_700_002_259.5)
@settings(deadline=None)
def test_it_is_nearly_as_fast_as_possible(
    *, limit: int, requests: int, parallelism: int, latency: float, spread: float, epoch: float
) -> None:
    """The limit is 1.3 times the minimum, plus three seconds per window for clocks with whole seconds.

    The requests in flight at the end of a window count in both windows, which can cost one window more.
    """
    server = Server(limit=limit, window=60)
    latencies = [(latency / 2, latency / 2), (latency / 2, latency / 2 + spread * latency)]
    outcome = run(server, requests=requests, parallelism=parallelism, latencies=latencies, epoch=epoch)
    floor = floor_of(Server(limit=limit - parallelism, window=60), requests, parallelism, latency, epoch)
    assert outcome.took <= 1.3 * floor + 3.0 * math.ceil(requests / limit)


@given(
    requests=st.integers(1, 300),
    parallelism=st.sampled_from([1, 8]),
    others=st.floats(0.1, 1.5),
    headers=st.booleans(),
    epoch=EPOCH,
)
@settings(deadline=None)
def test_foreign_traffic_causes_no_storm(
    *,
    requests: int,
    parallelism: int,
    others: float,
    headers: bool,
    epoch: float,
) -> None:
    """If others use the whole limit, a window has at most as many 429s as requests were in flight."""
    server = Server(limit=100, window=60, headers=headers)
    outcome = run(
        server, requests=requests, parallelism=parallelism, latencies=[(0.05, 0.1)], epoch=epoch, others=others
    )
    assert all(count <= parallelism for count in outcome.throttled.values())


# --- single rules ----------------------------------------------------------------------------------------------------


def test_a_window_that_is_used_up_is_waited_out_by_the_servers_clock() -> None:
    """Only Reset minus Date counts, not our own clock."""
    pacer = Pacer()
    pacer.sent(500.0)
    pacer.answered(told(0, reset=1_700_000_030, date=1_700_000_010), 500.0)
    assert pacer.admits(500.0) == pytest.approx(21.0)
    assert pacer.resets_in(500.0) == pytest.approx(21.0)
    assert pacer.admits(521.0) == 0.0


def test_the_smallest_remaining_of_a_window_counts() -> None:
    """An answer that arrives late does not increase the number of requests left."""
    pacer = Pacer()
    for _ in range(2):
        pacer.sent(0.0)
    pacer.answered(told(10, reset=1_700_000_060, date=1_700_000_000), 1.0)
    pacer.answered(told(11, reset=1_700_000_060, date=1_700_000_000), 1.1)
    assert pacer.left(1.2) == 10


def test_a_reset_that_jitters_is_the_same_window() -> None:
    """A difference of one second does not begin a new window."""
    pacer = Pacer()
    for reset, remaining in [(60, 10), (61, 9), (59, 8), (61, 12)]:
        pacer.sent(1.0)
        pacer.answered(told(remaining, reset=1_700_000_000 + reset, date=1_700_000_000), 1.0)
    assert pacer.left(1.2) == 8


def test_an_answer_of_the_window_before_counts_in_this_one_too() -> None:
    """It may count in either window."""
    pacer = Pacer()
    for _ in range(2):
        pacer.sent(0.0)
    pacer.answered(told(100, reset=1_700_000_120, date=1_700_000_060), 1.0)
    assert pacer.left(1.0) == 99
    pacer.answered(told(3, reset=1_700_000_060, date=1_700_000_059), 1.1)
    assert pacer.left(1.1) == 99


@pytest.mark.parametrize(("moment", "left"), [(4.0, 10), (9.5, 9)], ids=["long-before", "just-before"])
def test_a_request_lost_just_before_a_turn_counts_after_it_too(moment: float, left: int) -> None:
    """Our end of a window is a little late, so the request may count in the new window."""
    pacer = Pacer(limit=10)
    pacer.sent(0.0)
    pacer.answered(told(5, reset=1_700_000_010, date=1_700_000_000, limit=10), 0.0)
    pacer.sent(moment)
    pacer.failed(moment)
    assert pacer.left(moment) == 4
    assert pacer.left(11.0) == left


def test_a_straggler_of_an_ended_window_does_not_bring_it_back() -> None:
    """A late answer with nothing remaining does not begin an ended window again."""
    pacer = Pacer()
    for _ in range(2):
        pacer.sent(0.0)
    pacer.answered(told(1, reset=1_700_000_010, date=1_700_000_000), 0.0)
    assert pacer.admits(11.5) == 0.0
    pacer.answered(told(0, reset=1_700_000_010, date=1_700_000_009), 12.0)
    assert pacer.admits(12.0) == 0.0


def test_requests_in_flight_are_not_promised_twice() -> None:
    """Requests in flight are subtracted from what remains."""
    pacer = Pacer()
    pacer.sent(0.0)
    pacer.answered(told(2, reset=1_700_000_060, date=1_700_000_000), 0.5)
    pacer.sent(1.0)
    assert pacer.admits(1.0) == 0.0
    pacer.sent(1.0)
    assert pacer.admits(1.0) > 0.0


def test_a_reserve_is_left_for_status_reads() -> None:
    """Starts stop while reads continue."""
    pacer = Pacer()
    pacer.sent(0.0)
    pacer.answered(told(3, reset=1_700_000_060, date=1_700_000_000), 0.0)
    assert pacer.admits(0.0, reserve=3) > 0.0
    assert pacer.admits(0.0, reserve=2) == 0.0
    assert pacer.admits(0.0) == 0.0


def test_a_reserve_never_takes_the_whole_window() -> None:
    """Even more doubtful batches than requests in the window do not stop the run for ever."""
    assert Pacer(limit=5).admits(0.0, reserve=50) == 0.0


def test_without_headers_the_limit_slides() -> None:
    """At most the limit end within any period of one window's length."""
    pacer = Pacer(limit=3, window=60.0)
    for moment in (0.0, 1.0, 2.0):
        assert pacer.admits(moment) == 0.0
        pacer.sent(moment)
        pacer.answered(NOTHING, moment + 0.5)
    assert pacer.admits(3.0) == pytest.approx(57.5)
    assert pacer.admits(60.4) > 0.0
    assert pacer.admits(60.5) == 0.0


@pytest.mark.parametrize(
    "rate",
    [
        NOTHING,
        told(0, reset=1_700_000_000 - 5, date=1_700_000_000),
        told(0, reset=1_700_000_000 + int(FARTHEST_RESET) + 1, date=1_700_000_000),
        told(0, reset=1_700_000_030),
        RateHeaders(date_epoch=1_700_000_000),
    ],
    ids=["no-headers", "past", "far", "no-date", "no-reset"],
)
@pytest.mark.parametrize("random01", [0.0, 0.99])
def test_a_reset_of_no_use_means_about_a_minute(rate: RateHeaders, random01: float) -> None:
    """After a 429 with an unusable Reset, all wait for one window plus jitter."""
    pacer = Pacer()
    pacer.sent(100.0)
    pacer.throttled(rate, 100.0, random01)
    assert 60.0 <= pacer.admits(100.0) <= 66.0
    assert pacer.admits(166.0) == 0.0


def test_throttled_windows_are_counted_not_throttled_requests() -> None:
    """Eight 429s at once are one window, and an admitted request resets the count."""
    pacer = Pacer()
    for _ in range(8):
        pacer.sent(0.0)
    for _ in range(8):
        pacer.throttled(NOTHING, 0.2, 0.0)
    assert pacer.throttled_in_a_row == 1
    pacer.sent(61.0)
    pacer.throttled(NOTHING, 61.1, 0.0)
    assert pacer.throttled_in_a_row == 2
    pacer.sent(122.0)
    pacer.answered(NOTHING, 122.1)
    assert pacer.throttled_in_a_row == 0


@given(
    rates=st.lists(
        st.builds(
            RateHeaders,
            limit=st.none() | st.integers(0, 10**15),
            remaining=st.none() | st.integers(0, 10**15),
            reset_epoch=st.none() | st.integers(0, 10**15) | st.integers(1_700_000_000, 1_700_000_400),
            date_epoch=st.none() | st.integers(-(10**11), 10**12) | st.integers(1_700_000_000, 1_700_000_400),
        ),
        max_size=30,
    ),
    steps=st.lists(st.sampled_from(["answered", "throttled", "failed"]), min_size=30, max_size=30),
)
@settings(deadline=None)
def test_whatever_the_headers_say_a_request_goes_within_minutes(rates: list[RateHeaders], steps: list[str]) -> None:
    """Malformed headers neither raise nor stop the run: a request is sent within about five minutes."""
    pacer = Pacer()
    now = 0.0
    for rate, step in zip(rates, steps, strict=False):
        pacer.sent(now)
        now += 0.1
        if step == "answered":
            pacer.answered(rate, now)
        elif step == "throttled":
            pacer.throttled(rate, now, 0.5)
        else:
            pacer.failed(now)
        waited = 0.0
        while (wait := pacer.admits(now)) > 0.0:
            now += wait
            waited += wait
            assert waited <= FARTHEST_RESET + 10.0


# --- formulas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "random01", "seconds"),
    [(0, 1.0, 1.0), (1, 1.0, 2.0), (3, 0.5, 4.0), (10, 1.0, 30.0), (5000, 1.0, 30.0), (4, 0.0, 0.0), (-1, 1.0, 1.0)],
)
def test_full_jitter(attempt: int, random01: float, seconds: float) -> None:
    """The wait is between zero and the capped exponential."""
    assert full_jitter(attempt, 1.0, 30.0, random01) == seconds


@pytest.mark.parametrize(
    ("requests", "remaining", "to_reset", "seconds"),
    [(10, 10, 30.0, 0.0), (11, 10, 30.0, 30.0), (160, 10, 30.0, 30.0), (161, 10, 30.0, 90.0), (150, None, 30.0, 0.0)],
)
def test_estimate(requests: int, remaining: int | None, to_reset: float, seconds: float) -> None:
    """This is the wait for windows if the requests take no time."""
    assert estimate(requests=requests, limit=150, remaining=remaining, seconds_to_reset=to_reset) == seconds


def test_estimate_counts_the_requests_themselves() -> None:
    """Slow requests take longer than the windows."""
    assert estimate(requests=200, limit=150, remaining=150, seconds_to_reset=10.0, seconds_each=1.0) == 200.0
    assert estimate(requests=5, limit=150, seconds_each=1.0) == 5.0


@pytest.mark.parametrize("wrong", [3600, -3600, 20])
def test_one_wrong_date_is_outvoted(wrong: int) -> None:
    """A run takes as long as without it: the end of each window is still known."""
    spent = []
    for odd in (0, wrong):
        pacer, now, window = Pacer(), 0.0, 0
        for number in range(300):
            now += pacer.admits(now)
            window = int(now // 60)
            pacer.sent(now)
            used = number if window == 0 else number - 150
            date = 1_000_020 + int(now) + (odd if number == 20 else 0)
            rate = RateHeaders(
                limit=150, remaining=max(0, 149 - used), reset_epoch=1_000_020 + 60 * (window + 1), date_epoch=date
            )
            pacer.answered(rate, now)
        spent.append(now)
    assert spent[1] == spent[0]
    assert spent[0] < 65.0
