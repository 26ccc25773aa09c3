"""Serve a world over HTTP/1.1: sockets, threads and the log. All decisions are made in `world`.

There is one thread per connection. The world decides and the log line is written under one lock, so the log has the
order in which the world acted, and each line is in the file before the first byte of the answer is sent. The standard
library's HTTP server is not used: the faults need the socket itself (half answers, resets, silence), and `close` must
end hanging connections at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import selectors
import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from batchform.simulator.faults import Drip, Drop, HalfBody, Hang, Normal, NotHttp, Reset, phrase
from batchform.simulator.world import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from batchform.simulator.faults import Response
    from batchform.simulator.world import Decision, World

_BACKLOG: Final = 1024
_LONGEST_LINE: Final = 32 * 1024
_MOST_HEADERS: Final = 200
_LARGEST_BODY: Final = 16 * 1024 * 1024
_SECRET_HEADERS: Final = frozenset({"auth-token", "authorization", "proxy-authorization", "x-app-key", "cookie"})
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.([01])")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
_NOT_HTTP: Final = b"\x15\x03\x01\x00\x02\x02\x46 this is not HTTP\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger


# --- the log ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log: a request and what the world did.

    `time` is UTC by the server's clock. In `headers`, each secret is replaced by `[token]`. `did` and `accepted` are
    those of the `Decision`. `status` is what the sender can read, None if no status line is sent.
    """

    time: str
    method: str
    path: str
    headers: Mapping[str, str]
    operation: str | None
    batch_id: str | None
    did: str
    accepted: bool
    credits_charged: int
    status: int | None
    remaining: int

    def as_json(self) -> str:
        """The entry as one line of JSON, without a line end."""
        return json.dumps(asdict(self))


class Log:
    """All requests and what the world did, in the order in which it acted.

    `entries` is the log in memory. With a path, each entry is also appended to that file as one line of JSON, before
    the answer is sent, so no line is lost when the client dies. Close the log, or use it in a `with` statement.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._file = None if path is None else path.open("ab", buffering=0)  # one write a line

    def write(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            RuntimeError: The file cannot be written. The entry is in memory.
        """
        self.entries.append(entry)
        if self._file is not None:
            try:
                self._file.write(f"{entry.as_json()}\n".encode())
            except OSError as error:  # errors of a connection are ignored, this one must not be
                raise RuntimeError("the simulator's log cannot be written") from error

    def close(self) -> None:
        """Close the file. The entries stay in memory."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _entry(request: Request, decision: Decision, now: float) -> Entry:
    """The log entry for a request."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        shown = "[token]" if name.lower() in _SECRET_HEADERS else value
        headers[name] = f"{headers[name]}, {shown}" if name in headers else shown
    return Entry(
        time=datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        method=request.method,
        path=request.path,
        headers=headers,
        operation=decision.operation,
        batch_id=decision.batch_id,
        did=decision.did,
        accepted=decision.accepted,
        credits_charged=decision.credits_charged,
        status=decision.status_sent,
        remaining=decision.remaining,
    )


# --- reading HTTP ----------------------------------------------------------------------------------------------------


class _MalformedError(Exception):
    """The bytes are not an HTTP request."""


class _ClosedError(Exception):
    """The client closed the connection before its request was complete."""


class _Reader:
    """Reads requests from one connection, in order."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def request(self) -> tuple[Request, bool] | None:
        """The next request and whether to keep the connection after it, None if the client has closed the connection.

        Raises:
            _MalformedError: The bytes are not an HTTP request, or too many.
            _ClosedError: The client closed the connection in the middle of a request.
        """
        if not self._buffer and not self._more():
            return None
        if not self._buffer[:1].isalpha():  # for example a TLS handshake, which has no line end
            raise _MalformedError
        asked = _REQUEST_LINE.fullmatch(self._until(b"\r\n", _LONGEST_LINE))
        if asked is None:
            raise _MalformedError
        headers = self._headers()
        fields = _fields(headers)
        if "100-continue" in fields.get("expect", ""):
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._body(fields)
        method, path, minor = (part.decode("ascii") for part in asked.groups())
        connection = fields.get("connection", "")
        keep = "close" not in connection and (minor == "1" or "keep-alive" in connection)
        return Request(method=method, path=path, headers=headers, body=body), keep

    def _headers(self) -> tuple[tuple[str, str], ...]:
        """Read the headers and the empty line after them."""
        headers = []
        while line := self._until(b"\r\n", _LONGEST_LINE):
            headers.append(_header(line))
            if len(headers) > _MOST_HEADERS:
                raise _MalformedError
        return tuple(headers)

    def _body(self, fields: Mapping[str, str]) -> bytes:
        """Read the body that the headers announce."""
        length, coding = fields.get("content-length"), fields.get("transfer-encoding")
        if coding is not None:
            if coding != "chunked" or length is not None:
                raise _MalformedError
            return self._chunks()
        if length is None:
            return b""
        if not re.fullmatch(r"[0-9]{1,12}", length) or int(length) > _LARGEST_BODY:
            raise _MalformedError
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        """Read a chunked body. Trailers are ignored."""
        body = bytearray()
        while True:
            size, _, _ = self._until(b"\r\n", _LONGEST_LINE).partition(b";")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size.strip()) or len(body) + int(size, 16) > _LARGEST_BODY:
                raise _MalformedError
            if int(size, 16) == 0:
                break
            body += self._exactly(int(size, 16))
            if self._exactly(2) != b"\r\n":
                raise _MalformedError
        self._headers()
        return bytes(body)

    def _more(self) -> bool:
        """Receive more bytes; False if the client has closed the connection."""
        received = self._connection.recv(65536)
        self._buffer += received
        return bool(received)

    def _until(self, end: bytes, most: int) -> bytes:
        """The bytes before `end`, which is removed too."""
        while (found := self._buffer.find(end)) < 0:
            if len(self._buffer) > most:
                raise _MalformedError
            if not self._more():
                raise _ClosedError
        taken = bytes(self._buffer[:found])
        del self._buffer[: found + len(end)]
        return taken

    def _exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._buffer) < count:
            if not self._more():
                raise _ClosedError
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _header(line: bytes) -> tuple[str, str]:
    """The name and value of a header line."""
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise _MalformedError
    return name.decode("ascii"), value.strip(b" \t").decode("latin-1")


def _fields(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The headers about the connection, in lower case. Repeated ones are joined with a comma."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in {"connection", "content-length", "expect", "transfer-encoding"}:
            fields[key] = f"{fields[key]},{value.lower()}" if key in fields else value.lower()
    return fields


def _head(response: Response, *, keep: bool) -> bytes:
    """The status line and headers of a response."""
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    if not keep:
        headers.append(("Connection", "close"))
    lines = [
        f"HTTP/1.1 {response.status} {phrase(response.status)}",
        *(f"{name}: {value}" for name, value in headers),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


# --- the server ------------------------------------------------------------------------------------------------------


class Server:
    """A world behind a listening socket at `url`. Made by `serve`."""

    def __init__(
        self,
        world: World,
        *,
        host: str,
        port: int,
        latency: float,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        self.world = world
        self._latency, self._log, self._clock = latency, log, clock
        self._deciding = threading.Lock()
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # guards the two collections below
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        bound = self._listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        world.begin(clock())
        self._acceptor = threading.Thread(target=self._accept, name="simulator", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop at once. When this returns, every connection is closed and every thread has ended."""
        self._stopping.set()
        self._waker.send(b"x")
        self._acceptor.join()
        for ended in (self._listener, self._waker, self._woken):
            ended.close()
        with self._guard:
            threads = list(self._threads)
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        """Accept connections until the server stops."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                try:
                    connection, _ = self._listener.accept()
                    self._begin(connection)
                except BlockingIOError:  # woken by `close`, or the client has closed the connection again
                    continue
                except OSError:  # no descriptors left: wait until some are closed
                    self._stopping.wait(0.01)

    def _begin(self, connection: socket.socket) -> None:
        """Start a thread for a connection."""
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._connection, args=(connection,), name="simulator connection", daemon=True)
        with self._guard:
            self._connections.add(connection)
            self._threads = {thread, *(other for other in self._threads if other.is_alive())}
            thread.start()

    def _connection(self, connection: socket.socket) -> None:
        """Serve one connection until it ends. Errors of the connection are ignored."""
        try:
            with contextlib.suppress(OSError, _ClosedError):
                reader = _Reader(connection)
                while self._exchange(connection, reader):
                    pass
        finally:
            with self._guard:
                self._connections.discard(connection)
                connection.close()

    def _exchange(self, connection: socket.socket, reader: _Reader) -> bool:
        """Serve one request; whether to keep the connection."""
        try:
            received = reader.request()
        except _MalformedError:
            self._refuse(connection)
            return False
        if received is None:
            return False
        request, keep = received
        self._pause(self._latency / 2)
        with self._deciding:
            now = self._clock()
            decision = self.world.handle(request, now)
            self._log.write(_entry(request, decision, now))
        self._pause(self._latency / 2)
        return self._answer(connection, decision, bodiless=request.method == "HEAD", keep=keep)

    def _refuse(self, connection: socket.socket) -> None:
        """Answer bytes that are not a request, and let the client read the answer before the connection is closed."""
        with self._deciding:
            now = self._clock()
            decision = self.world.malformed(now)
            self._log.write(_entry(Request(method="", path=""), decision, now))
        connection.sendall(_head(decision.response, keep=False) + decision.response.body)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1.0)
        while connection.recv(65536):
            pass

    def _pause(self, seconds: float) -> None:
        """Wait this long, or until the server stops."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def _answer(self, connection: socket.socket, decision: Decision, *, bodiless: bool, keep: bool) -> bool:
        """Send the answer as the decision says; whether to keep the connection."""
        response, wire = decision.response, decision.wire
        keep = keep and not self._stopping.is_set()
        body = b"" if bodiless or response.status in (204, 304) else response.body
        match wire:
            case Normal():
                connection.sendall(_head(response, keep=keep) + body)
                return keep
            case Drop():
                return False
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                return False
            case Hang():
                while connection.recv(65536):
                    pass
                return False
            case Drip(interval=interval, whole=whole):
                head = _head(response, keep=False)
                connection.sendall(b"" if whole else head)
                for byte in (head if whole else b"") + body:
                    self._pause(interval)
                    if self._stopping.is_set():
                        break
                    connection.sendall(bytes([byte]))
                return False
            case HalfBody():
                connection.sendall(_head(response, keep=False) + body[: len(body) // 2])
                return False
            case NotHttp():
                connection.sendall(_NOT_HTTP)
                return False


@contextlib.contextmanager
def serve(
    world: World,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    rate_limit: int | None = None,
    rate_window: float | None = None,
    speed: float | None = None,
    latency: float = 0.0,
    log: Log | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Serve a world during a `with` block, which receives the URL.

    Args:
        world: The world to serve.
        host: A loopback address or `localhost`.
        port: 0 chooses a free one.
        token: The only token accepted. None for this and the next three keeps the world's own setting.
        rate_limit: Requests per window.
        rate_window: Seconds.
        speed: A factor on the processing speed.
        latency: Seconds before each answer. The world acts after half of them.
        log: Receives an entry per request. The caller closes it.
        clock: Returns UTC epoch seconds.

    Raises:
        ValueError: The host is not a loopback address.
        OSError: The port is not available.
    """
    if not _is_loopback(host):
        raise ValueError(f"{host!r} is not a loopback address")
    replaced = {"token": token, "rate_limit": rate_limit, "rate_window": rate_window, "speed": speed}
    for name, value in replaced.items():
        if value is not None:
            setattr(world, name, value)
    server = Server(
        world,
        host=host,
        port=port,
        latency=latency,
        log=Log() if log is None else log,
        clock=clock,
    )
    try:
        yield server.url
    finally:
        server.close()


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
