"""The only sender. It answers one question about a request: did something leave, and what came back?

Built on single connections, not on a pool with retries, because everything hangs on one line: up to the end of
`connect` nothing of the request has left (`NotSent`, may be repeated), from the next statement on something may have
(`Broken`, must be looked into). `connect` includes the tunnel through a proxy and the TLS handshake inside it. Nothing
is ever sent a second time here, no redirect is followed, and nothing is decompressed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from urllib3 import connectionpool

from batchform.api.connection import USER_AGENT, Connector, peer_of
from batchform.api.contract import Answer, Broken, NotSent, foreign_id
from batchform.api.credentials import fixed_token
from batchform.api.deadline import CLOSED, CUT, LATE, Dial, Watchdog, cause_of
from batchform.api.reach import Failure, Peer
from batchform.api.secret import Redactor
from batchform.api.trust import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from urllib3 import BaseHTTPResponse
    from urllib3.connection import HTTPConnection

    from batchform.api.contract import Reply, Request
    from batchform.api.credentials import Authorizer
    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Proxy
    from batchform.api.trust import Trust

CONNECT_DEADLINE = 15.0
"""Seconds for DNS, TCP, a proxy and TLS together, within the deadline of the request."""

MAX_IDLE = 10.0
"""Seconds a connection may rest before it is replaced: shorter than the patience of common gateways."""

NOT_OURS = "another run may have taken over the state"

_CHUNK = 1 << 16
_LONGEST_ID = 80


class _TooLargeError(Exception):
    """The answer is larger than the request allows."""


class Client:
    """Sends requests to one endpoint with one kind of credentials. Any number of threads may call `send` at once.

    Each call has a connection to itself; connections that are still good afterwards are kept for the next one. The
    credentials go nowhere but into one header of requests to the endpoint, inside TLS. They stand as `[token]` wherever
    the server or an error repeats them.

    Args:
        endpoint: Where to send.
        authorizer: The token, sent as `Auth-Token`; or what gives each request its header.
        proxy: The proxy to go through, None for none.
        trust: The authorities that certificates are verified against.
        clock: Stamps the replies (seconds, monotonic). Deadlines always run on the real clock: they watch real sockets.
        may_start: Asked right before a start is sent. If it says no, nothing is sent.

    Raises:
        UsageError: The token or the certificates cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        authorizer: str | Authorizer,
        *,
        proxy: Proxy | None = None,
        trust: Trust = SYSTEM,
        clock: Callable[[], float] = time.monotonic,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        self._endpoint = endpoint
        self._authorizer = fixed_token(authorizer) if isinstance(authorizer, str) else authorizer
        self._proxy_secrets = () if proxy is None else proxy.secrets
        self._redacts: tuple[tuple[str, ...], Redactor] = ((), Redactor())
        self._connector = Connector(endpoint, proxy, trust)
        self._clock = clock
        self._may_start = may_start
        self._starting = threading.Lock()
        self._watchdog = Watchdog()
        self._lock = threading.Lock()
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._dials: set[Dial] = set()
        self._over = ""

    def __repr__(self) -> str:
        return f"Client({self._endpoint})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, request: Request) -> Reply:
        """The reply to `request`, which is sent at most once, within its deadline. No network failure raises."""
        began = self._clock()
        ends = time.monotonic() + request.deadline
        header = self._authorizer.header(ends)
        if isinstance(header, NotSent):
            cause = self._redactor().prose(header.cause)
            return replace(header, cause=cause, sent_at=began, received_at=self._clock())
        line = self._rested() or self._dialled(ends)
        if isinstance(line, Failure):
            return NotSent(cause=self._redactor().prose(line.text), sent_at=began, received_at=self._clock())
        return self._exchange(line, request, header, ends)

    def open(self) -> Peer | Failure:
        """Connect, and keep the connection for the next call: the other end, or why there is no connection."""
        line = self._rested() or self._dialled(time.monotonic() + CONNECT_DEADLINE)
        if isinstance(line, Failure):
            return replace(line, text=self._redactor().prose(line.text))
        peer = peer_of(line)
        self._keep(line)
        return peer

    def _redactor(self) -> Redactor:
        secrets = (*self._authorizer.secrets, *self._proxy_secrets)
        known, redactor = self._redacts
        if secrets != known:
            redactor = Redactor(*secrets)
            self._redacts = (secrets, redactor)
        return redactor

    def cut(self) -> None:
        """Shut every connection at once, from any thread. Calls under way return soon, later ones send nothing."""
        self._end(CUT)
        self._authorizer.cut()
        self._watchdog.cut()
        with self._lock:
            dials = list(self._dials)
        for dial in dials:
            dial.leave(CUT)

    def close(self) -> None:
        """Send nothing more. Calls under way end by themselves, within their deadlines."""
        self._end(CLOSED)
        self._authorizer.close()
        self._watchdog.rest()

    def _end(self, why: str) -> None:
        with self._lock:
            self._over = self._over or why
            idle, self._idle = self._idle, []
        for line, _ in idle:
            line.close()

    def _rested(self) -> HTTPConnection | Failure | None:
        """A kept connection that is still good, or the reason why none may be used, or None: make a new one."""
        while True:
            with self._lock:
                if self._over:
                    return Failure(step=None, text=self._over)
                if not self._idle:
                    return None
                line, since = self._idle.pop()
            if time.monotonic() - since <= MAX_IDLE and not _is_dropped(line):
                return line
            line.close()

    def _dialled(self, ends: float) -> HTTPConnection | Failure:
        """A new connection, through DNS, TCP, the proxy and TLS, or the reason why there is none."""
        left = min(ends - time.monotonic(), CONNECT_DEADLINE)
        if left <= 0:
            return Failure(step=None, text=LATE)
        line = self._connector.make(left)
        dial = Dial(line)
        with self._lock:
            if self._over:
                return Failure(step=None, text=self._over)
            self._dials.add(dial)
        try:
            why = dial.wait(left)
        finally:
            with self._lock:
                self._dials.discard(dial)
        if dial.error is not None or dial.late:
            return self._connector.failure(line, dial.error, left)
        return Failure(step=None, text=why) if why else line

    def _exchange(self, line: HTTPConnection, request: Request, header: tuple[str, str], ends: float) -> Reply:
        """Send `request` over a connected line, once, and read the answer."""
        headers = dict(request.headers) | {
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            header[0]: header[1],
        }
        watch = self._watchdog.watch(line.sock, ends)
        sent_at = self._clock()
        if isinstance(watch, str):
            line.close()
            return NotSent(cause=watch, sent_at=sent_at, received_at=sent_at)
        response: BaseHTTPResponse | None = None
        status, fields, body, cause, complete, foreign = 0, [("", "")], b"", "", False, ""
        try:
            line.timeout = max(ends - time.monotonic(), 0.001)
            if request.method == "POST":
                # safety: one thread at a time, so that a suspended process holds at most one start that may still leave
                with self._starting:
                    if not self._may_start():
                        return NotSent(cause=NOT_OURS, sent_at=sent_at, received_at=self._clock())
                    self._request(line, request, headers)
            else:
                self._request(line, request, headers)
            response = line.getresponse()
            status, fields = response.status, [(name.lower(), value) for name, value in response.headers.items()]
            # safety: an answer to another request says nothing about this one, and the next answer may be as wrong
            foreign = foreign_id(fields, request.reference_id)
            body = _body(response, request.max_bytes)
            complete = True
        except Exception as error:  # noqa: BLE001  # whatever it was: the outcome of this request must not be lost
            cause = cause_of(error)
        finally:
            stopped = self._watchdog.release(watch)
            # After an interim answer (status below 200), the real one is still to come.
            if complete and not stopped and not foreign and status >= 200:
                self._keep(line)
            else:
                _drop(line, response)
        received_at = self._clock()
        redactor = self._redactor()
        if stopped or not complete:  # safety: an answer that ended because its socket was shut is not complete
            return Broken(cause=redactor.prose(stopped or cause), sent_at=sent_at, received_at=received_at)
        if foreign:
            foreign = redactor.prose(foreign)[:_LONGEST_ID]
            said = f"the {status} answer has the Reference-Id of another request: {foreign}"
            return Broken(cause=said, foreign=foreign, sent_at=sent_at, received_at=received_at)
        return Answer(
            status=status,
            headers=tuple((name, redactor.header(value)) for name, value in fields),
            body=redactor.body(body, status),
            framed=any(_tells_its_end(name, value) for name, value in fields),
            renewed=self._authorizer.answered(header[1], status),
            sent_at=sent_at,
            received_at=received_at,
        )

    def _request(self, line: HTTPConnection, request: Request, headers: dict[str, str]) -> None:
        # safety: from here on something may have left: whatever goes wrong is `Broken`, and nothing is sent again
        line.request(
            request.method,
            request.path,
            body=request.body or None,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )

    def _keep(self, line: HTTPConnection) -> None:
        """Keep a connection for the next call, unless the server or the client has ended it."""
        with self._lock:
            if line.sock is not None and not self._over:
                self._idle.append((line, time.monotonic()))
                return
        line.close()


def _is_dropped(line: HTTPConnection) -> bool:
    """Whether a resting connection was closed by the server, or holds bytes that were not asked for."""
    wire: Any = line.sock
    inner = (wire.socket, wire.sslobj, wire.incoming) if hasattr(wire, "sslobj") else ()  # TLS in TLS
    for part in (wire, *inner):
        pending = getattr(part, "pending", 0)
        if pending() if callable(pending) else pending:
            return True
    return bool(connectionpool.is_connection_dropped(line))  # type: ignore[attr-defined]  # vcrpy replaces it there


def _tells_its_end(name: str, value: str) -> bool:
    """Whether this header says where the answer ends. One that was cut off in its value does not (`chun`, or nothing).

    Source: RFC 9112, 6.3.
    """
    if name == "transfer-encoding":
        return value.strip().lower() == "chunked"
    return name == "content-length" and value.strip().isdecimal()


def _body(response: BaseHTTPResponse, max_bytes: int) -> bytes:
    """The whole body as it came over the wire.

    Raises:
        _TooLargeError: It has, or announces, more than `max_bytes`.
    """
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and len(announced) <= 15 and int(announced) > max_bytes:
        raise _TooLargeError(f"the answer announces {announced} bytes, but {max_bytes} are allowed")
    parts: list[bytes] = []
    size = 0
    while part := response.read(_CHUNK, decode_content=False):
        size += len(part)
        if size > max_bytes:
            raise _TooLargeError(f"the answer has more than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _drop(line: HTTPConnection, response: BaseHTTPResponse | None) -> None:
    if response is not None:
        with suppress(Exception):
            response.close()
    with suppress(Exception):
        line.close()
