"""Signals and a failing journal: outcomes of requests in flight are recorded, and no new request is sent."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from batchform.api.contract import Broken
from batchform.apply import Result
from batchform.engine import ForeignAnswers, Interrupted, ServiceDown, Stopped, Unrecordable
from batchform.errors import Exit, OutcomeUnknownError
from batchform.state.known import Phase
from tests.engine.lab import Fate, Lab, Server, batch_of, config, failed, ids

if TYPE_CHECKING:
    from batchform.api.contract import Request

LOST = Broken(cause="reset")
NAMES = ids(50)


def interrupted(lab: Lab, *at: float, signum: int = signal.SIGINT) -> Lab:
    """The lab, with signals at these times."""
    for moment in at:
        lab.after(moment, lambda: lab.run.interrupt(signum))
    return lab


def slow_starts(seconds: float) -> Fate:
    """A start that the server accepts at once and answers late."""
    return Fate(seconds, arrives=0.01)


def phases(lab: Lab) -> set[Phase]:
    """All phases in the state."""
    return {entry.phase for entry in lab.state().entries.values()}


# --- signals ---------------------------------------------------------------------------------------------------------


def test_after_a_signal_what_is_under_way_comes_home() -> None:
    """No new start. The eight in flight are recorded as started, the others are unchanged."""
    lab = interrupted(Lab(Server(NAMES), fate=lambda _request, _number: slow_starts(4.0)), 2.0)
    engine = lab.start(NAMES)
    assert engine.end == Interrupted(signum=signal.SIGINT)
    assert lab.starts == NAMES[:8]
    assert lab.clock.seconds == pytest.approx(4.0)
    assert set(lab.state().entries) == set(NAMES[:8])
    lab.check_all_started(NAMES[:8])


def test_what_does_not_come_home_in_five_seconds_is_cut() -> None:
    """Those starts are unknown, and the next run finds them started."""
    lab = interrupted(Lab(Server(NAMES), fate=lambda _request, _number: slow_starts(60.0)), 2.0)
    lab.start(NAMES)
    assert lab.clock.seconds == pytest.approx(7.0, abs=0.1)
    assert phases(lab) == {Phase.UNKNOWN}
    lab.check_outcomes()
    lab.fate = lambda _request, _number: Fate()
    lab.apply(config(NAMES))
    lab.check_all_started(NAMES)


def test_a_second_signal_cuts_at_once() -> None:
    """The second signal ends the wait at once."""
    lab = interrupted(Lab(Server(NAMES), fate=lambda _request, _number: slow_starts(60.0)), 2.0, 2.5)
    lab.start(NAMES)
    assert lab.clock.seconds == pytest.approx(2.5, abs=0.1)
    assert phases(lab) == {Phase.UNKNOWN}
    assert len(lab.starts) == 8


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED), (signal.SIGHUP, Exit.HANGUP)],
)
def test_a_signal_has_its_own_exit_code(signum: signal.Signals, code: Exit) -> None:
    """The exit code is that of the signal. The report names the started, unknown and not attempted batches."""
    lab = Lab(Server(NAMES))
    lab.fate = lambda request, _number: (
        slow_starts(9.0 if batch_of(request) < "b004" else 3.0) if _post(request) else Fate()
    )
    done = interrupted(lab, 2.0, signum=signum).apply(config(NAMES))
    assert done.exit is code
    assert [len(done.having(result)) for result in (Result.STARTED, Result.UNKNOWN, Result.NOT_ATTEMPTED)] == [4, 4, 42]


def _post(request: Request) -> bool:
    return request.method == "POST"


def test_a_signal_while_a_batch_is_being_settled_leaves_it_unknown() -> None:
    """The run does not wait until the second read."""
    lab = Lab(
        Server(["a"]), fate=lambda request, _number: Fate(reply=LOST, reaches=False) if _post(request) else Fate()
    )
    interrupted(lab, 3.0).start(["a"])
    assert lab.clock.seconds == pytest.approx(3.0)
    assert lab.entry("a").phase is Phase.UNKNOWN


def test_a_signal_while_starts_wait_for_the_limit_leaves_them_not_attempted() -> None:
    """A start that was cleanly throttled or never sent had no effect."""
    lab = Lab(Server(NAMES), fate=lambda _request, _number: Fate(reply=failed(429), reaches=False))
    interrupted(lab, 3.0).start(NAMES)
    assert lab.clock.seconds == pytest.approx(3.0)
    assert phases(lab) == {Phase.NOT_ATTEMPTED}
    assert len(lab.state().entries) == 8


def test_a_signal_while_the_account_is_read_starts_nothing() -> None:
    """The run ends before its first start."""
    done = interrupted(Lab(lab_server := Server(NAMES), fate=lambda _request, _number: Fate(3.0)), 1.0).apply(
        config(NAMES)
    )
    assert done.exit is Exit.INTERRUPTED
    assert not lab_server.accepted
    assert len(done.having(Result.NOT_ATTEMPTED)) == 50


def test_a_signal_while_the_intents_are_being_written_sends_nothing() -> None:
    """A signal between the record and the request: the intents become not attempted, and no start is sent."""
    lab = Lab(Server(NAMES))
    lab.on_record = lambda: lab.run.interrupt(signal.SIGTERM)
    lab.start(NAMES)
    assert not lab.sent
    assert phases(lab) == {Phase.NOT_ATTEMPTED}


def test_a_signal_before_anything_sends_nothing() -> None:
    """Not even the list."""
    lab = Lab(Server(NAMES))
    engine = lab.engine()
    engine.interrupt(signal.SIGINT)
    assert engine.run_tasks([]) == {}
    assert not lab.sent


@pytest.mark.parametrize("moment", [step / 10 for step in range(36)])
def test_a_signal_at_any_moment_loses_nothing(moment: float) -> None:
    """At any time: each paid start is on disk, and the next run pays for nothing twice."""
    names = ids(12)
    lab = Lab(Server(names, lag=4.0), parallelism=3)
    lab.fate = lambda request, number: (
        Fate(0.9, number % 4 != 2, LOST if number % 4 in {1, 2} else None) if _post(request) else Fate()
    )
    interrupted(lab, moment, moment + 0.2).apply(config(names))
    lab.check_outcomes()
    lab.at.clear()
    lab.fate = lambda _request, _number: Fate()
    lab.apply(config(names))
    lab.check_all_started(names)


# --- the journal -----------------------------------------------------------------------------------------------------


def unreliable() -> Lab:
    """Six batches, two at a time: one lost after it was accepted, one lost before, one unsent at first."""
    fates = {
        "b001": Fate(reply=LOST),
        "b002": Fate(reply=LOST, reaches=False),
        "b003": Fate(reply=failed(429), reaches=False),
    }
    lab = Lab(Server(ids(6), lag=3.0), parallelism=2)
    lab.fate = lambda request, number: fates.get(batch_of(request), Fate()) if _post(request) and number < 7 else Fate()
    return lab


CALLS = 6
"""How often the journal is written in such a run."""


def test_the_calls_below_reach_to_the_end_of_the_run() -> None:
    """The journal of a run without failures is written that often."""
    lab = unreliable()
    lab.apply(config(ids(6)))
    lab.check_all_started(ids(6))
    assert lab.record_calls == CALLS


@pytest.mark.parametrize("call", range(1, CALLS + 1))
def test_once_the_journal_fails_nothing_more_is_sent(call: int) -> None:
    """At every call: no further request (the lab checks each), exit code 4, and every outcome is reported."""
    names = ids(6)
    lab = unreliable()
    lab.fail_record_at = call
    done = lab.apply(config(names))
    assert isinstance(lab.run.end, Unrecordable)
    assert done.exit is Exit.UNKNOWN
    assert lab.told == lab.durable
    everything = [*lab.durable, *lab.run.unrecorded]
    assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
    assert lab.run.unrecorded
    lost = {event.batch_id for event in lab.run.unrecorded}
    assert {outcome.change.batch_id for outcome in done.outcomes if not outcome.recorded} == lost
    lab.check_outcomes()
    lab.fail_record_at = None
    lab.apply(config(names))
    lab.check_all_started(names)


def test_a_journal_that_fails_after_the_run_was_stopped_still_means_unknown() -> None:
    """4 before 1: the late outcome is not on disk."""
    lab = Lab(Server(["a", "b"]), parallelism=2)
    lab.fate = lambda request, _number: (
        Fate()
        if request.method == "GET"
        else (Fate(reply=failed(401), reaches=False) if batch_of(request) == "a" else Fate(3.0))
    )
    lab.after(2.0, lambda: setattr(lab, "fail_record_at", lab.record_calls + 1))
    done = lab.apply(config(["a", "b"]))
    assert isinstance(done.end, Stopped)
    assert [(outcome.result, outcome.recorded) for outcome in done.outcomes] == [
        (Result.REJECTED, True),
        (Result.STARTED, False),
    ]
    assert done.exit is Exit.UNKNOWN
    assert lab.entry("b").uncertain


def test_a_journal_that_fails_after_a_signal_loses_no_outcome() -> None:
    """Late outcomes are reported. The intent on disk covers them."""
    lab = interrupted(Lab(Server(["a"]), fate=lambda _request, _number: slow_starts(3.0)), 1.0)
    lab.after(2.0, lambda: setattr(lab, "fail_record_at", lab.record_calls + 1))
    engine = lab.start(["a"])
    assert engine.end == Interrupted(signum=signal.SIGINT)
    assert len(engine.unrecorded) == 1
    assert lab.entry("a").phase is Phase.INTENDED


def test_a_signal_speaks_louder_than_an_end_before_it() -> None:
    """After Ctrl-C the exit code is that of the signal, although the service was down first."""
    lab = Lab(Server(NAMES))
    engine = lab.engine()
    engine.end = ServiceDown(batches=10)
    engine.interrupt(signal.SIGINT)
    assert repr(engine.end) == repr(Interrupted(signum=signal.SIGINT))


@pytest.mark.parametrize("after", range(4))
def test_no_start_is_sent_once_the_state_may_be_another_runs(after: int) -> None:
    """What was in flight is recorded, what waited is not attempted, exit 4."""
    lab = Lab(Server(["a", "b", "c", "d"]))
    asked = 0

    def renew() -> None:
        nonlocal asked
        asked += 1
        if asked > after:
            raise OutcomeUnknownError("Another run has taken over the state")

    lab.renew = renew
    done = lab.apply(config(["a", "b", "c", "d"]), refresh=False)
    assert isinstance(done.end, Unrecordable)
    assert done.exit is Exit.UNKNOWN
    assert sum(map(len, lab.server.accepted.values())) == after
    results = [outcome.result for outcome in done.outcomes]
    assert results == [Result.STARTED] * after + [Result.NOT_ATTEMPTED] * (4 - after)
    assert all(outcome.recorded for outcome in done.outcomes)


# --- answers to other requests ---------------------------------------------------------------------------------------

FOREIGN = Broken(cause="another Reference-Id", foreign="gw-1")


def test_every_request_has_a_reference_id() -> None:
    """The start that of its intent; each list call and read one of its own."""
    lab = Lab(Server(["a", "b"], unlisted={"a"}))
    lab.apply(config(["a", "b"]))
    found: dict[str, list[str | None]] = {}
    for _, request in lab.sent:
        assert ("Reference-Id", request.reference_id) in request.headers
        found.setdefault(request.method, []).append(request.reference_id)
    assert found == {"GET": ["r1-1-read", "r1-2-read"], "POST": ["a-r1", "b-r1"]}


@pytest.mark.parametrize("rest", [0.1, 30.0])
def test_three_foreign_answers_in_a_row_end_the_run(rest: float) -> None:
    """A start that is open stays unknown, and nothing more is sent."""
    lab = Lab(Server(["a"]), fate=lambda request, number: Fate(rest, reply=FOREIGN if number else None))
    done = lab.apply(config(["a"]))
    assert done.end == ForeignAnswers(reference_id="gw-1")
    assert done.exit is Exit.UNKNOWN
    assert len(lab.sent) == 1 + 3
    assert lab.starts == ["a"]
    lab.check_outcomes()


def test_a_list_that_belongs_to_others_ends_the_run_before_a_start() -> None:
    """No start is open."""
    lab = Lab(Server(["a"]), fate=lambda _request, _number: Fate(reply=FOREIGN))
    done = lab.apply(config(["a"]))
    assert (done.exit, len(lab.sent), lab.starts) == (Exit.ERROR, 3, [])


def test_two_foreign_answers_in_a_row_are_survived() -> None:
    """An answer of ours between them begins the count anew."""
    lab = Lab(Server(["a"]), fate=lambda _request, number: Fate(reply=None if number in {0, 3, 6, 7} else FOREIGN))
    assert lab.apply(config(["a"])).end is None
    lab.check_outcomes()
