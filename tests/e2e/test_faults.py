"""Every fault of the server and its result. The log of the simulator is the evidence.

Each case is two runs of the command with one batch. The first run gets the faults. The second follows at once and
finishes the work without a second accepted start.
"""

from __future__ import annotations

import json
import random
import socket
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from batchform import simulator
from batchform.state.known import Cause, Evidence, Phase
from tests.e2e.harness import Ended, Site, Warm, WatchedLog, site, warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAST: Final = 100.0
"""The factor by which the clock of these commands is faster."""

B: Final = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"
TRUE: Final = json.dumps({"result": {"batch_id": B, "status": "processing"}})
"""The body of a clean success."""

BOTH: Final = json.dumps(
    {"result": {"batch_id": B, "status": "processing"}, "error": {"title": "Internal Server Error"}}
)
"""The body of a success that also has an error."""


class Then(NamedTuple):
    """The result of a run. `how` is the cause of a rejection or the evidence of a start.

    `starts` and `accepted` count all start requests so far, by the simulator.
    """

    code: int
    phase: Phase | None
    how: Cause | Evidence | None
    starts: int
    accepted: int


# Results of a start.
CLEAN: Final = Then(0, Phase.STARTED, Evidence.ANSWER, 1, 1)
FOUND: Final = Then(0, Phase.STARTED, Evidence.STATUS, 1, 1)  # started; only a read shows it
AGAIN: Final = Then(0, Phase.STARTED, Evidence.ANSWER, 2, 1)  # not started: read, released, sent again
ALREADY: Final = Then(0, Phase.ALREADY_STARTED, None, 1, 0)  # apparently started elsewhere
ADOPTED: Final = Then(0, Phase.ADOPTED, None, 0, 0)
DENIED: Final = Then(3, Phase.REJECTED, Cause.NOT_STARTED, 1, 0)  # 400 or 404, and the batch stayed submitted
REFUSED: Final = Then(1, Phase.REJECTED, Cause.REFUSED, 1, 0)  # the run was stopped
OPEN: Final = Then(4, Phase.UNKNOWN, None, 1, 0)  # no read gave an answer
UNFOUND: Final = Then(3, Phase.SEEN, None, 0, 0)  # not found or too old, so no start was sent
NOTHING: Final = Then(1, None, None, 0, 0)  # the account could not be read, so no start was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One world and the results of two runs. Without `second`, the second run changes nothing."""

    id: str
    faults: tuple[dict[str, Any], ...]
    first: Then
    second: Then | None = None
    world: dict[str, Any] = field(default_factory=dict)
    batch: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()


def case(id_: str, faults: list[dict[str, Any]], first: Then, second: Then | None = None, **more: Any) -> Case:
    """A case."""
    return Case(id=id_, faults=tuple(faults), first=first, second=second, **more)


def start(fault: str | int, **more: Any) -> dict[str, Any]:
    """A fault on the start call; a number is an answer with that status."""
    return _fault("start", fault, **more)


def status(fault: str | int, **more: Any) -> dict[str, Any]:
    """A fault on the status call."""
    return _fault("status", fault, **more)


def listing(fault: str | int, **more: Any) -> dict[str, Any]:
    """A fault on the list call."""
    return _fault("list", fault, **more)


def _fault(operation: str, fault: str | int, **more: Any) -> dict[str, Any]:
    what = {"fault": "answer", "status": fault} if isinstance(fault, int) else {"fault": fault}
    return {"operation": operation, **what, **more}


def lag(reads: int) -> dict[str, Any]:
    """A world in which a start shows only after this many reads."""
    return {"world": {"lag": reads}}


TRUST: Final[dict[str, Any]] = {"words": ("--no-refresh",)}
"""Runs that do not list the account."""


def later(first: Then, **changes: Any) -> Then:
    """The result of a run with these changes."""
    return first._replace(**changes)


THEN_STARTED: Final = later(CLEAN, starts=2)
"""The second run started the batch."""

PATIENCE: Final = 6
"""After this many reads without an answer, the outcome stays unknown."""

NOT_ACTED: Final = [
    # 400 and 404 may mean already started: accepted only after two reads
    case("400", [start(400)], DENIED, THEN_STARTED),
    case("400 capitalised", [start(400, body="capitalised")], DENIED, THEN_STARTED),
    case("400 empty", [start(400, body="empty")], DENIED, THEN_STARTED),
    case("404 html", [start(404, body="html")], DENIED, THEN_STARTED),
    case("404 unwrapped", [start(404, body="unwrapped")], DENIED, THEN_STARTED),
    case("400 for ever", [start(400, forever=True)], DENIED, later(DENIED, starts=2)),
    # 401, 403, 406 and 415 stop the run
    case("401", [start(401)], REFUSED, THEN_STARTED),
    case("401 capitalised", [start(401, body="capitalised")], REFUSED, THEN_STARTED),
    case("403 string", [start(403, body="string")], REFUSED, THEN_STARTED),
    case("403 html", [start(403, body="html")], REFUSED, THEN_STARTED),
    case("406 unwrapped", [start(406, body="unwrapped")], REFUSED, THEN_STARTED),
    case("415 empty", [start(415, body="empty")], REFUSED, THEN_STARTED),
    # ... but only with a clean answer
    case("401 huge", [start(401, body="huge")], AGAIN),
    case("403 garbage", [start(403, body="garbage")], AGAIN),
    # after 429, wait for the next window
    case("429", [start(429)], AGAIN),
    case("429 empty", [start(429, body="empty")], AGAIN),
    case("429 html, no headers", [start(429, body="html", rate_headers="missing")], AGAIN),
    case("429, reset past", [start(429, rate_headers="past")], AGAIN),
    case("429, reset far", [start(429, rate_headers="far")], AGAIN),
    case("429, headers garbage", [start(429, rate_headers="garbage")], AGAIN),
    case("429 garbage", [start(429, body="garbage")], AGAIN),
    case(
        "429, five windows in a row",
        [start(429, times=5)],
        Then(3, Phase.NOT_ATTEMPTED, None, 5, 0),
        later(CLEAN, starts=6),
    ),
    # all other answers: read, release, send again
    case("408 empty", [start(408, body="empty")], AGAIN),
    case("500", [start(500)], AGAIN),
    case("500 garbage", [start(500, body="garbage")], AGAIN),
    case("500 capitalised", [start(500, body="capitalised")], AGAIN),
    case("502 html", [start(502, body="html")], AGAIN),
    case("503 string", [start(503, body="string")], AGAIN),
    case("503 huge", [start(503, body="huge")], AGAIN),
    case("503 unwrapped", [start(503, body="unwrapped")], AGAIN),
    case("409", [start(409)], AGAIN),
    case("202 with a result", [start(202, text=TRUE)], AGAIN),
    case("204", [start(204, body="empty")], AGAIN),
    case("304", [start(304, body="empty")], AGAIN),
    case("200 with an error", [start(200)], AGAIN),
    case("200 with an error and a result", [start(200, text=BOTH)], AGAIN),
    case("200 empty", [start(200, body="empty")], AGAIN),
    case("200 html", [start(200, body="html")], AGAIN),
    case("200 garbage", [start(200, body="garbage")], AGAIN),
    case("200 string", [start(200, body="string")], AGAIN),
    case("200 unwrapped", [start(200, body="unwrapped")], AGAIN),
    case("drop", [start("drop")], AGAIN),
    case("reset", [start("reset")], AGAIN),
    case("hang", [start("hang")], AGAIN),
    case("not HTTP", [start("not_http")], AGAIN),
    case("half a body", [start("half_body", act=False)], AGAIN),
    case("another batch_id", [start("wrong_batch_id", act=False)], AGAIN),
    case("status null", [start("odd_status", act=False)], AGAIN),
    case("status submitted", [start("odd_status", value="submitted", act=False)], AGAIN),
    # a success without a start: cannot be detected at once
    case(
        "a clean success",
        [start("drip", interval=0.001, act=False)],
        later(CLEAN, accepted=0),
        later(CLEAN, code=3, accepted=0),
    ),
    # at most three attempts in one run
    case("drop, reset", [start("drop"), start("reset")], later(AGAIN, starts=3)),
    case("503 three times", [start(503, times=3)], later(DENIED, starts=3), later(CLEAN, starts=4)),
    case("503 for ever", [start(503, forever=True)], later(DENIED, starts=3), later(DENIED, starts=6)),
    case(
        "503, then 400",
        [start(503), start(400)],
        Then(4, Phase.UNKNOWN, None, 2, 0),
        Then(4, Phase.UNKNOWN, None, 2, 0),
    ),
    case("429, then 503", [start(429), start(503)], later(AGAIN, starts=3)),
]

ACTED: Final = [
    # the answer is lost, the start is not
    case("drop", [start("drop", act=True)], FOUND),
    case("reset", [start("reset", act=True)], FOUND),
    case("hang", [start("hang", act=True)], FOUND),
    case("half a body", [start("half_body")], FOUND),
    case("a byte a second", [start("drip", whole=True)], FOUND),
    case("slow, but whole", [start("drip", interval=0.001)], CLEAN),
    case("not HTTP", [start("not_http", act=True)], FOUND),
    case("another batch_id", [start("wrong_batch_id")], FOUND),
    # the answer to another request says nothing about this one
    case("429 with another Reference-Id", [start(429, reference_id="gw-1", act=True)], FOUND),
    case("403 with another Reference-Id", [start(403, reference_id="gw-1", act=True)], FOUND),
    case("401 with another Reference-Id", [start(401, reference_id="gw-1", act=True)], FOUND),
    case("400 with another Reference-Id", [start(400, reference_id="gw-1", act=True)], FOUND),
    case("200 with another Reference-Id", [start(200, text=TRUE, reference_id="gw-1", act=True)], FOUND),
    case(
        "only other Reference-Ids",
        [start(429, reference_id="gw-1", act=True), status(200, reference_id="gw-1", times=2)],
        later(OPEN, accepted=1),
        FOUND,
    ),
    case("status null", [start("odd_status")], FOUND),
    case("status unheard of", [start("odd_status", value="queued")], FOUND),
    case("status completed", [start("odd_status", value="completed")], CLEAN),
    case("200 with an error", [start(200, act=True)], FOUND),
    case("200 with an error and a result", [start(200, text=BOTH, act=True)], FOUND),
    case("200 empty", [start(200, body="empty", act=True)], FOUND),
    case("200 huge", [start(200, body="huge", act=True)], FOUND),
    case("202 with a result", [start(202, text=TRUE, act=True)], FOUND),
    case("408", [start(408, act=True)], FOUND),
    case("500 empty", [start(500, body="empty", act=True)], FOUND),
    case("503 html", [start(503, body="html", act=True)], FOUND),
    # a false refusal: not paid for again, though it may be the start of another run
    case("400", [start(400, act=True)], later(ALREADY, accepted=1)),
    case("404", [start(404, body="html", act=True)], later(ALREADY, accepted=1)),
    case("429", [start(429, act=True)], later(ALREADY, starts=2, accepted=1)),
    case("429 with a result", [start(429, text=TRUE, act=True)], FOUND),
    case("401 with a result", [start(401, text=TRUE, act=True)], FOUND),
    case("401", [start(401, act=True)], later(REFUSED, accepted=1), later(ADOPTED, starts=1, accepted=1), **lag(0)),
    case(
        "403, shown late",
        [start(403, act=True)],
        later(REFUSED, accepted=1),
        Then(0, Phase.ALREADY_STARTED, None, 2, 1),
        **lag(1),
    ),
    # one after the other
    case("503, then drop", [start(503), start("drop", act=True)], later(FOUND, starts=2)),
    case("drop, then 400", [start("drop"), start(400, act=True)], later(FOUND, starts=2)),
]

ON_STATUS: Final = [
    # no answer, then one
    case("404", [start(503), status(404)], AGAIN),
    case("500 html", [start(503), status(500, body="html")], AGAIN),
    case("200 with an error", [start(503), status(200)], AGAIN),
    case("200 with an error and a result", [start(503), status(200, text=BOTH)], AGAIN),
    case("429", [start(503), status(429)], AGAIN),
    case("half a body", [start(503), status("half_body")], AGAIN),
    case("another batch_id", [start(503), status("wrong_batch_id")], AGAIN),
    case("status null", [start(503), status("odd_status")], AGAIN),
    case("drop, reset", [start(503), status("drop"), status("reset")], AGAIN),
    case("hang", [start(503), status("hang")], AGAIN),
    case("redirect", [start(503), status(302, location="http://127.0.0.1:9/")], AGAIN),
    case("500, acted", [start("drop", act=True), status(500, times=3)], FOUND),
    # no answer to any read
    case("404, all", [start(503), status(404, times=PATIENCE)], OPEN, THEN_STARTED),
    case("404, all, acted", [start(503, act=True), status(404, times=PATIENCE)], later(OPEN, accepted=1), FOUND),
    case("500 for ever", [start(503), status(500, forever=True)], OPEN, OPEN),
    case(
        "500 for ever, acted",
        [start("drop", act=True), status(500, forever=True)],
        later(OPEN, accepted=1),
        FOUND,
        **lag(0),
    ),
    case(
        "500 for ever, acted, shown late",
        [start("drop", act=True), status(500, forever=True)],
        later(OPEN, accepted=1),
        later(OPEN, accepted=1),
        **lag(1),
    ),
    # refused credentials, and a status that is not known
    case("401", [start(503), status(401)], OPEN, THEN_STARTED),
    case("401, acted", [start("reset", act=True), status(401)], later(OPEN, accepted=1), FOUND),
    case("status unheard of", [start(503), status("odd_status", value="paused")], OPEN, THEN_STARTED),
    # a refusal of both calls is accepted until the server has another answer
    case("400 and 404", [start(400), status(404)], later(DENIED, how=Cause.NOT_FOUND), THEN_STARTED),
    case("404 and 400", [start(404), status(400)], later(DENIED, how=Cause.BAD_ID), THEN_STARTED),
]

ON_LIST: Final = [
    case("truncated", [listing("list", how="truncated", batch_ids=[B])], CLEAN),
    case("null batches", [listing("list", how="null_batches")], CLEAN),
    case("unordered", [listing("list", how="unordered")], CLEAN),
    case("null fields", [listing("list", how="null_fields")], CLEAN),
    case(
        "null fields, started elsewhere", [listing("list", how="null_fields")], ADOPTED, batch={"status": "completed"}
    ),
    case("foreign", [listing("list", how="foreign")], CLEAN),
    case("a foreign word on ours", [listing("list", how="foreign", batch_ids=[B])], ADOPTED, later(ADOPTED, code=3)),
    case("unknown status", [listing("list", how="unknown_status")], Then(3, Phase.SEEN, None, 0, 0), CLEAN),
    case(
        "truncated, started elsewhere",
        [listing("list", how="truncated", batch_ids=[B])],
        ADOPTED,
        batch={"status": "processing"},
    ),
    case(
        "truncated, and not found",
        [listing("list", how="truncated", batch_ids=[B]), status(404)],
        UNFOUND,
        CLEAN,
    ),
    case(
        "truncated for ever, and not found once",
        [listing("list", how="truncated", batch_ids=[B], forever=True), status(404)],
        UNFOUND,
        CLEAN,
    ),
    case("503 three times", [listing(503, body="html", times=3)], CLEAN),
    case("503 as long as anyone waits", [listing(503, times=4)], NOTHING, CLEAN),
    case("404 for ever", [listing(404, forever=True)], NOTHING, NOTHING),
    case("401", [listing(401, body="capitalised")], NOTHING, CLEAN),
    case("403", [listing(403)], NOTHING, CLEAN),
    case("429", [listing(429)], CLEAN),
    case("half a body, garbage, an error", [listing("half_body"), listing(200, body="garbage"), listing(200)], CLEAN),
    case("drop, reset, not HTTP", [listing("drop"), listing("reset"), listing("not_http")], CLEAN),
    case("hang", [listing("hang")], CLEAN),
]

ELSEWHERE: Final = [
    case("before the list", [], ADOPTED, world={"console_starts": [{"batch": B, "before": "list"}]}),
    case("just before our start", [], ALREADY, world={"console_starts": [{"batch": B, "before": "start"}]}),
    case(
        "before the first read",
        [start(503)],
        later(FOUND, accepted=0),
        world={"console_starts": [{"batch": B, "at_request": 3}]},
    ),
    case(
        "between the reads",
        [start(503)],
        later(FOUND, accepted=0),
        world={"lag": 0, "console_starts": [{"batch": B, "at_request": 4}]},
    ),
    case(
        "between the reads, shown late",
        [start(503)],
        later(FOUND, starts=2, accepted=0),
        world={"lag": 1, "console_starts": [{"batch": B, "at_request": 4}]},
    ),
    case(
        "after the reads",
        [start(503)],
        later(FOUND, starts=2, accepted=0),
        world={"console_starts": [{"batch": B, "at_request": 5}]},
    ),
]

LAG: Final = [
    # a clean start that does not show yet
    *(case(f"clean, {reads} behind", [], CLEAN, **lag(reads)) for reads in (1, 2)),
    case("clean, 3 behind", [], CLEAN, later(CLEAN, code=3), **lag(3)),
    # a start whose answer was lost
    case("lost, 1 behind", [start("drop", act=True)], FOUND, **lag(1)),
    # both reads were wrong, and the server refuses the second start
    *(
        case(f"lost, {reads} behind", [start("drop", act=True)], later(FOUND, starts=2), **lag(reads))
        for reads in (2, 3)
    ),
    *(
        case(
            f"lost, {reads} behind",
            [start("drop", act=True)],
            Then(4, Phase.UNKNOWN, None, 2, 1),
            later(FOUND, starts=2),
            **lag(reads),
        )
        for reads in (4, 5, 6)
    ),
    case(
        "lost, far behind",
        [start("drop", act=True)],
        Then(4, Phase.UNKNOWN, None, 2, 1),
        Then(4, Phase.UNKNOWN, None, 2, 1),
        **lag(50),
    ),
]

TRUSTING: Final = [
    case("400", [start(400)], DENIED, THEN_STARTED, **TRUST),
    case("401", [start(401)], REFUSED, THEN_STARTED, **TRUST),
    case("started elsewhere", [], ADOPTED, batch={"status": "completed"}, **TRUST),
    case("stopped elsewhere", [], Then(3, Phase.STOPPED, None, 0, 0), batch={"status": "stopped"}, **TRUST),
    case("no answer to the read", [status(500, times=PATIENCE)], Then(4, None, None, 0, 0), CLEAN, **TRUST),
    case("too old", [], UNFOUND, UNFOUND, batch={"age": "40d"}, **TRUST),
]

REFUSING: Final = [
    case("no credits", [], REFUSED, later(REFUSED, starts=2), world={"credits": 5}),
    case(
        "token of another product",
        [],
        NOTHING,
        NOTHING,
        world={"token": None, "refused_tokens": {"t0ken-of-the-tests-8f2c": "other_product"}},
    ),
    case("too old", [], UNFOUND, UNFOUND, batch={"age": "30d"}),
    case(
        "too old by a minute",
        [],
        later(DENIED, how=Cause.EXPIRED),
        later(DENIED, how=Cause.EXPIRED),
        batch={"age": "28d1m"},
    ),
]

TABLES: Final = {
    "not acted": NOT_ACTED,
    "acted": ACTED,
    "status": ON_STATUS,
    "list": ON_LIST,
    "elsewhere": ELSEWHERE,
    "lag": LAG,
    "trusting": TRUSTING,
    "refusing": REFUSING,
}
ALL: Final = [pytest.param(one, id=f"{table}: {one.id}") for table, cases in TABLES.items() for one in cases]


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all tests of this file."""
    with warmed("tests.e2e.warm", FAST, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


def stands(place: Site, ended: Ended) -> Then:
    """The result by the state and the simulator."""
    entry = place.entries().get(B)
    return Then(
        code=ended.code,
        phase=entry.phase if entry is not None else None,
        how=entry.cause or entry.evidence if entry is not None else None,
        starts=len(place.requests("start", B)),
        accepted=place.accepted().get(B, 0),
    )


def judge(place: Site) -> None:
    """Check what must hold in every case."""
    place.paid_once_anywhere()
    place.looked_before_repeating(settle=10.0 / FAST, spacing=5.0 / FAST)
    place.token_stayed_home()


@pytest.mark.parametrize("one", ALL)
def test_a_fault_comes_to_this(tmp_path: Path, warm: Warm, one: Case) -> None:
    """Both runs have the expected result, and nothing is paid for twice."""
    values = {
        "lag": {"up_to": 1},  # reads may lag in every case
        "seed": zlib.crc32(one.id.encode()),
        "batches": {B: {"records": 40, **one.batch}},
        **one.world,
        "faults": one.faults,
    }
    with site(tmp_path, values) as place:
        place.declare({"one": {"batch_id": B}})
        first = warm.apply(place, *one.words)
        assert stands(place, first) == one.first, first
        second = warm.apply(place, *one.words)
        assert stands(place, second) == (one.second or one.first), second
        judge(place)


# --- several batches, several servers, and none ----------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("act", [False, True], ids=["not acted", "acted"])
def test_no_redirect_is_followed(tmp_path: Path, warm: Warm, code: int, act: bool) -> None:  # noqa: FBT001  # a table
    """No request reaches the other origin. A redirected start is verified like any other unclear answer."""
    other = simulator.Log()
    with simulator.serve(simulator.from_values({"batches": {B: None}}), log=other) as elsewhere:
        there = {"location": f"{elsewhere}/phone/bulk/v1/batches/{B}/start"}
        faults = [start(code, act=act, **there), listing(code, **there), status(code, **there)]
        with site(tmp_path, {"batches": {B: None}, "faults": faults}) as place:
            place.declare({"one": {"batch_id": B}})
            ended = warm.apply(place)
            assert stands(place, ended) == (FOUND if act else AGAIN), ended
            judge(place)
    assert other.entries == []


def test_a_start_is_well_formed(tmp_path: Path, warm: Warm) -> None:
    """It has no body and no media type, and the Reference-Id that is in the state."""
    with site(tmp_path, {"batches": {B: None}}) as place:
        place.declare({"one.two": {"batch_id": B}})
        assert warm.apply(place).code == 0
        (request,) = place.requests("start")
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert (request.method, request.path) == ("POST", f"/phone/bulk/v1/batches/{B}/start")
        assert (headers["content-length"], headers["accept"]) == ("0", "application/json")
        assert headers["accept-encoding"] == "identity"
        assert headers["reference-id"] == place.entries()[B].reference_id
        assert headers["reference-id"].startswith("one-two-")
        assert not {"content-type", "transfer-encoding", "authorization", "cookie"} & headers.keys()


def test_ten_silent_batches_end_the_run(tmp_path: Path, warm: Warm) -> None:
    """The service is down, so the rest is not attempted. Later each batch is started once."""
    batches = [f"b-{number}" for number in range(25)]
    faults = [start("drop", times=60), status(503, times=100)]
    with site(tmp_path, {"batches": dict.fromkeys(batches), "faults": faults}) as place:
        place.declare({batch: {"batch_id": batch} for batch in batches})
        first = warm.apply(place)
        assert first.code == 4, first
        tried = {entry.batch_id for entry in place.requests("start")}
        assert 10 <= len(tried) < 25, first
        assert {batch for batch, entry in place.entries().items() if entry.phase is Phase.UNKNOWN} == tried
        place.world.faults = ()
        second = warm.apply(place)
        assert second.code == 0, second
        place.paid_once(batches)
        judge(place)


STORM: Final = (
    *(start(code, act=act) for code in (408, 429, 500, 503) for act in (False, True)),
    *(start(fault, act=act) for fault in ("drop", "reset", "half_body", "not_http") for act in (False, True)),
    *(start(fault, act=act) for fault in ("wrong_batch_id", "odd_status") for act in (False, True)),
    start(200, body="html", act=True),
    start(400, act=True),
    start(403, act=True),
    start(401),
    *(status(fault) for fault in ("drop", "half_body", "wrong_batch_id", "odd_status", 404, 429, 500)),
    status(401),
    status(500, times=PATIENCE),
)


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_blows_over(tmp_path: Path, warm: Warm, seed: int) -> None:
    """With many faults, late reads and a start elsewhere, the runs end with one start for each batch."""
    drawn = random.Random(seed)
    batches = [f"b-{number}" for number in range(8)]
    faults = [{**drawn.choice(STORM), "batch": batch} for batch in batches for _ in range(3)]
    faults.append(listing(drawn.choice(("drop", "half_body", 500))))
    values = {
        "batches": {batch: {"records": 10} for batch in batches},
        "faults": faults,
        "lag": {"up_to": 3},
        "seed": seed,
        "console_starts": [{"batch": "b-0", "at_request": drawn.randint(1, 12)}],
    }
    with site(tmp_path, values, rate_limit=2000) as place:
        place.declare({batch: {"batch_id": batch} for batch in batches})
        codes = []
        while 0 not in codes:
            ended = warm.apply(place)
            codes.append(ended.code)
            assert set(codes) <= {0, 1, 3, 4}, ended
            assert len(codes) < 12, ended
        elsewhere = place.world.console_started
        assert place.accepted() == dict.fromkeys([batch for batch in batches if batch not in elsewhere], 1)
        entries = place.entries()
        assert [batch for batch in batches if not entries[batch].recorded_as_started] == []
        judge(place)


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A bound port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


@pytest.mark.parametrize(
    ("words", "then"),
    [
        pytest.param((), NOTHING, id="the list"),
        pytest.param(("--no-refresh",), Then(4, None, None, 0, 0), id="the read before the start"),
    ],
)
def test_nobody_listens(tmp_path: Path, warm: Warm, deaf: socket.socket, words: tuple[str, ...], then: Then) -> None:
    """Nothing was sent, so the next run starts the batch without verifying it."""
    port = deaf.getsockname()[1]
    gone = Site(folder=tmp_path, url=f"http://127.0.0.1:{port}", world=simulator.from_values({}), log=WatchedLog())
    gone.declare({"one": {"batch_id": B}})
    ended = warm.apply(gone, *words)
    assert stands(gone, ended) == then, ended
    assert not any(entry.doubt for entry in gone.entries().values())
    deaf.close()
    with site(tmp_path, {"batches": {B: None}}, port=port) as place:
        ended = warm.apply(place, *words)
        assert stands(place, ended) == CLEAN, ended
        assert len(place.requests("status")) == len(words)  # a read before the start, none after it
        judge(place)
