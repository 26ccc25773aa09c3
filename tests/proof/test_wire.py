"""The wire: cut at every byte, every status, every kind of body, and servers that never come to an end.

Each sweep gives back what it found wrong instead of failing at once, so that it can be shown to find a planted bug
before it is believed when it finds nothing.
"""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
import trustme

from batchform.api import deadline
from batchform.api.client import Client
from batchform.api.contract import Accepted, Answer, NotSent, start_meaning
from batchform.api.endpoint import Endpoint
from batchform.api.trust import Trust
from tests.api.servers import RawServer
from tests.proof.stage import (
    BATCH,
    QUESTIONS,
    TOKEN,
    Question,
    Stage,
    Tally,
    answering,
    chunked,
    hearing,
    open_ended,
    resident,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from batchform.api.contract import Reply
    from tests.api.servers import Handler, Peer
    from tests.proof.stage import Play

GOOD: Final[Mapping[str, bytes]] = {
    "start": json.dumps({"result": {"batch_id": BATCH, "status": "processing"}}).encode(),
    "read": json.dumps({"result": {"batch_id": BATCH, "status": "submitted", "records": 10}}).encode(),
    "list": json.dumps({"result": {"batches": [{"batch_id": BATCH, "status": "submitted"}]}}).encode(),
}
"""The body of a documented success of each question."""

SUCCESS: Final = {"start": "Accepted", "read": "Read", "list": "Listing"}
CA: Final = trustme.CA()


def failure(status: int) -> bytes:
    """The body of a documented failure."""
    problem = {"type": "https://docs.example/errors", "title": f"Status {status}", "detail": "No.", "instance": "/x"}
    return json.dumps({"error": problem}).encode()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Watchdogs and dials end with their clients. What another test has left is not ours to judge."""
    before = set(threading.enumerate())
    yield
    ours = [t for t in threading.enumerate() if t not in before and t.name.startswith("batchform-")]
    for thread in ours:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in ours)


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    """Our certificate authority in a file."""
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def server_side(cert: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A server's side of TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (cert or CA.issue_cert("127.0.0.1")).configure_cert(made)
    return made


def meaning_of(question: Question, reading: Callable[[Reply], object]) -> Question:
    """The question, its replies read in another way."""
    return replace(question, meaning=reading)


def gullible(reply: Reply) -> object:
    """A planted bug: whatever begins like a success is one, whatever its end."""
    if isinstance(reply, Answer) and reply.status == 200 and b'"processing"' in reply.body:
        return Accepted(status="processing")
    return start_meaning(reply, BATCH)


def hasty(reply: Reply) -> object:
    """A planted bug: an answer that ended with its connection is as good as one that told its length."""
    return start_meaning(replace(reply, framed=True) if isinstance(reply, Answer) else reply, BATCH)


def careless(reply: Reply) -> object:
    """A planted bug: where no answer came, nothing was sent."""
    return start_meaning(reply if isinstance(reply, Answer) else NotSent(cause="no answer"), BATCH)


# --- cut at every byte of the request --------------------------------------------------------------------------------


def cut_requests(stage: Stage, question: Question, good: bytes, success: str, counts: Iterable[int] | None) -> int:
    """Let the server go after each number of bytes of the request, until one gets through; how many that took."""
    whole = request_length(stage, question, good)
    for reset in (False, True):
        for count in [*(range(whole) if counts is None else counts), whole]:
            expected = {success} if count == whole else {question.nothing}
            if count == 0 and question.nothing == "Doubtful":
                expected |= {"NotSent"}  # gone before the connection was made: nothing has left, and nothing is said to
            play = hearing(count, said(200, good), whole=whole, reset=reset)
            stage.ask(question, play, expected, f"{count} of {whole} bytes heard, then {'RST' if reset else 'FIN'}")
    return whole


def request_length(stage: Stage, question: Question, good: bytes) -> int:
    """How many bytes the request has on this wire."""
    lengths: list[int] = []

    def play(peer: Peer) -> None:
        lengths.append(len(peer.request()))
        peer.say(said(200, good))

    stage.ask(question, play, {"Accepted", "Read", "Listing"}, "the whole request")
    return lengths[0]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_connection_cut_at_every_byte_of_the_request_leaves_a_doubt(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    """By FIN and by RST, from the first byte to the last: never "not sent" once a byte was heard."""
    with Stage() as stage:
        whole = cut_requests(stage, QUESTIONS[name], GOOD[name], SUCCESS[name], None)
        assert stage.tally.wrong == []
        assert stage.tally.calls == 2 * (whole + 1) + 1
        assert stage.tally.classes[SUCCESS[name]] == 3
        assert stage.server.connections == stage.tally.calls
    record_property("counted", f"wire: {name}, cut in the request: {stage.tally}")


@pytest.mark.parametrize(
    ("name", "step"), [("start", 40), pytest.param("start", 1, marks=pytest.mark.full)], ids=["some", "every"]
)
def test_the_same_inside_tls(
    name: str, step: int, ca_file: str, record_property: Callable[[str, object], None]
) -> None:
    """What the server hears of a request that breaks off is not known any better inside the encryption."""
    with Stage(tls=server_side(), ca_file=ca_file) as stage:
        question = QUESTIONS[name]
        whole = request_length(stage, question, GOOD[name])
        cut_requests(stage, question, GOOD[name], SUCCESS[name], range(0, whole, step))
        for count in range(0, len(said(200, GOOD[name])), step):
            stage.ask(question, answering(said(200, GOOD[name])[:count]), {question.nothing}, f"{count} bytes said")
        assert stage.tally.wrong == []
    record_property("counted", f"wire: {name}, cut inside TLS: {stage.tally}")


def test_a_kept_connection_that_is_cut_at_every_byte_leaves_a_doubt_as_well(
    record_property: Callable[[str, object], None],
) -> None:
    """The second request on a connection; one that finds it closed already goes over a new one, and only then."""
    question, good = QUESTIONS["start"], GOOD["start"]
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good)
    with Stage() as stage:
        whole = request_length(stage, question, good)
        for count in range(1, whole + 1):

            def play(peer: Peer, count: int = count) -> None:
                peer.request()
                peer.say(kept)
                hearing(count, said(200, good), whole=whole)(peer)

            with stage.client() as client:
                stage.ask(question, play, {"Accepted"}, "the first", client)
                expected = {"Accepted"} if count == whole else {"Doubtful"}
                stage.ask(question, play, expected, f"{count} of {whole} bytes of the second", client)
        assert stage.tally.wrong == []
        assert stage.server.connections == whole + 1
    record_property("counted", f"wire: cut on a kept connection: {stage.tally}")


def test_the_cut_requests_find_a_client_that_takes_silence_for_not_sent() -> None:
    """A planted bug: the sweep is not blind."""
    with Stage() as stage:
        question = meaning_of(QUESTIONS["start"], careless)
        cut_requests(stage, question, GOOD["start"], "Accepted", range(0, 200, 50))
        assert len(stage.tally.wrong) == 6


# --- cut at every byte of the answer ---------------------------------------------------------------------------------

FRAMINGS: Final[Mapping[str, Callable[[int, bytes], bytes]]] = {
    "length": said,
    "chunks": lambda status, body: chunked(status, body, 40),
    "end": open_ended,
}
PLAIN: Final = {429: "Throttled", 401: "Refused", 403: "Refused", 406: "Refused", 415: "Refused"}


def cut_answers(stage: Stage, name: str, question: Question, statuses: Iterable[int], *, reset: bool) -> None:
    """Let each answer end after every number of its bytes; only the whole of it may mean what it says."""
    for status in statuses:
        for body in [GOOD[name]] if status == 200 else [failure(status), b"", b"<html>No</html>"]:
            for framing, made in FRAMINGS.items():
                cut_answer(stage, name, question, made(status, body), f"{status} by {framing}", reset=reset)


def cut_answer(stage: Stage, name: str, question: Question, data: bytes, what: str, *, reset: bool) -> None:
    """The same for one answer."""
    status, whole = int(data[9:12]), as_it_says(name, int(data[9:12]))
    told_all = len(data)
    for last in (b"Content-Length: 0", b"\r\n0"):  # only line ends are missing from here on
        told_all = min(told_all, data.find(last + b"\r\n") % (len(data) + 1) + len(last))
    is_told = b"Content-Length" in data or b"chunked" in data or data.endswith(b"}")
    for count in range(len(data) + 1):
        expected = {question.nothing}
        if name != "start" and count >= 12 and status in PLAIN:
            expected |= {PLAIN[status]}  # to wait or to stop on half an answer to a question costs nothing
        if count >= told_all and is_told:
            expected |= {whole}
        if count == len(data) and is_told and not reset:
            expected = {whole}
        play = answering(data[:count], reset=reset)
        stage.ask(question, play, expected, f"{name}, {what}, {count} of {len(data)} bytes, reset {reset}")


def as_it_says(name: str, status: int) -> str:
    """What a whole and documented answer of that status means."""
    if status == 200:
        return SUCCESS[name]
    if status in PLAIN:
        return PLAIN[status]
    return "Missing" if name == "read" and status in {400, 404} else QUESTIONS[name].nothing


@pytest.mark.parametrize(
    ("name", "statuses", "resets"),
    [
        ("start", (200, 429), (False,)),
        ("read", (200, 404), (False,)),
        pytest.param("start", (200, 400, 401, 429, 500), (False, True), marks=pytest.mark.full),
        pytest.param("read", (200, 400, 404, 429), (False, True), marks=pytest.mark.full),
        pytest.param("list", (200, 401, 429), (False, True), marks=pytest.mark.full),
    ],
)
def test_an_answer_cut_at_every_byte_means_nothing_before_its_end(
    name: str,
    statuses: tuple[int, ...],
    resets: tuple[bool, ...],
    record_property: Callable[[str, object], None],
) -> None:
    """With a length, in chunks, or ending with the connection; by FIN and by RST."""
    with Stage() as stage:
        for reset in resets:
            cut_answers(stage, name, QUESTIONS[name], statuses, reset=reset)
        assert stage.tally.wrong == []
        assert stage.tally.calls > 1_000
        assert {as_it_says(name, status) for status in statuses} <= set(stage.tally.classes)
    record_property("counted", f"wire: {name}, cut in the answer: {stage.tally}")


@pytest.mark.parametrize(("bug", "statuses"), [(gullible, (200,)), (hasty, (429,))])
def test_the_cut_answers_find_who_believes_half_of_one(bug: Callable[[Reply], object], statuses: tuple[int]) -> None:
    """Planted bugs: a success is believed before its end; a failure that broke off is taken for a clean one."""
    with Stage() as stage:
        cut_answers(stage, "start", meaning_of(QUESTIONS["start"], bug), statuses, reset=False)
        assert len(stage.tally.wrong) > 0


# --- every status, every kind of body --------------------------------------------------------------------------------

_TEN_MB: Final = b"x" * (10 << 20)
_IN_CHUNKS: Final = chunked(200, _TEN_MB).partition(b"\r\n\r\n")[2]
BODIES: Final[Mapping[str, Callable[[str, int], tuple[bytes, ...]]]] = {
    "documented": lambda name, status: (said(status, GOOD[name] if status == 200 else failure(status)),),
    "empty": lambda _, status: (said(status, b""),),
    "html": lambda _, status: (said(status, b"<!DOCTYPE html><html><head><title>Gateway</title></head></html>"),),
    "garbage": lambda _, status: (said(status, b'\x00\xff\xfe{"\x9c\xed\xa0\x80' + bytes(range(256))),),
    "huge": lambda _, status: (
        (said(status, b"", length=len(_TEN_MB)), _TEN_MB)
        if status % 2
        else (b"HTTP/1.1 %d Some\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % status, _IN_CHUNKS)
    ),
}


def expected_of(name: str, status: int, body: str) -> str:
    """What such an answer means: the contract once more, as a table."""
    nothing = QUESTIONS[name].nothing
    too_large = body == "huge" and name != "list" and status not in {204, 304}
    if status < 200 or too_large:
        return nothing
    if status == 200:
        return SUCCESS[name] if body == "documented" else nothing
    return as_it_says(name, status)


def all_statuses(stage: Stage, name: str, question: Question, statuses: Iterable[int]) -> int:
    """Every status with every kind of body; by how many bytes the process grew at the most."""
    for body, made in BODIES.items():  # what is made once and kept is not growth
        stage.ask(question, answering(*made(name, 500)), {question.nothing}, f"500 {body}")
    gc.collect()
    before = most = resident()
    for status in statuses:
        for body, made in BODIES.items():
            expected = {expected_of(name, status, body)}
            stage.ask(question, answering(*made(name, status)), expected, f"{name}, {status} {body}")
        if status % 10 == 0:
            most = max(most, resident())
    return max(most, resident()) - before


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("start", 1),
        ("read", 7),
        pytest.param("read", 1, marks=pytest.mark.full),
        pytest.param("list", 1, marks=pytest.mark.full),
    ],
)
def test_every_status_with_every_kind_of_body_has_its_meaning(
    name: str, step: int, record_property: Callable[[str, object], None]
) -> None:
    """No traceback, the right class, no call beyond its deadline, and no memory that stays."""
    statuses = sorted({*range(100, 600, step), 200, 204, 304, 400, 404, *PLAIN})
    with Stage() as stage:
        grown = all_statuses(stage, name, QUESTIONS[name], statuses)
        assert stage.tally.wrong == []
        assert stage.tally.calls == 5 * len(statuses) + 5
        assert stage.tally.overrun < 0.5
        assert grown < 20 << 20
    record_property(
        "counted", f"wire: {name}, every status: {stage.tally}; grown by {grown / (1 << 20):.1f} MB at the most"
    )


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_answer_to_another_request_is_believed(name: str, record_property: Callable[[str, object], None]) -> None:
    """Every status, with a body that says what we want to hear, and the Reference-Id of another request."""
    question = QUESTIONS[name]
    with Stage() as stage:
        for status in range(200, 600):
            for body in (GOOD[name], failure(status), b""):
                foreign = said(status, body, headers=b"Reference-Id: gw-7\r\n")
                stage.ask(question, answering(foreign), {question.nothing}, f"{status}, another Reference-Id")
        ours = said(200, GOOD[name], headers=b"Reference-Id: gw-7 %s\r\n" % str(question.request.reference_id).encode())
        stage.ask(question, answering(ours), {SUCCESS[name]}, "ours")
    record_property("counted", f"wire: foreign answers: {stage.tally}")
    assert not stage.tally.wrong, stage.tally.wrong[:5]


def test_the_statuses_find_who_goes_by_the_status_alone() -> None:
    """A planted bug: every 2xx is a success."""

    def by_status(reply: Reply) -> object:
        is_good = isinstance(reply, Answer) and reply.status // 100 == 2
        return Accepted(status="processing") if is_good else start_meaning(reply, BATCH)

    with Stage() as stage:
        all_statuses(stage, "start", meaning_of(QUESTIONS["start"], by_status), range(198, 204))
        assert len(stage.tally.wrong) > 10


# --- servers that never come to an end, or to the point --------------------------------------------------------------

DEADLINE: Final = 0.5  # seconds
OK: Final = b"HTTP/1.1 200 OK\r\n"
BOMB: Final = gzip.compress(bytes(64 << 20), 9)


def endlessly(*parts: bytes, first: bytes = b"", pause: float = 0.0) -> Handler:
    """Hear the request, say `first`, then the parts over and over until the client has gone."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(first)
        while not peer.server.over.wait(pause):
            for part in parts:
                peer.say(part)

    return handler


def then_hold(data: bytes) -> Handler:
    """Hear the request, say that, and nothing more."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(data)
        peer.hold()

    return handler


ENDLESS: Final[Mapping[str, Handler]] = {
    "silence": then_hold(b""),
    "silence after the head": then_hold(OK + b"Content-Length: 50\r\n\r\n"),
    "silence in the body": then_hold(OK + b'Content-Length: 90\r\n\r\n{"result": {'),
    "a drip of the head": endlessly(b"a", first=OK + b"X: ", pause=0.02),
    "a drip of headers": endlessly(b"X: y\r\n", first=OK, pause=0.02),
    "a drip of the body": endlessly(b" ", first=OK + b"Content-Length: 5000\r\n\r\n{", pause=0.02),
    "a drip of chunks": endlessly(b"1\r\n \r\n", first=OK + b"Transfer-Encoding: chunked\r\n\r\n", pause=0.02),
    "a drip without a length": endlessly(b" ", first=OK + b"\r\n", pause=0.02),
    "endless 100 Continue": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "dripping 100 Continue": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02),
    "endless headers": endlessly(b"X: y\r\n" * 100, first=OK),
    "an endless body": endlessly(b" " * 65536, first=OK + b"\r\n"),
    "endless chunks": endlessly(
        b"10000\r\n" + b" " * 65536 + b"\r\n", first=OK + b"Transfer-Encoding: chunked\r\n\r\n"
    ),
    "an endless status line": endlessly(b"a" * 65536, first=b"HTTP/1.1 200 "),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_no_call_outlives_its_deadline(case: str) -> None:
    """By half a second at the most, for each of the questions at once; and memory does not grow with the answer.

    A busy machine may be late for once; a deadline that is not kept is late each time.
    """
    before = resident()
    late = [took_longest(ENDLESS[case]) >= DEADLINE + 0.5]
    while late[-1] and len(late) < 3:
        late.append(took_longest(ENDLESS[case]) >= DEADLINE + 0.5)
    assert not late[-1]
    assert resident() - before < (64 + 20) << 20  # a list of 64 MB is allowed


def took_longest(handler: Handler) -> float:
    """The seconds that the longest of the three calls took; nothing is learnt from any of them."""
    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:

        def ask(question: Question) -> tuple[str, float]:
            began = time.monotonic()
            meaning = question.meaning(client.send(question.within(DEADLINE).request))
            return type(meaning).__name__, time.monotonic() - began

        with ThreadPoolExecutor(3) as pool:
            heard = list(pool.map(ask, QUESTIONS.values()))
        assert [name for name, _ in heard] == [question.nothing for question in QUESTIONS.values()]
        assert server.connections == 3
    return max(seconds for _, seconds in heard)


def test_the_deadlines_find_a_client_without_a_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the timeout of a socket bounds one wait, and a drip goes on for ever."""
    monkeypatch.setattr(deadline.Watchdog, "_run", lambda _: None)
    ends = time.monotonic() + 4 * DEADLINE

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(OK + b"Content-Length: 5000\r\n\r\n{")
        while time.monotonic() < ends and not peer.server.over.wait(0.02):
            peer.say(b" ")

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        began = time.monotonic()
        client.send(QUESTIONS["start"].within(DEADLINE).request)
    assert time.monotonic() - began > DEADLINE + 0.5


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unheard-of", ""])
@pytest.mark.parametrize("status", [200, 429])
def test_a_bomb_is_not_unpacked(name: str, coding: str, status: int) -> None:
    """64 MB in 64 KB, whatever coding it is said to have: it means nothing, and stays small."""
    before = resident()
    headers = f"Content-Encoding: {coding}\r\n".encode() if coding else b""
    question = QUESTIONS[name]
    expected = {question.nothing}
    if status == 429 and (name != "start" or not coding):
        expected = {"Throttled"}
    with Stage() as stage:
        stage.ask(question, answering(said(status, BOMB, headers)), expected, coding)
        assert stage.tally.wrong == []
    assert resident() - before < 20 << 20


@pytest.mark.parametrize("name", QUESTIONS)
def test_tls_garbage_after_the_request_leaves_a_doubt(name: str, ca_file: str) -> None:
    """The request was heard; what came back cannot be deciphered; nothing is sent again."""

    def play(peer: Peer) -> None:
        peer.request()
        with socket.socket(fileno=peer.wire.detach()) as wire:  # below the encryption
            wire.sendall(b"\x17\x03\x03\x00\x20" + b"garbage" * 10)
            wire.shutdown(socket.SHUT_WR)
            wire.settimeout(2.0)
            wire.recv(1000)

    question = QUESTIONS[name]
    with Stage(tls=server_side(), ca_file=ca_file) as stage:
        stage.ask(question, play, {question.nothing}, "garbage")
        assert stage.tally.wrong == []
        assert len(stage.server.requests) == stage.server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_carries_nothing_there(status: int) -> None:
    """By a full address or one that only names the host; for each of the questions."""
    with RawServer(lambda peer: peer.hold()) as elsewhere, Stage() as stage:
        place = f"127.0.0.1:{elsewhere.port}/phone/bulk/v1/batches/{BATCH}"
        for question in QUESTIONS.values():
            for target in (f"http://{place}", f"//{place}", f"https://{place}"):
                play = answering(said(status, b"", f"Location: {target}\r\n".encode()))
                stage.ask(question, play, {question.nothing}, target)
        assert stage.tally.wrong == []
        assert elsewhere.connections == 0


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("case", ["refused", "no such name", "expired", "another name", "unknown authority", "no tls"])
def test_what_never_had_a_connection_was_not_sent(
    name: str, case: str, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so at once: the server hears no byte of the request, so a start may be tried again."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    certs: dict[str, Callable[[], trustme.LeafCert]] = {
        "expired": lambda: CA.issue_cert("127.0.0.1", not_after=yesterday),
        "another name": lambda: CA.issue_cert("elsewhere.example"),
        "unknown authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
    }
    tls = server_side(certs[case]()) if case in certs else None
    heard = b""

    def listen(peer: Peer) -> None:
        nonlocal heard
        heard += peer.some()
        peer.say(said(200, GOOD[name]))

    with RawServer(listen, tls=tls) as server:
        endpoint = replace(server.endpoint, scheme="https" if case != "refused" else "http")
        if case == "refused":
            with socket.create_server(("127.0.0.1", 0)) as taken:
                endpoint = Endpoint(scheme="http", host="127.0.0.1", port=taken.getsockname()[1])
        elif case == "no such name":
            monkeypatch.setattr(socket, "getaddrinfo", _no_name)
        question = QUESTIONS[name]
        with Client(endpoint, TOKEN, trust=Trust(path=ca_file)) as client:
            began = time.monotonic()
            reply = client.send(question.request)
            assert time.monotonic() - began < 5.0
    assert isinstance(reply, NotSent)
    assert type(question.meaning(reply)).__name__ == ("NotSent" if name == "start" else "NoAnswer")
    assert TOKEN.encode() not in heard
    assert b"HTTP" not in heard


def _no_name(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_the_tally_tells_what_it_counted() -> None:
    """The figures that the sweeps print."""
    tally = Tally(calls=1_200, classes={"Doubtful": 1_100, "Accepted": 100})
    assert str(tally) == "1,200 calls (100 Accepted, 1,100 Doubtful), 0 wrong"


def test_a_sweep_names_what_is_wrong() -> None:
    """A wrong class is noted with what was asked, and what was expected."""
    play: Play = answering(said(200, GOOD["start"]))
    with Stage() as stage:
        stage.ask(QUESTIONS["start"], play, {"Doubtful"}, "a good answer")
        assert stage.tally.wrong == ["a good answer: Accepted, not Doubtful"]
