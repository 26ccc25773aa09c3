"""A store behind a toll: it lets requests through to a real store, and one of them, or all from one on, meets a fault.

What it does with such a request: answer it with an error, forward it and lose the answer, hang, or not be there.
"""

from __future__ import annotations

import contextlib
import http.client
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

CODES: Final = {"500": "InternalError", "503": "InternalError", "403": "AccessDenied", "412": "PreconditionFailed"}
FAULTS: Final = ("lost", "gone", "hangs", "500", "403", "412", "412 but done")
"""`lost`: it took place, the answer never comes. `gone`: the store is not there. `hangs`: until the client gives up.

Beside these, a status and a code, such as `429 SlowDown`; the code `-` stands for an answer without one.
"""


class Toll:
    """Listens on a port of its own; use it with `with`."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._store = port
        self._lock = threading.Lock()
        self.count = 0
        self.at = 0
        self.fault = ""
        self.for_good = False
        self.without = ""
        toll = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                toll.pass_on(self)

            def do_PUT(self) -> None:
                toll.pass_on(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
                """Nothing."""

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def begin(self, at: int = 0, fault: str = "", *, for_good: bool = False) -> None:
        """Count from here. The fault meets request number `at`; for good: and all after it."""
        with self._lock:
            self.count, self.at, self.fault, self.for_good = 0, at, fault, for_good

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Let a request through, or not."""
        with self._lock:
            self.count += 1
            is_it = self.count == self.at or (self.for_good and self.count > self.at > 0)
            fault = self.fault if is_it else ""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        forward = fault in {"", "lost", "412 but done"}
        status, headers, answer = self._forward(handler, body) if forward else (0, [], b"")
        if fault == "hangs":
            self._over.wait(5.0)
        if fault[:3].isdecimal():
            code = fault[4:] if fault not in FAULTS and fault[4:] else CODES[fault[:3]]
            status, headers = int(fault[:3]), [("Content-Type", "application/xml")]
            answer = b"" if code == "-" else f"<Error><Code>{code}</Code></Error>".encode()
        elif fault:
            handler.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # a client that died
            handler.send_response(status)
            for name, value in headers:
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self._store, timeout=30)
        try:
            line.request(handler.command, handler.path, body or None, dict(handler.headers.items()))
            answer = line.getresponse()
            skip = {"content-length", "transfer-encoding", "connection", "date", "server"}
            skip.add(self.without)
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skip]
            return answer.status, headers, answer.read()
        finally:
            line.close()
