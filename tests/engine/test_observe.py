"""A refresh: one list call, single reads, and the verification of unknown attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batchform.api.contract import Answer, Broken
from batchform.engine import Stopped
from batchform.errors import Exit, ServerError
from batchform.model import NOTHING_OBSERVED, Config, Observed, ServerProblem, Source
from batchform.observe import Subject, observe
from batchform.plan import Action
from batchform.planner import plan
from batchform.state.known import Cause, Entry, Phase
from tests.engine.lab import ENDPOINT, FRESH, NOW, PREFIX, RULES, Crash, Fate, Lab, Server, batch_of, config, failed

LOST = Broken(cause="reset")
NO_400 = ServerProblem(status=400, title="Bad Request")


def entry(phase: Phase, name: str = "a", **known: Any) -> Entry:
    """What the state holds of a batch."""
    words: dict[str, Any] = {"batch_id": name, "name": name, "phase": phase, "updated_at": NOW, "run": "r0"}
    return Entry(**words | known)


def lab_of(server: Server, *entries: Entry) -> Lab:
    """A lab whose state holds these."""
    return Lab(server, base=replace(FRESH, entries={each.batch_id: each for each in entries}))


def seen(lab: Lab, wanted: Config, *, refresh: bool = True, selected: set[str] | None = None) -> Observed:
    """What one refresh returns."""
    subject = Subject(config=wanted, selected=selected, endpoint=ENDPOINT, state=lab.state)
    return observe(subject, lab.engine(), RULES, lab.clock.now(), refresh=refresh)


def calls(lab: Lab) -> list[str]:
    """The requests: `list`, or the batch that was read."""
    assert {request.method for _, request in lab.sent} <= {"GET"}
    return ["list" if request.path == PREFIX else batch_of(request) for _, request in lab.sent]


def action(lab: Lab, wanted: Config, observed: Observed) -> list[Action]:
    """The action of the plan."""
    return [c.action for c in plan(wanted, lab.state(), observed, lab.clock.now(), endpoint=ENDPOINT).changes]


def test_what_the_list_says_clearly_is_not_read_again() -> None:
    """One call for any number of batches."""
    lab = lab_of(Server(["a", "b"], statuses={"b": "completed"}))
    observed = seen(lab, config(["a", "b"]))
    assert calls(lab) == ["list"]
    assert observed.listed
    assert {key: (each.status, each.source) for key, each in observed.readings.items()} == {
        "a": ("submitted", Source.LIST),
        "b": ("completed", Source.LIST),
    }


def test_the_rest_of_the_account_is_left_aside() -> None:
    """Only declared and known batches are kept from the list."""
    lab = lab_of(Server(["a", "b", "c"]), entry(Phase.SEEN, "b"))
    assert set(seen(lab, config(["a"])).readings) == {"a", "b"}


def test_a_batch_that_is_absent_from_the_list_is_read() -> None:
    """Only a single read shows that a batch was not started."""
    lab = lab_of(Server(["a"], unlisted={"a"}))
    observed = seen(lab, config(["a"]))
    assert calls(lab) == ["list", "a"]
    assert (observed.readings["a"].source, observed.readings["a"].status) == (Source.READ, "submitted")
    assert action(lab, config(["a"]), observed) == [Action.START]


def test_a_batch_that_is_nowhere_is_not_found() -> None:
    """Absent from the list, and a read is answered 404."""
    lab = lab_of(Server([]))
    observed = seen(lab, config(["a"]))
    assert calls(lab) == ["list", "a"]
    assert not observed.readings["a"].found
    assert action(lab, config(["a"]), observed) == [Action.BLOCKED]


def test_a_batch_that_is_listed_without_a_status_is_read() -> None:
    """A missing status is no answer. Without an answer the batch stays VERIFY."""
    lab = lab_of(Server(["a"], statuses={"a": None}))
    observed = seen(lab, config(["a"]))
    assert calls(lab) == ["list", *["a"] * 6]
    assert action(lab, config(["a"]), observed) == [Action.VERIFY]
    lab = lab_of(server := Server(["a"], statuses={"a": None}))
    lab.after(0.12, lambda: server.statuses.update(a="processing"))
    assert action(lab, config(["a"]), seen(lab, config(["a"]))) == [Action.ADOPT]


def test_a_started_batch_that_is_listed_as_submitted_is_read() -> None:
    """Two single reads that say `submitted` make it a contradiction. One that says `processing` resolves it."""
    started = entry(Phase.STARTED, status="processing")
    lab = lab_of(Server(["a"]), started)
    assert action(lab, config(["a"]), seen(lab, config(["a"]))) == [Action.BLOCKED]
    assert calls(lab) == ["list", "a", "a"]
    lab = lab_of(server := Server(["a"]), started)
    lab.after(0.12, lambda: server.statuses.update(a="processing"))
    assert action(lab, config(["a"]), seen(lab, config(["a"]))) == [Action.KEEP]
    assert calls(lab) == ["list", "a"]


def test_the_list_confirms_an_uncertain_start_without_a_read() -> None:
    """It is recorded at once."""
    lab = lab_of(Server(["a"], statuses={"a": "processing"}), entry(Phase.INTENDED, attempts=1))
    observed = seen(lab, config(["a"]))
    assert calls(lab) == ["list"]
    assert lab.entry("a").phase is Phase.STARTED
    assert action(lab, config(["a"]), observed) == [Action.KEEP]


@pytest.mark.parametrize("status", ["processing", "completed", "stopped"])
@pytest.mark.parametrize(
    ("known", "phase"),
    [
        pytest.param(entry(Phase.INTENDED), Phase.STARTED, id="the run died"),
        pytest.param(entry(Phase.UNKNOWN, doubt=True), Phase.STARTED, id="no answer"),
        pytest.param(entry(Phase.UNKNOWN, problem=NO_400), Phase.ALREADY_STARTED, id="400"),
        pytest.param(entry(Phase.UNKNOWN, problem=NO_400, doubt=True), Phase.STARTED, id="400 after doubt"),
        pytest.param(entry(Phase.UNKNOWN, doubt=True, declared=False), Phase.STARTED, id="not declared any more"),
    ],
)
def test_whose_start_the_list_confirms(known: Entry, phase: Phase, status: str) -> None:
    """The start is ours, unless every attempt of ours was clearly declined."""
    lab = lab_of(Server(["a"], statuses={"a": status}), known)
    seen(lab, config(["a"] if known.declared else []))
    assert calls(lab) == ["list"]
    assert (lab.entry("a").phase, lab.entry("a").status) == (phase, status)


def test_the_list_never_releases_an_uncertain_attempt() -> None:
    """The list says `submitted`. Two reads ten seconds apart must say so, too."""
    lab = lab_of(Server(["a"]), entry(Phase.INTENDED, attempts=1))
    observed = seen(lab, config(["a"]))
    assert calls(lab) == ["list", "a", "a"]
    assert lab.sent[2][0] - lab.sent[1][0] >= 10
    assert lab.entry("a").phase is Phase.RELEASED
    assert action(lab, config(["a"]), observed) == [Action.START]


def test_an_uncertain_attempt_without_an_answer_stays_open() -> None:
    """The plan says VERIFY again, and nothing is started."""
    lab = lab_of(Server(["a"]), entry(Phase.UNKNOWN, attempts=1, doubt=True))
    lab.fate = lambda _request, number: Fate(reply=LOST) if number else Fate()
    observed = seen(lab, config(["a"]))
    assert lab.entry("a").uncertain
    assert action(lab, config(["a"]), observed) == [Action.VERIFY]


def test_an_uncertain_attempt_of_an_undeclared_batch_is_settled_as_well() -> None:
    """It is undeclared, but its outcome must be known."""
    lab = lab_of(Server(["a"]), entry(Phase.UNKNOWN, doubt=True, declared=False))
    seen(lab, config([]))
    assert lab.entry("a").phase is Phase.RELEASED


def test_without_the_list_each_batch_to_start_is_read() -> None:
    """`--no-refresh` verifies unknown attempts, and reads the status of what it would start."""
    lab = lab_of(Server(["a", "b"]), entry(Phase.UNKNOWN, doubt=True), entry(Phase.STARTED, "c", status="completed"))
    observed = seen(lab, config(["a", "b", "c"]), refresh=False)
    assert calls(lab) == ["a", "b", "a"]
    assert not observed.listed
    assert action(lab, config(["a", "b", "c"]), observed) == [Action.START, Action.START, Action.KEEP]


@pytest.mark.parametrize(
    ("status", "decided"),
    [("stopped", Action.BLOCKED), ("completed", Action.ADOPT), ("queued", Action.BLOCKED), (None, Action.VERIFY)],
)
def test_without_the_list_the_single_read_decides(status: str | None, decided: Action) -> None:
    """Where the read gets no answer, nothing is started."""
    lab = lab_of(Server(["a"], statuses={"a": status}))
    assert action(lab, config(["a"]), seen(lab, config(["a"]), refresh=False)) == [decided]


def test_without_the_list_what_was_not_found_is_read_again() -> None:
    """Its batch may be there now, and a state that says otherwise is no answer."""
    for server, decided in ((Server(["a"]), Action.START), (Server([]), Action.BLOCKED)):
        lab = lab_of(server, replace(entry(Phase.SEEN), found=False))
        assert action(lab, config(["a"]), seen(lab, config(["a"]), refresh=False)) == [decided]
        assert calls(lab) == ["a"]


def test_nothing_is_asked_where_there_is_nothing_to_ask() -> None:
    """Without a list, an unknown attempt and a batch to start there is no request."""
    lab = lab_of(Server(["a"]), entry(Phase.STARTED, status="completed"))
    assert not seen(lab, config(["a"]), refresh=False).readings
    assert not lab.sent


def test_what_was_not_selected_is_not_read() -> None:
    """A targeted refresh ignores the other batches."""
    lab = lab_of(Server(["a", "b"], unlisted={"a", "b"}), entry(Phase.UNKNOWN, "c"))
    seen(lab, config(["a", "b"]), selected={"b"})
    assert calls(lab) == ["list", "b"]


@pytest.mark.parametrize(
    "reply",
    [LOST, failed(500), failed(404), Answer(status=200, body=b"<html>"), Answer(status=200, body=b'{"error": {}}')],
)
def test_an_account_that_cannot_be_listed_ends_the_command(reply: Answer | Broken) -> None:
    """Nothing was started, and the message says so."""
    lab = lab_of(Server(["a"]), entry(Phase.UNKNOWN))
    lab.fate = lambda _request, _number: Fate(reply=reply)
    with pytest.raises(ServerError, match="could not be read") as error:
        seen(lab, config(["a"]))
    assert "No batch was started" in error.value.detail
    assert calls(lab) == ["list"] * 4


def test_a_refused_list_stops_the_run() -> None:
    """The end says why. Nothing is observed, and no further request is sent."""
    lab = lab_of(Server(["a"]), entry(Phase.UNKNOWN))
    lab.fate = lambda _request, _number: Fate(reply=failed(401))
    assert seen(lab, config(["a"])) == NOTHING_OBSERVED
    assert isinstance(lab.run.end, Stopped)
    assert calls(lab) == ["list"]


def test_the_servers_clock_is_noted() -> None:
    """Its Date header against the local clock, to the second."""
    lab = lab_of(Server(["a"], skew=timedelta(hours=2)))
    skew = seen(lab, config(["a"])).skew
    assert skew is not None
    assert abs(skew - timedelta(hours=2)) <= timedelta(seconds=2)
    lab = lab_of(Server(["a"], headers=False))
    assert seen(lab, config(["a"])).skew is None


@pytest.mark.parametrize("hours", [2, -2])
def test_one_clock_does_not_pass_a_not_before(hours: int) -> None:
    """A Date header two hours ahead starts nothing, nor does a local clock two hours ahead."""
    lab = lab_of(Server(["a"], skew=timedelta(hours=hours)))
    wanted = config(["a"], not_before=NOW + timedelta(hours=hours / 2))
    lab.apply(wanted)
    assert not lab.starts
    assert [c.action for c in plan(wanted, None, seen(lab, wanted), NOW, endpoint=ENDPOINT).changes] == [Action.WAIT]


def test_a_batch_expires_by_the_servers_clock() -> None:
    """A local clock that is days ahead does not make a rejection final."""
    known = entry(Phase.UNKNOWN, problem=NO_400, submitted_at=NOW - timedelta(days=28))
    for skew, cause in ((timedelta(), Cause.EXPIRED), (-timedelta(days=2), Cause.NOT_STARTED)):
        lab = lab_of(Server(["a"], skew=skew, submitted=None), known)
        seen(lab, config(["a"]))
        assert lab.entry("a").cause is cause


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(seconds=25), timedelta(), timedelta(hours=-1)])
@pytest.mark.parametrize("clock", ["server", "machine"])
def test_no_clock_shortens_the_wait_for_a_start_in_flight(clock: str, ahead: timedelta) -> None:
    """A proxy holds the start of a run that died for 14 s. The next run waits for it, whatever any clock says."""
    server = Server(["a"], lag=5.0, skew=ahead if clock == "server" else timedelta())
    lab = Lab(server, fate=lambda request, _: Fate(latency=28.0 if request.method == "POST" else 0.1))
    lab.on_record = lambda: setattr(lab, "crash_at", lab.steps + 4)  # after the start was sent
    with pytest.raises(Crash):
        lab.apply(config(["a"]))
    assert lab.starts == ["a"]
    assert not server.accepted
    lab.on_record, lab.crash_at, lab.fate = lambda: None, None, lambda _request, _number: Fate()
    if clock == "machine":  # the intent is of a machine whose clock differs
        intent = lab.durable[0]
        lab.durable[0] = replace(intent, at=intent.at - ahead)
    lab.apply(config(["a"]))
    lab.reach(60.0)
    lab.check_all_started(["a"])


@pytest.mark.parametrize(
    ("age", "skew", "phase"),
    [
        pytest.param(28.9, 0, Phase.UNKNOWN, id="not yet"),
        pytest.param(29.1, 0, Phase.RELEASED, id="over"),
        pytest.param(27.0, 3, Phase.UNKNOWN, id="by the server's clock only"),
        pytest.param(29.1, -3, Phase.UNKNOWN, id="by the local clock only"),
    ],
)
def test_a_503_and_then_a_400_end_with_the_28_days(age: float, skew: int, phase: Phase) -> None:
    """The batch can no longer be started, so that it is blocked as expired and not started."""
    server = Server(["a"], skew=timedelta(days=skew), submitted=None)
    known = entry(
        Phase.UNKNOWN,
        problem=NO_400,
        doubt=True,
        attempts=2,
        submitted_at=NOW - timedelta(days=age),
        reference_id="a-r0",
    )
    lab = lab_of(server, known)
    done = lab.apply(config(["a"]))
    assert not lab.starts
    assert lab.entry("a").phase is phase
    assert done.exit is (Exit.UNKNOWN if phase is Phase.UNKNOWN else Exit.INCOMPLETE)
