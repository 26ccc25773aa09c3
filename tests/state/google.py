"""A double of Cloud Storage: the two requests of its XML API that a state needs, in memory.

Written from its documentation ("Request preconditions", "HTTP status and error codes for XML"): a write that names a
generation takes place only while the object has that generation, 0 while there is none; else the answer is 412. Each
write gives the object a new, greater generation. It cannot show what the service does beyond its documentation.
"""

from __future__ import annotations

import hashlib
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import unquote

TOKEN: Final = "a token of these tests"


class _Store(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket, self.lock = bucket, threading.Lock()
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.generation = 1_700_000_000_000_000


class _Handler(BaseHTTPRequestHandler):
    server: _Store
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """An object, or which of the two is missing."""
        if (name := self._name()) is None:
            return
        with self.server.lock:
            found = self.server.objects.get(name)
        if found is None:
            self._refuse(404, "NoSuchKey", f"No such object: {self.server.bucket}/{name}")
        else:
            self._answer(200, found[0], found[1])

    def do_PUT(self) -> None:
        """Replace an object, where the precondition holds."""
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if (name := self._name()) is None:
            return
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.server.lock:
            present, _ = self.server.objects.get(name, (0, b""))
            if wanted is None or (wanted.isdecimal() and int(wanted) == present):
                self.server.generation += 1
                new = self.server.generation
                self.server.objects[name] = (new, data)
                refused = None
            else:
                refused = (412, "PreconditionFailed") if wanted.isdecimal() else (400, "InvalidArgument")
        if refused is not None:
            self._refuse(*refused)
        else:
            self._answer(200, new, b"", data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Nothing."""

    def _name(self) -> str | None:
        """The name of the object, None after an answer."""
        bucket, _, name = unquote(self.path).removeprefix("/").partition("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "AuthenticationRequired")
        elif bucket != self.server.bucket:
            self._refuse(404, "NoSuchBucket")
        else:
            return name
        return None

    def _refuse(self, status: int, code: str, details: str = "") -> None:
        more = f"<Details>{details}</Details>" if details else ""
        self._answer(status, None, f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>".encode())

    def _answer(self, status: int, generation: int | None, body: bytes, content: bytes | None = None) -> None:
        self.send_response(status)
        if generation is not None:
            digest = hashlib.md5(body if content is None else content, usedforsecurity=False).hexdigest()
            self.send_header("ETag", f'"{digest}"')
            self.send_header("x-goog-generation", str(generation))
            self.send_header("Last-Modified", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(bucket: str) -> int:
    """Begin to serve this bucket, until the process ends; returns the port."""
    store = _Store(bucket)
    threading.Thread(target=store.serve_forever, args=(0.02,), daemon=True).start()
    return int(store.server_address[1])
