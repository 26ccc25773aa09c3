"""Estimates of credits: by what the account charged, else by the configuration, and never by a guess."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.apply import Outcome, Report, Result
from batchform.approval import approve
from batchform.config.loader import load
from batchform.estimate import ENOUGH, LAST, Rate, rate_of
from batchform.model import NOTHING_OBSERVED, Batch, Config, Costs, Guard, GuardName, Service
from batchform.planner import plan
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import load_plan
from batchform.render.markdown import plan_markdown
from batchform.render.outcomes import closing_words
from batchform.render.style import Style
from batchform.render.text.plan import plan_text
from batchform.render.words import credits_words
from batchform.source_text import Place
from batchform.state.known import Entry, Phase, State

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.plan import Plan

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLACE: Final = Place(file="batches.yaml", line=1, column=1, end_line=1, end_column=2)
CONFIGURED: Final = Costs(credits_per_record=2)


def charged(number: int, credits_charged: int | None, **known: Any) -> Entry:
    """A completed batch of 100 records that started so many days ago."""
    words: dict[str, Any] = {
        "batch_id": f"c{number}",
        "name": f"c{number}",
        "phase": Phase.STARTED,
        "declared": False,
        "status": "completed",
        "records": 100,
        "credits": credits_charged,
        "final": True,
        "started_at": NOW - timedelta(days=number),
        "updated_at": NOW,
        "run": "r1",
    }
    return Entry(**(words | known))


def state(*entries: Entry, past: tuple[Entry, ...] = ()) -> State:
    """A state of these."""
    return State(
        lineage="l",
        service=Service.PHONE,
        endpoint="e",
        entries={one.batch_id: one for one in entries},
        past={one.batch_id: one for one in past},
    )


LEARNT: Final = state(charged(1, 100), charged(2, 110), past=(charged(3, 120),))


def made(known: State | None = None, costs: Costs = Costs(), **said: Any) -> Plan:  # noqa: B008  # frozen
    """A plan that starts two batches, one of 1,000 records and one of unknown size."""
    batches = (
        Batch(name="a", batch_id="a", place=PLACE, records=1000),
        Batch(name="b", batch_id="b", place=PLACE),
    )
    return plan(Config(batches=batches, costs=costs, **said), known, NOTHING_OBSERVED, NOW, endpoint="e")


def test_a_rate_is_learnt_from_the_last_charges() -> None:
    """The average over all their records, and the least and the most of one batch."""
    assert rate_of(CONFIGURED, LEARNT) == Rate(per_record=1.1, least=1.0, most=1.2, learnt=3)
    many = state(*(charged(number, 100 + number) for number in range(LAST + 10)))
    found = rate_of(Costs(), many)
    assert found is not None
    assert (found.learnt, found.least, found.most) == (LAST, 1.0, 1.19)


@pytest.mark.parametrize(
    "known",
    [
        {"final": False},
        {"credits": None},
        {"records": None},
        {"records": 0},
        {"status": "stopped"},
    ],
    ids=str,
)
def test_a_charge_that_does_not_tell_a_rate_is_left_out(known: dict[str, Any]) -> None:
    """A stopped batch was not charged for all of its records."""
    known_state = state(charged(1, 100), charged(2, 110), charged(3, 120, **known))
    assert ENOUGH == 3
    assert rate_of(Costs(), known_state) is None
    assert rate_of(CONFIGURED, known_state) == Rate(per_record=2, least=2, most=2)


def test_without_charges_and_configuration_there_is_no_estimate() -> None:
    """Plans show records only."""
    for known in (None, state()):
        text = plan_text(made(known), Style(color=False))
        assert "redit" not in text
        assert "estimate" not in plan_document(made(known), version="v")


def test_a_plan_that_starts_nothing_has_no_estimate() -> None:
    """There is nothing to estimate."""
    assert plan(Config(costs=CONFIGURED), LEARNT, NOTHING_OBSERVED, NOW, endpoint="e").rate is None


LEARNT_WORDS: Final = "about 1,100 credits (1,000 to 1,200)"


@pytest.mark.parametrize(
    ("known", "costs", "words", "basis"),
    [
        pytest.param(LEARNT, Costs(), LEARNT_WORDS, ", by the charges of the last 3 batches", id="learnt"),
        pytest.param(
            LEARNT, CONFIGURED, LEARNT_WORDS, ", by the charges of the last 3 batches", id="learnt, not as told"
        ),
        pytest.param(None, CONFIGURED, "about 2,000 credits", ", as configured", id="configured"),
        pytest.param(
            LEARNT,
            Costs(price_per_credit=0.02, currency="EUR"),
            f"{LEARNT_WORDS}, 22.00 EUR",
            ", by the charges of the last 3 batches",
            id="with a price",
        ),
    ],
)
def test_text_comment_prompt_and_report_say_the_same(known: State | None, costs: Costs, words: str, basis: str) -> None:
    """Batches of unknown size are not part of it. No currency without a price."""
    one = made(known, costs)
    assert f"Estimate: {words}{basis}." in " ".join(plan_text(one, Style(color=False)).split())
    assert f"Estimate: {words}{basis}." in plan_markdown(one, key="k")
    assert credits_words(one.changes, one.rate) == words
    outcomes = tuple(Outcome(change=change, result=Result.STARTED) for change in one.changes)
    assert words in closing_words(Report(outcomes=outcomes, rate=one.rate))


def test_an_estimate_is_no_part_of_an_approval_or_a_guard() -> None:
    """The same starts are approved and blocked with and without it, and a saved plan has none when it is loaded."""
    guard = Guard(name=GuardName.MAX_RECORDS, limit=11_000, place=PLACE)
    without, with_it = made(LEARNT, guards=(guard,)), made(LEARNT, CONFIGURED, guards=(guard,))
    assert without == replace(with_it, rate=None)
    document = plan_document(made(state(), CONFIGURED), version="v")
    assert document["estimate"] == {
        "records": 1000,
        "credits": 2000,
        "credits_at_least": 2000,
        "credits_at_most": 2000,
        "learnt_from": 0,
        "price": None,
        "currency": None,
    }
    saved = load_plan(json.dumps(document).encode())
    assert saved.rate is None
    approved = approve(made(LEARNT), saved)
    assert approved.rate == made(LEARNT).rate
    assert approved.changes == made(LEARNT).changes


def test_the_configuration_sets_the_numbers(tmp_path: Path) -> None:
    """In one file, for all."""
    path = tmp_path / "batchform.yaml"
    path.write_text("version: 1\ncosts: {credits_per_record: 1.5, price_per_credit: 0.02, currency: EUR}\n")
    assert load([path]).costs == Costs(credits_per_record=1.5, price_per_credit=0.02, currency="EUR")
    path.write_text("version: 1\n")
    assert load([path]).costs == Costs()
