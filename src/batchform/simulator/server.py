"""The world over HTTP/1.1: sockets, threads and the log, and nothing that decides.

One thread per connection, and one lock under which the world decides and the log line is written: the log's order is
the order of acting, and a line is in the file before a byte of the answer leaves. The HTTP is read here and not by the
standard library's server because the faults need the socket itself (half answers, resets, silence), and because closing
has to end hanging connections at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self, TypedDict, Unpack

from batchform.simulator.faults import Drip, Drop, HalfBody, Hang, Normal, NotHttp, Reset
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
_NOT_HTTP: Final = b"\x15\x03\x01\x00\x02\x02\x46 this is no HTTP\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger


# --- the log ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request, as the log holds it.

    `time` is UTC by the server's clock, `headers` are the request's with every secret replaced by `[token]`. `did` and
    `accepted` say what the world made of it, `status` what its sender can read (None when no status line is sent).
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
        """The entry as one line of JSON, without its end."""
        return json.dumps(asdict(self))


class Log:
    """What the server was asked and what it did, in the order of acting.

    `entries` holds it in memory. With a path every entry is also appended to that file, one JSON object a line, written
    before the answer leaves: no line is lost when the client dies. Close it, or use it in a `with` statement.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._file = None if path is None else path.open("ab", buffering=0)  # one write a line

    def write(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            RuntimeError: the file cannot be written; the entry is in memory all the same.
        """
        self.entries.append(entry)
        if self._file is not None:
            try:
                self._file.write(f"{entry.as_json()}\n".encode())
            except OSError as error:  # not one of the connection's, which are nobody's trouble
                raise RuntimeError("the simulator's log cannot be written") from error

    def close(self) -> None:
        """Close the file; the entries in memory stay."""
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
    """The bytes are no HTTP request."""


class _LeftError(Exception):
    """The client left before its request was complete."""


class _Reader:
    """Takes requests off one connection, in order."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def request(self) -> tuple[Request, bool] | None:
        """The next request and whether the connection may live on after it; None when the client has left.

        Raises:
            _MalformedError: the bytes are no HTTP request, or too many.
            _LeftError: the client left in the middle of one.
        """
        if not self._buffer and not self._more():
            return None
        if not self._buffer[:1].isalpha():  # such as a TLS greeting, which has no line to wait for
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
        wishes = fields.get("connection", "")
        lives_on = "close" not in wishes and (minor == "1" or "keep-alive" in wishes)
        return Request(method=method, path=path, headers=headers, body=body), lives_on

    def _headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, and the empty line after them."""
        headers = []
        while line := self._until(b"\r\n", _LONGEST_LINE):
            headers.append(_header(line))
            if len(headers) > _MOST_HEADERS:
                raise _MalformedError
        return tuple(headers)

    def _body(self, fields: Mapping[str, str]) -> bytes:
        """The body that the headers announce."""
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
        """A chunked body; trailers are read and forgotten."""
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
        """Read what has come; False when the client has left."""
        received = self._connection.recv(65536)
        self._buffer += received
        return bool(received)

    def _until(self, end: bytes, most: int) -> bytes:
        """The bytes up to a mark, which is taken too."""
        while (found := self._buffer.find(end)) < 0:
            if len(self._buffer) > most:
                raise _MalformedError
            if not self._more():
                raise _LeftError
        taken = bytes(self._buffer[:found])
        del self._buffer[: found + len(end)]
        return taken

    def _exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._buffer) < count:
            if not self._more():
                raise _LeftError
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
    """The headers that concern the connection, in small letters; a repeated one is joined with a comma."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in {"connection", "content-length", "expect", "transfer-encoding"}:
            fields[key] = f"{fields[key]},{value.lower()}" if key in fields else value.lower()
    return fields


def _head(response: Response, *, lives_on: bool) -> bytes:
    """The status line and headers of a response."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    if not lives_on:
        headers.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


# --- the server ------------------------------------------------------------------------------------------------------


class Server:
    """A world that listens. Made by `serve` and `run`; `url` is where it can be reached."""

    def __init__(
        self,
        world: World,
        *,
        host: str,
        port: int,
        latency: float,
        log: Log,
        ssl_context: ssl.SSLContext | None,
        clock: Callable[[], float],
    ) -> None:
        self.world = world
        self._latency, self._log, self._ssl, self._clock = latency, log, ssl_context, clock
        self._deciding = threading.Lock()
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # holds the two collections below together
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        bound = self._listener.getsockname()[1]
        scheme = "http" if ssl_context is None else "https"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}"
        world.begin(clock())
        self._acceptor = threading.Thread(target=self._accept, name="simulator", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop at once: no new connection, every open one is closed, every thread has ended when this returns."""
        self._stopping.set()
        self._waker.send(b"x")
        self._acceptor.join()
        for ended in (self._listener, self._waker, self._woken):
            ended.close()
        with self._guard:
            threads = list(self._threads)
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the plain one: TLS would wait for the peer
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        """Take connections until the server stops."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                try:
                    connection, _ = self._listener.accept()
                    self._welcome(connection)
                except BlockingIOError:  # woken up, or the client has left again
                    continue
                except OSError:  # out of descriptors: let some be given back
                    self._stopping.wait(0.01)

    def _welcome(self, connection: socket.socket) -> None:
        """Give a connection its thread."""
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._ssl is not None:
            connection = self._ssl.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self._converse, args=(connection,), name="simulator connection", daemon=True)
        with self._guard:
            self._connections.add(connection)
            self._threads = {thread, *(other for other in self._threads if other.is_alive())}
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        """Serve one connection until it ends; whatever its client does is no trouble of the server's."""
        try:
            with contextlib.suppress(OSError, _LeftError):
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                reader = _Reader(connection)
                while self._exchange(connection, reader):
                    pass
        finally:
            with self._guard:
                self._connections.discard(connection)
                connection.close()

    def _exchange(self, connection: socket.socket, reader: _Reader) -> bool:
        """One request and its answer; whether the connection lives on."""
        try:
            received = reader.request()
        except _MalformedError:
            self._refuse(connection)
            return False
        if received is None:
            return False
        request, lives_on = received
        self._pause(self._latency / 2)
        with self._deciding:
            now = self._clock()
            decision = self.world.handle(request, now)
            self._log.write(_entry(request, decision, now))
        self._pause(self._latency / 2)
        return self._answer(connection, decision, bodiless=request.method == "HEAD", lives_on=lives_on)

    def _refuse(self, connection: socket.socket) -> None:
        """Answer bytes that are no request, and let the client read that before the connection goes."""
        with self._deciding:
            now = self._clock()
            decision = self.world.malformed(now)
            self._log.write(_entry(Request(method="", path=""), decision, now))
        connection.sendall(_head(decision.response, lives_on=False) + decision.response.body)
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(1.0)
        while connection.recv(65536):
            pass

    def _pause(self, seconds: float) -> None:
        """Wait so long, or until the server stops."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def _answer(self, connection: socket.socket, decision: Decision, *, bodiless: bool, lives_on: bool) -> bool:
        """Send the answer the way the decision says; whether the connection lives on."""
        response, wire = decision.response, decision.wire
        lives_on = lives_on and not self._stopping.is_set()
        body = b"" if bodiless or response.status in (204, 304) else response.body
        match wire:
            case Normal():
                connection.sendall(_head(response, lives_on=lives_on) + body)
                return lives_on
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
                head = _head(response, lives_on=False)
                connection.sendall(b"" if whole else head)
                for byte in (head if whole else b"") + body:
                    self._pause(interval)
                    if self._stopping.is_set():
                        break
                    connection.sendall(bytes([byte]))
                return False
            case HalfBody():
                connection.sendall(_head(response, lives_on=False) + body[: len(body) // 2])
                return False
            case NotHttp():
                connection.sendall(_NOT_HTTP)
                return False


class Options(TypedDict, total=False):
    """The options of `serve`, for `run` to pass on."""

    host: str
    port: int
    token: str | None
    rate_limit: int | None
    rate_window: float | None
    speed: float | None
    latency: float
    log: Log | None
    ssl_context: ssl.SSLContext | None
    clock: Callable[[], float]
    allow_remote: bool


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
    ssl_context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.time,
    allow_remote: bool = False,
) -> Iterator[str]:
    """Serve a world as long as the `with` block lasts; gives the URL to reach it by.

    Args:
        world: answers; `token`, `rate_limit`, `rate_window` and `speed` replace what it says of them, None leaves that.
        host: a loopback address or `localhost`, unless `allow_remote`.
        port: 0 takes a free one.
        token: the only token let in.
        rate_limit: requests per window.
        rate_window: seconds.
        speed: factor on the processing of records.
        latency: seconds before each answer; the world acts in the middle of them.
        log: gets an entry per request; it stays the caller's to close.
        ssl_context: makes it https.
        clock: gives UTC epoch seconds.
        allow_remote: let other machines reach it.

    Raises:
        ValueError: the host is no loopback address.
        OSError: the port cannot be had.
    """
    if not allow_remote and not _is_loopback(host):
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
        ssl_context=ssl_context,
        clock=clock,
    )
    try:
        yield server.url
    finally:
        server.close()


def run(
    world: World,
    *,
    on_listening: Callable[[str], None],
    stop: threading.Event | None = None,
    **options: Unpack[Options],
) -> None:
    """Serve a world until `stop` is set or the user interrupts.

    Args:
        world: answers.
        on_listening: called once with the URL.
        stop: ends it from elsewhere; None leaves that to the interrupt.
        options: those of `serve`.
    """
    with contextlib.suppress(KeyboardInterrupt), serve(world, **options) as url:
        on_listening(url)
        (stop or threading.Event()).wait()


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
