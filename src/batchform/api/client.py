"""The only client. For each request it returns whether anything was sent and what was received.

It uses single connections and not a pool with retries, because of one distinction: until `connect` returns, nothing of
the request has been sent (`NotSent`, may be repeated); from the next statement on, something may have been sent
(`Broken`, must be verified). `connect` includes the tunnel through a proxy and the TLS handshake inside it. Nothing is
sent twice, no redirect is followed, and nothing is decompressed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from urllib3 import connectionpool

from batchform.api.connection import USER_AGENT, Connector, peer_of
from batchform.api.contract import SINGLE_BYTES, Answer, Broken, NotSent, foreign_id
from batchform.api.credentials import fixed_token
from batchform.api.deadline import CLOSED, CUT, LATE, Connecting, Watchdog, cause_of
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

    Log: TypeAlias = Callable[[Endpoint, Request, Reply], None]

CONNECT_DEADLINE = 15.0
"""Seconds for DNS, TCP, a proxy and TLS together, within the deadline of the request."""

MAX_IDLE = 10.0
"""Seconds that a connection may be idle before it is replaced: less than the idle timeout of common gateways."""

NOT_OURS = "another run may have taken over the state"

_CHUNK = 1 << 16
_LONGEST_ID = 80


class _TooLargeError(Exception):
    """The answer is larger than the request allows."""


class Client:
    """Sends requests to one endpoint with one kind of credentials. Thread-safe: any number of threads may call `send`.

    Each call uses its own connection. A connection that is still usable afterwards is kept for another call. The
    credentials are sent in one header of requests to the endpoint, inside TLS, and nowhere else. If the server or an
    error repeats them, they are replaced by `[token]`.

    Args:
        endpoint: The server.
        authorizer: The token, sent as `Auth-Token`, or an object that returns the header of each request.
        proxy: The proxy, None for none.
        trust: The authorities that verify certificates.
        clock: Returns the times of the replies (monotonic seconds). Deadlines always use the real clock, because they
            close real sockets.
        may_start: Called right before a start is sent. If it returns false, nothing is sent.
        log: Called after each request, on the thread that sent it.

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
        log: Log | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._authorizer = fixed_token(authorizer) if isinstance(authorizer, str) else authorizer
        self._proxy_secrets = () if proxy is None else proxy.secrets
        self._redacts: tuple[tuple[str, ...], Redactor] = ((), Redactor())
        self._connector = Connector(endpoint, proxy, trust)
        self._clock = clock
        self._may_start = may_start
        self._log = log
        self._starting = threading.Lock()
        self._watchdog = Watchdog()
        self._lock = threading.Lock()
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._connecting: set[Connecting] = set()
        self._ended = ""

    def __repr__(self) -> str:
        return f"Client({self._endpoint})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, request: Request) -> Reply:
        """Send `request` at most once, within its deadline, and return the reply. No network error raises."""
        reply = self._send(request)
        if self._log is not None:
            self._log(self._endpoint, request, reply)
        return reply

    def _send(self, request: Request) -> Reply:
        began = self._clock()
        ends = time.monotonic() + request.deadline
        header = self._authorizer.header(ends)
        if isinstance(header, NotSent):
            cause = self._redactor().prose(header.cause)
            return replace(header, cause=cause, sent_at=began, received_at=self._clock())
        connection = self._idle_connection() or self._new_connection(ends)
        if isinstance(connection, Failure):
            return NotSent(cause=self._redactor().prose(connection.text), sent_at=began, received_at=self._clock())
        return self._exchange(connection, request, header, ends)

    def open(self) -> Peer | Failure:
        """Connect and keep the connection for the next call. Returns the other end, or why there is no connection."""
        connection = self._idle_connection() or self._new_connection(time.monotonic() + CONNECT_DEADLINE)
        if isinstance(connection, Failure):
            return replace(connection, text=self._redactor().prose(connection.text))
        peer = peer_of(connection)
        self._keep(connection)
        return peer

    def _redactor(self) -> Redactor:
        secrets = (*self._authorizer.secrets, *self._proxy_secrets)
        known, redactor = self._redacts
        if secrets != known:
            redactor = Redactor(*secrets)
            self._redacts = (secrets, redactor)
        return redactor

    def cut(self) -> None:
        """Shut every connection at once, from any thread. Current calls return soon, later calls send nothing."""
        self._end(CUT)
        self._authorizer.cut()
        self._watchdog.cut()
        with self._lock:
            attempts = list(self._connecting)
        for attempt in attempts:
            attempt.abandon(CUT)

    def close(self) -> None:
        """Send nothing more. Current calls end within their deadlines."""
        self._end(CLOSED)
        self._authorizer.close()
        self._watchdog.close()

    def _end(self, why: str) -> None:
        with self._lock:
            self._ended = self._ended or why
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _idle_connection(self) -> HTTPConnection | Failure | None:
        """A usable idle connection, None if there is none, or the reason why nothing may be sent."""
        while True:
            with self._lock:
                if self._ended:
                    return Failure(step=None, text=self._ended)
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since <= MAX_IDLE and not _is_dropped(connection):
                return connection
            connection.close()

    def _new_connection(self, ends: float) -> HTTPConnection | Failure:
        """A new connection (DNS, TCP, the proxy and TLS), or the reason why there is none."""
        left = min(ends - time.monotonic(), CONNECT_DEADLINE)
        if left <= 0:
            return Failure(step=None, text=LATE)
        connection = self._connector.make(left)
        attempt = Connecting(connection)
        with self._lock:
            if self._ended:
                return Failure(step=None, text=self._ended)
            self._connecting.add(attempt)
        try:
            why = attempt.wait(left)
        finally:
            with self._lock:
                self._connecting.discard(attempt)
        if attempt.error is not None or attempt.late:
            return self._connector.failure(connection, attempt.error, left)
        return Failure(step=None, text=why) if why else connection

    def _exchange(self, connection: HTTPConnection, request: Request, header: tuple[str, str], ends: float) -> Reply:
        """Send `request` over a connection, once, and read the answer."""
        headers = dict(request.headers) | {
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            header[0]: header[1],
        }
        watch = self._watchdog.watch(connection.sock, ends)
        sent_at = self._clock()
        if isinstance(watch, str):
            connection.close()
            return NotSent(cause=watch, sent_at=sent_at, received_at=sent_at)
        response: BaseHTTPResponse | None = None
        status, fields, body, cause, complete, foreign = 0, [("", "")], b"", "", False, ""
        too_large = False
        try:
            connection.timeout = max(ends - time.monotonic(), 0.001)
            if request.method == "POST":
                # safety: one thread at a time, so that a suspended process has at most one start that may still be sent
                with self._starting:
                    if not self._may_start():
                        return NotSent(cause=NOT_OURS, sent_at=sent_at, received_at=self._clock())
                    self._request(connection, request, headers)
            else:
                self._request(connection, request, headers)
            response = connection.getresponse()
            status, fields = response.status, [(name.lower(), value) for name, value in response.headers.items()]
            # safety: an answer to another request says nothing about this one, and the next answer may be as wrong
            foreign = foreign_id(fields, request.reference_id)
            body = _body(response, request.max_bytes if status == 200 else min(request.max_bytes, SINGLE_BYTES))
            complete = True
        except Exception as error:  # noqa: BLE001  # every error must become a reply: the outcome must not be lost
            cause, too_large = cause_of(error), isinstance(error, _TooLargeError)
        finally:
            stopped = self._watchdog.release(watch)
            # After an interim answer (1xx), another one follows.
            if complete and not stopped and not foreign and status >= 200:
                self._keep(connection)
            else:
                _drop(connection, response)
        received_at = self._clock()
        redactor = self._redactor()
        if stopped or not complete:  # safety: an answer that ended because we shut the socket is incomplete
            cause = redactor.prose(stopped or cause)
            return Broken(cause=cause, too_large=too_large, sent_at=sent_at, received_at=received_at)
        if foreign:
            foreign = redactor.prose(foreign)[:_LONGEST_ID]
            said = f"the {status} answer has the Reference-Id of another request: {foreign}"
            return Broken(cause=said, foreign=foreign, sent_at=sent_at, received_at=received_at)
        return Answer(
            status=status,
            headers=tuple((name, redactor.header(value)) for name, value in fields),
            body=redactor.body(body, status),
            framed=any(_is_framing(name, value) for name, value in fields),
            renewed=self._authorizer.answered(header[1], status),
            sent_at=sent_at,
            received_at=received_at,
        )

    def _request(self, connection: HTTPConnection, request: Request, headers: dict[str, str]) -> None:
        # safety: from here on something may have been sent: every error is `Broken`, and nothing is sent again
        connection.request(
            request.method,
            request.path,
            body=request.body or None,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )

    def _keep(self, connection: HTTPConnection) -> None:
        """Keep a connection for the next call, unless the server or the client has closed it."""
        with self._lock:
            if connection.sock is not None and not self._ended:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def _is_dropped(connection: HTTPConnection) -> bool:
    """Whether the server has closed an idle connection, or has sent bytes without a request."""
    wire: Any = connection.sock
    inner = (wire.socket, wire.sslobj, wire.incoming) if hasattr(wire, "sslobj") else ()  # TLS in TLS
    for part in (wire, *inner):
        pending = getattr(part, "pending", 0)
        if pending() if callable(pending) else pending:
            return True
    return bool(connectionpool.is_connection_dropped(connection))  # type: ignore[attr-defined]  # vcrpy replaces it there


def _is_framing(name: str, value: str) -> bool:
    """Whether this header says where the answer ends. A truncated value such as `chun` does not.

    Source: RFC 9112, 6.3.
    """
    if name == "transfer-encoding":
        return value.strip().lower() == "chunked"
    return name == "content-length" and value.strip().isdecimal()


def _body(response: BaseHTTPResponse, max_bytes: int) -> bytes:
    """The complete body as received.

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


def _drop(connection: HTTPConnection, response: BaseHTTPResponse | None) -> None:
    if response is not None:
        with suppress(Exception):
            response.close()
    with suppress(Exception):
        connection.close()
