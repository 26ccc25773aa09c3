"""What a plan has beside its decisions: service, endpoint, facts about each batch, and warnings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from batchform.model import Observed, Reading, Service, Source
from batchform.plan import Action, Change, Obstacle, Reason, RecordsSource, expiring
from batchform.planner import plan
from batchform.render.words import why
from batchform.state.known import Cause, Phase, State
from tests.plan.words import ENDPOINT, NOW, PLACE, ago, ahead, batch, config, entry, listed, rejected, started

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.model import Batch
    from batchform.plan import Plan
    from batchform.state.known import Entry


def planned(
    *batches: Batch,
    known: Iterable[Entry] = (),
    said: Iterable[Reading] = (),
    service: Service = Service.PHONE,
    skew: timedelta | None = None,
) -> Plan:
    """The plan for these, from a state of serial 7."""
    state = State(
        lineage="l",
        serial=7,
        service=service,
        endpoint=ENDPOINT,
        entries=MappingProxyType({each.batch_id: each for each in known}),
    )
    readings = {each.batch_id: each for each in said}
    observed = Observed(listed=bool(readings), readings=MappingProxyType(readings), skew=skew)
    return plan(config(*batches, service=service), state, observed, NOW, endpoint=ENDPOINT)


def test_it_says_what_it_was_made_for_and_from() -> None:
    """Service, endpoint, state, time, and whether the account was listed."""
    made = planned(batch(), service=Service.EMAIL)
    assert (made.service, made.endpoint, made.lineage, made.serial) == (Service.EMAIL, ENDPOINT, "l", 7)
    assert (made.at, made.refreshed, made.targeted) == (NOW, False, False)
    assert planned(batch(), said=[listed("submitted")]).refreshed
    fresh = plan(config(batch()), None, Observed(), NOW, endpoint=ENDPOINT, selected=["b"])
    assert (fresh.lineage, fresh.serial, fresh.targeted) == (None, None, True)


def test_a_change_carries_what_is_known_of_its_batch() -> None:
    """All that a reviewer needs."""
    declared = batch(
        "n", batch_id="b", reference_id="r", not_before=ahead(hours=1), records=1, submitted_at=ago(days=1)
    )
    said = Reading(
        batch_id="b",
        source=Source.READ,
        status="submitted",
        reason="why",
        records=3,
        date_submitted=ago(days=3),
    )
    known = entry(Phase.SEEN, "b", records=2, submitted_at=ago(days=2), reason="known why")
    (change,) = planned(declared, known=[known], said=[said]).changes
    assert change == Change(
        name="n",
        batch_id="b",
        action=Action.WAIT,
        reason=Reason.NOT_YET,
        status="submitted",
        server_reason="why",
        records=3,
        records_source=RecordsSource.OBSERVED,
        counted=3,
        submitted_at=ago(days=3),
        deadline=ahead(days=25),
        not_before=ahead(hours=1),
        reference_id="r",
        place=PLACE,
    )


def test_the_newest_word_counts() -> None:
    """Records and submission time: observed, else known, else declared."""
    declared = batch(records=1, submitted_at=ago(days=1))
    known = entry(Phase.SEEN, records=2, submitted_at=ago(days=2), reason="known why", status="submitted")
    dated = listed("submitted", records=3, date_submitted=ago(days=3))
    cases: list[tuple[list[Entry], list[Reading], tuple[object, ...]]] = [
        ([], [], (1, RecordsSource.DECLARED, ago(days=1), None)),
        ([known], [], (2, RecordsSource.KNOWN, ago(days=2), "known why")),
        ([known], [dated], (3, RecordsSource.OBSERVED, ago(days=3), None)),
        ([known], [listed("submitted")], (2, RecordsSource.KNOWN, ago(days=2), None)),
        ([known], [listed(None, reason="of nothing")], (2, RecordsSource.KNOWN, ago(days=2), "known why")),
        ([entry(Phase.SEEN)], [listed("submitted")], (1, RecordsSource.DECLARED, ago(days=1), None)),
    ]
    for entries, said, expected in cases:
        (change,) = planned(declared, known=entries, said=said).changes
        assert (change.records, change.records_source, change.submitted_at, change.server_reason) == expected
    (silent,) = planned(batch()).changes
    assert (silent.records, silent.records_source) == (None, RecordsSource.UNKNOWN)


@pytest.mark.parametrize(
    ("records", "source"), [(5, RecordsSource.KNOWN), (0, RecordsSource.KNOWN), (None, RecordsSource.UNKNOWN)]
)
def test_what_is_no_longer_declared_is_shown_as_it_is_known(records: int | None, source: RecordsSource) -> None:
    """Its name, its status and its size."""
    (change,) = planned(known=[started("gone", records=records)]).changes
    assert change == Change(
        name="gone",
        batch_id="gone",
        action=Action.FORGET,
        reason=Reason.NOT_DECLARED,
        status="processing",
        records=records,
        records_source=source,
        counted=records,
    )


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (49, "2 days"),
        (48, "2 days"),
        (47, "47 hours"),
        (25, "25 hours"),
        (24 * 6, "6 days"),
        (24, "24 hours"),
        (1.5, "90 minutes"),
        (1 / 60, "1 minute"),
    ],
)
def test_one_warning_for_all_that_must_be_started_soon(hours: float, said: str) -> None:
    """It names the first batch. With one batch, the warning is about that batch."""
    end = ago(days=28) + timedelta(hours=hours)
    first, second = batch("b", submitted_at=end), batch("a", submitted_at=end + timedelta(hours=1))
    (alone,) = planned(first).notices
    assert (alone.name, alone.text) == ("b", f"can be started for another {said}. After that it must be recreated.")
    (both,) = planned(first, second).notices
    text = f"2 batches can be started for less than 7 days. The first is b, with {said} left."
    assert (both.name, both.text) == (None, text)
    assert why(planned(first).changes[0], planned(first)) == f"expires in {said}"  # the row says the same


def test_one_warning_for_all_at_their_limit() -> None:
    """It names the oldest. What is blocked as expired is not warned of, not even before its 28 days are over."""
    oldest, other = batch("b", submitted_at=ago(days=28, hours=3)), batch("a", submitted_at=ago(days=28, hours=2))
    (both,) = planned(oldest, other).notices
    assert both.text == (
        "2 batches are at their 28-day limit. The server decides whether they can still be started. The first is b."
    )
    assert planned(batch(), known=[rejected(Cause.EXPIRED, submitted_at=ago(days=27))]).notices == ()


def test_one_warning_for_all_old_batches_of_a_service_without_a_limit() -> None:
    """It names the oldest."""
    declared = [batch("b", submitted_at=ago(days=40)), batch("a", submitted_at=ago(days=29))]
    (both,) = planned(*declared, service=Service.EMAIL).notices
    assert both.text == (
        "2 batches are 29 days old or older, b is 40. No limit is documented for email: the server decides."
    )


def test_a_submission_in_the_future_is_warned_of() -> None:
    """A typing error there makes a deadline look far. The clocks may differ a little; started batches do not matter."""
    wrong, other = batch("b", submitted_at=ahead(days=300)), batch("a", submitted_at=ahead(minutes=6))
    (alone,) = planned(wrong).notices
    text = "has a `submitted_at` in the future. Correct it: its age and its deadline are counted from it."
    assert (alone.name, alone.text) == ("b", text)
    (both,) = planned(wrong, other).notices
    text = "2 batches have a `submitted_at` in the future. The first is a. Correct them: ages and deadlines are counted"
    assert (both.name, both.text) == (None, f"{text} from it.")
    assert planned(batch(submitted_at=ahead(minutes=5))).notices == ()
    assert planned(wrong, known=[started("b")]).notices == ()


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (timedelta(minutes=10), "10 minutes behind"),
        (timedelta(minutes=-61), "61 minutes ahead of"),
        (timedelta(days=5, seconds=-1), "5 days behind"),
        (timedelta(minutes=5), None),
        (timedelta(minutes=-5), None),
    ],
)
def test_a_clock_that_is_wrong_is_told_of_and_not_gone_by(skew: timedelta, said: str | None) -> None:
    """Beyond five minutes."""
    made = planned(batch(), said=[listed("submitted")], skew=skew)
    if said is None:
        assert (made.at, made.notices) == (NOW, ())
        return
    (notice,) = made.notices
    assert notice.text == f"The local clock is {said} the server's. This plan uses the server's time."
    assert made.at == NOW + skew


def test_any_clock_is_a_time() -> None:
    """Also of a server with the last or first possible date."""
    assert planned(batch(), skew=timedelta(days=9_000 * 365)).at == datetime.max.replace(tzinfo=UTC)
    assert planned(batch(), skew=-timedelta(days=2_500 * 365)).at == datetime.min.replace(tzinfo=UTC)


def test_warnings_are_for_all_first_then_by_name() -> None:
    """The warning about a stopped batch has the server's reason."""
    stopped = [
        listed("stopped", "b", reason="too long"),
        listed("stopped", "a"),
    ]
    made = planned(batch("b"), batch("a"), known=[started("b"), started("a")], said=stopped, skew=timedelta(minutes=10))
    assert [(notice.name, notice.text) for notice in made.notices[1:]] == [
        ("a", "was started, but the server has stopped it: its results may be incomplete."),
        ("b", "was started, but the server has stopped it (too long): its results may be incomplete."),
    ]
    assert made.notices[0].name is None


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            batch(submitted_at=ago(days=28, hours=1)),
            "is at its 28-day limit. The server decides whether it can still be started.",
        ),
        (
            batch(not_before=ahead(days=20)),
            "has a `not_before` after its 28-day limit, so it can never be started.",
        ),
    ],
    ids=["limit", "too late"],
)
def test_a_batch_near_its_end_is_warned_of(declared: Batch, said: str) -> None:
    """With this text."""
    known = [] if declared.submitted_at else [entry(Phase.SEEN, submitted_at=ago(days=10), status="submitted")]
    assert [notice.text for notice in planned(declared, known=known).notices] == [said]


@pytest.mark.parametrize(
    ("action", "left", "is_near"),
    [
        (Action.START, timedelta(days=7), True),
        (Action.START, timedelta(days=7, seconds=1), False),
        (Action.START, timedelta(days=-1), True),
        (Action.VERIFY, timedelta(seconds=1), True),
        (Action.WAIT, timedelta(seconds=1), True),
        (Action.HOLD, timedelta(seconds=1), False),
        (Action.KEEP, timedelta(seconds=1), False),
        (Action.START, None, False),
    ],
)
def test_what_is_near_its_end(action: Action, left: timedelta | None, *, is_near: bool) -> None:
    """A batch to start with a deadline within a week, for phone only."""
    deadline = None if left is None else NOW + left
    change = Change(name="b", batch_id="b", action=action, reason=Reason.NEW, deadline=deadline)
    assert expiring(change, Service.PHONE, NOW) is is_near
    assert not expiring(change, Service.EMAIL, NOW)
    expired = replace(change, action=Action.BLOCKED, obstacle=Obstacle.EXPIRED)
    assert expiring(expired, Service.PHONE, NOW)
