"""A bare repository, and a git server for it: real `git http-backend` behind a small HTTP server that can fail.

The tests of registers on a branch use both `file://` and `http://`. A `Gate` in the server refuses or loses.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PASSWORD: Final = "t0ken-of-the-git-server-77aa1c"
BRANCH: Final = "batchform-state"


def git(*words: str, folder: Path, **environment: str) -> str:
    """Run git on this machine's terms: no configuration but that of the repository. Returns what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    given = {
        **clean,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "tests@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **environment,
    }
    ended = subprocess.run(["git", *words], cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (words, ended)
    return ended.stdout


def authorization() -> str:
    """The header that signs in."""
    return "Basic " + base64.b64encode(f"x-access-token:{PASSWORD}".encode()).decode()


def bare(folder: Path) -> Path:
    """A repository with a branch `main` of two commits, and no state."""
    origin = folder / "origin.git"
    work = folder / "work"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin), folder=folder)
    git("config", "http.receivepack", "true", folder=origin)
    git("config", "uploadpack.allowFilter", "true", folder=origin)
    git("clone", "--quiet", str(origin), str(work), folder=folder)
    for number in (1, 2):
        (work / "batchform.yaml").write_text(f"version: 1\n# {number}\n")
        git("add", ".", folder=work)
        git("commit", "--quiet", "-m", f"commit {number}", folder=work)
    git("push", "--quiet", "origin", "HEAD:refs/heads/main", folder=work)
    return origin


@dataclass
class Gate:
    """What the server does with requests.

    `lost`, `fail` and `hang` are how many pushes take place without an answer, are
    answered with `status`, or wait until the end of the test. `closed`: a status for each request.
    """

    password: bool = False
    lost: int = 0
    fail: int = 0
    hang: int = 0
    status: int = 503
    closed: int = 0
    pushes: int = 0
    headers: list[str] = field(default_factory=list)


class GitServer:
    """Serves one folder of repositories on loopback; use it with `with`."""

    def __init__(self, folder: Path) -> None:
        self.gate = Gate()
        self.over = threading.Event()
        self._folder = folder
        server = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.handle(self)

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/origin.git"

    @property
    def signs_in(self) -> tuple[str, str]:
        """The setting with which actions/checkout leaves its token to later steps."""
        return f"http.{self.url.removesuffix('origin.git')}.extraheader", f"AUTHORIZATION: {authorization()}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        gate = self.gate
        body = _body(handler)
        given = handler.headers.get("Authorization", "")
        gate.headers.append(given)
        if gate.closed:
            _answer(handler, gate.closed, {}, b"")
            return
        if gate.password and given != authorization():
            _answer(handler, 401, {"WWW-Authenticate": 'Basic realm="tests"'}, b"")
            return
        pushes = handler.command == "POST" and handler.path.endswith("git-receive-pack")
        if pushes and len(body) > 4:  # a flush packet alone only asks whether the body may come in chunks
            gate.pushes += 1
            if gate.fail:
                gate.fail -= 1
                _answer(handler, gate.status, {}, b"")
                return
            if gate.hang:
                gate.hang -= 1
                self.over.wait(60)
                handler.close_connection = True
                return
        status, headers, answer = self._backend(handler, body)
        if pushes and len(body) > 4 and gate.lost:
            gate.lost -= 1
            handler.close_connection = True
            return
        _answer(handler, status, headers, answer)

    def _backend(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        path, _, query = handler.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        ended = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, answer = ended.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200").split(" ")[0]), headers, answer


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], answer: bytes) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(answer)))
    handler.end_headers()
    handler.wfile.write(answer)
