"""An approval is bound to the number of records that it showed."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from batchform.apply import Result, report
from batchform.approval import approve, narrow, too_large
from batchform.errors import Exit
from batchform.model import GuardName
from batchform.plan import Action, Obstacle
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import plan_from_document
from batchform.render.text.plan import stake_sentences
from batchform.render.words import why
from batchform.state.known import Phase
from tests.plan.words import ahead, batch, config, entry, guard, listed, observed, only, planned, state

if TYPE_CHECKING:
    from batchform.plan import Plan


def sized(records: int | None, *, declared: int | None = None, status: str | None = "submitted") -> Plan:
    """The refreshed plan of one batch that has so many records in the account."""
    seen = listed(status, records=records, date_submitted=None)
    return planned(config(batch(records=declared)), state(entry(Phase.SEEN)), observed(seen, listed=False))


@pytest.mark.parametrize(
    ("approved", "fresh", "starts"),
    [
        (sized(10), sized(10), True),
        (sized(10), sized(9), True),
        (sized(10), sized(11), False),
        (sized(0), sized(1), False),
        (sized(10), sized(None), False),
        (sized(None), sized(10_000), True),
        (sized(None), sized(None), True),
        (sized(None, declared=10), sized(10_000, declared=10), False),
        (sized(10, declared=10_000), sized(10, declared=10_000), True),
        (sized(10, declared=10_000), sized(11, declared=10_000), False),
        (sized(10, declared=10), sized(10, declared=11), False),
        (sized(10, status=None), sized(11), False),
    ],
)
def test_a_start_has_no_more_records_than_were_approved(approved: Plan, fresh: Plan, *, starts: bool) -> None:
    """Unknown was approved as up to 10,000, and counts as 10,000 now."""
    left = approve(fresh, plan_from_document(plan_document(approved, version="1")))
    made = report(left, [], [], None)
    if starts:
        assert only(left).action is Action.START
        return
    assert (only(left).action, only(left).obstacle) == (Action.WAIT, Obstacle.TOO_LARGE)
    assert [outcome.result for outcome in made.outcomes] == [Result.NOT_APPROVED]
    assert made.exit is Exit.INCOMPLETE


@pytest.mark.parametrize(
    ("approved", "fresh", "said"),
    [
        (sized(10), sized(10_000), "10,000 records, 10 were approved"),
        (sized(1), sized(2), "2 records, 1 was approved"),
        (sized(10), sized(None), "records unknown, 10 were approved"),
        (sized(10, declared=10), sized(10, declared=11), "11 records, 10 were approved"),
    ],
)
def test_both_numbers_are_named(approved: Plan, fresh: Plan, said: str) -> None:
    """The report says what the batch has and what was approved."""
    assert why(only(approve(fresh, approved))) == said


def test_an_old_saved_plan_approves_any_size_with_a_warning() -> None:
    """Format 1.0 did not say that the numbers are part of the approval."""
    old = plan_document(sized(10), version="1") | {"format_version": "1.0"}
    for change in old["resource_changes"]:
        del change["records_counted"], change["records_approved"], change["held"]
    left = approve(sized(10_000), plan_from_document(old))
    assert only(left).action is Action.START
    assert "up to 10,000 records for each start" in left.notices[0].text
    assert approve(sized(10), sized(10)).notices == ()


def test_a_plan_within_another_keeps_why_it_left_a_start_out() -> None:
    """An apply of it names the number that was approved first, and ends with exit 3."""
    within = plan_from_document(plan_document(narrow(sized(10_000), sized(10)), version="1"))
    assert len(too_large(within)) == 1
    left = approve(sized(10_000), within)
    assert why(only(left)) == "10,000 records, 10 were approved"
    assert report(left, [], [], None).exit is Exit.INCOMPLETE
    assert only(approve(sized(10), within)).obstacle is Obstacle.NOT_APPROVED


def verified(records: int | None) -> Plan:
    """The plan of a batch whose status was not read, with so many records declared."""
    return planned(config(batch(records=records)), state(), observed(listed(None, records=None, date_submitted=None)))


@pytest.mark.parametrize(
    ("fresh", "approved", "most"), [(None, 10, 10), (10, None, 10), (None, None, None), (9, 10, 9), (10, 9, 9)]
)
def test_a_verified_batch_is_offered_with_the_smaller_number(
    fresh: int | None, approved: int | None, most: int | None
) -> None:
    """A VERIFY of a saved plan approves a start, so the plan of a merge must not offer more than that before."""
    made = narrow(verified(fresh), verified(approved))
    assert only(made).action is Action.VERIFY
    assert (only(made).records, only(made).counted) == (most, most)


def test_a_verified_batch_that_no_plan_offered_is_not_approved() -> None:
    """An apply verifies by its own plan. An undeclared one is never started. An old plan approves any size."""
    assert only(narrow(verified(10), planned(config()))).obstacle is Obstacle.NOT_APPROVED
    assert only(narrow(verified(10), narrow(sized(11), sized(10)))).obstacle is Obstacle.NOT_APPROVED
    assert only(narrow(verified(10), replace(verified(5), sized=False))).records == 10
    undeclared = planned(config(), state(entry(Phase.UNKNOWN)))
    assert only(undeclared).action is Action.VERIFY
    assert only(narrow(undeclared, planned(config()))) == only(undeclared)


def test_a_batch_that_was_not_offered_is_no_failure() -> None:
    """Only a start that is larger than approved makes the run incomplete."""
    fresh = replace(sized(10), changes=(*sized(10).changes, *planned(config(batch("new"))).changes))
    assert report(approve(fresh, planned(config())), [], [], None).exit is Exit.DONE


def test_guards_count_the_greatest_number_and_the_account_is_shown() -> None:
    """A smaller number from the account or in the declaration does not lower what a guard counts."""
    limit = guard(GuardName.MAX_RECORDS, 100)
    for declared, known, said in ((500, 5, 50), (5, 500, 50), (5, 50, 500)):
        wanted = config(batch(records=declared), guards=[limit])
        before = state(entry(Phase.SEEN, status="submitted", records=known))
        made = planned(wanted, before, observed(listed("submitted", records=said), listed=False))
        assert (made.changes[0].records, made.guards[0].measured, made.applyable) == (said, 500, False)


@pytest.mark.parametrize(
    ("declared", "known", "said", "warned"),
    [
        (10, None, 10_000, "declared 10, the account says 10,000."),
        (10, 20, None, "declared 10, the state says 20."),
        (10, 20, 10, None),
        (None, 20, 30, None),
        (10, None, None, None),
    ],
)
def test_a_declared_number_that_is_contradicted_is_a_warning(
    declared: int | None, known: int | None, said: int | None, warned: str | None
) -> None:
    """In every plan, offline too."""
    seen = observed(listed("submitted", records=said), listed=False)
    made = planned(config(batch(records=declared)), state(entry(Phase.SEEN, records=known)), seen)
    assert [(one.name, one.text) for one in made.notices] == (
        [("b", f"has another number of records: {warned}")] if warned else []
    )


def test_many_contradicted_numbers_are_one_warning() -> None:
    """It names the first by name, whatever the order of the declarations."""
    entries = [entry(Phase.SEEN, name, records=7) for name in ("a", "b")]
    for batches in permutations((batch("a", records=5), batch("b", records=6))):
        (notice,) = planned(config(*batches), state(*entries)).notices
        assert notice.text == "2 batches have another number of records. The first is a: declared 5, the state says 7."


UNKNOWN = state(entry(Phase.UNKNOWN, records=10))
RELEASED = state(entry(Phase.RELEASED, records=10))


@pytest.mark.parametrize("waits", [{"hold": True}, {"not_before": ahead(days=1)}])
def test_a_batch_to_verify_that_must_wait_is_not_offered(waits: dict[str, Any]) -> None:
    """Its status is read. If the hold is removed after the approval, the start was in no plan that was approved."""
    waiting = planned(config(batch(**waits)), UNKNOWN)
    approved = plan_from_document(plan_document(waiting, version="1"))
    assert only(approved) == only(waiting)
    assert (only(waiting).action, only(waiting).may_start) == (Action.VERIFY, False)
    assert stake_sentences(waiting) == []
    assert only(approve(planned(config(batch()), RELEASED), approved)).obstacle is Obstacle.NOT_APPROVED
    assert only(narrow(planned(config(batch()), UNKNOWN), approved)).obstacle is Obstacle.NOT_APPROVED
    assert only(narrow(waiting, approved)) == only(waiting)


def test_a_saved_plan_from_before_holds_were_in_it_offers_what_it_verifies() -> None:
    """Format 1.1 cannot say that a batch to verify is on hold."""
    old = plan_document(planned(config(batch()), UNKNOWN), version="1") | {"format_version": "1.1"}
    for change in old["resource_changes"]:
        del change["held"]
    left = approve(planned(config(batch()), RELEASED), plan_from_document(old))
    assert only(left).action is Action.START
    assert left.notices == ()
