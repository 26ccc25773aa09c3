"""Requests to a world, directly and over a socket, and a clock that does not advance."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from batchform.simulator import Entry, Log, Request
from batchform.simulator.batches import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchform.simulator import Decision, Status, World

NOW = 1_790_000_040.0
"""A moment in UTC epoch seconds, at the very beginning of a minute."""

TOKEN = "let-me-in"
BATCHES = "/phone/bulk/v1/batches"


class Clock:
    """Does not advance unless `now` is set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time in UTC epoch seconds."""
        return self.now


class Watched(Log):
    """A log with an event that is set after a write."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, entry: Entry) -> None:
        """Add an entry and set the event."""
        super().write(entry)
        self.written.set()


def request(
    method: str = "POST",
    path: str = f"{BATCHES}/b1/start",
    *,
    token: str | None = TOKEN,
    body: object = b"",
    **headers: str,
) -> Request:
    """A request. Underscores in header names become hyphens; a body that is not bytes is sent as JSON."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if token is not None:
        named.append(("Auth-Token", token))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(method=method, path=path, headers=tuple(named), body=raw)


def status_of(world: World, batch_id: str) -> Status:
    """The true status, whatever lag or faults show."""
    return progress(world._lives[batch_id], world._now or 0.0, world.speed).status


def start(world: World, batch_id: str = "b1", now: float = NOW) -> Decision:
    """Send a start."""
    return world.handle(request(path=f"{BATCHES}/{batch_id}/start"), now)


def read(world: World, batch_id: str = "b1", now: float = NOW) -> dict[str, Any]:
    """The `result` of a status read."""
    return result(world.handle(request("GET", f"{BATCHES}/{batch_id}"), now))


def listed(world: World, now: float = NOW) -> list[dict[str, Any]]:
    """The batches of a list call."""
    batches: list[dict[str, Any]] = result(world.handle(request("GET", BATCHES), now))["batches"]
    return batches


def result(decision: Decision) -> dict[str, Any]:
    """The `result` of a decision's response."""
    assert decision.response.status == 200, decision
    found: dict[str, Any] = json.loads(decision.response.body)["result"]
    return found


def address(url: str) -> tuple[str, int]:
    """The host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    """An HTTP connection with a timeout of 10 seconds."""
    connection = http.client.HTTPConnection(*address(url), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def call(
    url: str, method: str = "POST", path: str = f"{BATCHES}/b1/start", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body of one call over a new connection."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connected(url) as connection:
        connection.request(method, path, body=body, headers={"Auth-Token": TOKEN, **named})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()


def raw_start(batch_id: str = "b1") -> bytes:
    """The bytes of a start request."""
    return f"POST {BATCHES}/{batch_id}/start HTTP/1.1\r\nAuth-Token: {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode()


def raw(url: str, sent: bytes) -> bytes:
    """Send these bytes and return everything received until the server closes the connection.

    Raises:
        ConnectionResetError: The server reset the connection.
        TimeoutError: Nothing was received for 10 seconds.
    """
    with socket.create_connection(address(url), timeout=10) as connection:
        connection.sendall(sent)
        received = bytearray()
        while some := connection.recv(65536):
            received += some
        return bytes(received)
