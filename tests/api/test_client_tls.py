"""The client over TLS: trusted certificates, and what counts as sent if the encryption fails."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from batchform.api.client import Client
from batchform.api.contract import Answer, Broken, NotSent, start_request
from batchform.api.deadline import Watch
from batchform.api.trust import Trust
from batchform.errors import UsageError
from batchform.model import Service
from tests.api.servers import Peer, RawServer, always, answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.servers import Handler

TOKEN = "3f0c1f6e-token-9a7e"
START = start_request(Service.PHONE, "abc-1", "ref-1")
CA = trustme.CA()


def context(cert: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A server context, by default with a valid certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (cert or CA.issue_cert("127.0.0.1")).configure_cert(made)
    return made


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    """The certificate authority of the tests, as a file."""
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


def test_a_server_that_is_trusted_is_spoken_to(ca_file: str) -> None:
    """The connection is used again."""
    with (
        RawServer(always(answer()), tls=context()) as server,
        Client(server.endpoint, TOKEN, trust=Trust(path=ca_file)) as client,
    ):
        assert [type(client.send(START)) for _ in range(3)] == [Answer] * 3
    assert server.connections == 1


def test_the_environment_may_name_the_store(ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs that use OpenSSL read this variable, too."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with RawServer(always(answer()), tls=context()) as server, Client(server.endpoint, TOKEN) as client:
        assert isinstance(client.send(START), Answer)


@pytest.mark.parametrize(("name", "kind"), [("api.example.test", Answer), ("other.example.test", NotSent)])
def test_the_certificate_must_be_for_the_name(
    name: str, kind: type, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name counts, not the address to which it resolves."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *args, **kwargs: real("127.0.0.1", *args, **kwargs))
    with RawServer(always(answer()), tls=context(CA.issue_cert("api.example.test"))) as server:
        endpoint = replace(server.endpoint, host=name)
        with Client(endpoint, TOKEN, trust=Trust(path=ca_file)) as client:
            assert type(client.send(START)) is kind


@pytest.mark.parametrize("case", ["unknown", "expired", "other-name"])
def test_a_server_that_is_not_trusted_hears_nothing(case: str, ca_file: str) -> None:
    """No byte of the request is sent."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    certs = {
        "unknown": trustme.CA().issue_cert("127.0.0.1"),
        "expired": CA.issue_cert("127.0.0.1", not_after=yesterday),
        "other-name": CA.issue_cert("elsewhere.example"),
    }
    tls = context(certs[case])
    with (
        RawServer(always(answer()), tls=tls) as server,
        Client(server.endpoint, TOKEN, trust=Trust(path=ca_file)) as client,
    ):
        reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert "is not accepted" in reply.cause
    assert server.requests == []


def test_the_system_store_does_not_know_our_authority() -> None:
    """Without `ca_file`, the same server is not trusted."""
    with RawServer(always(answer()), tls=context()) as server, Client(server.endpoint, TOKEN) as client:
        assert isinstance(client.send(START), NotSent)


def test_a_server_without_tls_is_not_sent(ca_file: str) -> None:
    """The server answers the handshake with other bytes."""

    def plain(peer: Peer) -> None:
        peer.some()
        peer.say(answer())

    with RawServer(plain) as server:
        endpoint = replace(server.endpoint, scheme="https")
        with Client(endpoint, TOKEN, trust=Trust(path=ca_file)) as client:
            assert isinstance(client.send(START), NotSent)


@pytest.mark.parametrize("dripping", [False, True], ids=["silent", "dripping"])
def test_a_slow_handshake_ends_at_the_deadline(ca_file: str, *, dripping: bool) -> None:
    """Nothing is sent, and the wait is limited."""

    def slow(peer: Peer) -> None:
        peer.some()
        peer.say(b"\x16\x03\x03\x20\x00")
        while dripping and not peer.server.over.wait(0.05):
            peer.say(b"\x02")
        peer.hold()

    with RawServer(slow) as server:
        with Client(replace(server.endpoint, scheme="https"), TOKEN, trust=Trust(path=ca_file)) as client:
            began = time.monotonic()
            reply = client.send(replace(START, deadline=0.3))
            assert time.monotonic() - began < 0.8
            assert isinstance(reply, NotSent)
        for thread in threading.enumerate():
            if thread.name == "batchform-connecting":
                thread.join(5.0)


def raw(peer: Peer) -> socket.socket:
    """The TCP connection without TLS."""
    return socket.socket(fileno=peer.wire.detach())


def garbage(peer: Peer) -> None:
    """Send garbage instead of TLS records after the request."""
    peer.request()
    with raw(peer) as wire:
        wire.sendall(b"\x17\x03\x03\x00\x20" + b"garbage" * 10)
        wire.shutdown(socket.SHUT_WR)
        wire.settimeout(2.0)
        wire.recv(1000)


def truncated(peer: Peer) -> None:
    """End the TCP connection in the middle of the body."""
    peer.request()
    peer.say(answer(200, b"x" * 100)[:-50])
    raw(peer).close()


def hang(peer: Peer) -> None:
    """Send nothing."""
    peer.request()
    peer.hold()


def drip(peer: Peer) -> None:
    """Send a few bytes repeatedly."""
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not peer.server.over.wait(0.05):
        peer.say(b" ")


@pytest.mark.parametrize("handler", [garbage, truncated, hang, drip])
def test_what_breaks_after_the_request_is_broken(handler: Handler, ca_file: str) -> None:
    """The request was sent once, and the server may have received it."""
    with (
        RawServer(handler, tls=context()) as server,
        Client(server.endpoint, TOKEN, trust=Trust(path=ca_file)) as client,
    ):
        began = time.monotonic()
        reply = client.send(replace(START, deadline=0.4))
        assert time.monotonic() - began < 0.9
    assert isinstance(reply, Broken)
    assert len(server.requests) == 1


def test_cut_works_below_the_encryption(ca_file: str) -> None:
    """A thread that waits on TLS returns, too."""
    heard = threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        heard.set()
        peer.hold()

    with (
        RawServer(handler, tls=context()) as server,
        Client(server.endpoint, TOKEN, trust=Trust(path=ca_file)) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(client.send, START)
        assert heard.wait(5.0)
        client.cut()
        assert isinstance(call.result(1.0), Broken)


def test_what_waits_inside_the_encryption_is_noticed(ca_file: str) -> None:
    """Unexpected bytes that are received but not read do not count as the next answer."""
    data = answer() + answer(429, b"x" * 12_000)
    with (
        RawServer(always(data), tls=context()) as server,
        Client(server.endpoint, TOKEN, trust=Trust(path=ca_file)) as client,
    ):
        replies = [client.send(START) for _ in range(3)]
    assert [getattr(reply, "status", None) for reply in replies] == [200, 200, 200]


def test_stopping_a_connection_leaves_its_encryption_on() -> None:
    """A thread that is sending must not continue on an unencrypted socket."""
    ours, theirs = socket.socketpair()
    with (
        theirs,
        ssl.create_default_context().wrap_socket(
            ours, server_hostname="localhost", do_handshake_on_connect=False
        ) as wire,
    ):
        Watch(wire=wire, ends=0.0).stop("test")
        assert wire.session is None  # uses the encryption, which would be gone
        with pytest.raises(OSError, match=r"(?i)eof|shut|protocol|pipe"):
            wire.do_handshake()


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["absent", "empty", "garbage"])
def test_a_ca_file_of_no_use_is_a_usage_error(content: str | None, tmp_path: Path) -> None:
    """It is refused before anything is sent, and the system's store is not used instead."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with RawServer(always(answer()), tls=context()) as server, pytest.raises(UsageError, match="CA file"):
        Client(server.endpoint, TOKEN, trust=Trust(path=str(path)))
