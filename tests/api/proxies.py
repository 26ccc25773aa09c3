"""A CONNECT proxy on loopback that ends its tunnels where a test says. A proxy that others wrote is in `tests/e2e`."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from batchform.api.route import Proxy

if TYPE_CHECKING:
    from batchform.api.endpoint import Endpoint
    from tests.api.servers import Peer, RawServer

_APPLICATION_DATA = 23
"""The type of a TLS record that carries no handshake (TLS 1.2)."""


class Cut(StrEnum):
    """Where a tunnel ends."""

    NEVER = "never"
    AT_ONCE = "before CONNECT is read"
    UNANSWERED = "before CONNECT is answered"
    HALF_ANSWER = "within the answer to CONNECT"
    AFTER_200 = "after its 200"
    WITHIN_TLS = "within the TLS handshake"
    BEFORE_REQUEST = "before the request's first byte goes on"
    AFTER_REQUEST = "after the request's last byte, and the server has answered"
    WITHIN_ANSWER = "within the server's answer"
    AFTER_ANSWER = "after the first answer"


SENT = frozenset({Cut.BEFORE_REQUEST, Cut.AFTER_REQUEST, Cut.WITHIN_ANSWER})
"""From here on something may have left."""


@dataclass
class Relay:
    """Serves CONNECT: every tunnel leads to `target`, whatever host was asked for.

    `cuts` are for the tunnels in their order; those after them are never cut. `inspect` is the proxy's own side of TLS,
    if it decrypts; then `upstream` verifies the target.
    """

    target: tuple[str, int]
    cuts: tuple[Cut, ...] = ()
    inspect: ssl.SSLContext | None = None
    upstream: ssl.SSLContext | None = None
    tunnels: int = 0
    heads: list[bytes] = field(default_factory=list)
    clear: bytearray = field(default_factory=bytearray)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        with self._lock:
            cut = self.cuts[self.tunnels] if self.tunnels < len(self.cuts) else Cut.NEVER
            self.tunnels += 1
        if cut is Cut.AT_ONCE:
            return
        self.heads.append(peer.request())
        if cut is Cut.UNANSWERED:
            return
        if cut is Cut.HALF_ANSWER:
            peer.say(b"HTTP/1.1 2")
            return
        with socket.create_connection(self.target) as there:
            peer.say(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            if cut is Cut.AFTER_200:
                return
            if self.inspect is None:
                self.pass_on(peer, there, cut)
                return
            assert self.upstream is not None
            with (
                self.inspect.wrap_socket(peer.wire, server_side=True) as peer.wire,
                self.upstream.wrap_socket(there, server_hostname="localhost") as secure,
            ):
                self.pass_on(peer, secure, cut)

    def pass_on(self, peer: Peer, there: socket.socket, cut: Cut) -> None:
        """Pass bytes on in both directions, up to the cut."""
        here = peer.wire
        while not peer.server.over.is_set():
            ready = [wire for wire in (here, there) if isinstance(wire, ssl.SSLSocket) and wire.pending()]
            for wire in ready or select.select([here, there], [], [], 0.02)[0]:
                data = wire.recv(65536)
                if not data:
                    return
                if wire is here and self.inspect is not None:
                    self.clear += data
                is_request = wire is here and (data[0] == _APPLICATION_DATA or self.inspect is not None)
                is_answer = wire is there and (data[0] == _APPLICATION_DATA or self.inspect is not None)
                if cut is Cut.BEFORE_REQUEST and is_request:
                    return
                if cut is Cut.WITHIN_TLS and wire is there:
                    here.sendall(data[: len(data) // 2])
                    return
                if cut is Cut.AFTER_REQUEST and is_answer:
                    return
                if cut is Cut.WITHIN_ANSWER and is_answer:
                    here.sendall(data[: len(data) // 2])
                    return
                (there if wire is here else here).sendall(data)
                if cut is Cut.AFTER_ANSWER and is_answer:
                    return


def forward(peer: Peer, there: socket.socket) -> None:
    """Pass bytes on in both directions, until one end has closed."""
    Relay(("", 0)).pass_on(peer, there, Cut.NEVER)


def proxy_at(server: RawServer, **more: str) -> Proxy:
    """How a client is told of this proxy."""
    scheme = "http" if server.tls is None else "https"
    return Proxy(scheme=scheme, host="127.0.0.1", port=server.port, setting="HTTPS_PROXY", **more)


def address_of(endpoint: Endpoint) -> tuple[str, int]:
    """Where a tunnel has to lead."""
    return endpoint.host, endpoint.port
