"""The decision table from the design, row by row: declaration, entry and reading -> action.

Nothing here is derived from `planner.py`. Rows stand in the order of the design; each has its boundaries, and the
second table holds batches that fit two rows, so that the order of the rows is held, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from batchform.approval import approve, check_approval
from batchform.errors import Exit, RefusedError
from batchform.model import Batch, GuardName, Reading, ServerProblem, Service
from batchform.plan import Action, Obstacle, Plan, Reason, is_expired
from batchform.render.words import next_step
from batchform.state.known import Cause, Entry, Phase
from batchform.status import Stage, stage
from tests.plan.words import (
    DAY,
    NOW,
    SECOND,
    ago,
    ahead,
    batch,
    config,
    entry,
    guard,
    listed,
    not_found,
    observed,
    only,
    planned,
    read,
    rejected,
    started,
    state,
)

if TYPE_CHECKING:
    from datetime import datetime, timedelta

KEEP, ADOPT, VERIFY, FORGET = Action.KEEP, Action.ADOPT, Action.VERIFY, Action.FORGET
HOLD, WAIT, BLOCKED, START = Action.HOLD, Action.WAIT, Action.BLOCKED, Action.START

PLAIN = batch()
HELD = batch(hold=True)
LATER = batch(not_before=ahead(days=1))
NO_ANSWER = ServerProblem(status=None, title="No complete answer")
UNKNOWN = entry(Phase.UNKNOWN, attempts=1, doubt=True, problem=NO_ANSWER)
INTENDED = entry(Phase.INTENDED, attempts=1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One batch. `batch` is None when it is undeclared. `asked`: the account was listed."""

    case: str
    batch: Batch | None = PLAIN
    entry: Entry | None = None
    reading: Reading | None = None
    asked: bool | None = None
    service: Service = Service.PHONE
    action: Action | None
    reason: Reason | None = None


def aged(days: float, *, plus: timedelta = 0 * SECOND, **said: Any) -> Batch:
    """The batch, declared as submitted that long ago."""
    return batch(submitted_at=NOW - days * DAY - plus, **said)


ROWS: dict[str, list[Case]] = {
    "undeclared, uncertain": [
        Case(case="intent without outcome", batch=None, entry=INTENDED, action=VERIFY, reason=Reason.UNCERTAIN),
        Case(case="outcome unknown", batch=None, entry=UNKNOWN, action=VERIFY),
        Case(
            case="outcome unknown, marked before", batch=None, entry=entry(Phase.UNKNOWN, declared=False), action=VERIFY
        ),
        Case(case="intent, marked before", batch=None, entry=entry(Phase.INTENDED, declared=False), action=VERIFY),
        Case(case="whatever the list says", batch=None, entry=UNKNOWN, reading=listed("processing"), action=VERIFY),
    ],
    "undeclared, so far declared": [
        Case(case="started", batch=None, entry=started(), action=FORGET, reason=Reason.NOT_DECLARED),
        Case(case="never started", batch=None, entry=entry(Phase.SEEN, status="submitted"), action=FORGET),
        Case(case="rejected", batch=None, entry=rejected(Cause.EXPIRED), action=FORGET),
        Case(case="released", batch=None, entry=entry(Phase.RELEASED, doubt=True), action=FORGET),
        Case(case="though running", batch=None, entry=started(), reading=listed("processing"), action=FORGET),
    ],
    "undeclared, already marked": [
        Case(case="started", batch=None, entry=started(declared=False), action=None),
        Case(case="rejected", batch=None, entry=rejected(Cause.NOT_FOUND, declared=False), action=None),
        Case(case="running", batch=None, entry=started(declared=False), reading=listed("processing"), action=None),
    ],
    "running, in the state": [
        Case(case="known processing", entry=started(), action=KEEP, reason=Reason.RUNNING),
        Case(case="known completed", entry=started(status="completed"), action=KEEP, reason=Reason.COMPLETED),
        Case(case="listed processing", entry=started(), reading=listed("processing"), action=KEEP),
        Case(case="read completed", entry=started(), reading=read("completed"), action=KEEP, reason=Reason.COMPLETED),
        Case(case="adopted", entry=entry(Phase.ADOPTED, status="completed"), action=KEEP),
        Case(case="already started", entry=entry(Phase.ALREADY_STARTED, status="processing"), action=KEEP),
        Case(case="seen submitted, now processing", entry=entry(Phase.SEEN), reading=listed("processing"), action=KEEP),
        Case(case="rejected, yet processing", entry=rejected(Cause.REFUSED), reading=listed("processing"), action=KEEP),
        Case(case="known, absent from the list", entry=started(), asked=True, action=KEEP),
        Case(case="known, not found", entry=started(), reading=not_found(), action=KEEP),
        Case(case="known, listed without status", entry=started(), reading=listed(None), action=KEEP),
        Case(case="stopped before, now completed", entry=entry(Phase.STOPPED), reading=read("completed"), action=KEEP),
        Case(
            case="contradiction cleared by the server",
            entry=started(contradiction=True),
            reading=read("processing"),
            action=KEEP,
        ),
    ],
    "running, not in the state": [
        Case(case="listed processing", reading=listed("processing"), action=ADOPT, reason=Reason.RUNNING),
        Case(case="listed completed", reading=listed("completed"), action=ADOPT, reason=Reason.COMPLETED),
        Case(case="read processing", reading=read("processing"), action=ADOPT),
    ],
    "stopped, recorded as started": [
        Case(case="listed", entry=started(), reading=listed("stopped"), action=KEEP, reason=Reason.STOPPED_AFTER_START),
        Case(case="read", entry=started(), reading=read("stopped"), action=KEEP),
        Case(case="known", entry=started(status="stopped"), action=KEEP, reason=Reason.STOPPED_AFTER_START),
        Case(case="adopted", entry=entry(Phase.ADOPTED), reading=listed("stopped"), action=KEEP),
        Case(case="already started", entry=entry(Phase.ALREADY_STARTED), reading=listed("stopped"), action=KEEP),
    ],
    "uncertain": [
        Case(case="intent without outcome", entry=INTENDED, action=VERIFY, reason=Reason.UNCERTAIN),
        Case(case="outcome unknown", entry=UNKNOWN, action=VERIFY, reason=Reason.UNCERTAIN),
        Case(case="the list says submitted", entry=UNKNOWN, reading=listed("submitted"), action=VERIFY),
        Case(case="one read says submitted", entry=UNKNOWN, reading=read("submitted"), action=VERIFY),
        Case(case="a read did not find it", entry=UNKNOWN, reading=not_found(), action=VERIFY),
        Case(
            case="a 400 alone", entry=entry(Phase.UNKNOWN, problem=ServerProblem(status=400, title="")), action=VERIFY
        ),
    ],
    "recorded as started, observed submitted": [
        Case(case="listed", entry=started(), reading=listed("submitted"), action=VERIFY, reason=Reason.CONTRADICTION),
        Case(case="read", entry=started(), reading=read("submitted"), action=BLOCKED, reason=Reason.CONTRADICTION),
        Case(case="recorded, not asked", entry=started(contradiction=True), action=VERIFY, reason=Reason.CONTRADICTION),
        Case(case="recorded, not listed", entry=started(contradiction=True), asked=True, action=VERIFY),
        Case(
            case="recorded, read again",
            entry=started(contradiction=True, status="completed"),
            reading=read("submitted"),
            action=BLOCKED,
        ),
        Case(case="adopted, listed", entry=entry(Phase.ADOPTED), reading=listed("submitted"), action=VERIFY),
        Case(case="adopted, read", entry=entry(Phase.ADOPTED), reading=read("submitted"), action=BLOCKED),
        Case(case="already started", entry=entry(Phase.ALREADY_STARTED), reading=read("submitted"), action=BLOCKED),
        Case(case="stopped, listed", entry=entry(Phase.STOPPED), reading=listed("submitted"), action=VERIFY),
        Case(
            case="stopped, read",
            entry=entry(Phase.STOPPED, status="stopped"),
            reading=read("submitted"),
            action=BLOCKED,
            reason=Reason.CONTRADICTION,
        ),
        Case(case="completed before", entry=started(status="completed"), reading=listed("submitted"), action=VERIFY),
        Case(case="started, no status known", entry=started(status=None), action=VERIFY),
    ],
    "hold": [
        Case(case="never seen", batch=HELD, action=HOLD, reason=Reason.HELD),
        Case(case="submitted", batch=HELD, reading=listed("submitted"), action=HOLD),
        Case(case="may be repeated", batch=HELD, entry=rejected(Cause.NOT_STARTED), action=HOLD),
        Case(case="released", batch=HELD, entry=entry(Phase.RELEASED, doubt=True), action=HOLD),
    ],
    "stopped": [
        Case(case="listed", reading=listed("stopped"), action=BLOCKED, reason=Reason.STOPPED),
        Case(case="read", reading=read("stopped"), action=BLOCKED),
        Case(case="known", entry=entry(Phase.STOPPED, status="stopped"), action=BLOCKED, reason=Reason.STOPPED),
        Case(case="known, absent", entry=entry(Phase.STOPPED, status="stopped"), asked=True, action=BLOCKED),
        Case(
            case="seen before", entry=entry(Phase.SEEN, status="submitted"), reading=listed("stopped"), action=BLOCKED
        ),
        Case(case="released", entry=entry(Phase.RELEASED), reading=listed("stopped"), action=BLOCKED),
    ],
    "a status nobody knows": [
        Case(case="listed", reading=listed("queued"), action=BLOCKED, reason=Reason.UNRECOGNISED),
        Case(case="read", reading=read("Gestartet"), action=BLOCKED, reason=Reason.UNRECOGNISED),
        Case(case="known", entry=entry(Phase.SEEN, status="paused"), action=BLOCKED, reason=Reason.UNRECOGNISED),
        Case(case="started before", entry=started(), reading=listed("archived"), action=BLOCKED),
        Case(case="nearly a word", reading=listed("submitted "), action=BLOCKED),
        Case(case="an empty word", reading=listed(""), action=BLOCKED),
        Case(case="known, now submitted", entry=entry(Phase.SEEN, status="x"), reading=read("submitted"), action=START),
    ],
    "rejected for good": [
        Case(case="bad id", entry=rejected(Cause.BAD_ID), action=BLOCKED, reason=Reason.BAD_ID),
        Case(case="not found", entry=rejected(Cause.NOT_FOUND), action=BLOCKED, reason=Reason.NOT_FOUND),
        Case(case="expired", entry=rejected(Cause.EXPIRED), action=BLOCKED, reason=Reason.EXPIRED),
        Case(case="bad id, absent", entry=rejected(Cause.BAD_ID), asked=True, action=BLOCKED),
        Case(case="not found, absent", entry=rejected(Cause.NOT_FOUND), asked=True, action=BLOCKED),
        Case(case="not found, no status", entry=rejected(Cause.NOT_FOUND), reading=listed(None), action=BLOCKED),
        Case(case="not found again", entry=rejected(Cause.NOT_FOUND), reading=not_found(), action=BLOCKED),
        Case(
            case="not found, now listed",
            entry=rejected(Cause.NOT_FOUND),
            reading=listed("submitted", date_submitted=ago(days=2)),
            action=START,
        ),
        Case(case="bad id, now read", entry=rejected(Cause.BAD_ID), reading=read("submitted"), action=START),
        Case(case="expired, listed", entry=rejected(Cause.EXPIRED), reading=listed("submitted"), action=BLOCKED),
        Case(
            case="expired, read",
            entry=rejected(Cause.EXPIRED),
            reading=read("submitted"),
            action=BLOCKED,
            reason=Reason.EXPIRED,
        ),
        Case(case="a mere refusal", entry=rejected(Cause.REFUSED), action=START, reason=Reason.RETRY),
        Case(case="repeatable", entry=rejected(Cause.NOT_STARTED), action=START, reason=Reason.RETRY),
    ],
    "29 days old": [
        Case(case="29 days", batch=aged(29), action=BLOCKED, reason=Reason.EXPIRED),
        Case(case="29 days and a second", batch=aged(29, plus=SECOND), action=BLOCKED),
        Case(case="a second less", batch=aged(29, plus=-SECOND), action=START),
        Case(case="28 days and a second", batch=aged(28, plus=SECOND), action=START),
        Case(case="28 days", batch=aged(28), action=START),
        Case(case="28 days less a second", batch=aged(28, plus=-SECOND), action=START),
        Case(case="27 days", batch=aged(27), action=START),
        Case(case="known age", entry=entry(Phase.SEEN, submitted_at=ago(days=29)), action=BLOCKED),
        Case(case="observed age", reading=listed("submitted", date_submitted=ago(days=29)), action=BLOCKED),
        Case(
            case="the observed age counts",
            batch=aged(40),
            entry=entry(Phase.SEEN, submitted_at=ago(days=40)),
            reading=listed("submitted", date_submitted=ago(days=28)),
            action=START,
        ),
        Case(
            case="then the known one", batch=aged(40), entry=entry(Phase.SEEN, submitted_at=ago(days=1)), action=START
        ),
        Case(case="email, 29 days", batch=aged(29), service=Service.EMAIL, action=START),
        Case(
            case="email, listed, 40 days",
            service=Service.EMAIL,
            reading=listed("submitted", date_submitted=ago(days=40)),
            action=START,
        ),
        Case(case="phone, 40 days", batch=aged(40), action=BLOCKED, reason=Reason.EXPIRED),
        Case(case="address, a year", batch=aged(365), service=Service.ADDRESS, action=START),
        Case(case="phone, a year", batch=aged(365), action=BLOCKED),
        Case(case="submitted in the future", batch=aged(-1), action=START),
    ],
    "not before": [
        Case(case="tomorrow", batch=LATER, action=WAIT, reason=Reason.NOT_YET),
        Case(case="in a second", batch=batch(not_before=ahead(seconds=1)), action=WAIT),
        Case(case="now", batch=batch(not_before=NOW), action=START),
        Case(case="a second ago", batch=batch(not_before=ago(seconds=1)), action=START),
        Case(case="submitted", batch=LATER, reading=listed("submitted"), action=WAIT),
        Case(case="retry", batch=LATER, entry=rejected(Cause.NOT_STARTED), action=WAIT),
    ],
    "asked, and absent": [
        Case(case="never seen", asked=True, action=VERIFY, reason=Reason.ABSENT),
        Case(case="seen before", entry=entry(Phase.SEEN, status="submitted"), asked=True, action=VERIFY),
        Case(case="released", entry=entry(Phase.RELEASED, doubt=True), asked=True, action=VERIFY),
        Case(case="may be repeated", entry=rejected(Cause.NOT_STARTED), asked=True, action=VERIFY),
        Case(case="listed without a status", reading=listed(None), action=VERIFY, reason=Reason.UNCLEAR),
        Case(
            case="known, listed without",
            entry=entry(Phase.SEEN, status="submitted"),
            reading=listed(None),
            action=VERIFY,
        ),
        Case(case="not found", reading=not_found(), action=BLOCKED, reason=Reason.NOT_FOUND),
        Case(case="not found, not listed", reading=not_found(), asked=False, action=BLOCKED, reason=Reason.NOT_FOUND),
        Case(case="not found, submitted before", entry=entry(Phase.SEEN), reading=not_found(), action=BLOCKED),
        Case(case="found by a read", reading=read("submitted"), asked=True, action=START),
        Case(case="not found before, offline", entry=entry(Phase.SEEN, found=False), asked=False, action=BLOCKED),
        Case(case="not found before, absent", entry=entry(Phase.SEEN, found=False), asked=True, action=VERIFY),
        Case(
            case="not found before, no status",
            entry=entry(Phase.SEEN, found=False),
            reading=listed(None),
            action=VERIFY,
        ),
        Case(
            case="not found before, listed",
            entry=entry(Phase.SEEN, found=False),
            reading=listed("submitted", date_submitted=ago(days=2)),
            action=START,
        ),
    ],
    "anything else": [
        Case(case="never seen, not asked", action=START, reason=Reason.NEW),
        Case(
            case="listed submitted",
            reading=listed("submitted", date_submitted=ago(days=2)),
            action=START,
            reason=Reason.SUBMITTED,
        ),
        Case(case="listed, of unknown age", reading=listed("submitted"), action=VERIFY, reason=Reason.UNCLEAR),
        Case(
            case="listed, of unknown age, email",
            service=Service.EMAIL,
            reading=listed("submitted"),
            action=START,
        ),
        Case(case="read submitted", reading=read("submitted"), action=START, reason=Reason.SUBMITTED),
        Case(
            case="known submitted", entry=entry(Phase.SEEN, status="submitted"), action=START, reason=Reason.SUBMITTED
        ),
        Case(case="released", entry=entry(Phase.RELEASED, doubt=True), action=START, reason=Reason.RELEASED),
        Case(case="not attempted", entry=entry(Phase.NOT_ATTEMPTED, attempts=1), action=START, reason=Reason.RETRY),
        Case(case="declared again", entry=entry(Phase.SEEN, declared=False), action=START),
    ],
}

TWO_ROWS: dict[str, list[Case]] = {
    "running comes before": [
        Case(case="uncertain", entry=UNKNOWN, reading=listed("processing"), action=KEEP),
        Case(case="an open intent", entry=INTENDED, reading=listed("completed"), action=KEEP),
        Case(case="hold", batch=HELD, entry=started(), action=KEEP),
        Case(case="hold, when not in the state", batch=HELD, reading=listed("processing"), action=ADOPT),
        Case(case="rejected for good", entry=rejected(Cause.EXPIRED), reading=listed("processing"), action=KEEP),
        Case(case="29 days", batch=aged(29), entry=started(), action=KEEP),
        Case(case="29 days, when not in the state", batch=aged(29), reading=listed("completed"), action=ADOPT),
        Case(case="not before", batch=LATER, reading=listed("processing"), action=ADOPT),
    ],
    "stopped after a start comes before": [
        Case(case="hold", batch=HELD, entry=started(), reading=listed("stopped"), action=KEEP),
        Case(case="stopped", entry=started(), reading=listed("stopped"), action=KEEP),
        Case(case="29 days", batch=aged(29), entry=started(), reading=listed("stopped"), action=KEEP),
        Case(case="not before", batch=LATER, entry=started(status="stopped"), action=KEEP),
    ],
    "uncertain comes before": [
        Case(case="hold", batch=HELD, entry=UNKNOWN, action=VERIFY),
        Case(case="stopped", entry=UNKNOWN, reading=listed("stopped"), action=VERIFY),
        Case(case="a status nobody knows", entry=UNKNOWN, reading=read("queued"), action=VERIFY),
        Case(case="29 days", batch=aged(29), entry=UNKNOWN, action=VERIFY),
        Case(case="not before", batch=LATER, entry=INTENDED, action=VERIFY),
        Case(case="absent", entry=UNKNOWN, asked=True, action=VERIFY, reason=Reason.UNCERTAIN),
    ],
    "a contradiction comes before": [
        Case(case="hold, listed", batch=HELD, entry=started(), reading=listed("submitted"), action=VERIFY),
        Case(case="hold, read", batch=HELD, entry=started(), reading=read("submitted"), action=BLOCKED),
        Case(case="29 days", batch=aged(29), entry=started(), reading=listed("submitted"), action=VERIFY),
        Case(case="not before", batch=LATER, entry=started(), reading=read("submitted"), action=BLOCKED),
    ],
    "hold comes before": [
        Case(case="stopped", batch=HELD, reading=listed("stopped"), action=HOLD),
        Case(case="a status nobody knows", batch=HELD, reading=listed("queued"), action=HOLD),
        Case(case="rejected for good", batch=HELD, entry=rejected(Cause.NOT_FOUND), action=HOLD),
        Case(case="29 days", batch=aged(29, hold=True), action=HOLD),
        Case(case="not before", batch=batch(hold=True, not_before=ahead(days=1)), action=HOLD),
        Case(case="absent", batch=HELD, asked=True, action=HOLD),
        Case(case="no status", batch=HELD, reading=listed(None), action=HOLD),
        Case(case="not found", batch=HELD, reading=not_found(), action=HOLD),
    ],
    "stopped comes before": [
        Case(case="rejected for good", entry=rejected(Cause.NOT_FOUND), reading=listed("stopped"), action=BLOCKED),
        Case(case="29 days", batch=aged(29), reading=listed("stopped"), action=BLOCKED, reason=Reason.STOPPED),
        Case(case="not before", batch=LATER, reading=listed("stopped"), action=BLOCKED, reason=Reason.STOPPED),
    ],
    "a status nobody knows comes before": [
        Case(case="29 days", batch=aged(29), reading=listed("q"), action=BLOCKED, reason=Reason.UNRECOGNISED),
        Case(case="not before", batch=LATER, reading=listed("q"), action=BLOCKED, reason=Reason.UNRECOGNISED),
        Case(
            case="rejected for good",
            entry=rejected(Cause.EXPIRED),
            reading=listed("q"),
            action=BLOCKED,
            reason=Reason.UNRECOGNISED,
        ),
    ],
    "rejected for good comes before": [
        Case(case="29 days", batch=aged(29), entry=rejected(Cause.BAD_ID), action=BLOCKED, reason=Reason.BAD_ID),
        Case(case="not before", batch=LATER, entry=rejected(Cause.EXPIRED), action=BLOCKED),
        Case(case="absent", entry=rejected(Cause.EXPIRED), asked=True, action=BLOCKED, reason=Reason.EXPIRED),
    ],
    "29 days comes before": [
        Case(case="not before", batch=aged(29, not_before=ahead(days=1)), action=BLOCKED),
        Case(case="absent", batch=aged(29), asked=True, action=BLOCKED, reason=Reason.EXPIRED),
    ],
    "not before comes before": [
        Case(case="absent", batch=LATER, asked=True, action=WAIT),
        Case(case="no status", batch=LATER, reading=listed(None), action=WAIT),
    ],
}


def cases(table: dict[str, list[Case]]) -> list[object]:
    """The cases of a table, with ids."""
    return [pytest.param(case, id=f"{row}: {case.case}") for row, some in table.items() for case in some]


def check(case: Case) -> None:
    """Plan for the one batch and compare."""
    wanted = config(*([case.batch] if case.batch is not None else []), service=case.service)
    asked = case.asked if case.asked is not None else case.reading is not None
    seen = observed(*([case.reading] if case.reading is not None else []), listed=asked)
    known = state(case.entry) if case.entry is not None else None
    changes = planned(wanted, known, seen).changes
    assert [change.action for change in changes] == ([case.action] if case.action is not None else [])
    for change in changes:
        assert case.reason is None or change.reason is case.reason
        assert change.obstacle == next((one for one in Obstacle if one.value == change.reason.value), None)
        assert change.obstacle is not None or change.action is not BLOCKED


@pytest.mark.parametrize("case", cases(ROWS))
def test_every_row_decides_as_designed(case: Case) -> None:
    """Each row of the table, with its boundaries."""
    check(case)


@pytest.mark.parametrize("case", cases(TWO_ROWS))
def test_the_first_row_that_fits_decides(case: Case) -> None:
    """Of two rows that match, the upper one decides."""
    check(case)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("status", [None, "submitted", "processing", "completed", "stopped", "queued"])
def test_an_unasked_batch_that_may_have_started_is_never_started(phase: Phase, status: str | None) -> None:
    """Offline, for every phase and status: only the four phases that are not started lead to a start."""
    action = only(planned(config(PLAIN), state(entry(phase, status=status)))).action
    startable = phase in {Phase.SEEN, Phase.RELEASED, Phase.NOT_ATTEMPTED, Phase.REJECTED}
    assert (action is START) == (startable and status in {None, "submitted"})


# --- ages, clocks, warnings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "submitted_at", "expired"),
    [
        pytest.param(Service.PHONE, ago(days=28), True, id="phone, 28 days"),
        pytest.param(Service.PHONE, ago(days=28, seconds=-1), False, id="phone, a second short of 28 days"),
        pytest.param(Service.PHONE, ago(days=40), True, id="phone, 40 days"),
        pytest.param(Service.PHONE, None, False, id="phone, of unknown age"),
        pytest.param(Service.EMAIL, ago(days=40), False, id="email, 40 days"),
        pytest.param(Service.ADDRESS, ago(days=40), False, id="address, 40 days"),
    ],
)
def test_age_explains_a_refusal_of_phone_only(
    service: Service, submitted_at: datetime | None, *, expired: bool
) -> None:
    """From 28 days on, for phone only."""
    assert is_expired(service, submitted_at, NOW) is expired


@pytest.mark.parametrize(
    ("days", "plus", "service", "words"),
    [
        pytest.param(27, -SECOND, Service.PHONE, "another 24 hours", id="a second short of 27 days"),
        pytest.param(21, 0 * SECOND, Service.PHONE, "another 7 days", id="21 days"),
        pytest.param(21, -SECOND, Service.PHONE, None, id="a second short of 21 days"),
        pytest.param(28, -60 * SECOND, Service.PHONE, "another 1 minute.", id="a minute short of 28 days"),
        pytest.param(28, 0 * SECOND, Service.PHONE, "28-day limit", id="28 days"),
        pytest.param(29, -SECOND, Service.PHONE, "28-day limit", id="a second short of 29 days"),
        pytest.param(29, 0 * SECOND, Service.PHONE, None, id="29 days: blocked, not warned of"),
        pytest.param(29, 0 * SECOND, Service.EMAIL, "29 days old", id="email, 29 days"),
        pytest.param(26, 0 * SECOND, Service.EMAIL, None, id="email, 26 days"),
    ],
)
def test_a_start_near_the_limit_is_warned_of(days: int, plus: timedelta, service: Service, words: str | None) -> None:
    """From 28 days on the server decides, and the plan says so."""
    notices = planned(config(aged(days, plus=plus), service=service)).notices
    assert len(notices) == (words is not None)
    if words is not None:
        assert words in notices[0].text
        assert notices[0].name == "b"


def test_waiting_past_the_deadline_is_warned_of() -> None:
    """A `not_before` after the 28 days is a warning. If the YAML alone shows it, the configuration warns instead."""
    seen = observed(listed("submitted", date_submitted=ago(days=20)))
    late, in_time = (batch(not_before=ahead(days=days)) for days in (10, 8))
    assert "can never be started" in planned(config(late), None, seen).notices[0].text
    assert not planned(config(in_time), None, seen).notices
    assert not planned(config(batch(not_before=ahead(days=10), submitted_at=ago(days=20)))).notices


def test_a_stop_after_a_start_is_warned_of_with_the_reason() -> None:
    """The server's own reason is shown."""
    reading = listed("stopped", reason="max_processing_time_reached")
    made = planned(config(PLAIN), state(started()), observed(reading))
    assert "max_processing_time_reached" in made.notices[0].text
    assert only(made).server_reason == "max_processing_time_reached"


@pytest.mark.parametrize(
    ("seconds", "skew", "action", "warned"),
    [
        pytest.param(300.5, 300 * SECOND, WAIT, False, id="neither"),
        pytest.param(300.5, 301 * SECOND, WAIT, True, id="the server's only"),
        pytest.param(-300.5, -301 * SECOND, WAIT, True, id="the local one only"),
        pytest.param(-0.5, -SECOND, WAIT, False, id="the local one only, by a second"),
        pytest.param(-300.5, -300 * SECOND, START, False, id="both"),
        pytest.param(-0.5, 301 * SECOND, START, False, id="both, although they differ"),
        pytest.param(-0.5, None, START, False, id="no other clock"),
    ],
)
def test_a_start_needs_both_clocks_past_its_not_before(
    seconds: float, skew: timedelta | None, action: Action, *, warned: bool
) -> None:
    """When they differ by more than five minutes, a warning says why it waits."""
    wanted = config(batch(not_before=ahead(seconds=seconds)))
    made = planned(wanted, seen=observed(read("submitted"), skew=skew))
    assert only(made).action is action
    assert any("by one clock only" in notice.text for notice in made.notices) == warned


@pytest.mark.parametrize(
    ("reading", "action"),
    [
        pytest.param(listed("submitted", date_submitted=NOW, date_started=NOW), VERIFY, id="has a start"),
        pytest.param(listed("submitted", date_submitted=NOW, date_ended=NOW), VERIFY, id="has an end"),
        pytest.param(listed("submitted", date_submitted=NOW, records=0, records_processed=1), VERIFY, id="processed"),
        pytest.param(listed("submitted", date_submitted=NOW, records=0, records_processed=0), START, id="empty"),
        pytest.param(listed("submitted", date_submitted=NOW, records=9, records_processed=1), START, id="plain"),
        pytest.param(read("submitted", date_started=NOW), START, id="a single read"),
    ],
)
def test_a_list_entry_that_contradicts_itself_is_read_singly(reading: Reading, action: Action) -> None:
    """The single read decides."""
    made = only(planned(config(batch()), seen=observed(reading)))
    assert made.action is action
    assert action is START or made.reason is Reason.UNCLEAR


@pytest.mark.parametrize(
    ("declared", "known", "said", "measured"),
    [(9, 8, 7, 9), (7, 9, 8, 9), (7, 8, 9, 9), (9, None, 0, 9), (None, 9, 0, 9), (None, None, 9, 9)],
)
def test_a_guard_counts_the_greatest_number_of_records(
    declared: int | None, known: int | None, said: int, measured: int
) -> None:
    """Declared, in the state or from the server, also under an approval. The plan shows the server's number."""
    limits = [guard(GuardName.MAX_RECORDS, 8)]
    wanted, seen = config(batch(records=declared), guards=limits), observed(read("submitted", records=said))
    made = planned(wanted, state(entry(Phase.SEEN, records=known)), seen)
    assert only(made).records == said
    assert approve(made, made).guards[0].measured == made.guards[0].measured == measured
    assert not made.applyable


def test_a_batch_whose_single_read_got_no_answer_is_not_started() -> None:
    """The account was not listed, but the batch was asked for."""
    assert only(planned(config(batch()), seen=observed(listed=False, asked=True))).action is VERIFY
    assert only(planned(config(batch()), seen=observed(listed=False))).action is START


def test_a_clock_ahead_of_the_server_does_not_expire_a_batch() -> None:
    """The server's date decides whether a batch is 29 days old."""
    wanted = config(aged(29))
    assert only(planned(wanted, seen=observed(read("submitted"), skew=-2 * DAY))).action is START
    assert only(planned(wanted, seen=observed(read("submitted")))).action is BLOCKED


# --- approvals -------------------------------------------------------------------------------------------------------


def test_what_was_not_offered_is_not_started() -> None:
    """A start that was not in the approved plan waits."""
    fresh = planned(config(batch("a"), batch("b")))
    left = approve(fresh, planned(config(batch("a"))))
    assert [(change.name, change.action) for change in left.changes] == [("a", START), ("b", WAIT)]
    assert (left.changes[1].reason, left.changes[1].obstacle) == (Reason.NOT_APPROVED, Obstacle.NOT_APPROVED)


def test_what_was_offered_as_verify_may_start() -> None:
    """An approval of a VERIFY includes the start it may turn into."""
    approved = planned(config(PLAIN), seen=observed())
    assert only(approved).action is VERIFY
    assert only(approve(planned(config(PLAIN)), approved)).action is START


@pytest.mark.parametrize(
    "approved",
    [
        pytest.param(planned(config(HELD)), id="held then"),
        pytest.param(planned(config(LATER)), id="waiting then"),
        pytest.param(replace(planned(config(PLAIN), state(started())), lineage=None), id="running then"),
        pytest.param(planned(config(batch("other"))), id="not there then"),
        pytest.param(planned(config()), id="an empty plan"),
        pytest.param(planned(config(batch("b", batch_id="other"))), id="another batch under that name"),
    ],
)
def test_any_other_approval_denies(approved: Plan) -> None:
    """Only a START or VERIFY of the same batch_id is an approval."""
    assert only(approve(planned(config(PLAIN)), approved)).action is WAIT


def test_an_approval_starts_nothing_by_itself() -> None:
    """An old plan with a START does not start a running batch."""
    old = planned(config(PLAIN))
    assert only(approve(planned(config(PLAIN), state(started())), old)).action is KEEP


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"service": Service.EMAIL}, "service"),
        ({"endpoint": "https://other.example"}, "endpoint"),
        ({"lineage": "other"}, "state file"),
    ],
)
def test_an_approval_for_something_else_is_refused(other: dict[str, Any], what: str) -> None:
    """Both when it is checked early against the state and late against the new plan."""
    known = state(started())
    fresh = planned(config(PLAIN), known)
    check_approval(fresh, known)
    check_approval(replace(fresh, lineage=None), known)  # there was no state when it was approved
    for check in (lambda made: check_approval(made, known), lambda made: approve(fresh, made)):
        with pytest.raises(RefusedError, match=f"made for another {what}") as refused:
            check(replace(fresh, **other))
        assert refused.value.exit_code is Exit.REFUSED


def test_guards_are_judged_on_what_the_approval_leaves() -> None:
    """Only the remaining starts count, and an override remains."""
    limits = [guard(GuardName.MAX_STARTS, 1), guard(GuardName.MAX_RECORDS, 5)]
    wanted = config(batch("a", records=7), batch("b"), guards=limits)
    fresh = planned(wanted, overridden={GuardName.MAX_RECORDS})
    assert [check.guard.name for check in fresh.failed_guards] == [GuardName.MAX_STARTS]
    left = approve(fresh, planned(config(batch("a"))))
    assert [(check.measured, check.unknown) for check in left.guards] == [(1, 0), (7, 0)]
    assert left.applyable


# --- a status that lags, and an attempt that reads cannot settle ------------------------------------------------------


@pytest.mark.parametrize(("seconds", "recent"), [(0, True), (599, True), (600, False), (-599, True), (-600, False)])
def test_a_start_is_recent_for_ten_minutes(seconds: float, *, recent: bool) -> None:
    """By the local clock, whatever the server's says. Then the advice changes, not the action."""
    known = replace(started(status="processing"), settled_at=ago(seconds=seconds))
    made = planned(config(batch()), state(known), observed(read("submitted"), skew=DAY))
    change = only(made)
    assert (change.action, change.reason, change.recent) == (BLOCKED, Reason.CONTRADICTION, recent)
    assert ("state rm" in next_step(change)) == (not recent)
    assert ("paid" in next_step(change)) == (not recent)
    assert ("Run apply again" in next_step(change)) == recent
    assert stage(change) is (Stage.PROCESSING if recent else Stage.BLOCKED)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("recent", [True, False])
def test_an_attempt_that_reads_cannot_settle_names_the_support(*, declared: bool, recent: bool) -> None:
    """A 503, then a 400: the second run names the Reference-Id, and later `state rm` with its risk."""
    at = ago(seconds=1 if recent else 601)
    problem = ServerProblem(status=400, title="Bad Request")
    known = entry(Phase.UNKNOWN, doubt=True, problem=problem, reference_id="b-r1", intended_at=at)
    wanted = config(*([batch()] if declared else []))
    stuck = next_step(only(planned(wanted, state(known), observed(read("submitted")))))
    assert "support" in stuck
    assert "Reference-Id b-r1 " in stuck
    assert ("state rm" in stuck) == ("paid" in stuck) == (not recent)
    assert "support" not in next_step(only(planned(wanted, state(known), observed(listed("submitted")))))
