"""Starting one batch: every row of the protocol, played by hand.

`play` checks for each script that no start goes out after a doubtful answer that was not released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.contract import Answer
from batchform.model import ServerProblem, Service
from batchform.protocol import Order, Record, Rules, Send, start
from batchform.state.events import Event, Intended, NotAttempted, Rejected, Started, Unknown, fold
from batchform.state.known import Entry, Phase, State
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
    from collections.abc import Sequence

    from batchform.api.contract import Reply
    from batchform.state.events import What

RULES = Rules()
OLD = replace(ORDER, expired=True)
DOUBTED = replace(ORDER, doubt=True)

ASKED = "Intended start Unknown"
LOST_TWICE_SUBMITTED = (LOST, SUBMITTED, SUBMITTED)
RELEASED = f"{ASKED} read pause:30 read Released"
NO_ANSWER = "read pause:1 read pause:2 read pause:4 read pause:8 read pause:15 read"


@dataclass(frozen=True)
class Script:
    """What the server answers, and what is done and recorded."""

    case: str
    replies: tuple[Reply, ...]
    words: str
    order: Order = ORDER


DOUBTFUL: dict[str, Reply] = {
    "lost": LOST,
    "408": failed(408),
    "500": failed(500),
    "502": answer(502),
    "503": failed(503),
    "redirected": answer(302),
    "201": answer(201, {"result": {"batch_id": "b1", "status": "processing"}}),
    "418": failed(418),
    "200 without a body": answer(200),
    "200 with an error": answer(200, {"error": {"title": "x"}, "result": {"batch_id": "b1", "status": "processing"}}),
    "200 about another batch": said("processing", "b2"),
    "200 without an id": answer(200, {"result": {"status": "processing"}}),
    "200 that says submitted": SUBMITTED,
    "200 that says stopped": STOPPED,
    "200 without a status": said(None),
    "429 with a result": answer(429, {"result": {"batch_id": "b1", "status": "processing"}}),
    "429 that breaks off": Answer(status=429, body=b"<html", framed=False),
    "403 that breaks off": Answer(status=403, body=b"<html", framed=False),
    "401 with a result": answer(401, {"result": {"batch_id": "b1", "status": "processing"}}),
}

SCRIPTS: list[Script] = [
    # Accepted
    Script("accepted", (PROCESSING,), "Intended start Started:processing:answer"),
    Script("accepted and done at once", (COMPLETED,), "Intended start Started:completed:answer"),
    # NotSent
    Script("unsent once", (UNSENT, PROCESSING), "Intended start backoff:0 start Started:processing:answer"),
    Script(
        "unsent twice",
        (UNSENT, UNSENT, PROCESSING),
        "Intended start backoff:0 start backoff:1 start Started:processing:answer",
    ),
    Script("unsent three times", (UNSENT,) * 3, "Intended start backoff:0 start backoff:1 start NotAttempted"),
    Script(
        "unsent three times, throttled between",
        (UNSENT, THROTTLED, UNSENT, THROTTLED, UNSENT),
        "Intended start backoff:0 start start backoff:1 start start NotAttempted",
    ),
    Script("unsent for 30 s", (UNSENT_FOR_LONG,), "Intended start NotAttempted"),
    Script("no access token, ever", (REFUSED_CLIENT,), "Intended start NotAttempted stop:None"),
    # The access token had ended: the status decides, and a later token may start it
    Script(
        "401, the token had ended, found started",
        (TOKEN_ENDED, PROCESSING),
        "Intended start Unknown read Started:processing:status",
    ),
    Script(
        "401, the token had ended, not started",
        (TOKEN_ENDED, SUBMITTED, SUBMITTED, PROCESSING),
        f"{ASKED} read pause:10 read Released Intended start Started:processing:answer",
    ),
    Script(
        "401, the token had ended, and so had the next",
        (TOKEN_ENDED, TOKEN_ENDED, SUBMITTED, SUBMITTED, PROCESSING),
        f"{ASKED} read pause:1 read pause:10 read Released Intended start Started:processing:answer",
    ),
    Script("401, and the next token is refused", (TOKEN_ENDED, failed(401)), f"{ASKED} read stop:401"),
    Script(
        "unsent, then lost: no longer unsent",
        (UNSENT, LOST, PROCESSING),
        "Intended start backoff:0 start Unknown read Started:processing:status",
    ),
    # Throttled
    Script("throttled", (THROTTLED, PROCESSING), "Intended start start Started:processing:answer"),
    Script("throttled for long", (*(THROTTLED,) * 7, PROCESSING), f"Intended {'start ' * 8}Started:processing:answer"),
    Script(
        "throttled, then lost",
        (THROTTLED, LOST, PROCESSING),
        "Intended start start Unknown read Started:processing:status",
    ),
    Script("throttled, empty body", (answer(429), PROCESSING), "Intended start start Started:processing:answer"),
    # Refused
    *(
        Script(f"refused {code}", (failed(code),), f"Intended start Rejected:refused stop:{code}")
        for code in (401, 403, 406, 415)
    ),
    # Everything else, found started
    *(
        Script(f"{case}, found started", (reply, PROCESSING), f"{ASKED} read Started:processing:status")
        for case, reply in DOUBTFUL.items()
    ),
    Script("lost, found completed", (LOST, COMPLETED), f"{ASKED} read Started:completed:status"),
    Script("lost, found stopped", (LOST, STOPPED), f"{ASKED} read Started:stopped:status"),
    # 400 and 404, found started by others
    Script("400, found processing", (failed(400), PROCESSING), f"{ASKED} read AlreadyStarted:processing"),
    Script("400, found completed", (failed(400), COMPLETED), f"{ASKED} read AlreadyStarted:completed"),
    Script("400, found stopped", (failed(400), STOPPED), f"{ASKED} read AlreadyStarted:stopped"),
    Script("404, found processing", (failed(404), PROCESSING), f"{ASKED} read AlreadyStarted:processing"),
    Script(
        "400 after doubt, found processing",
        (failed(400), PROCESSING),
        f"{ASKED} read Started:processing:status",
        DOUBTED,
    ),
    # 400 and 404, found submitted
    Script(
        "400, submitted twice", (failed(400), SUBMITTED, SUBMITTED), f"{ASKED} read pause:10 read Rejected:not_started"
    ),
    Script(
        "404, submitted twice", (failed(404), SUBMITTED, SUBMITTED), f"{ASKED} read pause:10 read Rejected:not_started"
    ),
    Script(
        "400, submitted twice, old",
        (failed(400), SUBMITTED, SUBMITTED),
        f"{ASKED} read pause:10 read Rejected:expired",
        OLD,
    ),
    Script(
        "400, a lagging status",
        (failed(400), SUBMITTED, PROCESSING),
        f"{ASKED} read pause:10 read AlreadyStarted:processing",
    ),
    Script(
        "400 after doubt, submitted twice", (failed(400), SUBMITTED, SUBMITTED), f"{ASKED} read pause:10 read", DOUBTED
    ),
    Script(
        "400 after doubt, submitted twice, old",
        (failed(400), SUBMITTED, SUBMITTED),
        f"{ASKED} read pause:10 read",
        replace(DOUBTED, expired=True),
    ),
    # The rest, found submitted
    Script(
        "lost, a lagging status", (LOST, SUBMITTED, PROCESSING), f"{ASKED} read pause:30 read Started:processing:status"
    ),
    Script(
        "released, then accepted",
        (*LOST_TWICE_SUBMITTED, PROCESSING),
        f"{RELEASED} Intended start Started:processing:answer",
    ),
    Script(
        "released twice, then accepted",
        (*LOST_TWICE_SUBMITTED * 2, PROCESSING),
        f"{RELEASED} {RELEASED} Intended start Started:processing:answer",
    ),
    Script("released three times", LOST_TWICE_SUBMITTED * 3, f"{RELEASED} {RELEASED} {RELEASED} Rejected:not_started"),
    Script(
        "an old batch is released like others",
        LOST_TWICE_SUBMITTED * 3,
        f"{RELEASED} {RELEASED} {RELEASED} Rejected:not_started",
        OLD,
    ),
    Script(
        "released, lost, found started",
        (*LOST_TWICE_SUBMITTED, LOST, PROCESSING),
        f"{RELEASED} {ASKED} read Started:processing:status",
    ),
    Script(
        "released, then 400 and submitted twice: still unknown",
        (*LOST_TWICE_SUBMITTED, failed(400), SUBMITTED, SUBMITTED),
        f"{RELEASED} {ASKED} read pause:10 read",
    ),
    Script(
        "released, then 400 and started: ours",
        (*LOST_TWICE_SUBMITTED, failed(400), PROCESSING),
        f"{RELEASED} {ASKED} read Started:processing:status",
    ),
    Script(
        "released, then 404 and nowhere: still unknown",
        (*LOST_TWICE_SUBMITTED, *[failed(404)] * 7),
        f"{RELEASED} {ASKED} {NO_ANSWER}",
    ),
    Script(
        "released, then refused",
        (*LOST_TWICE_SUBMITTED, failed(403)),
        f"{RELEASED} Intended start Rejected:refused stop:403",
    ),
    Script(
        "released, then unsent",
        (*LOST_TWICE_SUBMITTED, *(UNSENT,) * 3),
        f"{RELEASED} Intended start backoff:0 start backoff:1 start NotAttempted",
    ),
    # 404 and 400 to the read
    Script("404, not found", (failed(404), failed(404)), f"{ASKED} read Rejected:not_found"),
    Script("400, not found", (failed(400), failed(404)), f"{ASKED} read Rejected:not_found"),
    Script("400, bad id", (failed(400), failed(400)), f"{ASKED} read Rejected:bad_id"),
    Script("404, empty page", (answer(404), answer(404)), f"{ASKED} read Rejected:not_found"),
    Script("lost, not found: no answer", (LOST, *[failed(404)] * 6), f"{ASKED} {NO_ANSWER}"),
    Script("500, bad id: no answer", (failed(500), *[failed(400)] * 6), f"{ASKED} {NO_ANSWER}"),
    Script("404 after doubt, not found: no answer", (failed(404), *[failed(404)] * 6), f"{ASKED} {NO_ANSWER}", DOUBTED),
    Script(
        "lost, not found, found",
        (LOST, failed(404), PROCESSING),
        f"{ASKED} read pause:1 read Started:processing:status",
    ),
    # 401 403 406 415 and 429 to the read
    *(
        Script(f"lost, read refused {code}", (LOST, failed(code)), f"{ASKED} read stop:{code}")
        for code in (401, 403, 406, 415)
    ),
    Script("400, read refused", (failed(400), failed(401)), f"{ASKED} read stop:401"),
    Script("lost, second read refused", (LOST, SUBMITTED, failed(401)), f"{ASKED} read pause:30 read stop:401"),
    Script(
        "lost, read throttled", (LOST, *(THROTTLED,) * 8, PROCESSING), f"{ASKED} {'read ' * 9}Started:processing:status"
    ),
    # no answer
    Script("lost, never an answer", (LOST, *(failed(500),) * 6), f"{ASKED} {NO_ANSWER}"),
    Script("400, never an answer", (failed(400), *(LOST,) * 6), f"{ASKED} {NO_ANSWER}"),
    Script("lost, unsent reads", (LOST, *(UNSENT,) * 6), f"{ASKED} {NO_ANSWER}"),
    Script("lost, reads about another batch", (LOST, *(said("submitted", "b2"),) * 6), f"{ASKED} {NO_ANSWER}"),
    Script("lost, reads without a status", (LOST, *(said(None),) * 6), f"{ASKED} {NO_ANSWER}"),
    Script("lost, an answer at last", (LOST, *(LOST,) * 5, COMPLETED), f"{ASKED} {NO_ANSWER} Started:completed:status"),
    Script(
        "lost, submitted once, then no answer",
        (LOST, SUBMITTED, *(LOST,) * 6),
        f"{ASKED} read pause:30 {NO_ANSWER}",
    ),
    Script(
        "lost, submitted, no answer, submitted",
        (LOST, SUBMITTED, LOST, SUBMITTED, PROCESSING),
        f"{ASKED} read pause:30 read pause:1 read Released Intended start Started:processing:answer",
    ),
    # an unrecognised status
    Script("lost, an unknown word", (LOST, said("queued")), f"{ASKED} read Seen:queued"),
    Script("400, an unknown word", (failed(400), said("queued")), f"{ASKED} read Seen:queued"),
    Script(
        "lost, submitted, an unknown word", (LOST, SUBMITTED, said("queued")), f"{ASKED} read pause:30 read Seen:queued"
    ),
]
EACH = pytest.mark.parametrize("script", [pytest.param(each, id=each.case) for each in SCRIPTS])


@EACH
def test_each_answer_leads_where_the_protocol_says(script: Script) -> None:
    """Steps and events, word by word."""
    assert play(start(script.order, RULES), *script.replies).words == script.words


@EACH
def test_a_run_that_ends_leaves_the_right_record_at_every_step(script: Script) -> None:
    """Ended with no request in flight: NotAttempted. After a doubtful answer: still unknown."""
    whole = play(start(script.order, RULES), *script.replies)
    waits = sum(not isinstance(step, Record) for _, step, _ in whole.steps)
    for end_at in range(waits):
        cut = play(start(script.order, RULES), *script.replies, end_at=end_at)
        if cut.words == whole.words:
            continue  # the run was stopped by the conversation
        *before, last = cut.events
        if isinstance(last, NotAttempted):
            assert isinstance(before[-1], Intended)
            assert last.problem is None
            assert not cut.ended
            assert _folded(cut.events, script.order).phase is (
                Phase.RELEASED if _doubt(before) else Phase.NOT_ATTEMPTED
            )
        else:
            assert isinstance(last, Unknown)
            assert cut.ended
            assert _folded(cut.events, script.order).uncertain
        assert whole.events[: len(before)] == before


def _doubt(events: Sequence[What]) -> bool:
    return any(isinstance(what, Unknown) for what in events)


def _folded(events: Sequence[What], order: Order) -> Entry:
    state = State(lineage="l", service=Service.PHONE, endpoint="")
    at = datetime(2026, 11, 23, tzinfo=UTC)
    told = [
        Event(run="r", seq=n, at=at, batch_id=order.batch_id, name="n", what=what)
        for n, what in enumerate(events, start=1)
    ]
    return fold(state, told).entries[order.batch_id]


def test_the_intent_says_what_is_at_stake() -> None:
    """The record of an intent is enough to trace the request and to judge its age later."""
    order = replace(ORDER, records=9_800, submitted_at=datetime(2026, 11, 1, tzinfo=UTC))
    played = play(start(order, RULES), PROCESSING)
    assert played.events[0] == Intended(reference_id="ref-1", records=9_800, submitted_at=order.submitted_at)
    (request,) = [step.request for _, step, _ in played.steps if isinstance(step, Send)]
    assert dict(request.headers)["Reference-Id"] == "ref-1"


@pytest.mark.parametrize(
    "batch_id", ["", ".", "..", "a/b", "a/../b", "a b", "a\n", "a?b", "a#b", "a%2Fb", "é", "a" * 129]
)
def test_an_id_that_is_no_path_segment_is_sent_nowhere(batch_id: str) -> None:
    """Whatever came into a state file: a start goes to the path of one batch, or nowhere."""
    conversation = start(replace(ORDER, batch_id=batch_id), RULES)
    assert isinstance(next(conversation), Record)
    with pytest.raises(ValueError, match="not a batch_id"):
        conversation.send(None)


def test_problems_are_kept() -> None:
    """What the server said stands in the record."""
    assert play(start(ORDER, RULES), *(UNSENT,) * 3).events[-1] == NotAttempted(
        problem=ServerProblem(status=None, title="Not sent", detail="connection refused")
    )
    rejected = play(start(ORDER, RULES), failed(400), SUBMITTED, SUBMITTED).events[-1]
    assert isinstance(rejected, Rejected)
    assert rejected.problem == ServerProblem(status=400, title="No 400", detail="because")


TIMEOUTS = ["lost", "408", "500", "502", "503", "504", "524"]


@pytest.mark.parametrize(
    ("case", "reply", "took", "pause"),
    [
        *(
            (case, reply, 0.0, 30)
            for case, reply in (*DOUBTFUL.items(), ("504", failed(504)), ("524", answer(524)))
            if case in TIMEOUTS
        ),
        *((case, reply, 0.0, 10) for case, reply in DOUBTFUL.items() if case not in TIMEOUTS),
        ("cut after 8 s", LOST, 8.0, 22),
        ("cut at the deadline", LOST, 20.0, 10),
        ("cut after a long sleep", LOST, 3600.0, 10),
    ],
)
def test_a_start_without_an_answer_may_still_be_under_way(case: str, reply: Reply, took: float, pause: int) -> None:
    """A proxy can hold it for 20 s after the connection broke; then it needs the settle time to show."""
    reply = replace(reply, sent_at=5.0, received_at=5.0 + took)
    played = play(start(ORDER, RULES), reply, SUBMITTED, SUBMITTED)
    assert f"read pause:{pause} read Released" in played.words, case


def test_a_longer_settle_time_is_kept() -> None:
    """`--settle` stretches the pause between the two reads."""
    longer = play(start(ORDER, Rules(settle=60.0)), *LOST_TWICE_SUBMITTED, settle=60.0)
    assert "read pause:80 read Released" in longer.words
    rejected = play(start(ORDER, Rules(settle=60.0)), failed(400), SUBMITTED, SUBMITTED)
    assert rejected.words == f"{ASKED} read pause:60 read Rejected:not_started"


REPLIES = st.sampled_from(
    [
        PROCESSING,
        COMPLETED,
        STOPPED,
        SUBMITTED,
        LOST,
        LOST,
        UNSENT,
        THROTTLED,
        failed(400),
        failed(404),
        failed(500),
        failed(401),
        said("queued"),
        said("submitted", "b2"),
        said(None),
        answer(302),
    ]
)


@given(replies=st.lists(REPLIES, max_size=40), doubt=st.booleans(), expired=st.booleans())
def test_no_conversation_pays_twice(*, replies: list[Reply], doubt: bool, expired: bool) -> None:
    """Whatever the server answers, `check_safe` holds, and what is recorded never says less than what happened."""
    order = replace(ORDER, doubt=doubt, expired=expired)
    played = play(start(order, RULES), *replies, spare=True)
    starts = [reply for _, step, reply in played.steps if isinstance(step, Send) and step.is_start]
    assert len([reply for reply in starts if reply not in {UNSENT, THROTTLED}]) <= RULES.attempts
    if PROCESSING in starts or COMPLETED in starts:
        assert isinstance(played.events[-1], Started)
