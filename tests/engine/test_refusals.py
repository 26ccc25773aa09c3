"""What a run refuses before anything is recorded or sent, also when it is called without the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from batchform.api.endpoint import parse_endpoint
from batchform.api.pacing import Pacer
from batchform.apply import carry_out
from batchform.engine import Engine, Unrecordable
from batchform.errors import BatchformError, RefusedError, StateError, UsageError
from batchform.model import NOTHING_OBSERVED, Guard, GuardName, Service, Source
from batchform.observe import Subject, account, observe
from batchform.planner import plan
from batchform.protocol import Rules, rules
from batchform.state.events import Intended, Seen, Started
from batchform.state.known import Evidence
from tests.engine.lab import ENDPOINT, FRESH, NOW, PLACE, RULES, FakeWire, Lab, Server, config

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.plan import Plan
    from batchform.state.events import What
    from batchform.state.known import State

WANTED = config("ab")
MADE = plan(WANTED, FRESH, NOTHING_OBSERVED, NOW, endpoint=ENDPOINT)
SIMULATOR = "http://127.0.0.1:8080"
HASTY = [Rules(settle=9.9), Rules(in_flight=19.9), Rules(settle=float("nan")), Rules(in_flight=float("nan"))]


def guarded(*, overridden: bool = False) -> Plan:
    """A plan of two starts where a guard allows one."""
    limited = replace(WANTED, guards=(Guard(name=GuardName.MAX_STARTS, limit=1, place=PLACE),))
    names = [GuardName.MAX_STARTS] if overridden else []
    return plan(limited, FRESH, NOTHING_OBSERVED, NOW, endpoint=ENDPOINT, overridden=names)


def run(made: Plan, state: State = FRESH, rules: Rules = RULES, lab: Lab | None = None) -> Lab:
    """Carry the plan out."""
    lab = lab or Lab(Server("ab"))
    carry_out(made, config=WANTED, state=state, observed=NOTHING_OBSERVED, engine=lab.engine(), rules=rules)
    return lab


def refresh(state: State = FRESH, rules: Rules = RULES, lab: Lab | None = None) -> Lab:
    """Read the account."""
    lab = lab or Lab(Server("ab"))
    subject = Subject(config=WANTED, selected=None, endpoint=ENDPOINT, state=lambda: state)
    observe(subject, lab.engine(), rules, NOW, refresh=True)
    return lab


def refused(call: Callable[..., Lab], error: type[BatchformError], words: str, *args: Any, **more: Any) -> None:
    """The call raises, and nothing was recorded or sent."""
    lab = Lab(Server("ab"))
    with pytest.raises(error, match=words):
        call(*args, **more, lab=lab)
    assert (lab.durable, lab.sent) == ([], [])


def test_a_plan_that_a_guard_blocks_is_not_carried_out() -> None:
    """Whether the caller looked at the guards or not; an override counts."""
    refused(run, RefusedError, "A guard blocks this apply", guarded())
    assert len(run(guarded(overridden=True)).starts) == 2


@pytest.mark.parametrize(
    ("other", "words"),
    [({"endpoint": SIMULATOR}, "another endpoint"), ({"service": Service.EMAIL}, "another service")],
    ids=["endpoint", "service"],
)
def test_a_state_of_something_else_is_refused(other: dict[str, Any], words: str) -> None:
    """By apply and by the refresh before it."""
    refused(run, StateError, words, MADE, replace(FRESH, **other))
    refused(refresh, StateError, words, replace(FRESH, **other))
    assert len(run(MADE).starts) == 2
    assert refresh().sent


@pytest.mark.parametrize("hasty", HASTY, ids=["settle", "in flight", "settle nan", "in flight nan"])
def test_where_starts_are_paid_for_short_waits_are_refused(hasty: Rules) -> None:
    """A plain http endpoint is a simulator on this machine: there they are allowed."""
    refused(run, UsageError, "settle time is too short", MADE, rules=hasty)
    refused(refresh, UsageError, "settle time is too short", rules=hasty)
    there = replace(FRESH, endpoint=SIMULATOR)
    assert run(replace(MADE, endpoint=SIMULATOR), there, hasty).starts == ["a", "b"]


def test_the_rules_of_a_settle_time() -> None:
    """A simulator may have a shorter settle time."""
    paid, simulator = parse_endpoint(ENDPOINT), parse_endpoint(SIMULATOR)
    assert rules(10.0, paid) == Rules()
    assert rules(60.0, paid) == Rules(settle=60.0)
    assert rules(2.0, simulator) == Rules(settle=2.0, in_flight=4.0)
    for settle in (0.0, 9.999, float("nan")):
        with pytest.raises(UsageError, match="settle time is too short"):
            rules(settle, paid)


def test_an_engine_without_a_journal_starts_nothing() -> None:
    """It may read, but the first event ends its run before the next request."""
    lab = Lab(Server("ab"))
    engine = Engine(wire=FakeWire(lab), clock=lab.clock, pacer=Pacer(), run="r", random=lambda: 0.5)
    assert account(Service.PHONE, engine, RULES) is not None
    sent = len(lab.sent)
    carry_out(MADE, config=WANTED, state=FRESH, observed=NOTHING_OBSERVED, engine=engine, rules=RULES)
    assert isinstance(engine.end, Unrecordable)
    assert (lab.durable, len(lab.sent)) == ([], sent)


@pytest.mark.parametrize(
    "what",
    [
        Intended(reference_id="r"),
        Started(status="processing", evidence=Evidence.ANSWER),
        Seen(source=Source.READ, found=True, status="stopped"),
    ],
    ids=["unknown", "started", "stopped"],
)
def test_a_plan_that_is_older_than_the_state_is_refused(what: What) -> None:
    """What may have been paid for since the plan was made is not started."""
    lab = Lab(Server("ab"))
    engine = lab.engine()
    engine.record("b", "b", what)
    engine.run_tasks(())
    known = len(lab.durable)
    with pytest.raises(StateError, match="older than the state"):
        run(MADE, lab.state(), lab=lab)
    assert (len(lab.durable), lab.sent) == (known, [])
