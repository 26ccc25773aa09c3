"""The events that a run records, and its report."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from batchform.apply import Outcome, Report, Result, carry_out, reference_id, report, to_record
from batchform.engine import End, ForeignAnswers, Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.errors import Exit, OutcomeUnknownError
from batchform.model import Batch, Config, Observed, Reading, ServerProblem, Source
from batchform.plan import Action, Change, Plan, Reason
from batchform.planner import plan
from batchform.state.events import (
    AlreadyStarted,
    Declared,
    Event,
    Forgotten,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Seen,
    Started,
    Unknown,
    What,
    fold,
)
from batchform.state.known import Cause, Entry, Evidence, Phase, State, TimeSource
from tests.engine.lab import ENDPOINT, FRESH, NOW, PLACE, RULES, Fate, Lab, Server, config, failed
from tests.strategies import with_obstacle

PROBLEM = ServerProblem(status=500, title="Internal Server Error")
INTENDED = Intended(reference_id="ref")
STARTED = Started(status="processing", evidence=Evidence.ANSWER)
SETTLED = Started(status="completed", evidence=Evidence.STATUS)
REJECTED = Rejected(cause=Cause.NOT_STARTED, problem=PROBLEM)


# --- to record -------------------------------------------------------------------------------------------------------


def entry(phase: Phase, **known: Any) -> Entry:
    """What the state holds of batch `a`."""
    words: dict[str, Any] = {"batch_id": "a", "name": "a", "phase": phase, "updated_at": NOW, "run": "r0"}
    return Entry(**words | known)


def listed(status: str | None, **said: Any) -> Reading:
    """An entry of the list."""
    return Reading(batch_id="a", source=Source.LIST, status=status, **said)


def read(status: str | None, **said: Any) -> Reading:
    """An answer to a single read."""
    return Reading(batch_id="a", source=Source.READ, status=status, **said)


MISSING = Reading(batch_id="a", source=Source.READ, found=False)
RUNNING = entry(
    Phase.STARTED,
    status="processing",
    evidence=Evidence.ANSWER,
    labels={},
    started_at=NOW,
    time_source=TimeSource.REQUEST,
)


@pytest.mark.parametrize(
    ("known", "reading", "words"),
    [
        pytest.param(None, None, [], id="nothing seen"),
        pytest.param(None, listed("submitted"), [], id="submitted is what everyone expects"),
        pytest.param(None, listed(None), [], id="no status"),
        pytest.param(None, MISSING, ["Seen"], id="not found, nothing known"),
        pytest.param(None, listed("processing"), ["Seen"], id="adopted"),
        pytest.param(None, listed("completed"), ["Seen"], id="adopted, completed"),
        pytest.param(None, listed("stopped"), ["Seen"], id="found stopped"),
        pytest.param(None, listed("queued"), ["Seen"], id="an unrecognised status"),
        pytest.param(RUNNING, listed("processing"), [], id="as known"),
        pytest.param(RUNNING, None, [], id="not asked"),
        pytest.param(RUNNING, listed("completed"), ["Seen"], id="progress"),
        pytest.param(RUNNING, listed("stopped", reason="r"), ["Seen"], id="stopped"),
        pytest.param(RUNNING, listed("processing", records=7), ["Seen"], id="records learnt"),
        pytest.param(RUNNING, listed("processing", date_submitted=NOW), ["Seen"], id="age learnt"),
        pytest.param(replace(RUNNING, labels=None), listed("processing"), ["Seen"], id="labels learnt"),
        pytest.param(
            replace(RUNNING, status="completed", ended_at=NOW), listed("completed"), [], id="an end, known already"
        ),
        pytest.param(
            replace(RUNNING, status="completed", ended_at=NOW),
            listed("completed", date_ended=NOW - timedelta(hours=1)),
            ["Seen"],
            id="an end, learnt",
        ),
        pytest.param(RUNNING, listed("submitted"), [], id="the list contradicts: a hint"),
        pytest.param(RUNNING, read("submitted"), ["Seen"], id="a read contradicts"),
        pytest.param(entry(Phase.SEEN, status="submitted"), read("submitted"), [], id="still submitted"),
        pytest.param(entry(Phase.SEEN, status="submitted"), MISSING, ["Seen"], id="gone"),
        pytest.param(entry(Phase.REJECTED, cause=Cause.NOT_FOUND), listed("submitted"), ["Seen"], id="found after all"),
        pytest.param(entry(Phase.SEEN, declared=False, status="submitted"), None, ["Declared"], id="declared again"),
        pytest.param(entry(Phase.SEEN, name="old", status="submitted"), None, ["Declared"], id="renamed"),
        pytest.param(
            entry(Phase.STARTED, name="old", status="processing"), listed("completed"), ["Declared", "Seen"], id="both"
        ),
    ],
)
def test_only_what_the_state_does_not_know_is_news(
    known: Entry | None, reading: Reading | None, words: list[str]
) -> None:
    """Known facts make no event, and recorded events are not recorded again."""
    wanted = Config(batches=(Batch(name="a", batch_id="a", place=PLACE),))
    state = State(lineage="l", service=FRESH.service, endpoint=ENDPOINT, entries={"a": known} if known else {})
    seen = Observed(listed=True, readings=MappingProxyType({"a": reading} if reading else {}))
    told = list(to_record(wanted, state, seen, None))
    assert [type(what).__name__ for _, _, what in told] == words
    assert {(batch_id, name) for batch_id, name, _ in told} <= {("a", "a")}
    after = fold(state, events(*((batch_id, what) for batch_id, _, what in told)))
    assert list(to_record(wanted, after, seen, None)) == []
    assert list(to_record(wanted, state, seen, {"other"})) == []


def test_what_waits_for_its_start_is_news_when_asked_for() -> None:
    """An offline plan then has its size. A batch without a status makes no event."""
    wanted = Config(batches=(Batch(name="a", batch_id="a", place=PLACE),))
    state = State(lineage="l", service=FRESH.service, endpoint=ENDPOINT)
    told = list(to_record(wanted, state, Observed(readings={"a": listed("submitted", records=7)}), None, waiting=None))
    assert fold(state, events(*((batch_id, what) for batch_id, _, what in told))).entries["a"].records == 7
    assert list(to_record(wanted, state, Observed(readings={"a": listed(None)}), None, waiting=None)) == []


def test_the_contradiction_of_a_read_is_kept() -> None:
    """The next run knows of it, even offline."""
    wanted = Config(batches=(Batch(name="a", batch_id="a", place=PLACE),))
    state = State(lineage="l", service=FRESH.service, endpoint=ENDPOINT, entries={"a": RUNNING})
    seen = Observed(readings={"a": read("submitted")})
    after = fold(state, events(*((batch_id, what) for batch_id, _, what in to_record(wanted, state, seen, None))))
    assert after.entries["a"].contradiction
    (change,) = plan(wanted, after, Observed(), NOW, endpoint=ENDPOINT).changes
    assert (change.action, change.reason) == (Action.VERIFY, Reason.CONTRADICTION)


TWO_RUNNING = Observed(
    listed=True, readings={name: Reading(batch_id=name, source=Source.LIST, status="processing") for name in "ab"}
)


def test_of_what_is_not_selected_nothing_is_news() -> None:
    """A batch that is not selected does not hide the batches after it."""
    told = list(to_record(config("ab"), FRESH, TWO_RUNNING, {"b"}))
    assert [batch_id for batch_id, _, _ in told] == ["b"]


@pytest.mark.parametrize(("selected", "recorded"), [({"b"}, ["b"]), (None, ["a", "b"])], ids=["b", "all"])
def test_a_targeted_run_records_only_what_it_was_asked_about(selected: set[str] | None, recorded: list[str]) -> None:
    """The other batches are ignored."""
    lab = Lab(Server(["a", "b"]))
    planned = plan(config("ab"), FRESH, TWO_RUNNING, NOW, endpoint=ENDPOINT, selected=selected)
    carry_out(planned, config=config("ab"), state=FRESH, observed=TWO_RUNNING, engine=lab.engine(), rules=RULES)
    assert [event.batch_id for event in lab.durable] == recorded


# --- the report ------------------------------------------------------------------------------------------------------


def events(*whats: tuple[str, What]) -> list[Event]:
    """Events of one run, in order."""
    return [
        Event(run="r1", seq=seq, at=NOW, batch_id=batch_id, name=batch_id, what=what)
        for seq, (batch_id, what) in enumerate(whats, start=1)
    ]


def made(*actions: tuple[str, Action, Reason]) -> Plan:
    """A plan of these changes."""
    empty = plan(Config(), None, Observed(), NOW, endpoint=ENDPOINT)
    changes = tuple(
        with_obstacle(Change(name=name, batch_id=name, action=action, reason=reason))
        for name, action, reason in actions
    )
    return Plan(**{name: getattr(empty, name) for name in Plan.__dataclass_fields__} | {"changes": changes})


def single(action: Action, *whats: What, reason: Reason = Reason.NEW) -> Outcome | None:
    """The report of one batch."""
    told = report(made(("a", action, reason)), events(*(("a", what) for what in whats)), (), None)
    return told.outcomes[0] if told.outcomes else None


@pytest.mark.parametrize(
    ("action", "whats", "result", "code"),
    [
        (Action.START, (INTENDED, STARTED), Result.STARTED, Exit.DONE),
        (Action.START, (INTENDED, Unknown(problem=PROBLEM), SETTLED), Result.STARTED, Exit.DONE),
        (Action.START, (INTENDED, AlreadyStarted(status="processing")), Result.ALREADY_STARTED, Exit.DONE),
        (Action.START, (INTENDED, REJECTED), Result.REJECTED, Exit.INCOMPLETE),
        (Action.START, (INTENDED, Unknown(problem=PROBLEM)), Result.UNKNOWN, Exit.UNKNOWN),
        (Action.START, (INTENDED,), Result.UNKNOWN, Exit.UNKNOWN),
        (Action.START, (INTENDED, NotAttempted()), Result.NOT_ATTEMPTED, Exit.INCOMPLETE),
        (Action.START, (), Result.NOT_ATTEMPTED, Exit.INCOMPLETE),
        (Action.START, (Released(),), Result.NOT_ATTEMPTED, Exit.INCOMPLETE),
        (Action.START, (Seen(source=Source.LIST, status="submitted"),), Result.NOT_ATTEMPTED, Exit.INCOMPLETE),
        (Action.ADOPT, (Seen(source=Source.LIST, status="processing"),), Result.ADOPTED, Exit.DONE),
        (Action.FORGET, (Forgotten(),), Result.FORGOTTEN, Exit.DONE),
        (Action.BLOCKED, (), Result.BLOCKED, Exit.INCOMPLETE),
        (Action.VERIFY, (), Result.UNKNOWN, Exit.UNKNOWN),
        (Action.KEEP, (SETTLED,), Result.STARTED, Exit.DONE),
        (Action.KEEP, (AlreadyStarted(status="completed"),), Result.ALREADY_STARTED, Exit.DONE),
        (Action.KEEP, (Declared(),), None, Exit.DONE),
        (Action.KEEP, (), None, Exit.DONE),
        (Action.HOLD, (), None, Exit.DONE),
        (Action.WAIT, (), None, Exit.DONE),
    ],
)
def test_each_batch_has_one_line_in_the_account(
    action: Action, whats: tuple[What, ...], result: Result | None, code: Exit
) -> None:
    """The result of one batch, and the exit code of a report with it alone."""
    outcome = single(action, *whats)
    assert (outcome.result if outcome is not None else None) == result
    assert report(made(("a", action, Reason.NEW)), events(*(("a", w) for w in whats)), (), None).exit is code


def test_the_account_tells_how_and_why() -> None:
    """Evidence, cause and problem are those of the last event."""
    assert (by_status := single(Action.START, INTENDED, SETTLED)) is not None
    assert by_status.evidence is Evidence.STATUS
    assert (rejected := single(Action.START, INTENDED, REJECTED)) is not None
    assert (rejected.cause, rejected.problem) == (Cause.NOT_STARTED, PROBLEM)
    assert (unknown := single(Action.START, INTENDED, Unknown(problem=PROBLEM))) is not None
    assert unknown.problem == PROBLEM


def test_what_was_not_approved_is_named_and_is_no_failure() -> None:
    """A start that was not in the approved plan is not attempted."""
    outcome = single(Action.WAIT, reason=Reason.NOT_APPROVED)
    assert outcome is not None
    assert outcome.result is Result.NOT_APPROVED
    assert Report(outcomes=(outcome,)).complete


def test_what_could_not_be_settled_tells_the_last_problem() -> None:
    """Also of a batch that was only read in this run."""
    down = ServerProblem(status=503, title="Service Unavailable")
    outcome = single(Action.VERIFY, Unknown(problem=down), Unknown(problem=PROBLEM), reason=Reason.UNCERTAIN)
    (change,) = made(("a", Action.VERIFY, Reason.UNCERTAIN)).changes
    assert outcome == Outcome(change=change, result=Result.UNKNOWN, problem=PROBLEM)


def test_what_was_not_attempted_tells_why() -> None:
    """When the attempt has one."""
    outcome = single(Action.START, INTENDED, NotAttempted(problem=PROBLEM), reason=Reason.NEW)
    assert outcome is not None
    assert (outcome.result, outcome.problem) == (Result.NOT_ATTEMPTED, PROBLEM)


@pytest.mark.parametrize(
    ("action", "reason", "whats"),
    [
        (Action.ADOPT, Reason.RUNNING, ()),
        (Action.FORGET, Reason.NOT_DECLARED, ()),
        (Action.BLOCKED, Reason.STOPPED, ()),
        (Action.VERIFY, Reason.ABSENT, ()),
        (Action.WAIT, Reason.NOT_APPROVED, ()),
        (Action.START, Reason.NEW, (STARTED,)),
        (Action.START, Reason.NEW, (AlreadyStarted(status="processing"),)),
        (Action.START, Reason.NEW, (REJECTED,)),
        (Action.START, Reason.NEW, (INTENDED,)),
        (Action.START, Reason.NEW, (NotAttempted(),)),
        (Action.START, Reason.NEW, ()),
    ],
)
def test_each_outcome_is_of_its_change(action: Action, reason: Reason, whats: tuple[What, ...]) -> None:
    """Name, batch_id and place of a line in the report come from the change."""
    (change,) = made(("a", action, reason)).changes
    assert (outcome := single(action, *whats, reason=reason)) is not None
    assert outcome.change == change


def test_what_is_not_on_disk_says_so() -> None:
    """Also of a batch that was only adopted or forgotten."""
    three = made(("a", Action.START, Reason.NEW), ("b", Action.ADOPT, Reason.RUNNING), ("c", Action.START, Reason.NEW))
    lost = events(("b", Seen(source=Source.LIST, status="processing")), ("c", STARTED))
    end = Unrecordable(error=OutcomeUnknownError("full"))
    told = report(three, events(("a", INTENDED), ("a", STARTED), ("c", INTENDED)), lost, end)
    assert [(o.result, o.recorded) for o in told.outcomes] == [
        (Result.STARTED, True),
        (Result.ADOPTED, False),
        (Result.STARTED, False),
    ]
    assert told.exit is Exit.UNKNOWN


SIGNAL = Interrupted(signum=2)
STOPPED = Stopped(problem=PROBLEM)
DOWN = ServiceDown(batches=10)
STARVED = Starved(windows=5)
FOREIGN = ForeignAnswers(reference_id="gw-1")
FULL = Unrecordable(error=OutcomeUnknownError("full"))


@pytest.mark.parametrize(
    ("end", "results", "code"),
    [
        pytest.param(SIGNAL, [Result.UNKNOWN, Result.REJECTED], Exit.INTERRUPTED, id="a signal before all"),
        pytest.param(Interrupted(signum=15), [], Exit.TERMINATED, id="TERM"),
        pytest.param(Interrupted(signum=1), [], Exit.HANGUP, id="HUP"),
        pytest.param(STOPPED, [Result.UNKNOWN], Exit.UNKNOWN, id="unknown before stopped"),
        pytest.param(FULL, [Result.STARTED], Exit.UNKNOWN, id="not on disk is unknown"),
        pytest.param(STOPPED, [Result.REJECTED, Result.NOT_ATTEMPTED], Exit.ERROR, id="stopped before rejected"),
        pytest.param(DOWN, [Result.UNKNOWN], Exit.UNKNOWN, id="unknown before a service that is down"),
        pytest.param(DOWN, [Result.NOT_ATTEMPTED], Exit.INCOMPLETE, id="down"),
        pytest.param(STARVED, [Result.NOT_ATTEMPTED], Exit.INCOMPLETE, id="starved"),
        pytest.param(FOREIGN, [Result.UNKNOWN], Exit.UNKNOWN, id="unknown before foreign answers"),
        pytest.param(FOREIGN, [Result.NOT_ATTEMPTED], Exit.ERROR, id="foreign answers"),
        pytest.param(STARVED, [], Exit.INCOMPLETE, id="an early end is never done"),
        pytest.param(None, [Result.UNKNOWN, Result.REJECTED], Exit.UNKNOWN, id="unknown before rejected"),
        pytest.param(None, [Result.STARTED, Result.BLOCKED], Exit.INCOMPLETE, id="blocked"),
        pytest.param(
            None, [Result.STARTED, Result.ADOPTED, Result.FORGOTTEN, Result.ALREADY_STARTED], Exit.DONE, id="done"
        ),
        pytest.param(None, [Result.NOT_APPROVED], Exit.DONE, id="fewer than offered is fine"),
        pytest.param(None, [], Exit.DONE, id="nothing to do"),
    ],
)
def test_the_exit_code_has_its_order(end: End | None, results: list[Result], code: Exit) -> None:
    """Signal, then unknown, then error, then incomplete."""
    change = made(("a", Action.START, Reason.NEW)).changes[0]
    told = Report(outcomes=tuple(Outcome(change=change, result=result) for result in results), end=end)
    assert told.exit is code
    assert told.complete == (code is Exit.DONE)


# --- a whole run -----------------------------------------------------------------------------------------------------


def test_a_run_records_what_it_saw_forgets_what_is_gone_and_starts_the_rest() -> None:
    """ADOPT, FORGET, START, BLOCKED and KEEP in one apply. A second apply changes nothing."""
    gone = Entry(batch_id="gone", name="gone", phase=Phase.STARTED, status="completed", updated_at=NOW, run="r0")
    base = State(lineage="l", service=FRESH.service, endpoint=ENDPOINT, entries={"gone": gone})
    server = Server(["new", "running", "halted", "gone"], statuses={"running": "processing", "halted": "stopped"})
    lab = Lab(server, base=base)
    wanted = config(["halted", "new", "nowhere", "running"])
    done = lab.apply(wanted)
    assert [(outcome.change.name, outcome.result) for outcome in done.outcomes] == [
        ("gone", Result.FORGOTTEN),
        ("halted", Result.BLOCKED),
        ("new", Result.STARTED),
        ("nowhere", Result.BLOCKED),
        ("running", Result.ADOPTED),
    ]
    assert not lab.entry("gone").declared
    assert lab.entry("running").phase is Phase.ADOPTED
    before = len(lab.durable)
    again = lab.apply(wanted)
    assert [outcome.result for outcome in again.outcomes] == [Result.BLOCKED, Result.BLOCKED]
    assert len(lab.durable) == before


def test_a_batch_is_forgotten_under_its_name() -> None:
    """Output and history use its declared name."""
    gone = Entry(batch_id="gone", name="old-customers", phase=Phase.SEEN, updated_at=NOW, run="r0")
    lab = Lab(Server(["gone"]), base=replace(FRESH, entries={"gone": gone}))
    lab.apply(config([]))
    assert [(event.batch_id, event.name, event.what) for event in lab.durable] == [
        ("gone", "old-customers", Forgotten())
    ]


def test_an_attempt_that_is_settled_while_looking_is_in_the_account() -> None:
    """An unknown attempt of an earlier run that this one finds started is reported as started."""
    lab = Lab(Server(["a"]))
    lab.fate = lambda _request, number: Fate(reply=failed(500)) if number else Fate()
    assert lab.apply(config(["a"])).exit is Exit.UNKNOWN
    lab.fate = lambda _request, _number: Fate()
    done = lab.apply(config(["a"]))
    assert [(outcome.result, outcome.evidence) for outcome in done.outcomes] == [(Result.STARTED, Evidence.STATUS)]
    assert lab.starts == ["a"]


def test_a_doubt_of_an_earlier_run_goes_with_the_next_attempt() -> None:
    """After a release in one run, a 400 in the next does not count as declined."""
    lab = Lab(Server(["a"]))
    lab.fate = lambda request, _number: Fate(reply=failed(503), reaches=False) if request.method == "POST" else Fate()
    lab.apply(config(["a"]))
    assert lab.entry("a").phase is Phase.REJECTED
    lab.fate = lambda request, _number: Fate(reply=failed(400), reaches=False) if request.method == "POST" else Fate()
    assert lab.apply(config(["a"])).exit is Exit.UNKNOWN
    assert lab.entry("a").phase is Phase.UNKNOWN


@pytest.mark.parametrize(
    ("name", "run", "reference"),
    [
        ("uk-mobiles", "r1", "uk-mobiles-r1"),
        ("uk.mobiles_2026", "r1", "uk-mobiles-2026-r1"),
        ("a" * 300, "run", "a" * 252 + "-run"),
    ],
)
def test_a_reference_id_is_made_of_letters_digits_and_hyphens(name: str, run: str, reference: str) -> None:
    """Letters, digits and hyphens only, and at most 256 characters."""
    assert reference_id(name, run) == reference
