"""The client through a proxy: what counts as sent, what is said of a failure, and what the proxy gets to see."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from batchform.api import client as client_module
from batchform.api.client import Client
from batchform.api.contract import Answer, Broken, NotSent, start_request
from batchform.api.endpoint import Endpoint
from batchform.api.reach import Peer as Other
from batchform.api.route import Proxy
from batchform.api.trust import Trust
from batchform.model import Service
from tests.api.proxies import SENT, Cut, Relay, address_of, proxy_at
from tests.api.servers import Peer, RawServer, always, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "3f0c1f6e-token-9a7e"
START = start_request(Service.PHONE, "abc-1", "ref-1")
CA = trustme.CA(organization_name="The Right One")
INSPECTOR = trustme.CA(organization_name="Example Inspection", organization_unit_name="Proxy Team")
NAME = "api.example.test"


def context(authority: trustme.CA = CA, name: str = NAME) -> ssl.SSLContext:
    """A server's side. TLS 1.2, whose records show where the handshake ends."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(name, "127.0.0.1", "localhost").configure_cert(made)
    return made


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """Our authority, as the user would name it."""
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return Trust(path=str(path), setting="BATCHFORM_CA_BUNDLE", adds=True)


@pytest.fixture(params=["http", "https"])
def proxy_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    """A proxy that is spoken to in the clear, or by TLS of its own."""
    return context() if request.param == "https" else None


@contextmanager
def relayed(
    relay: Relay, proxy_tls: ssl.SSLContext | None, trust: Trust, server: RawServer, **more: str
) -> Iterator[tuple[Client, RawServer]]:
    """A client behind a proxy that leads to `server`."""
    with RawServer(relay, tls=proxy_tls) as proxy:
        endpoint = Endpoint(scheme="https", host=NAME, port=server.port)
        with Client(endpoint, TOKEN, proxy=proxy_at(proxy, **more), trust=trust) as client:
            yield client, proxy


def test_a_proxy_sees_a_host_and_a_port(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """The token is inside TLS; the tunnel is used again for the next call."""
    with RawServer(always(answer()), tls=context()) as server:
        relay = Relay(address_of(server.endpoint))
        with relayed(relay, proxy_tls, trust, server, user="ann@corp", password="p@ss:w0rd") as (client, _):
            assert [type(client.send(START)) for _ in range(3)] == [Answer] * 3
    assert relay.tunnels == 1
    lines = relay.heads[0].decode().split("\r\n")
    assert lines[0].startswith(f"CONNECT {NAME}:{server.port} HTTP/1.")
    assert f"Proxy-Authorization: Basic {b64encode(b'ann@corp:p@ss:w0rd').decode()}" in lines
    assert f"Host: {NAME}:{server.port}" in lines
    assert TOKEN not in relay.heads[0].decode()
    assert all(b"Auth-Token: " + TOKEN.encode() in head and b"roxy-" not in head for head in server.requests)


@pytest.mark.parametrize("cut", [cut for cut in Cut if cut not in {Cut.NEVER, Cut.AFTER_ANSWER}], ids=str)
def test_what_counts_as_sent(cut: Cut, trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """Up to the end of the handshake inside the tunnel nothing was; afterwards it may have been, once."""
    with RawServer(always(answer(200, b"x" * 100)), tls=context()) as server:
        relay = Relay(address_of(server.endpoint), cuts=(cut,))
        with relayed(relay, proxy_tls, trust, server) as (client, _):
            first, second = client.send(START), client.send(START)
    assert type(first) is (Broken if cut in SENT else NotSent)
    assert type(second) is Answer
    heard = {Cut.AFTER_REQUEST: 2, Cut.WITHIN_ANSWER: 2}.get(cut, 1)
    assert len(server.requests) == heard


def says(data: bytes) -> Callable[[Peer], None]:
    """A proxy that answers CONNECT with these bytes."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(data)
        peer.hold()

    return handler


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            {},
            "Set HTTPS_PROXY with a user and password: http://USER:",
        ),
        (
            b"HTTP/1.1 407 No p4ss-w0rd dTpwNHNzLXcwcmQ=\r\n\r\n",
            {"user": "u", "password": "p4ss-w0rd"},
            "Check the user and password in HTTPS_PROXY",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", {}, f"Ask for {NAME}:443 to be allowed on the proxy"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nno way", {}, "answered 502 Bad Gateway"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://evil\r\n\r\n", {}, "answered 301 Moved"),
        (b"<html>Welcome to the hotel's network</html>\r\n\r\n", {}, "supports CONNECT"),
        (b"\x15\x03\x01\x00\x02\x02\x46", {}, "no answer within"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", {}, "TLS: no connection"),
    ],
    ids=["407", "407-known", "403", "502", "redirect", "page", "no-http", "no-tls"],
)
def test_a_proxy_that_refuses_costs_nothing(data: bytes, more: dict[str, str], said: str, trust: Trust) -> None:
    """The step, the host and port, the proxy, and what to check first are named; the password is not."""
    endpoint = Endpoint(scheme="https", host=NAME, port=443)
    with RawServer(says(data)) as server:
        proxy = proxy_at(server, **more)
        with Client(endpoint, TOKEN, proxy=proxy, trust=trust) as client:
            reply = client.send(replace(START, deadline=0.5))
    assert isinstance(reply, NotSent)
    assert said in reply.cause
    assert reply.cause.startswith(("CONNECT: ", "TLS: "))
    assert f"{NAME}:443" in reply.cause
    assert str(proxy) in reply.cause
    assert "p4ss" not in reply.cause
    assert "dTpwNHNzLXcwcmQ=" not in reply.cause


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "dripping"])
def test_a_proxy_that_hangs_ends_at_the_deadline(trust: Trust, *, silent: bool) -> None:
    """By the clock on the wall, whatever it drips."""

    def slow(peer: Peer) -> None:
        peer.request()
        while not silent and not peer.server.over.wait(0.05):
            peer.say(b"HTTP/1.1 200 OK\r\n"[:1])
        peer.hold()

    endpoint = Endpoint(scheme="https", host=NAME, port=443)
    with RawServer(slow) as server, Client(endpoint, TOKEN, proxy=proxy_at(server), trust=trust) as client:
        began = time.monotonic()
        reply = client.send(replace(START, deadline=0.3))
        assert time.monotonic() - began < 3.0
    assert isinstance(reply, NotSent)
    assert "CONNECT: no connection" in reply.cause
    assert "no answer within 0.3 s" in reply.cause


def test_connecting_has_a_limit_of_its_own(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what was not sent can be tried again within the deadline of a long call."""
    monkeypatch.setattr(client_module, "CONNECT_DEADLINE", 0.2)
    endpoint = Endpoint(scheme="https", host=NAME, port=443)
    with (
        RawServer(lambda peer: peer.hold()) as server,
        Client(endpoint, TOKEN, proxy=proxy_at(server), trust=trust) as client,
    ):
        began = time.monotonic()
        assert isinstance(client.send(replace(START, deadline=60.0)), NotSent)
        assert time.monotonic() - began < 5.0


def test_a_proxy_that_is_not_there(trust: Trust) -> None:
    """The refused connection is the proxy's, and so is the advice."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy = Proxy(scheme="http", host="127.0.0.1", port=port, setting="ALL_PROXY")
    with Client(Endpoint(scheme="https", host=NAME, port=443), TOKEN, proxy=proxy, trust=trust) as client:
        reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert reply.cause.startswith(
        f"connect: no connection to {NAME}:443 through the proxy http://127.0.0.1:{port} (ALL_PROXY)"
    )
    assert reply.cause.endswith("Connection refused. Check the proxy in ALL_PROXY.")


@pytest.mark.parametrize("proxied", [True, False])
def test_a_name_that_is_not_found(trust: Trust, monkeypatch: pytest.MonkeyPatch, *, proxied: bool) -> None:
    """With a proxy, it is the proxy's name that is looked up here."""
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    proxy = Proxy(scheme="http", host="proxy.example.test", port=3128, setting="HTTPS_PROXY") if proxied else None
    with Client(Endpoint(scheme="https", host=NAME, port=443), TOKEN, proxy=proxy, trust=trust) as client:
        reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert reply.cause.startswith(f"DNS: no connection to {NAME}:443")
    assert "Name or service not known" in reply.cause
    assert ("Check the proxy in HTTPS_PROXY" in reply.cause) is proxied
    assert set(asked) == {"proxy.example.test" if proxied else NAME}


# --- certificates -----------------------------------------------------------------------------------------------------


def inspecting(server: RawServer, trust: Trust) -> Relay:
    """A proxy that decrypts, with certificates of its own authority."""
    upstream = ssl.create_default_context(cafile=trust.path)
    return Relay(address_of(server.endpoint), inspect=context(INSPECTOR), upstream=upstream)


def test_a_proxy_that_inspects_works_with_its_authority(trust: Trust, tmp_path: Path) -> None:
    """The user trusts it by naming its certificate."""
    path = tmp_path / "inspector.pem"
    INSPECTOR.cert_pem.write_to_path(str(path))
    with RawServer(always(answer()), tls=context()) as server:
        relay = inspecting(server, trust)
        with relayed(relay, None, Trust(path=str(path), setting="CURL_CA_BUNDLE"), server) as (client, _):
            assert isinstance(client.send(START), Answer)


@pytest.mark.parametrize("given", ["nothing", "another"])
def test_a_proxy_that_inspects_fails_without_it(given: str, trust: Trust) -> None:
    """The issuer, the proxy and the variable are named; nothing of the request reaches the proxy."""
    with RawServer(always(answer()), tls=context()) as server:
        relay = inspecting(server, trust)
        with relayed(relay, None, trust if given == "another" else Trust(), server) as (client, proxy):
            first, second = client.send(START), client.send(START)
    assert isinstance(first, NotSent)
    assert first.cause == second.cause  # type: ignore[union-attr]  # the same kind
    assert f"the certificate of {NAME}:{server.port} through the proxy {proxy_at(proxy)} (HTTPS_PROXY)" in first.cause
    assert "It was issued by `Proxy Team (Example Inspection)`." in first.cause
    wanted = "BATCHFORM_CA_BUNDLE (" if given == "another" else "set BATCHFORM_CA_BUNDLE to a file"
    assert wanted in first.cause
    assert relay.clear == b""
    assert relay.tunnels == 3  # one more, to read the certificate: it carries nothing
    assert server.requests == []


def test_the_proxys_own_certificate_is_verified(trust: Trust) -> None:
    """Before the proxy is told a host or a password."""
    relay = Relay(("127.0.0.1", 1))
    with RawServer(relay, tls=context(INSPECTOR)) as server:
        proxy = proxy_at(server, user="u", password="p4ss-w0rd")
        with Client(Endpoint(scheme="https", host=NAME, port=443), TOKEN, proxy=proxy, trust=trust) as client:
            reply = client.send(START)
    assert isinstance(reply, NotSent)
    assert reply.cause.startswith(f"TLS to the proxy: the certificate of the proxy {proxy} is not accepted")
    assert "Example Inspection" in reply.cause
    assert relay.heads == []


def test_a_proxy_for_an_endpoint_without_tls_is_a_bug() -> None:
    """It would see the token."""
    proxy = Proxy(scheme="http", host="127.0.0.1", port=1, setting="x")
    with pytest.raises(ValueError, match="proxy"):
        Client(Endpoint(scheme="http", host="127.0.0.1", port=1), TOKEN, proxy=proxy)


# --- cut, deadlines and idle connections inside two layers of TLS -----------------------------------------------------


def test_cut_works_through_a_proxy(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """Also below two layers of TLS."""
    heard = threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        heard.set()
        peer.hold()

    with RawServer(handler, tls=context()) as server, ThreadPoolExecutor(1) as pool:
        relay = Relay(address_of(server.endpoint))
        with relayed(relay, proxy_tls, trust, server) as (client, _):
            call = pool.submit(client.send, START)
            assert heard.wait(5.0)
            client.cut()
            reply = call.result(1.0)
    assert isinstance(reply, Broken)
    assert reply.cause == "this run closed the connection"


def test_a_slow_answer_ends_at_the_deadline(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """By the clock on the wall."""

    def drip(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not peer.server.over.wait(0.05):
            peer.say(b" ")

    with RawServer(drip, tls=context()) as server:
        relay = Relay(address_of(server.endpoint))
        with relayed(relay, proxy_tls, trust, server) as (client, _):
            began = time.monotonic()
            reply = client.send(replace(START, deadline=0.5))
            assert time.monotonic() - began < 3.0
    assert isinstance(reply, Broken)


def test_what_waits_inside_the_tunnel_is_noticed(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """Bytes that were not asked for are never taken for the next answer."""
    data = answer() + answer(429, b"x" * 12_000)
    with RawServer(always(data), tls=context()) as server:
        relay = Relay(address_of(server.endpoint))
        with relayed(relay, proxy_tls, trust, server) as (client, _):
            replies = [client.send(START) for _ in range(3)]
    assert [getattr(reply, "status", None) for reply in replies] == [200, 200, 200]


def test_a_tunnel_that_has_ended_is_replaced(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """A proxy ends idle tunnels; the next call makes a new one."""
    with RawServer(always(answer()), tls=context()) as server:
        relay = Relay(address_of(server.endpoint), cuts=(Cut.AFTER_ANSWER,))
        with relayed(relay, proxy_tls, trust, server) as (client, proxy):
            first = client.send(START)
            proxy._threads[0].join(5.0)
            second = client.send(START)
    assert [type(first), type(second)] == [Answer, Answer]
    assert relay.tunnels == 2


def test_the_other_end_can_be_shown(trust: Trust, proxy_tls: ssl.SSLContext | None) -> None:
    """For `batchform doctor`; the connection is used for the call that follows."""
    with RawServer(always(answer()), tls=context()) as server:
        relay = Relay(address_of(server.endpoint))
        with relayed(relay, proxy_tls, trust, server) as (client, _):
            other = client.open()
            assert isinstance(client.send(START), Answer)
    assert isinstance(other, Other)
    assert (other.address, other.protocol) == ("127.0.0.1", "TLSv1.2")
    assert "The Right One" in other.issuer
    assert relay.tunnels == 1
