"""Faulty servers on loopback. Each handler receives one raw connection."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

from batchform.api.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Handler: TypeAlias = "Callable[[Peer], None]"


class GoneError(Exception):
    """The client has closed the connection, or the test has ended."""


@dataclass
class Peer:
    """One connection, from the side of the server."""

    wire: socket.socket
    server: RawServer
    number: int

    def request(self) -> bytes:
        """The head of the next request, which has no body. Raises GoneError if there is none."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.some()
        self.server.requests.append(head)
        return head

    def some(self) -> bytes:
        """A few bytes from the client."""
        while not self.server.over.is_set():
            pending = isinstance(self.wire, ssl.SSLSocket) and self.wire.pending()
            if pending or select.select([self.wire], [], [], 0.02)[0]:
                part = self.wire.recv(65536)
                if part:
                    return part
                break
        raise GoneError

    def say(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self.wire.sendall(data)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.wire.close()

    def hold(self) -> None:
        """Send nothing until the client closes the connection."""
        with contextlib.suppress(GoneError):
            while True:
                self.some()


@dataclass
class RawServer:
    """Accepts connections and runs `handler` for each in its own thread. `requests` are the received heads."""

    handler: Handler
    tls: ssl.SSLContext | None = None
    family: socket.AddressFamily = socket.AF_INET
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        self._listener = socket.create_server(
            ("::1" if self.family == socket.AF_INET6 else "127.0.0.1", 0), family=self.family, backlog=128
        )
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything and wait for the threads."""
        self.over.set()
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of this server."""
        host = "::1" if self.family == socket.AF_INET6 else "127.0.0.1"
        return Endpoint(scheme="http" if self.tls is None else "https", host=host, port=self.port)

    def _accept(self) -> None:
        while not self.over.is_set():
            if not select.select([self._listener], [], [], 0.02)[0]:
                continue
            wire, _ = self._listener.accept()
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(wire, self.connections))
            self.connections += 1
            # A finished thread that is referenced keeps its memory from Python 3.13 on.
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: socket.socket, number: int) -> None:
        wire.settimeout(5.0)
        try:
            if self.tls is not None:
                wire = self.tls.wrap_socket(wire, server_side=True)
            self.handler(Peer(wire, self, number))
        except (GoneError, OSError):
            pass  # the client has closed it, which many tests expect
        finally:
            wire.close()


def answer(status: int = 200, body: bytes = b"{}", headers: str = "") -> bytes:
    """A well-formed answer."""
    return f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(data: bytes) -> Handler:
    """Answer every request of a connection with the same bytes, and keep it open."""

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.say(data)

    return handler


def once(data: bytes) -> Handler:
    """Answer one request, then close."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.say(data)

    return handler
