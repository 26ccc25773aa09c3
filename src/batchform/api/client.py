"""The only sender. It answers one question about a request: did something leave, and what came back?

Built on single connections, not on a pool with retries, because everything hangs on one line: up to the end of
`connect` nothing of the request has left (`NotSent`, may be repeated), from the next statement on something may have
(`Broken`, must be looked into). Nothing is ever sent a second time here, no redirect is followed, nothing is
decompressed, and proxies (also those of the environment) are not used.

Connections are made from `ConnectionCls` of urllib3's pools, looked up at each use: that is where vcrpy puts its own.
"""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from urllib3 import connectionpool
from urllib3.connection import HTTPConnection

from batchform import __version__
from batchform.api.contract import Answer, Broken, NotSent
from batchform.api.deadline import CLOSED, CUT, LATE, Dial, Watchdog, cause_of
from batchform.api.secret import Redactor, check_token
from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from urllib3 import BaseHTTPResponse

    from batchform.api.contract import Reply, Request
    from batchform.api.endpoint import Endpoint

MAX_IDLE = 10.0
"""Seconds a connection may rest before it is replaced: shorter than the patience of common gateways."""

_CHUNK = 1 << 16


class _TooLargeError(Exception):
    """The answer is larger than the request allows."""


class Client:
    """Sends requests to one endpoint with one token. Safe to share: any number of threads may call `send` at once.

    Each call has a connection to itself; connections that are still good afterwards are kept for the next one. The
    token goes nowhere but into the `Auth-Token` header of requests to the endpoint, and stands as `[token]` wherever
    the server or an error repeats it.

    `clock` stamps the replies (seconds, monotonic). Deadlines always run on the real clock: they watch real sockets.
    TLS is verified against the system's store (`SSL_CERT_FILE` names another), or against `ca_file` alone.

    Raises:
        UsageError: The token or `ca_file` cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        ca_file: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._token = check_token(token)
        self._redactor = Redactor(token)
        self._clock = clock
        self._tls = _tls(ca_file) if endpoint.scheme == "https" else None
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
        """What came of sending `request` once, within its deadline. Nothing that the network does raises."""
        began = self._clock()
        ends = time.monotonic() + request.deadline
        line = self._rested() or self._dialled(ends)
        if isinstance(line, str):
            return NotSent(cause=self._redactor.prose(line), sent_at=began, received_at=self._clock())
        return self._exchange(line, request, ends)

    def cut(self) -> None:
        """Shut every connection at once, from any thread. Calls under way return soon, later ones send nothing."""
        self._end(CUT)
        self._watchdog.cut()
        with self._lock:
            dials = list(self._dials)
        for dial in dials:
            dial.leave(CUT)

    def close(self) -> None:
        """Send nothing more. Calls under way end by themselves, within their deadlines."""
        self._end(CLOSED)
        self._watchdog.rest()

    def _end(self, why: str) -> None:
        with self._lock:
            self._over = self._over or why
            idle, self._idle = self._idle, []
        for line, _ in idle:
            line.close()

    def _rested(self) -> HTTPConnection | str | None:
        """A kept connection that is still good, or the reason why none may be used, or None: make a new one."""
        while True:
            with self._lock:
                if self._over:
                    return self._over
                if not self._idle:
                    return None
                line, since = self._idle.pop()
            if time.monotonic() - since <= MAX_IDLE and not _is_dropped(line):
                return line
            line.close()

    def _dialled(self, ends: float) -> HTTPConnection | str:
        """A new connection, through DNS, TCP and TLS, or the reason why there is none."""
        left = ends - time.monotonic()
        if left <= 0:
            return LATE
        line = self._new_line(left)
        dial = Dial(line)
        with self._lock:
            if self._over:
                return self._over
            self._dials.add(dial)
        try:
            return dial.wait(left) or line
        finally:
            with self._lock:
                self._dials.discard(dial)

    def _new_line(self, timeout: float) -> HTTPConnection:
        host, port = self._endpoint.host, self._endpoint.port
        if self._tls is None:
            line = connectionpool.HTTPConnectionPool.ConnectionCls(host, port, timeout=timeout)
        else:
            secure = connectionpool.HTTPSConnectionPool.ConnectionCls
            line = secure(host, port, timeout=timeout, ssl_context=self._tls)
        assert isinstance(line, HTTPConnection)
        line.auto_open = 0  # safety: a connection that is gone is never opened anew behind our back
        return line

    def _exchange(self, line: HTTPConnection, request: Request, ends: float) -> Reply:
        """Send `request` over a connected line, once, and take in the answer."""
        headers = dict(request.headers) | {
            "Accept-Encoding": "identity",
            "User-Agent": f"batchform/{__version__}",
            "Auth-Token": self._token,
        }
        watch = self._watchdog.watch(line.sock, ends)
        sent_at = self._clock()
        if isinstance(watch, str):
            line.close()
            return NotSent(cause=watch, sent_at=sent_at, received_at=sent_at)
        response: BaseHTTPResponse | None = None
        status, fields, body, cause, complete = 0, [("", "")], b"", "", False
        try:
            line.timeout = max(ends - time.monotonic(), 0.001)
            # safety: from here on something may have left: whatever goes wrong is `Broken`, and nothing is sent again
            line.request(request.method, request.path, headers=headers, preload_content=False, decode_content=False)
            response = line.getresponse()
            status, fields = response.status, list(response.headers.items())
            body = _body(response, request.max_bytes)
            complete = True
        except Exception as error:  # noqa: BLE001  # whatever it was: the outcome of this request must not be lost
            cause = cause_of(error)
        finally:
            stopped = self._watchdog.release(watch)
            if complete and not stopped and status >= 200:  # after an interim answer the real one is still to come
                self._keep(line)
            else:
                _drop(line, response)
        received_at = self._clock()
        if stopped or not complete:  # safety: an answer that ended because its socket was shut is not complete
            return Broken(cause=self._redactor.prose(stopped or cause), sent_at=sent_at, received_at=received_at)
        return Answer(
            status=status,
            headers=tuple((name.lower(), self._redactor.header(value)) for name, value in fields),
            body=self._redactor.body(body, status),
            framed=any(_tells_its_end(name.lower(), value) for name, value in fields),
            sent_at=sent_at,
            received_at=received_at,
        )

    def _keep(self, line: HTTPConnection) -> None:
        """Keep a connection for the next call, unless the server or the client has ended it."""
        with self._lock:
            if line.sock is not None and not self._over:
                self._idle.append((line, time.monotonic()))
                return
        line.close()


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise UsageError("The CA file cannot be used", f"{ca_file}: {cause_of(error)}. Nothing was sent.") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_dropped(line: HTTPConnection) -> bool:
    """Whether a resting connection was closed by the server, or holds bytes that nobody asked for."""
    pending = getattr(line.sock, "pending", None)
    if pending is not None and pending():
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
        raise _TooLargeError(f"{announced} bytes were announced, {max_bytes} are allowed")
    parts: list[bytes] = []
    size = 0
    while part := response.read(_CHUNK, decode_content=False):
        size += len(part)
        if size > max_bytes:
            raise _TooLargeError(f"more than {max_bytes} bytes came")
        parts.append(part)
    return b"".join(parts)


def _drop(line: HTTPConnection, response: BaseHTTPResponse | None) -> None:
    if response is not None:
        with suppress(Exception):
            response.close()
    with suppress(Exception):
        line.close()
