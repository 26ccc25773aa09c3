"""Access tokens: when they are fetched, when they are used again, and what a failure to get one means."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from batchform.api.client import Client
from batchform.api.contract import (
    Accepted,
    Answer,
    Doubtful,
    NoAnswer,
    NotSent,
    Read,
    Refused,
    read_meaning,
    start_meaning,
    start_request,
    status_request,
)
from batchform.api.credentials import ClientCredentials, parse_token_url
from batchform.api.oauth import LONGEST_LIFE, PAUSE, UNSTATED_LIFE, AccessTokens
from batchform.errors import UsageError
from batchform.model import Service
from tests.api.servers import GoneError, RawServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.servers import Peer

ID, SECRET = "client-4711", "s3cret-of-the-client/+"
START = start_request(Service.PHONE, "abc-1", "ref-1")
READ = status_request(Service.PHONE, "abc-1")
RUNS = answer(200, b'{"result": {"batch_id": "abc-1", "status": "processing"}}')
NO = answer(401, b'{"error": {"title": "Unauthorized", "detail": "The token is incorrect."}}')


def granted(number: int, **more: Any) -> bytes:
    """An answer of the token endpoint."""
    given = {"access_token": token(number), "token_type": "Bearer", "expires_in": 1800, "scope": "clientid", **more}
    return answer(200, json.dumps({key: value for key, value in given.items() if value is not ...}).encode())


def token(number: int) -> str:
    """The access token that is granted as the so-manieth."""
    return f"eyJ-access-token.{number}.x"


class Desk:
    """A token endpoint. `answers` are given in turn, the last one for ever; `{n}` counts from 1."""

    def __init__(self, *answers: Callable[[int], bytes] | bytes) -> None:
        self.answers = list(answers) or [granted]
        self.bodies: list[bytes] = []
        self.asked = 0
        self.now = 1000.0
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.some()
            head, _, body = head.partition(b"\r\n\r\n")
            while b"clientid" not in body:
                body += peer.some()
            peer.server.requests.append(head)
            self.bodies.append(body)
            with self._lock:
                self.asked += 1
                given = self.answers[min(self.asked, len(self.answers)) - 1]
            peer.say(given if isinstance(given, bytes) else given(self.asked))


def tokens(server: RawServer, desk: Desk, waits: tuple[float, ...] = ()) -> AccessTokens:
    """An authorizer that asks this endpoint; its clock is `desk.now`."""
    url = parse_token_url(f"{server.endpoint}/oauth2/x/v1/token")
    credentials = ClientCredentials(client_id=ID, client_secret=SECRET, token_url=url)
    return AccessTokens(credentials, clock=lambda: desk.now, waits=waits)


def later() -> float:
    """A deadline that is not reached."""
    return time.monotonic() + 10.0


@pytest.fixture
def desk() -> Desk:
    """A token endpoint that grants whatever it is asked for."""
    return Desk()


def test_the_request_is_the_documented_one(desk: Desk) -> None:
    """Source: CONTRACT "OAuth2"."""
    with RawServer(desk) as server:
        authorizer = tokens(server, desk)
        assert authorizer.header(later()) == ("Authorization", f"Bearer {token(1)}")
        authorizer.close()
    head = server.requests[0].decode().lower()
    basic = b64encode(f"{ID}:{SECRET}".encode()).decode()
    assert head.startswith("post /oauth2/x/v1/token http/1.1\r\n")
    assert f"authorization: basic {basic.lower()}" in head
    assert "content-type: application/x-www-form-urlencoded" in head
    assert desk.bodies == [b"grant_type=client_credentials&scope=clientid"]


@pytest.mark.parametrize(
    ("stated", "used"),
    [
        (1800, 1740.0),
        (3, 2.4),
        (3.0, 2.4),
        ("1800", 1740.0),
        (..., UNSTATED_LIFE - 60),
        (None, UNSTATED_LIFE - 60),
        (0, UNSTATED_LIFE - 60),
        (-5, UNSTATED_LIFE - 60),
        (True, UNSTATED_LIFE - 60),
        ("soon", UNSTATED_LIFE - 60),
        (10**15, LONGEST_LIFE - 60),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(stated: object, used: float) -> None:
    """Its life is the server's word, counted from before it was asked for."""
    desk = Desk(lambda number: granted(number, expires_in=stated))
    with RawServer(desk) as server:
        authorizer = tokens(server, desk)
        assert authorizer.header(later()) == ("Authorization", f"Bearer {token(1)}")
        desk.now += used - 0.01
        assert authorizer.header(later()) == ("Authorization", f"Bearer {token(1)}")
        desk.now += 0.02
        assert authorizer.header(later()) == ("Authorization", f"Bearer {token(2)}")
        authorizer.close()
    assert desk.asked == 2


def test_all_threads_share_one_fetch() -> None:
    """However many need a token at once."""
    waiting = threading.Event()

    def slowly(number: int) -> bytes:
        waiting.wait(0.2)
        return granted(number)

    desk = Desk(slowly)
    with RawServer(desk) as server, ThreadPoolExecutor(32) as pool:
        authorizer = tokens(server, desk)
        headers = list(pool.map(lambda _: authorizer.header(later()), range(32)))
        authorizer.close()
    assert set(headers) == {("Authorization", f"Bearer {token(1)}")}
    assert desk.asked == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(500, b"{}"), "answered 500 Internal Server Error"),
        (answer(429, b'{"error": "slow_down"}'), "answered 429 slow_down"),
        (answer(503, b"<html><title>Down</title></html>"), "answered 503 Service Unavailable (HTML page: Down)"),
        (answer(200, b"<html></html>"), "without a Bearer token"),
        (answer(200, b"{}"), "without a Bearer token"),
        (granted(1, access_token=""), "without a Bearer token"),
        (granted(1, access_token="two words"), "without a Bearer token"),  # no password
        (granted(1, access_token="line\r\nX: y"), "without a Bearer token"),  # the same
        (granted(1, access_token=7), "without a Bearer token"),
        (granted(1, token_type="mac"), "without a Bearer token"),  # the same
        (b"garbage", "No access token"),
        (granted(1)[:-5], "No access token"),
    ],
)
def test_a_failure_is_a_request_that_was_not_sent(given: bytes, said: str) -> None:
    """All threads share it for a moment; then the endpoint is asked again."""
    desk = Desk(given, granted)
    with RawServer(desk) as server:
        authorizer = tokens(server, desk)
        for _ in range(3):
            failed = authorizer.header(time.monotonic() + 0.5)
            assert isinstance(failed, NotSent)
            assert said in failed.cause
            assert not failed.is_final
        assert desk.asked == 1
        desk.now += PAUSE + 0.01
        assert isinstance(authorizer.header(later()), tuple)
        authorizer.close()


def test_a_failure_is_tried_again_within_the_deadline() -> None:
    """A token endpoint may be throttled or down for a moment; all calls wait for the same tries."""
    desk = Desk(answer(500, b"{}"), answer(429, b"{}"), granted)
    with RawServer(desk) as server, ThreadPoolExecutor(8) as pool:
        authorizer = tokens(server, desk, waits=(0.01, 0.01, 0.01))
        headers = set(pool.map(lambda _: authorizer.header(later()), range(8)))
        authorizer.close()
    assert headers == {("Authorization", f"Bearer {token(3)}")}
    assert desk.asked == 3


def test_the_tries_end_with_the_deadline() -> None:
    """Not with the last wait; and a client that is cut waits no longer."""
    desk = Desk(answer(500, b"{}"))
    with RawServer(desk) as server, ThreadPoolExecutor(1) as pool:
        authorizer = tokens(server, desk, waits=(60.0,))
        assert isinstance(authorizer.header(later()), NotSent)
        assert desk.asked == 1
        desk.now += 10
        patient = pool.submit(authorizer.header, time.monotonic() + 1000.0)
        authorizer.cut()
        assert isinstance(patient.result(5.0), NotSent)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            401,
            b'{"error": "invalid_client", "error_description": "The client secret is wrong."}',
            "BATCHFORM_CLIENT_SECRET",
        ),
        (400, b'{"errorCode": "x"}', "BATCHFORM_CLIENT_ID"),
        (403, b"<html></html>", "address"),
    ],
)
def test_a_refused_client_is_not_asked_for_again(status: int, body: bytes, said: str) -> None:
    """Every later call would be refused as well, and some servers lock a client that tries on."""
    desk = Desk(answer(status, body))
    with RawServer(desk) as server:
        authorizer = tokens(server, desk)
        replies = []
        for _ in range(3):
            replies.append(authorizer.header(later()))
            desk.now += 100
        authorizer.close()
    assert desk.asked == 1
    assert len(set(replies)) == 1
    assert isinstance(replies[0], NotSent)
    assert replies[0].is_final
    assert str(status) in replies[0].cause
    assert said in replies[0].cause


def test_a_start_without_a_token_is_not_sent() -> None:
    """And whether a later one could be is passed on."""
    desk = Desk(answer(500, SECRET.encode()), answer(401, b"{}"))
    with RawServer(desk) as server, RawServer(lambda peer: peer.hold()) as api:
        client = Client(api.endpoint, tokens(server, desk))
        first = client.send(START)
        desk.now += 10
        second = client.send(READ)
        client.close()
    assert isinstance(start_meaning(first, "abc-1"), NotSent)
    assert isinstance(read_meaning(first, "abc-1"), NoAnswer)
    assert isinstance(read_meaning(second, "abc-1"), Refused)
    assert SECRET not in repr(first)
    assert api.connections == 0


def test_a_token_endpoint_that_hangs_ends_with_the_request() -> None:
    """The wall-clock deadline of the request covers the token, too."""
    with RawServer(lambda peer: peer.hold()) as server, ThreadPoolExecutor(4) as pool:
        authorizer = tokens(server, Desk())
        client = Client(server.endpoint, authorizer)
        began = time.monotonic()
        replies = list(pool.map(client.send, [replace(START, deadline=0.4)] * 4))
        assert time.monotonic() - began < 1.5
        client.close()
    assert {type(reply) for reply in replies} == {NotSent}
    assert server.connections <= 1


def test_cut_ends_a_fetch_at_once() -> None:
    """A run that is interrupted does not wait for the token endpoint."""
    asked = threading.Event()

    def hang(peer: Peer) -> None:
        peer.some()
        asked.set()
        peer.hold()

    with RawServer(hang) as server, ThreadPoolExecutor(1) as pool:
        client = Client(server.endpoint, tokens(server, Desk()))
        call = pool.submit(client.send, START)
        assert asked.wait(5.0)
        client.cut()
        assert isinstance(call.result(2.0), NotSent)


# --- a 401 of the service ---------------------------------------------------------------------------------------------


def served(*answers: bytes) -> Callable[[Peer], None]:
    """A service that gives these answers in turn, on one connection or several."""
    left = list(answers)

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            if not left:
                raise GoneError
            peer.say(left.pop(0))

    return handler


def test_a_401_on_a_read_renews_once(desk: Desk) -> None:
    """The read is repeated with the next token; when that is refused as well, the run ends."""
    with RawServer(desk) as server, RawServer(served(NO, RUNS, NO, NO)) as api:
        client = Client(api.endpoint, tokens(server, desk))
        meanings = [read_meaning(client.send(READ), "abc-1") for _ in range(4)]
        client.close()
    assert [type(meaning) for meaning in meanings] == [NoAnswer, Read, NoAnswer, Refused]
    used = [line for head in api.requests for line in head.decode().split("\r\n") if line.startswith("Authorization")]
    assert used == [f"Authorization: Bearer {token(number)}" for number in (1, 2, 2, 3)]
    assert not any(b"Auth-Token" in head for head in api.requests)


def test_a_401_on_a_start_lets_the_read_decide(desk: Desk) -> None:
    """Nothing proves that the start was not taken, so its status is read; a second refusal ends the run."""
    with RawServer(desk) as server, RawServer(served(NO, RUNS, NO, NO)) as api:
        client = Client(api.endpoint, tokens(server, desk))
        meanings = [start_meaning(client.send(START), "abc-1") for _ in range(4)]
        client.close()
    assert [type(meaning) for meaning in meanings] == [Doubtful, Accepted, Doubtful, Refused]


def test_calls_that_used_the_old_token_are_no_second_refusal(desk: Desk) -> None:
    """Many requests with one token may be refused at once: that is one token that ended."""
    with RawServer(desk) as server:
        authorizer = tokens(server, desk)
        old = authorizer.header(later())
        assert isinstance(old, tuple)
        assert [authorizer.answered(old[1], 401) for _ in range(3)] == [True, True, True]
        new = authorizer.header(later())
        assert isinstance(new, tuple)
        assert authorizer.answered(old[1], 401)
        assert not authorizer.answered(new[1], 401)
        authorizer.close()


def test_a_token_in_auth_token_is_not_renewed() -> None:
    """A 401 ends the run, as it always did."""
    with RawServer(served(NO)) as api, Client(api.endpoint, "t0ken-that-never-ends") as client:
        assert isinstance(start_meaning(client.send(START), "abc-1"), Refused)


def test_no_secret_comes_out(desk: Desk) -> None:
    """Neither the client's secret nor any access token of this run, in any spelling that a server may use."""
    basic = b64encode(f"{ID}:{SECRET}".encode()).decode()
    echo = f'{{"error": {{"title": "{SECRET} {basic} {token(1)} {token(2)} {SECRET.replace("/", chr(92) + "/")}"}}}}'
    with RawServer(desk) as server, RawServer(served(NO, answer(400, echo.encode(), f"X-Echo: {token(1)}\r\n"))) as api:
        authorizer = tokens(server, desk)
        client = Client(api.endpoint, authorizer)
        replies = [client.send(START), client.send(START)]
        shown = f"{replies} {client!r} {authorizer!r}" + "".join(
            f"{reply.body!r} {reply.headers!r} {start_meaning(reply, 'abc-1')}"
            for reply in replies
            if isinstance(reply, Answer)
        )
        client.close()
    for secret in (SECRET, basic, token(1), token(2), SECRET.replace("/", "\\/")):
        assert secret not in shown
    assert "[token]" in shown


@pytest.mark.parametrize(
    "url",
    ["", "sso.example/token", "https://sso.example", "https://sso.example/", "https://u:s3cret@sso.example/token",
     "http://sso.example/token", "http://localhost/token", "ftp://sso.example/token", "https://sso.example/token?x=1",
     "https://sso.example/to ken"],
)  # fmt: skip
def test_a_token_url_is_https_or_loopback(url: str) -> None:
    """The secret goes there, so the rule is that of the endpoint."""
    with pytest.raises(UsageError) as caught:
        parse_token_url(url)
    assert "s3cret" not in f"{caught.value.summary} {caught.value.detail}"


def test_a_token_url_may_be_a_loopback_address() -> None:
    """For the simulator."""
    assert str(parse_token_url("http://127.0.0.1:8080/oauth2/x/v1/token")) == "http://127.0.0.1:8080/oauth2/x/v1/token"
