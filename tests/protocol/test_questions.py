"""Verifying what an earlier run left unknown, refreshing one batch, and listing the account."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batchform.api.contract import Broken, Listing, Missing
from batchform.api.results import Results
from batchform.model import Reading, ServerProblem, Source
from batchform.protocol import Rules, Send, Verdict, confirm, list_all, read, refresh, results, verify
from tests.protocol.script import (
    COMPLETED,
    LOST,
    ORDER,
    PROCESSING,
    REFUSED_CLIENT,
    STOPPED,
    SUBMITTED,
    THROTTLED,
    TOKEN_ENDED,
    UNSENT,
    UNSENT_FOR_LONG,
    answer,
    failed,
    play,
    said,
)

if TYPE_CHECKING:
    from batchform.api.contract import Reply

RULES = Rules()
PATIENCE = "read pause:1 read pause:2 read pause:4 read pause:8 read pause:15 read"
NO_400 = ServerProblem(status=400, title="Bad Request")
NO_404 = ServerProblem(status=404, title="Not Found")
NO_500 = ServerProblem(status=500, title="Internal Server Error")
LOST_PROBLEM = ServerProblem(status=None, title="No complete answer")


def reading(status: str) -> Reading:
    """What a single read said."""
    return Reading(batch_id="b1", source=Source.READ, status=status)


SETTLING = [
    # the run died: the answer to the attempt is unknown
    pytest.param(None, False, (PROCESSING,), "read Started:processing:status", False, id="died, started"),
    pytest.param(None, False, (STOPPED,), "read Started:stopped:status", False, id="died, stopped by now"),
    pytest.param(None, False, (SUBMITTED, SUBMITTED), "read pause:10 read Released", True, id="died, submitted twice"),
    pytest.param(
        None, False, (SUBMITTED, COMPLETED), "read pause:10 read Started:completed:status", False, id="died, lag"
    ),
    pytest.param(None, False, (failed(404),) * 6, PATIENCE, False, id="died, not found is no answer"),
    pytest.param(None, False, (said("queued"),), "read Seen:queued", False, id="died, an unrecognised status"),
    # an answer that said nothing
    pytest.param(
        LOST_PROBLEM, True, (SUBMITTED, SUBMITTED), "read pause:10 read Released", True, id="lost, submitted twice"
    ),
    pytest.param(NO_500, True, (PROCESSING,), "read Started:processing:status", False, id="500, started"),
    pytest.param(NO_500, True, (failed(400),) * 6, PATIENCE, False, id="500, bad id is no answer"),
    # a plain no, and nothing else in doubt
    pytest.param(NO_400, False, (PROCESSING,), "read AlreadyStarted:processing", False, id="400, started by others"),
    pytest.param(
        NO_400, False, (SUBMITTED, SUBMITTED), "read pause:10 read Rejected:not_started", False, id="400, submitted"
    ),
    pytest.param(NO_404, False, (failed(404),), "read Rejected:not_found", False, id="404, not found"),
    pytest.param(NO_404, False, (failed(400),), "read Rejected:bad_id", False, id="404, bad id"),
    # a plain no, with an earlier attempt in doubt
    pytest.param(NO_400, True, (PROCESSING,), "read Started:processing:status", False, id="400 after doubt, ours"),
    pytest.param(NO_400, True, (SUBMITTED, SUBMITTED), "read pause:10 read", False, id="400 after doubt, submitted"),
    pytest.param(NO_404, True, (failed(404),) * 6, PATIENCE, False, id="404 after doubt, not found is no answer"),
    # nothing learnt
    pytest.param(None, False, (LOST,) * 6, PATIENCE, False, id="no answer"),
    pytest.param(None, False, (failed(401),), "read stop:401", False, id="refused"),
    pytest.param(None, False, (THROTTLED, PROCESSING), "read read Started:processing:status", False, id="throttled"),
]


@pytest.mark.parametrize(("problem", "doubt", "replies", "words", "released"), SETTLING)
def test_what_an_earlier_run_left_open_is_settled_by_reads(
    *, problem: ServerProblem | None, doubt: bool, replies: tuple[Reply, ...], words: str, released: bool
) -> None:
    """No start is sent, and only two reads release."""
    played = play(verify(ORDER, RULES, problem=problem, doubt=doubt), *replies)
    assert played.words == words
    assert played.returned is not None
    assert played.returned.released == released
    assert not any(isinstance(step, Send) and step.is_start for _, step, _ in played.steps)


def test_an_old_batch_that_was_refused_has_expired() -> None:
    """A 400, the age and an unchanged status together give the cause."""
    order = replace(ORDER, expired=True)
    played = play(verify(order, RULES, problem=NO_400, doubt=False), SUBMITTED, SUBMITTED)
    assert played.words == "read pause:10 read Rejected:expired"


@pytest.mark.parametrize(
    ("replies", "last"),
    [
        pytest.param((PROCESSING,), reading("processing"), id="started"),
        pytest.param((SUBMITTED, SUBMITTED), reading("submitted"), id="released"),
        pytest.param((said("queued"),), reading("queued"), id="an unrecognised status"),
        pytest.param((LOST,) * 6, None, id="no answer"),
        pytest.param((SUBMITTED, *(LOST,) * 6), None, id="one answer, then none"),
    ],
)
def test_settling_tells_the_last_reading(replies: tuple[Reply, ...], last: Reading | None) -> None:
    """The result has the last reading, for the plan."""
    played = play(verify(ORDER, RULES, problem=None, doubt=False), *replies)
    assert played.returned is not None
    assert played.returned.reading == last


@pytest.mark.parametrize(
    ("problem", "doubt", "event"),
    [
        pytest.param(None, False, "Started:completed:status", id="died"),
        pytest.param(NO_500, True, "Started:completed:status", id="500"),
        pytest.param(NO_400, False, "AlreadyStarted:completed", id="400"),
        pytest.param(NO_400, True, "Started:completed:status", id="400 after doubt"),
        pytest.param(NO_404, False, "AlreadyStarted:completed", id="404"),
    ],
)
def test_the_list_confirms_a_start_without_a_read(*, problem: ServerProblem | None, doubt: bool, event: str) -> None:
    """Nothing is sent. The answer to the attempt shows whose start it was."""
    found = Reading(batch_id="b1", source=Source.LIST, status="completed")
    played = play(confirm(found, problem=problem, doubt=doubt))
    assert played.words == event
    assert played.returned == Verdict(reading=found)


@pytest.mark.parametrize(
    ("replies", "words", "verdict"),
    [
        pytest.param((SUBMITTED,), "read", Verdict(reading=reading("submitted")), id="submitted"),
        pytest.param((STOPPED,), "read", Verdict(reading=reading("stopped")), id="stopped"),
        pytest.param(
            (failed(404),), "read", Verdict(reading=Reading(batch_id="b1", source=Source.READ, found=False)), id="404"
        ),
        pytest.param(
            (failed(400),), "read", Verdict(reading=Reading(batch_id="b1", source=Source.READ, found=False)), id="400"
        ),
        pytest.param((failed(500), PROCESSING), "read pause:1 read", Verdict(reading=reading("processing")), id="late"),
        pytest.param((UNSENT,) * 6, PATIENCE, Verdict(), id="unsent"),
        pytest.param((failed(403),), "read stop:403", Verdict(), id="refused"),
    ],
)
def test_looking_at_a_batch_records_nothing(replies: tuple[Reply, ...], words: str, verdict: Verdict) -> None:
    """A batch without an unknown attempt is read once."""
    played = play(refresh(ORDER, RULES, was_started=False), *replies)
    assert (played.words, played.returned) == (words, verdict)


@pytest.mark.parametrize(
    ("replies", "words", "status"),
    [
        pytest.param((PROCESSING,), "read", "processing", id="started"),
        pytest.param((SUBMITTED, PROCESSING), "read pause:10 read", "processing", id="a lagging status"),
        pytest.param((SUBMITTED, SUBMITTED), "read pause:10 read", "submitted", id="submitted twice"),
        pytest.param((SUBMITTED, *(LOST,) * 6), f"read pause:10 {PATIENCE}", None, id="submitted, then no answer"),
    ],
)
def test_a_started_batch_that_looks_submitted_is_read_again(
    replies: tuple[Reply, ...], words: str, status: str | None
) -> None:
    """One `submitted` may lag behind the start that is on record."""
    played = play(refresh(ORDER, RULES, was_started=True), *replies)
    assert played.returned is not None
    found = played.returned.reading
    assert (played.words, found.status if found is not None else None) == (words, status)


@pytest.mark.parametrize("believe", [True, False])
@pytest.mark.parametrize("status", [400, 404])
def test_a_failure_that_claims_a_result_is_no_answer(*, status: int, believe: bool) -> None:
    """A 404 with a result besides is neither one nor the other."""
    odd = answer(status, {"result": {"batch_id": "b1", "status": "submitted"}})
    played = play(read(ORDER, RULES, believe_missing=believe), *(odd,) * 6)
    assert (played.words, played.returned) == (PATIENCE, None)


@pytest.mark.parametrize("status", [400, 404])
def test_missing_is_believed_only_when_asked_to(status: int) -> None:
    """It can also mean another region or a proxy."""
    assert isinstance(play(read(ORDER, RULES, believe_missing=True), failed(status)).returned, Missing)
    later = play(read(ORDER, RULES, believe_missing=False), failed(status), PROCESSING)
    assert (later.words, later.returned) == ("read pause:1 read", reading("processing"))


LISTED = answer(200, {"result": {"batches": [{"batch_id": "b1", "status": "processing"}]}})


@pytest.mark.parametrize(
    ("replies", "words", "batches"),
    [
        pytest.param((LISTED,), "read", {"b1"}, id="listed"),
        pytest.param((answer(200, {"result": {}}),), "read", set[str](), id="empty"),
        pytest.param((THROTTLED, THROTTLED, LISTED), "read read read", {"b1"}, id="throttled"),
        pytest.param(
            (failed(500), LOST, UNSENT, LISTED), "read pause:1 read pause:2 read pause:4 read", {"b1"}, id="late"
        ),
        pytest.param((failed(500),) * 4, "read pause:1 read pause:2 read pause:4 read", None, id="no answer"),
        pytest.param((failed(404),) * 4, "read pause:1 read pause:2 read pause:4 read", None, id="404 is no answer"),
        pytest.param((failed(401),), "read stop:401", None, id="refused"),
        pytest.param((UNSENT_FOR_LONG,), "read", None, id="unsent for 30 s"),
        pytest.param((REFUSED_CLIENT,), "read stop:None", None, id="no access token, ever"),
        pytest.param((TOKEN_ENDED, LISTED), "read pause:1 read", {"b1"}, id="the access token had ended"),
    ],
)
def test_the_list_is_asked_patiently(replies: tuple[Reply, ...], words: str, batches: set[str] | None) -> None:
    """Four tries; the problem of the last when there was no answer."""
    played = play(list_all(ORDER.service, RULES), *replies)
    assert played.words == words
    if batches is None:
        assert isinstance(played.returned, ServerProblem)
    else:
        assert isinstance(played.returned, Listing)
        assert set(played.returned.readings) == batches


@pytest.mark.parametrize("first", ["submitted", "processing", "completed", "stopped", "queued", None])
@pytest.mark.parametrize("second", ["submitted", None])
def test_of_a_batch_that_is_listed_twice_the_entry_that_shows_more_counts(
    first: str | None, second: str | None
) -> None:
    """In either order; so a stale double never hides a start."""
    entries = [{"batch_id": "b1", "status": status} for status in (first, second)]
    for batches in (entries, entries[::-1]):
        listing = play(list_all(ORDER.service, RULES), answer(200, {"result": {"batches": batches}})).returned
        assert isinstance(listing, Listing)
        assert listing.readings["b1"].status == (first or second)


DONE = said("completed", credits_charged=2, phones=[{"number": "1"}])
TOO_LARGE = Broken(cause="the answer has more than 1 bytes", too_large=True)


@pytest.mark.parametrize(
    ("replies", "words", "has_results"),
    [
        pytest.param((DONE,), "read", True, id="results"),
        pytest.param((THROTTLED, THROTTLED, DONE), "read read read", True, id="throttled"),
        pytest.param((failed(500), LOST, UNSENT, DONE), "read pause:1 read pause:2 read pause:4 read", True, id="late"),
        pytest.param((failed(500),) * 4, "read pause:1 read pause:2 read pause:4 read", False, id="no answer"),
        pytest.param((failed(404),), "read", False, id="404"),
        pytest.param((failed(400),), "read", False, id="400"),
        pytest.param((TOO_LARGE,), "read", False, id="too large"),
        pytest.param((failed(401),), "read stop:401", False, id="refused"),
        pytest.param((UNSENT_FOR_LONG,), "read", False, id="unsent for 30 s"),
        pytest.param((TOKEN_ENDED, DONE), "read pause:1 read", True, id="the access token had ended"),
        pytest.param((said("completed", "b2"), DONE), "read pause:1 read", True, id="another batch"),
    ],
)
@pytest.mark.parametrize("items", [True, False])
def test_results_are_read_with_retries(
    *, replies: tuple[Reply, ...], words: str, has_results: bool, items: bool
) -> None:
    """Four tries. What another try would not change is not tried again."""
    played = play(results(ORDER, RULES, items=items), *replies)
    assert played.words == words
    assert not played.events
    if has_results:
        assert isinstance(played.returned, Results)
        assert played.returned.credits_charged == 2
        assert list(played.returned.items()) == ([{"number": "1"}] if items else [])
    else:
        assert isinstance(played.returned, ServerProblem)


def test_all_fields_are_asked_for_if_wanted() -> None:
    """By a header."""
    played = play(results(ORDER, RULES, metadata=True), DONE)
    step = played.steps[0][1]
    assert isinstance(step, Send)
    assert ("Add-Metadata", "true") in step.request.headers


@pytest.mark.parametrize("end_at", range(3))
def test_a_question_that_is_broken_off_has_no_result(end_at: int) -> None:
    """When the run ends, nothing is recorded without an answer."""
    for conversation in (
        verify(ORDER, RULES, problem=None, doubt=False),
        list_all(ORDER.service, RULES),
        results(ORDER, RULES),
        refresh(ORDER, RULES, was_started=False),
    ):
        played = play(conversation, failed(500), failed(500), end_at=end_at)
        assert played.ended
        assert not played.events
