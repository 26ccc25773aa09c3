"""The engines that registers are tested on, each a real server on this machine, started once a process.

`memory`, `moto` and `google` (a double, `tests.state.google`) are always there. The others run where their programs
are: `./run test` installs azurite and s3rver if it finds npm, and with `--full` SeaweedFS. A test on one that is
missing is skipped, and says so.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import hashlib
import hmac
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
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from batchform.state.address import Branch, Bucket
from batchform.state.git import Git
from batchform.state.objects import Objects
from batchform.state.registers import replace
from tests.state import google
from tests.state.git_server import BRANCH, GitServer, bare, git
from tests.state.memory import Memory, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchform.state.registers import Registers

ENGINES: Final = (
    "memory",
    "moto",
    "google",
    "azurite",
    "git over file",
    "git over http",
    pytest.param("seaweedfs", marks=pytest.mark.full),
)
BUCKET: Final = "bucket"
SCHEMES: Final = {"google": "gs", "azurite": "az"}
_KEYS: Final = {"s3rver": "S3RVER"}
_AZURE_KEY: Final = base64.b64encode(b"a key of these tests").decode()


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
        yield lambda: Objects(Bucket(scheme=SCHEMES.get(kind, "s3"), bucket=BUCKET, key=key))


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
    url = f"http://127.0.0.1:{port or server(kind)}"
    if kind == "google":
        return {"GOOGLE_BASE_URL": url, "GOOGLE_BEARER_TOKEN": google.TOKEN}
    if kind == "azurite":
        return {
            "AZURE_STORAGE_ENDPOINT": f"{url}/account",
            "AZURE_STORAGE_ACCOUNT_NAME": "account",
            "AZURE_STORAGE_ACCOUNT_KEY": _AZURE_KEY,
        }
    key = _KEYS.get(kind, "key")
    return {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": _KEYS.get(kind, "secret"),
        "AWS_REGION": "us-east-1",
    }


@functools.cache
def server(kind: str) -> int:
    """The port of the server of this kind, with one bucket."""
    if kind == "google":
        return google.serve(BUCKET)
    folder = tempfile.mkdtemp(prefix=f"batchform-{kind}-")
    port = free_port()
    more: dict[str, str] = {}
    if kind == "moto":
        command = [sys.executable, "-m", "tests.state.moto_server", str(port)]
        more = {"PYTHONPATH": str(Path(__file__).parents[2])}
    elif kind == "seaweedfs":
        command = _seaweed(folder, port)
    elif kind == "azurite":
        command = [_program("azurite-blob"), "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        more = {"AZURITE_ACCOUNTS": f"account:{_AZURE_KEY}"}
    else:
        command = [_program(kind), "-d", folder, "-a", "127.0.0.1", "-p", str(port), "--configure-bucket", BUCKET]
    log = Path(folder, "log").open("wb")  # noqa: SIM115  # lives as long as the server
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **more})

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
    if kind == "azurite":
        _make_container(port)
    if kind == "seaweedfs":  # which makes a bucket with the first write
        with environment(kind, port):
            first = Objects(Bucket(scheme="s3", bucket=BUCKET, key="first"))
            replace(first, "", b"first", None, patience=60)
    return port


def _program(kind: str) -> str:
    """The program, from the PATH or beside this Python."""
    folders = (Path(sys.executable).parent, Path(sys.prefix) / "node" / "engines" / "node_modules" / ".bin")
    found = shutil.which(kind) or shutil.which(kind, path=os.pathsep.join(map(str, folders)))
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


def _make_container(port: int) -> None:
    """Make the container. Source: "Authorize with Shared Key" of the Blob service; obstore makes no containers."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    said = f"x-ms-date:{date}\nx-ms-version:2021-08-06\n/account/account/{BUCKET}\nrestype:container"
    signed = hmac.digest(base64.b64decode(_AZURE_KEY), ("PUT" + "\n" * 12 + said).encode(), hashlib.sha256)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/account/{BUCKET}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey account:{base64.b64encode(signed).decode()}",
        },
    )
    urllib.request.urlopen(request).close()


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
