"""Many batches at once: each is paid for once with any network faults, and as fast as the limits allow."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from batchform.api.contract import Broken, NotSent
from batchform.apply import Result
from batchform.engine import ServiceDown, Starved, Stopped
from batchform.errors import Exit
from batchform.model import Batch, Config, Service
from batchform.protocol import Rules
from batchform.state.events import Event, Intended, Unknown
from batchform.state.known import Cause, Entry, Phase
from tests.engine.lab import FRESH, NOW, PLACE, Fate, Lab, Server, batch_of, config, failed, ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchform.api.contract import Reply, Request

LOST = Broken(cause="reset")
UNSENT = NotSent(cause="refused")
FAULTS: list[Reply] = [LOST, LOST, UNSENT, failed(500), failed(503), failed(429), failed(408)]


def faulty(seed: int, rate: float) -> Callable[[Request, int], Fate]:
    """Random latencies. That share of the requests fails, before or after the server gets them."""
    chance = random.Random(seed)

    def fate(_request: Request, _number: int) -> Fate:
        latency = chance.uniform(0.02, 3.0)
        if chance.random() > rate:
            return Fate(latency)
        reply = chance.choice(FAULTS)
        reaches = not isinstance(reply, NotSent) and reply != failed(429) and chance.random() < 0.5
        return Fate(latency, reaches, reply)

    return fate


def only_starts(fate: Fate) -> Callable[[Request, int], Fate]:
    """This fate for every start. All other requests succeed."""
    return lambda request, _number: fate if request.method == "POST" else Fate()


# --- exactly once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_hundreds_of_batches_are_started_exactly_once(seed: int) -> None:
    """Lost answers, unsent requests, 5xx, throttling and a lagging status: after a few runs each is started once."""
    names = ids(250)
    lab = Lab(Server(names, lag=6.0, list_lag=9.0, limit=150), fate=faulty(seed, 0.15), parallelism=16)
    for _ in range(6):
        lab.apply(config(names))
        lab.check_outcomes()
    lab.fate = lambda _request, _number: Fate()
    final = lab.apply(config(names))
    assert final.complete
    lab.check_all_started(names)


def test_without_faults_each_batch_costs_one_request() -> None:
    """One list call, one start each, in the order of the plan."""
    names = ids(40)
    lab = Lab(Server(names))
    done = lab.apply(config(names))
    assert done.exit is Exit.DONE
    assert len(done.having(Result.STARTED)) == 40
    assert lab.starts == names
    assert lab.run.requests == len(lab.sent) == 41
    lab.check_all_started(names)


def test_a_second_apply_sends_nothing_but_the_list() -> None:
    """A second apply starts nothing."""
    names = ids(5)
    lab = Lab(Server(names))
    lab.apply(config(names))
    before = len(lab.sent)
    again = lab.apply(config(names))
    assert len(lab.sent) == before + 1
    assert again.outcomes == ()


def test_a_lost_answer_is_looked_into_before_anything_else_is_sent_for_that_batch() -> None:
    """The server accepted the start: the read finds it, and no second one is sent."""
    lab = Lab(Server(["a"], lag=4.0), fate=only_starts(Fate(reply=LOST)))
    lab.start(["a"])
    assert [request.method for _, request in lab.sent] == ["POST", "GET", "GET"]
    lab.check_all_started(["a"])


# --- what a start records --------------------------------------------------------------------------------------------


def intents(lab: Lab) -> list[Intended]:
    """The intents, in order."""
    return [event.what for event in lab.durable if isinstance(event.what, Intended)]


def test_a_start_is_intended_with_all_that_is_known_of_the_batch() -> None:
    """The declared Reference-Id, the size, and the submission date from the server."""
    lab = Lab(Server(["a"]))
    lab.apply(config(["a"], reference_id="crm-4711", records=7, labels={"team": "crm"}))
    submitted = datetime(2026, 11, 20, 9, 0, 0, 4005, tzinfo=UTC)
    assert intents(lab) == [
        Intended(reference_id="crm-4711", records=7, submitted_at=submitted, labels={"team": "crm"})
    ]
    assert [request.reference_id for _, request in lab.sent if request.method == "POST"] == ["crm-4711"]


def test_a_start_without_a_reference_id_is_given_one_of_its_name_and_the_run() -> None:
    """Without its batch_id, which the vendor has anyway."""
    lab = Lab(Server(["a"]))
    lab.apply(Config(batches=(Batch(name="uk.mobiles", batch_id="a", place=PLACE),)))
    assert [intent.reference_id for intent in intents(lab)] == ["uk-mobiles-r1"]


@pytest.mark.parametrize(
    ("service", "days", "cause"),
    [
        pytest.param(Service.PHONE, 28, Cause.EXPIRED, id="phone, 28 days"),
        pytest.param(Service.PHONE, 27, Cause.NOT_STARTED, id="phone, 27 days"),
        pytest.param(Service.EMAIL, 28, Cause.NOT_STARTED, id="email, 28 days"),
        pytest.param(Service.EMAIL, 40, Cause.NOT_STARTED, id="email, 40 days"),
    ],
)
def test_a_refusal_is_put_down_to_age_for_phone_only(service: Service, days: int, cause: Cause) -> None:
    """From 28 days on. Other services have no documented limit, so the next run may try again."""
    server = Server(["a"], service=service, submitted=(NOW - timedelta(days=days)).isoformat())
    lab = Lab(server, base=replace(FRESH, service=service), fate=only_starts(Fate(reply=failed(400), reaches=False)))
    lab.apply(replace(config(["a"]), service=service))
    assert lab.starts == ["a"]
    assert (lab.entry("a").phase, lab.entry("a").cause) == (Phase.REJECTED, cause)


# --- durability ------------------------------------------------------------------------------------------------------


def test_outcomes_are_committed_in_groups() -> None:
    """At high parallelism the journal is written far less often than there are events."""
    names = ids(100)
    lab = Lab(Server(names), parallelism=25)
    lab.start(names)
    assert len(lab.durable) == 200
    assert lab.record_calls <= 10
    assert lab.told == lab.durable


def test_events_are_told_once_they_are_durable_and_numbered_without_gap() -> None:
    """Events are reported after they are on disk, in the same order."""
    names = ids(20)
    lab = Lab(Server(names), fate=faulty(1, 0.3))
    ahead = []

    class Told(list[Event]):
        def extend(self, events: Iterable[Event]) -> None:
            super().extend(events)
            ahead.append(lab.durable[: len(self)] != self)

    lab.told = Told()
    lab.start(names)
    assert not any(ahead)
    assert lab.told == lab.durable
    assert [event.seq for event in lab.durable] == list(range(1, len(lab.durable) + 1))


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallelism", [1, 3, 8])
def test_no_more_requests_are_under_way_than_allowed(parallelism: int) -> None:
    """The lab checks the maximum. This checks that it is reached."""
    lab = Lab(Server(ids(30)), fate=faulty(2, 0.2), parallelism=parallelism)
    lab.start(ids(30))
    assert lab.most_flying == parallelism


@pytest.mark.parametrize("headers", [True, False])
def test_no_throttling_of_our_own_making(*, headers: bool) -> None:
    """Four hundred starts at 150 a minute: no request is answered 429, and three windows are enough."""
    names = ids(400)
    lab = Lab(Server(names, limit=150, headers=headers), parallelism=16)
    lab.apply(config(names))
    assert lab.server.throttled == 0
    assert 120 <= lab.clock.seconds <= 200
    lab.check_all_started(names)


def test_reads_go_before_starts() -> None:
    """When requests are scarce, reads of unknown starts are sent before new starts."""
    fates = {"a": Fate(reply=LOST), "b": Fate(reply=failed(429), reaches=False)}
    lab = Lab(Server(["a", "b"]), parallelism=2)
    lab.fate = lambda request, number: fates[batch_of(request)] if number < 2 else Fate()
    lab.start(["b", "a"])
    calls = [(request.method, batch_of(request)) for _, request in lab.sent]
    assert calls == [("POST", "b"), ("POST", "a"), ("GET", "a"), ("POST", "b")]
    assert lab.sent[2][0] >= 60


def test_requests_are_kept_for_the_reads_of_uncertain_batches() -> None:
    """The window keeps a request for each batch that waits for its second read."""
    names = ids(30)
    lab = Lab(Server(names, limit=20), parallelism=4)
    lab.fate = lambda request, _number: (
        Fate(reply=LOST, reaches=False) if request.method == "POST" and batch_of(request) in names[:4] else Fate()
    )
    lab.start(names, Rules(attempts=1))
    reads = [at for at, request in lab.sent if request.method == "GET"]
    assert len(reads) == 8
    assert max(reads) < 35
    assert lab.server.throttled == 0


def test_starts_that_waited_leave_room_for_reads_that_are_due() -> None:
    """When the window opens, throttled starts do not use the requests that waiting batches need."""
    names = ids(8)
    lab = Lab(Server(names, limit=6))
    late = Fate(1.0, reply=failed(429), reaches=False)
    first = {name: Fate(reply=LOST, reaches=False) if name < "b003" else late for name in names}
    lab.fate = lambda request, number: first[batch_of(request)] if number < 8 else Fate()
    lab.start(names, Rules(attempts=1, settle=45.0))
    reads = [at for at, request in lab.sent if request.method == "GET"]
    assert len(reads) == 6
    assert max(reads) < 70
    assert lab.server.throttled == 0
    lab.check_all_started(names[3:])


def test_an_intent_does_not_lie_about_while_the_limit_waits() -> None:
    """A batch begins when its request can be sent, not a window earlier."""
    names = ids(40)
    lab = Lab(Server(names, limit=20), parallelism=4)
    lab.start(names)
    sent = {batch_of(request): at for at, request in lab.sent}
    intents = {event.batch_id: (event.at - NOW).total_seconds() for event in reversed(lab.durable)}
    assert all(sent[name] - intents[name] < 1.0 for name in names)


# --- overlap ---------------------------------------------------------------------------------------------------------


def left_open(name: str, at: datetime) -> Entry:
    """The entry after a run that died after its intent."""
    return Entry(batch_id=name, name=name, phase=Phase.INTENDED, attempts=1, intended_at=at, updated_at=at, run="r0")


@pytest.mark.parametrize("count", [1, 8, 40])
def test_settle_waits_of_different_batches_overlap(count: int) -> None:
    """Verifying forty unknown attempts takes hardly longer than verifying one."""
    names = ids(count)
    entries = {name: left_open(name, NOW - timedelta(hours=1)) for name in names}
    lab = Lab(Server(names), base=replace(FRESH, entries=entries))
    lab.apply(config(names))
    assert 30 <= lab.clock.seconds <= 33
    lab.check_all_started(names)


@pytest.mark.parametrize("ago", [0, 5, 20, 86_400, -7200])
def test_a_request_that_may_still_be_on_its_way_is_waited_for(ago: float) -> None:
    """No clock shortens the 30 s until `submitted` releases an attempt of an earlier run."""
    lab = Lab(Server(["b"]), base=replace(FRESH, entries={"b": left_open("b", NOW - timedelta(seconds=ago))}))
    lab.apply(config(["b"]))
    assert 30 <= lab.clock.seconds <= 32
    lab.check_all_started(["b"])


# --- ends ------------------------------------------------------------------------------------------------------------


def test_ten_silent_batches_in_a_row_end_the_run() -> None:
    """The service is down: sent starts stay unknown, the others are not attempted."""
    names = ids(60)
    lab = Lab(Server(names), fate=lambda _request, _number: Fate(reply=failed(503), reaches=False), parallelism=4)
    engine = lab.start(names)
    assert engine.end == ServiceDown(batches=10)
    assert 10 <= len(lab.starts) <= 13
    assert len(set(lab.starts)) == len(lab.starts)
    assert all(lab.entry(name).phase is Phase.UNKNOWN for name in lab.starts)
    assert set(lab.state().entries) == set(lab.starts)


@pytest.mark.parametrize("reply", [LOST, UNSENT, failed(500), failed(408)])
def test_every_kind_of_silence_counts(reply: Reply) -> None:
    """5xx, no answer, not sent."""
    lab = Lab(Server(ids(60)), fate=lambda _request, _number: Fate(reply=reply, reaches=False))
    assert lab.start(ids(60)).end == ServiceDown(batches=10)


def test_nine_silent_batches_do_not_end_the_run() -> None:
    """One accepted start among them shows that the service works."""
    silent = {name for number, name in enumerate(ids(40)) if number % 10 != 9}
    lab = Lab(Server(ids(40)), parallelism=1)
    lab.fate = lambda request, _number: (
        Fate(reply=failed(500), reaches=False, latency=0.01)
        if request.method == "POST" and batch_of(request) in silent
        else Fate(latency=0.01)
    )
    engine = lab.start(ids(40), Rules(attempts=1))
    assert engine.end is None
    assert len(lab.starts) == 40


def test_a_refusal_is_an_answer() -> None:
    """Refused batches never show that the service is down."""
    lab = Lab(Server(ids(40)), fate=only_starts(Fate(reply=failed(400), reaches=False)))
    assert lab.start(ids(40)).end is None
    assert {entry.phase for entry in lab.state().entries.values()} == {Phase.REJECTED}


def test_giving_up_on_a_batch_is_no_sign_of_life() -> None:
    """The service also counts as down when batches are started one by one."""
    lab = Lab(Server(ids(30), limit=3), fate=only_starts(Fate(reply=failed(503), reaches=False)))
    assert lab.start(ids(30)).end == ServiceDown(batches=10)


def test_five_throttled_windows_in_a_row_end_the_run() -> None:
    """Others use up the rate limit: the server accepted no start."""
    names = ids(30)
    lab = Lab(Server(names), fate=lambda _request, _number: Fate(reply=failed(429), reaches=False))
    engine = lab.start(names)
    assert engine.end == Starved(windows=5)
    assert 4 * 60 <= lab.clock.seconds <= 5 * 70
    assert len(lab.sent) <= 5 * lab.parallelism
    assert {entry.phase for entry in lab.state().entries.values()} == {Phase.NOT_ATTEMPTED}
    assert len(lab.state().entries) <= lab.parallelism


def test_one_request_let_through_starts_the_count_of_windows_anew() -> None:
    """Only consecutive throttled windows count."""
    names = ids(12)
    lab = Lab(Server(names), parallelism=1)
    lab.fate = lambda _request, number: Fate() if number % 5 == 4 else Fate(reply=failed(429), reaches=False)
    assert lab.start(names).end is None
    lab.check_all_started(names)


@pytest.mark.parametrize("code", [401, 403, 406, 415])
def test_a_refusal_of_all_calls_stops_the_run(code: int) -> None:
    """At most `parallelism` starts are sent. The others are unchanged."""
    names = ids(50)
    lab = Lab(Server(names), fate=only_starts(Fate(reply=failed(code), reaches=False)), parallelism=6)
    done = lab.apply(config(names))
    assert isinstance(lab.run.end, Stopped)
    assert lab.run.end.problem.status == code
    assert len(lab.starts) <= 6
    assert len(lab.state().entries) == len(lab.starts)
    assert done.exit is Exit.ERROR
    assert len(done.having(Result.REJECTED)) == len(lab.starts)
    assert len(done.having(Result.NOT_ATTEMPTED)) == 50 - len(lab.starts)


def test_what_is_under_way_when_the_run_is_stopped_comes_home() -> None:
    """The outcomes of the others are recorded, and no further read is sent."""
    fates = {"a": Fate(reply=failed(401), reaches=False), "b": Fate(5.0), "c": Fate(6.0, reply=LOST)}
    lab = Lab(Server(["a", "b", "c", "d"]), parallelism=3)
    lab.fate = lambda request, _number: fates.get(batch_of(request), Fate())
    lab.start(["a", "b", "c", "d"])
    phases = {key: entry.phase for key, entry in lab.state().entries.items()}
    assert phases == {"a": Phase.REJECTED, "b": Phase.STARTED, "c": Phase.UNKNOWN}
    assert lab.starts == ["a", "b", "c"]
    lab.check_outcomes()


def test_a_refused_read_stops_the_run_and_the_attempt_stays_unknown() -> None:
    """A 401 to the status read does not show the outcome of the start."""
    lab = Lab(Server(ids(30)), parallelism=1)
    lab.fate = lambda request, _number: Fate(reply=LOST) if request.method == "POST" else Fate(reply=failed(401))
    engine = lab.start(ids(30))
    assert isinstance(engine.end, Stopped)
    assert lab.starts == ["b000"]
    assert lab.entry("b000").phase is Phase.UNKNOWN


def test_one_failure_does_not_stop_the_others() -> None:
    """Batches are independent."""
    names = ids(20)
    lab = Lab(Server(names[1:]))
    lab.start(names)
    assert lab.entry(names[0]).phase is Phase.REJECTED
    lab.check_all_started(names[1:])


def test_unknown_outcomes_end_with_their_own_code() -> None:
    """4 before 3: an unknown outcome matters more than a refused start."""
    names = ids(3)
    lab = Lab(Server(names))
    lab.fate = lambda request, number: Fate(reply=LOST) if number and batch_of(request) == "b001" else Fate()
    done = lab.apply(config(names))
    assert done.exit is Exit.UNKNOWN
    assert [outcome.change.name for outcome in done.having(Result.UNKNOWN)] == ["b001"]
    assert isinstance([event.what for event in lab.durable if event.batch_id == "b001"][-1], Unknown)
    assert Counter(lab.starts) == dict.fromkeys(names, 1)
