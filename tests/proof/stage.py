"""A server with scripted connections, and the client's interpretation of each.

Only the wire is tested: one request through the real client to its meaning, compared with a second, simple
implementation of the rule. The reaction to a meaning is tested in `test_model`.
"""

from __future__ import annotations

import resource
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from batchform.api.client import Client
from batchform.api.contract import (
    list_meaning,
    list_request,
    read_meaning,
    start_meaning,
    start_request,
    status_request,
    traced,
)
from batchform.api.trust import Trust
from batchform.model import Service
from tests.api.servers import RawServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from batchform.api.contract import Reply, Request
    from tests.api.servers import Peer

BATCH: Final = "abc-1"
TOKEN: Final = "t0ken-on-the-wire-5e1d"
PATIENCE: Final = 20.0
"""Seconds; the deadline of calls that are not meant to reach it."""


@dataclass(frozen=True)
class Question:
    """One of the three calls, the interpretation of its replies, and the meaning if the result is unknown."""

    request: Request
    meaning: Callable[[Reply], object]
    nothing: str

    def within(self, seconds: float) -> Question:
        """The same with another deadline."""
        return replace(self, request=replace(self.request, deadline=seconds))


QUESTIONS: Final[Mapping[str, Question]] = {
    "start": Question(
        start_request(Service.PHONE, BATCH, "ref-1"), lambda reply: start_meaning(reply, BATCH), "Doubtful"
    ),
    "read": Question(
        traced(status_request(Service.PHONE, BATCH), "r1-1-read"), lambda reply: read_meaning(reply, BATCH), "NoAnswer"
    ),
    "list": Question(traced(list_request(Service.PHONE), "r1-2-read"), list_meaning, "NoAnswer"),
}

Play: TypeAlias = "Callable[[Peer], None]"


@dataclass
class Tally:
    """The number of calls, the wrong results, and by how much the latest call exceeded its deadline."""

    calls: int = 0
    wrong: list[str] = field(default_factory=list)
    overrun: float = float("-inf")
    classes: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.classes.items()))
        return f"{self.calls:,} calls ({counts}), {len(self.wrong)} wrong"


class Stage:
    """A server that plays a script for the next connection, a client, and a tally. Use it in a `with` statement."""

    def __init__(self, tls: ssl.SSLContext | None = None, ca_file: str | None = None) -> None:
        self.tally = Tally()
        self._play: Play = lambda _: None
        self._server = RawServer(self._perform, tls=tls)
        self._ca_file = ca_file
        self._client: Client | None = None

    def __enter__(self) -> Self:
        self._server.__enter__()
        self._client = self.client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        self._client.close()
        self._server.__exit__(kind, error, trace)

    def _perform(self, peer: Peer) -> None:
        self._play(peer)

    @property
    def server(self) -> RawServer:
        """The server."""
        return self._server

    def client(self) -> Client:
        """A new client, for calls that must not share a connection."""
        return Client(self._server.endpoint, TOKEN, trust=Trust(path=self._ca_file or ""))

    def ask(self, question: Question, play: Play, expected: set[str], what: str, client: Client | None = None) -> str:
        """Send the request while the script is played, and record an unexpected class of result."""
        self._play = play
        self._server.requests.clear()
        sender = client or self._client
        assert sender is not None
        began = time.monotonic()
        heard = type(question.meaning(sender.send(question.request))).__name__
        took = time.monotonic() - began
        tally = self.tally
        tally.calls += 1
        tally.overrun = max(tally.overrun, took - question.request.deadline)
        tally.classes[heard] = tally.classes.get(heard, 0) + 1
        if heard not in expected:
            tally.wrong.append(f"{what}: {heard}, not {' or '.join(sorted(expected))}")
        return heard


# --- what is played --------------------------------------------------------------------------------------------------


def said(status: int, body: bytes, headers: bytes = b"", length: int | None = None) -> bytes:
    """An answer that ends its connection and has a Content-Length (`length`: a wrong one)."""
    return b"HTTP/1.1 %d Some\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status,
        headers,
        len(body) if length is None else length,
        body,
    )


def chunked(status: int, body: bytes, size: int = 1 << 16) -> bytes:
    """The same answer in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    head = b"HTTP/1.1 %d Some\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def open_ended(status: int, body: bytes) -> bytes:
    """The same answer, ended by the end of the connection."""
    return b"HTTP/1.1 %d Some\r\nConnection: close\r\n\r\n%s" % (status, body)


def answering(*parts: bytes, reset: bool = False) -> Play:
    """Read the request, send these bytes, and close the connection or reset it."""

    def play(peer: Peer) -> None:
        peer.request()
        for part in parts:
            peer.say(part)
        if reset:
            peer.reset()

    return play


def hearing(count: int, data: bytes, *, whole: int, reset: bool = False) -> Play:
    """Read a number of bytes of a request, then close. Send `data` only if these bytes were the `whole` request."""

    def play(peer: Peer) -> None:
        heard = 0
        while heard < count:
            part = peer.wire.recv(count - heard)
            if not part:
                return
            heard += len(part)
        if heard >= whole:
            peer.say(data)
        elif reset:
            peer.reset()
        else:
            peer.wire.shutdown(socket.SHUT_WR)
            peer.hold()

    return play


# --- what it costs ---------------------------------------------------------------------------------------------------


def resident() -> int:
    """The resident memory of this process in bytes or, if that is unavailable, its maximum so far."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
