"""The client against faulty servers: what is sent, what is received, and when the client stops waiting."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import batchform
from batchform.api import client as client_module
from batchform.api.client import Client
from batchform.api.contract import (
    Accepted,
    Answer,
    Broken,
    Doubtful,
    NotSent,
    Request,
    list_request,
    start_meaning,
    start_request,
    status_request,
)
from batchform.api.endpoint import Endpoint
from batchform.errors import UsageError
from batchform.model import Service
from tests.api.servers import Peer, RawServer, always, answer, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchform.api.contract import Reply

TOKEN = "3f0c1f6e-token-9a7e"
START = start_request(Service.PHONE, "abc-1", "ref-1")
RUNS = answer(200, b'{"result": {"batch_id": "abc-1", "status": "processing"}}')


def within(seconds: float, request: Request = START) -> Request:
    """The same request with another deadline."""
    return replace(request, deadline=seconds)


def ask(server: RawServer, request: Request = START) -> Reply:
    """Send one request with a new client."""
    with Client(server.endpoint, TOKEN) as client:
        return client.send(request)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """The threads of a client end with it."""
    yield
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("batchform-")]
    for thread in ours:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in ours)


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_a_start_on_the_wire() -> None:
    """The request has one head, no body and no other headers, each header once."""
    with RawServer(always(RUNS)) as server:
        reply = ask(server)
    assert isinstance(reply, Answer)
    assert start_meaning(reply, "abc-1") == Accepted(status="processing")
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "POST /phone/bulk/v1/batches/abc-1/start HTTP/1.1"
    assert sorted(line.lower() for line in lines[1:] if line) == sorted(
        [
            f"host: 127.0.0.1:{server.port}",
            "accept: application/json",
            "accept-encoding: identity",
            f"auth-token: {TOKEN}",
            "content-length: 0",
            "reference-id: ref-1",
            f"user-agent: batchform/{batchform.__version__}",
        ]
    )


def test_a_read_on_the_wire_has_no_content_length() -> None:
    """A GET has no Content-Length."""
    with RawServer(always(answer())) as server:
        ask(server, status_request(Service.EMAIL, "abc-1"))
    assert server.requests[0].startswith(b"GET /email/bulk/v1/batches/abc-1 HTTP/1.1\r\n")
    assert b"content-length" not in server.requests[0].lower()


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is not sent to a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with RawServer(always(RUNS)) as server:
        assert isinstance(ask(server), Answer)


def test_replies_are_stamped_by_the_clock_that_was_given() -> None:
    """The times are just before the first byte and just after the last."""
    ticks = iter(range(100))
    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN, clock=lambda: float(next(ticks))) as client:
        first, second = client.send(START), client.send(START)
    assert 0.0 <= first.sent_at < first.received_at < second.sent_at < second.received_at


def test_ipv6_is_spoken() -> None:
    """The address is in brackets."""
    try:
        server = RawServer(always(RUNS), family=socket.AF_INET6)
        with server:
            assert isinstance(ask(server), Answer)
            assert f"Host: [::1]:{server.port}".encode() in server.requests[0]
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


# --- not sent --------------------------------------------------------------------------------------------------------


def closed_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_a_refused_connection_is_not_sent() -> None:
    """The cause says so."""
    with Client(Endpoint(scheme="http", host="127.0.0.1", port=closed_port()), TOKEN) as client:
        reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert "refused" in reply.cause


def test_a_name_that_does_not_resolve_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can have been sent."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with Client(Endpoint(scheme="https", host="nowhere.invalid", port=443), TOKEN) as client:
        reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert "Name or service not known" in reply.cause


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline includes DNS. A later connection is closed unused."""
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(*args: object, **kwargs: object) -> object:
        release.wait(10.0)
        return real(*args, **kwargs)  # type: ignore[arg-type]  # handed on as it came

    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN) as client:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        began = time.monotonic()
        reply = client.send(within(0.2))
        assert time.monotonic() - began < 0.7
        release.set()
        for thread in threading.enumerate():
            if thread.name == "batchform-connecting":
                thread.join(5.0)
    assert isinstance(reply, NotSent)
    assert server.requests == []


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    """No connection is made."""
    with RawServer(always(RUNS)) as server:
        assert isinstance(ask(server, within(0.0)), NotSent)
    assert server.connections == 0


def test_a_closed_client_sends_nothing() -> None:
    """This holds after close and after cut."""
    with RawServer(always(RUNS)) as server:
        closed, cut = Client(server.endpoint, TOKEN), Client(server.endpoint, TOKEN)
        assert isinstance(cut.send(START), Answer)
        closed.close()
        cut.cut()
        assert closed.send(START).__class__ is cut.send(START).__class__ is NotSent
        closed.close()
        cut.close()
    assert len(server.requests) == 1


# --- broken ----------------------------------------------------------------------------------------------------------


def say(*parts: bytes) -> Callable[[Peer], None]:
    """Answer one request with these bytes, then close."""
    return once(b"".join(parts))


def reset_after_request(peer: Peer) -> None:
    """Read the request, then reset."""
    peer.request()
    peer.reset()


def reset_in_the_body(peer: Peer) -> None:
    """Send half an answer, then reset."""
    peer.request()
    peer.say(RUNS[:-5])
    peer.reset()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n"
BROKEN: dict[str, Callable[[Peer], None]] = {
    "reset": reset_after_request,
    "reset-in-body": reset_in_the_body,
    "closed": say(b""),
    "half-status": say(b"HTTP/1.1 20"),
    "half-body": say(RUNS[:-5]),
    "half-chunk": say(CHUNKED, b"ff\r\n{"),
    "chunks-without-end": say(CHUNKED, b"2\r\n{}\r\n"),
    "odd-chunk": say(CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "garbage": say(b"\x00\x01\x02 nonsense\r\n\r\n"),
    "other-protocol": say(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "http-0.9": say(b'{"result": {"batch_id": "abc-1", "status": "processing"}}'),
    "odd-status": say(b"HTTP/1.1 2OO OK\r\n\r\n"),
    "status-0": say(b"HTTP/1.1 000 OK\r\n\r\n"),
    "long-status-line": say(b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n"),
    "long-header": say(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
    "many-headers": say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    "two-lengths": say(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 50\r\n\r\n{}"),
    "large": say(LARGE, b"x" * (10 << 20)),
    "large-announced": say(LARGE),
    "large-unannounced": say(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (2 << 20)),
    "large-chunks": say(CHUNKED, (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 32, b"0\r\n\r\n"),
}


@pytest.mark.parametrize("handler", BROKEN.values(), ids=BROKEN)
def test_what_is_not_a_complete_answer_is_broken_and_never_sent_again(handler: Callable[[Peer], None]) -> None:
    """It is sent once, on one connection, and its outcome is unknown."""
    with RawServer(handler) as server:
        reply = ask(server, within(5.0))
    assert isinstance(reply, Broken)
    assert reply.cause
    assert isinstance(start_meaning(reply, "abc-1"), Doubtful)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 503])
def test_an_answer_with_another_reference_id_is_broken_and_ends_its_connection(status: int) -> None:
    """Whatever it says. The id is named without the token, and cut."""
    said = answer(status, headers=f"Reference-Id: gw-{TOKEN}-{'x' * 500}\r\n")
    with RawServer(always(said)) as server, Client(server.endpoint, TOKEN) as client:
        reply = client.send(START)
        assert isinstance(start_meaning(reply, "abc-1"), Doubtful)
        assert isinstance(reply, Broken)
        assert reply.foreign == f"gw-[token]-{'x' * 69}"
        assert reply.cause == f"the {status} answer has the Reference-Id of another request: {reply.foreign}"
        client.send(START)
    assert server.connections == 2


def test_an_answer_with_our_reference_id_keeps_its_connection() -> None:
    """Also where a gateway has added an id of its own."""
    with RawServer(always(answer(headers="Reference-Id: gw-1, ref-1\r\n"))) as server:
        with Client(server.endpoint, TOKEN) as client:
            assert isinstance(client.send(START), Answer)
            assert isinstance(client.send(START), Answer)
        assert server.connections == 1


def drip(peer: Peer) -> None:
    """Send one byte at a time, each before the timeout of a single wait."""
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not peer.server.over.wait(0.05):
        peer.say(b" ")


def drip_head(peer: Peer) -> None:
    """Send a header one byte at a time."""
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\nX: ")
    while not peer.server.over.wait(0.05):
        peer.say(b"x")


def endless_continue(peer: Peer) -> None:
    """Send 100 Continue without end."""
    peer.request()
    while not peer.server.over.wait(0.01):
        peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")


def hang(peer: Peer) -> None:
    """Read the request and send nothing."""
    peer.request()
    peer.hold()


def no_end(peer: Peer) -> None:
    """Send a complete document without Content-Length and do not close."""
    peer.request()
    peer.say(b'HTTP/1.1 200 OK\r\n\r\n{"result": {"batch_id": "abc-1", "status": "processing"}}')
    peer.hold()


@pytest.mark.parametrize("handler", [drip, drip_head, endless_continue, hang, no_end])
def test_a_deadline_is_kept_whatever_the_server_does(handler: Callable[[Peer], None]) -> None:
    """The call ends within half a second, and the answer is broken even if it looks complete."""
    with RawServer(handler) as server:
        began = time.monotonic()
        reply = ask(server, within(0.3))
        took = time.monotonic() - began
    assert isinstance(reply, Broken)
    assert reply.cause == "the deadline passed"
    assert 0.25 <= took < 0.8


def test_deadlines_of_different_requests_do_not_mix() -> None:
    """A short deadline ends while a longer one, which began earlier, continues."""
    heard, go = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        head = peer.request()
        if b"/slow/" in head:
            heard.set()
            go.wait(10.0)
            peer.say(RUNS)
        peer.say(b"HTTP/1.1 200 OK\r\nX: ")
        while not peer.server.over.wait(0.05):
            peer.say(b"x")

    slow, fast = start_request(Service.PHONE, "slow", "r"), start_request(Service.PHONE, "fast", "r")
    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client, ThreadPoolExecutor(2) as pool:
        long = pool.submit(client.send, within(10.0, slow))
        assert heard.wait(5.0)
        assert isinstance(pool.submit(client.send, within(0.2, fast)).result(0.7), Broken)
        assert not long.done()
        go.set()
        assert isinstance(long.result(), Answer)


def test_an_answer_that_announces_too_much_is_not_waited_for() -> None:
    """The announced length is enough to refuse it."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(LARGE)
        peer.hold()

    with RawServer(handler) as server:
        reply = ask(server, within(5.0))
    assert isinstance(reply, Broken)
    assert "announces 10485760 bytes" in reply.cause
    assert reply.too_large


@pytest.mark.parametrize(("status", "too_large"), [(200, False), (404, True), (500, True)])
def test_only_a_success_may_be_large(*, status: int, too_large: bool) -> None:
    """Of another answer, only a problem is read: 1 MiB is enough for it."""
    with RawServer(always(answer(status, b" " * ((1 << 20) + 1)))) as server:
        reply = ask(server, within(5.0, list_request(Service.PHONE)))
    assert isinstance(reply, Broken if too_large else Answer)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    """The token is not sent to another origin."""
    with RawServer(always(RUNS)) as other:
        location = f"Location: http://127.0.0.1:{other.port}/phone/bulk/v1/batches/abc-1/start\r\n"
        with RawServer(always(answer(307, b"", location))) as server:
            reply = ask(server)
        assert isinstance(reply, Answer)
        assert reply.status == 307
        assert isinstance(start_meaning(reply, "abc-1"), Doubtful)
        assert other.connections == 0


def test_a_compressed_body_is_not_unpacked() -> None:
    """The body is returned unchanged, and it is not a success."""
    bomb = b"\x1f\x8b\x08" + bytes(100)
    with RawServer(always(answer(200, bomb, "Content-Encoding: gzip\r\n"))) as server:
        reply = ask(server)
    assert isinstance(reply, Answer)
    assert reply.body == bomb
    assert isinstance(start_meaning(reply, "abc-1"), Doubtful)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500, 503, 999])
def test_any_complete_answer_comes_as_it_is(status: int) -> None:
    """The answer has the status, headers with names in lower case, and the body."""
    with RawServer(always(answer(status, b"<p>", "X-Rate-Limit-Reset: 5\r\nX-A: 1\r\nX-A: 2\r\n"))) as server:
        reply = ask(server)
    assert isinstance(reply, Answer)
    assert (reply.status, reply.body) == (status, b"<p>")
    assert reply.headers[-3:] == (("x-rate-limit-reset", "5"), ("x-a", "1"), ("x-a", "2"))


def test_bodies_may_come_in_chunks_or_end_with_the_connection() -> None:
    """Both are complete answers."""
    body = b'{"result": {"batch_id": "abc-1", "status": "processing"}}'
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\n\r\n"
    for data in (CHUNKED + chunks, b"HTTP/1.0 200 OK\r\n\r\n" + body):
        with RawServer(once(data)) as server:
            assert start_meaning(ask(server), "abc-1") == Accepted(status="processing")


def test_a_list_may_be_larger_than_a_start() -> None:
    """Each request has its own limit."""
    body = b'{"result": {"batches": [' + b" " * (2 << 20) + b"]}}"
    with RawServer(always(answer(200, body))) as server, Client(server.endpoint, TOKEN) as client:
        assert isinstance(client.send(list_request(Service.PHONE)), Answer)
        assert isinstance(client.send(START), Broken)


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 429 Slow\r\nX-Rate", b"HTTP/1.1 401 No\r\n", b"HTTP/1.0 429 Slow\r\n\r\n<html>"],
    ids=["half-head", "no-head", "no-length"],
)
def test_a_failure_that_may_have_been_cut_off_is_doubtful(data: bytes) -> None:
    """It ended with the connection, so it may be truncated."""
    with RawServer(once(data)) as server:
        reply = ask(server)
    assert isinstance(reply, Answer)
    assert not reply.framed
    assert isinstance(start_meaning(reply, "abc-1"), Doubtful)


# --- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again() -> None:
    """This holds for every status, with and without a body."""
    replies = iter(
        [RUNS, answer(400, b"{}"), answer(204, b""), CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", answer(500, b"x"), RUNS]
    )

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.say(next(replies))

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        statuses = [getattr(client.send(START), "status", None) for _ in range(6)]
    assert statuses == [200, 400, 204, 200, 500, 200]
    assert server.connections == 1


def test_a_connection_the_server_closed_is_noticed_before_the_next_request() -> None:
    """It is replaced, and the request is sent exactly once."""
    closed = threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(RUNS)
        peer.wire.close()
        closed.set()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        for _ in range(5):
            closed.clear()
            assert isinstance(client.send(START), Answer)
            assert closed.wait(5.0)
            time.sleep(0.01)  # the close must reach the client before its next request
    assert server.connections == len(server.requests) == 5


def test_a_connection_that_says_something_unasked_is_not_used_again() -> None:
    """The bytes would count as the answer to the next start."""
    taken, said = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(RUNS)
        taken.wait(5.0)
        peer.say(answer(429))
        said.set()
        peer.hold()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        client.send(START)
        taken.set()
        assert said.wait(5.0)
        time.sleep(0.01)  # the bytes must reach the client before its next request
        client.send(START)
    assert server.connections == 2


def test_a_connection_is_never_opened_in_the_middle_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the connection is closed after the last check, the outcome is unknown and the request is not sent again."""
    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN) as client:
        client.send(START)
        monkeypatch.setattr(client_module, "_is_dropped", lambda line: line.close())
        assert isinstance(client.send(START), Broken)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("extra", [answer(429), answer(429, b"x" * 300_000)], ids=["small", "large"])
def test_a_second_answer_is_never_that_of_the_next_start(extra: bytes) -> None:
    """This holds even if both answers arrive together."""
    with RawServer(always(RUNS + extra)) as server, Client(server.endpoint, TOKEN) as client:
        for _ in range(3):
            reply = client.send(START)
            assert start_meaning(reply, "abc-1") == Accepted(status="processing")


@pytest.mark.parametrize("interim", [101, 102, 103])
def test_an_interim_answer_is_doubtful_and_ends_the_connection(interim: int) -> None:
    """The final answer must not count as the answer to the next start."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 {interim} Hints\r\n\r\n".encode())
        peer.hold()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        reply = client.send(START)
        client.send(START)
    assert isinstance(reply, Answer)
    assert isinstance(start_meaning(reply, "abc-1"), Doubtful)
    assert server.connections == 2


def test_connection_close_is_honoured() -> None:
    """The next request makes a new connection."""
    with (
        RawServer(once(answer(200, b"{}", "Connection: close\r\n"))) as server,
        Client(server.endpoint, TOKEN) as client,
    ):
        assert [type(client.send(START)) for _ in range(3)] == [Answer] * 3
    assert server.connections == 3


def test_a_connection_that_rested_too_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway may be about to close it."""
    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN) as client:
        client.send(START)
        monkeypatch.setattr(client_module, "MAX_IDLE", -1.0)
        client.send(START)
    assert server.connections == 2


def test_a_reset_between_requests_is_noticed() -> None:
    """This is the same as after a close."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(RUNS)
        time.sleep(0.01)  # let the client read the answer before the reset discards it
        peer.reset()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client:
        assert isinstance(client.send(START), Answer)
        time.sleep(0.1)  # the reset must reach the client before its next request
        assert isinstance(client.send(START), Answer)
    assert len(server.requests) == 2


def test_sixty_four_threads_at_once() -> None:
    """Each thread gets its own answer, with at most one connection per thread."""

    def handler(peer: Peer) -> None:
        while True:
            batch_id = peer.request().split(b"/")[5]
            peer.say(answer(200, b'{"result": {"batch_id": "%s", "status": "processing"}}' % batch_id))

    def one(number: int) -> bool:
        request = start_request(Service.PHONE, f"b{number}", None)
        return start_meaning(client.send(request), f"b{number}") == Accepted(status="processing")

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client, ThreadPoolExecutor(64) as pool:
        assert all(pool.map(one, range(1000)))
    assert server.connections <= 64
    heard = Counter(head.split(b"/")[5] for head in server.requests)
    assert len(heard) == 1000
    assert set(heard.values()) == {1}


# --- cut and close ---------------------------------------------------------------------------------------------------


def test_cut_ends_what_is_under_way_at_once() -> None:
    """Another thread cuts the connections. Every call returns soon, as broken."""
    heard = threading.Barrier(9)

    def handler(peer: Peer) -> None:
        peer.request()
        heard.wait(5.0)
        peer.hold()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.send, START) for _ in range(8)]
        heard.wait(5.0)
        began = time.monotonic()
        client.cut()
        replies = [call.result(2.0) for call in calls]
        assert time.monotonic() - began < 0.5
    assert {type(reply) for reply in replies} == {Broken}
    assert {reply.cause for reply in replies if isinstance(reply, Broken)} == {"this run closed the connection"}


def test_cut_ends_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is still resolving a name sends nothing."""
    asked, release = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        asked.set()
        release.wait(10.0)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    endpoint = Endpoint(scheme="http", host="127.0.0.1", port=9)
    with Client(endpoint, TOKEN) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.send, START)
        assert asked.wait(5.0)
        client.cut()
        assert call.result(1.0).__class__ is NotSent
        release.set()


def test_close_lets_what_is_under_way_end() -> None:
    """Only new calls are refused."""
    heard, go = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        heard.set()
        go.wait(5.0)
        peer.say(RUNS)
        peer.hold()

    with RawServer(handler) as server, Client(server.endpoint, TOKEN) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.send, START)
        assert heard.wait(5.0)
        client.close()
        assert isinstance(client.send(START), NotSent)
        go.set()
        assert isinstance(call.result(5.0), Answer)


# --- the token -------------------------------------------------------------------------------------------------------


def test_the_token_is_in_nothing_that_comes_out(caplog: pytest.LogCaptureFixture) -> None:
    """The server repeats it in a header, the body, the status line or malformed data."""
    caplog.set_level(logging.DEBUG)
    echo = TOKEN.encode()
    replies = [
        answer(401, b'{"error": {"title": "' + echo + b'"}}', f"X-Echo: {TOKEN}\r\n"),
        answer(200, echo * 3),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, " + echo + b"\r\n\r\n",
        echo,
    ]
    for data in replies:
        with RawServer(once(data)) as server, Client(server.endpoint, TOKEN) as client:
            reply = client.send(within(5.0))
            shown = repr(reply) + repr(client) + repr(vars(reply) if hasattr(reply, "__dict__") else "")
            shown += repr(reply.body) if isinstance(reply, Answer) else ""
            shown += repr(start_meaning(reply, "abc-1"))
        assert TOKEN not in shown
        assert "[token]" in shown
        assert echo in server.requests[0]
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["", "a b", "line\r\nX: y"], ids=repr)
def test_a_token_that_is_none_stops_the_client(token: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(UsageError):
        Client(Endpoint(scheme="http", host="127.0.0.1", port=1), token)


# --- the gate --------------------------------------------------------------------------------------------------------


def test_a_start_that_may_not_leave_is_not_sent() -> None:
    """It is asked when the connection stands and nothing is left to do but to send."""
    connected: list[int] = []
    with RawServer(always(RUNS)) as server:

        def may_start() -> bool:
            connected.append(server.connections)
            return False

        with Client(server.endpoint, TOKEN, may_start=may_start) as client:
            reply = client.send(START)
        assert isinstance(reply, NotSent)
        assert reply.cause == client_module.NOT_OURS
        assert server.requests == []
    assert len(connected) == 1


def test_reads_are_not_asked_for() -> None:
    """They cost nothing, and what they say is worth having."""
    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN, may_start=lambda: False) as client:
        assert isinstance(client.send(status_request(Service.PHONE, "abc-1")), Answer)
        assert isinstance(client.send(list_request(Service.PHONE)), Answer)


def test_one_start_at_a_time_stands_between_the_question_and_the_wire() -> None:
    """A process that is suspended there holds one that may still leave, however many threads it has."""
    inside = 0
    most = 0
    guard = threading.Lock()

    def may_start() -> bool:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        return True

    with RawServer(always(RUNS)) as server, Client(server.endpoint, TOKEN, may_start=may_start) as client:
        request = client._request

        def sent(*words: object) -> None:
            nonlocal inside
            with guard:
                inside -= 1
            request(*words)  # type: ignore[arg-type]  # handed on as they came

        client._request = sent  # type: ignore[method-assign,assignment]  # to see when it is called
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(client.send, [START] * 32))
    assert all(isinstance(reply, Answer) for reply in replies)
    assert most == 1
