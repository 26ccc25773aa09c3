"""The world over HTTP: framing, order, the log, and a complete shutdown."""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchform.simulator import Batch, Log, World, serve, server
from tests.simulator.calls import BATCHES, TOKEN, Clock, Watched, address, call, connected, raw, raw_start

if TYPE_CHECKING:
    from collections.abc import Iterator


def world(**options: Any) -> World:
    """A world with 100 submitted batches, b0 to b99, and a high rate limit."""
    batches = tuple(Batch(batch_id=f"b{number}") for number in range(100))
    given: dict[str, Any] = {"token": TOKEN, "batches": batches, "rate_limit": 1_000_000}
    return World(**given | options)


def test_a_connection_serves_many_requests() -> None:
    """HTTP/1.1 keeps the connection open, and a body is not read as the next request."""
    with serve(world()) as url, connected(url) as connection:
        ports = set()
        for _ in range(3):
            connection.request("POST", BATCHES, body=b'{"phones": [{"number": "1"}]}', headers={"Auth-Token": TOKEN})
            assert connection.getresponse().read().startswith(b'{"result"')
            assert connection.sock is not None
            ports.add(connection.sock.getsockname()[1])
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        ("HTTP/1.1\r\nConnection: close", True),
        ("HTTP/1.0", True),
        ("HTTP/1.0\r\nConnection: keep-alive", False),
        ("HTTP/1.1", False),
    ],
)
def test_the_connection_closes_when_asked_to(head: str, closes: bool) -> None:  # noqa: FBT001 - a test's parameter
    """Otherwise it stays open."""
    asked = f"GET {BATCHES}/b1 {head}\r\nAuth-Token: {TOKEN}\r\n\r\n".encode()
    last = f"GET {BATCHES}/b1 HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
    with serve(world()) as url:
        assert raw(url, asked + last).count(b"HTTP/1.1 ") == (1 if closes else 2)


def test_a_chunked_body() -> None:
    """The chunks are joined; extensions and trailers are ignored."""
    body = b'4;x=y\r\n{"ph\r\nA\r\nones":[{}]\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n'
    head = f"POST {BATCHES} HTTP/1.1\r\nAuth-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with serve(world()) as url:
        assert raw(url, head.encode() + body).startswith(b"HTTP/1.1 200 OK\r\n")


def test_expect_100_continue() -> None:
    """The server sends 100 Continue before the body arrives."""
    head = (
        f"POST {BATCHES}/b1/start HTTP/1.1\r\nAuth-Token: {TOKEN}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    with serve(world()) as url, socket.create_connection(address(url), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(17) == b"HTTP/1.1 200 OK\r\n"


def test_head_has_no_body() -> None:
    """A body would be read as the next answer."""
    with serve(world()) as url, connected(url) as connection:
        connection.request("HEAD", f"{BATCHES}/b1", headers={"Auth-Token": TOKEN})
        response = connection.getresponse()
        assert (response.status, response.read()) == (404, b"")


MALFORMED = {
    "no HTTP at all": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nnothing\r\n\r\n",
    "space in a header name": b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
    "control character in a header": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "endless line": b"G" * 100_000,
    "too many headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300,
    "bad length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "huge length": b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "other coding": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "bad end of a chunk": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_http_is_answered_400(sent: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged, nothing is printed, and the server continues."""
    log, there = Log(), world()
    with serve(there, log=log) as url:
        with socket.create_connection(address(url), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert call(url)[0] == 200
    assert (log.entries[0].did, log.entries[0].status, log.entries[0].operation) == ("malformed request", 400, None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "sent", [b"", b"POST /pho", raw_start()[:-3], b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_client_that_leaves_early_is_no_request(sent: bytes) -> None:
    """Nothing is changed, logged or printed."""
    log, there = Log(), world()
    with serve(there, log=log) as url:
        socket.create_connection(address(url)).close()
        with socket.create_connection(address(url), timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    assert not log.entries
    assert not there.accepted


@pytest.fixture
def restless() -> Iterator[None]:
    """Switch threads very often, to provoke races."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_a_hundred_connections_at_once() -> None:
    """All start each batch at the same time, and it is started once. The log has the order of acting."""
    there, log, together = world(), Log(), threading.Barrier(100)

    def client(_: int) -> list[int]:
        statuses = []
        with connected(url) as connection:
            together.wait(30)
            for number in range(10):
                connection.request("POST", f"{BATCHES}/b{number}/start", headers={"Auth-Token": TOKEN})
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
        return statuses

    with serve(there, log=log) as url, ThreadPoolExecutor(100) as pool:
        statuses = [status for found in pool.map(client, range(100)) for status in found]
    assert (statuses.count(200), statuses.count(400)) == (10, 990)
    assert there.accepted == {f"b{number}": 1 for number in range(10)}
    assert [entry.remaining for entry in log.entries] == sorted((e.remaining for e in log.entries), reverse=True)
    for number in range(10):
        assert [e.accepted for e in log.entries if e.batch_id == f"b{number}"] == [True] + [False] * 99


# --- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_file_has_a_line_per_request_and_no_token(tmp_path: Path) -> None:
    """They equal the entries in memory and are on disk before the answer is sent."""
    path = tmp_path / "log.jsonl"
    with Log(path) as log, serve(world(), log=log, clock=Clock()) as url:
        call(url, Reference_Id="run-7", X_App_Key="secret-1", Authorization="Bearer secret-2")
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [json.loads(entry.as_json()) for entry in log.entries]
    entry = json.loads(lines[0])
    assert "secret" not in lines[0]
    assert TOKEN not in lines[0]
    assert (entry["headers"]["Auth-Token"], entry["headers"]["Reference-Id"]) == ("[token]", "run-7")
    del entry["headers"]
    assert entry == {
        "time": "2026-09-21T14:14:00.000000Z",
        "method": "POST",
        "path": f"{BATCHES}/b1/start",
        "operation": "start",
        "batch_id": "b1",
        "did": "started",
        "accepted": True,
        "credits_charged": 1,
        "status": 200,
        "remaining": 999_999,
    }


def test_tokens_are_hidden_in_any_case() -> None:
    """This holds for any letter case and for repeated headers."""
    sent = (
        f"POST {BATCHES}/b1/start HTTP/1.1\r\nAUTH-TOKEN: {TOKEN}\r\nauth-token: another\r\nx-APP-key: third\r\n"
        "A: one\r\nA: two\r\nConnection: close\r\n\r\n"
    )
    with Log() as log, serve(world(), log=log) as url:
        raw(url, sent.encode())
    assert log.entries[0].headers == {
        "AUTH-TOKEN": "[token]",
        "auth-token": "[token]",
        "x-APP-key": "[token]",
        "A": "one, two",
        "Connection": "close",
    }


def test_the_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A second run appends."""
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        with Log(path) as log, serve(world(), log=log) as url:
            call(url)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
def test_a_log_that_cannot_be_written_is_no_trouble_of_a_connection() -> None:
    """It must be reported, because entries would be missing."""
    with Log() as log, serve(world(), log=log) as url:
        call(url)
    with Log(Path("/dev/full")) as full, pytest.raises(RuntimeError, match="cannot be written"):
        full.write(log.entries[0])
    assert full.entries == log.entries


def test_half_the_latency_comes_before_acting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half comes after it, as on a real server."""
    pauses: list[tuple[float, int]] = []
    log = Log()
    monkeypatch.setattr(server.Server, "_pause", lambda _, seconds: pauses.append((seconds, len(log.entries))))
    with serve(world(), log=log, latency=30.0) as url:
        assert call(url)[0] == 200
    assert pauses == [(15.0, 0), (15.0, 1)]


def test_a_client_that_leaves_before_the_answer_has_started_its_batch() -> None:
    """The start stays accepted and is in the log."""
    there, log = world(), Watched()
    with serve(there, log=log) as url:
        with socket.create_connection(address(url)) as connection:
            connection.sendall(raw_start())
        assert log.written.wait(10)
    assert there.accepted == {"b1": 1}


# --- where and how long ----------------------------------------------------------------------------------------------


def test_the_options_replace_what_the_world_says() -> None:
    """Token, rate and speed are replaced; the other settings stay."""
    there = world(rate_limit=7, speed=3.0)
    with serve(there, token="another", rate_limit=1, rate_window=1e9) as url:
        assert call(url, Auth_Token="another")[0] == 200
        assert call(url, Auth_Token="another")[0] == 429
    assert (there.rate_limit, there.speed) == (1, 3.0)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_bound(host: str) -> None:
    """Other addresses are refused."""
    with pytest.raises(ValueError, match="not a loopback address"), serve(world(), host=host):
        pass


def test_localhost_is_loopback() -> None:
    """The name works like the number."""
    with serve(world(), host="localhost") as url:
        assert url.startswith("http://localhost:")
        assert call(url)[0] == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6_loopback() -> None:
    """Its URL has brackets."""
    try:
        with serve(world(), host="::1") as url:
            assert url.startswith("http://[::1]:")
            assert call(url)[0] == 200
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing() -> None:
    """A port cannot be used twice."""
    with serve(world()) as url, pytest.raises(OSError, match="in use"), serve(world(), port=address(url)[1]):
        pass


def test_stopping_closes_idle_connections_and_ends_every_thread() -> None:
    """An idle keep-alive connection does not delay the shutdown."""
    before = set(threading.enumerate())
    with serve(world()) as url:
        idle = [socket.create_connection(address(url), timeout=10) for _ in range(20)]
        call(url)
    assert set(threading.enumerate()) == before
    for connection in idle:
        with connection:
            assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(url))
