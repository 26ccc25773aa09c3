"""Starts whose state is in a store: they must not be much slower than with a state in a file."""

from __future__ import annotations

import hashlib
import multiprocessing
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.state.registers import Clocks
from batchform.state.remote.store import Remote
from tests.bench import starts
from tests.bench.table import Row
from tests.engine import lab
from tests.engine.test_groups import Pushes
from tests.state.memory import Memory, Time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from batchform.state.events import Event
    from batchform.state.known import State
    from tests.bench.table import Table

SLOW: Final = 0.2
NEAR: Final = 0.005
PUSH: Final = 1.5


# --- On a clock that moves only when a request is waited for ----------------------------------------------------------


class _Time(Time):
    """The clock of a lab, for a store."""

    def __init__(self, clock: lab.Clock) -> None:
        self._clock = clock

    @property
    def clocks(self) -> Clocks:
        """One clock for all."""
        seconds = self._clock.monotonic
        return Clocks(monotonic=seconds, boot=seconds, wall=seconds, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.seconds += seconds


@dataclass
class _Stored(lab.Lab):
    """A lab whose events are durable once they are in a store, and whose starts leave only while the lease is sure."""

    remote: Remote = field(init=False)

    def record(self, events: Sequence[Event]) -> None:
        """Write them to the store, too."""
        self.remote.record(events)
        super().record(events)

    def hold(self, folder: Path) -> None:
        """Hold a state in a store of `SLOW` seconds."""
        time_ = _Time(self.clock)
        store = Memory(time=time_)
        store.takes = SLOW
        fresh: State = lab.FRESH
        self.remote = Remote(store, fresh=fresh, run="r1", folder=folder, holder={}, clocks=time_.clocks)
        self.remote.take(0.0, time_.sleep)
        self.renew = self._renew

    def _renew(self) -> None:
        self.remote.renew()
        if not self.remote.sure():
            raise RuntimeError("a start that may not leave")


def paced(table: Table) -> None:
    """A store of 200 ms, as fast as the rate limit allows."""
    for begin in (0.0, 17.3, 43.9):
        names = lab.ids(1_000)
        server = lab.Server(names, limit=starts.LIMIT)
        world = _Stored(
            server, fate=lambda _request, _number: lab.Fate(latency=starts.LATENCY), parallelism=starts.PARALLELISM
        )
        world.clock.seconds = begin
        with tempfile.TemporaryDirectory() as folder:
            world.hold(Path(folder))
            world.apply(lab.config(names))
            world.remote.commit(world.clock.now())
            world.remote.close()
        world.check_all_started(names)
        if len(world.remote.state.entries) != len(names) or server.throttled:
            raise RuntimeError(f"{len(world.remote.state.entries)} batches, {server.throttled} times 429")
        table.add(
            Row(
                what=f"1,000 starts from second {begin:g}, store of 200 ms",
                peer="the floor",
                ours=world.clock.seconds - begin,
                theirs=starts.floor(1_001, begin=begin),
                goal=1.05,
                note="no 429",
            )
        )


def pushed(table: Table) -> None:
    """A branch on a git server that takes 1.5 s a push, six pushes a minute."""
    names = lab.ids(1_000)
    server = lab.Server(names, limit=starts.LIMIT)
    world = lab.Lab(server, fate=lambda _request, _number: lab.Fate(latency=starts.LATENCY), parallelism=32)
    Pushes(world, PUSH)
    world.apply(lab.config(names))
    world.check_all_started(names)
    table.add(
        Row(
            what="1,000 starts, 1.5 s a push, 32 at once",
            peer="the rate limit",
            ours=len(names) / world.clock.seconds * 60,
            theirs=float(starts.LIMIT),
            unit="1/min",
            goal=1.0,
            at_least=True,
        )
    )


# --- For real --------------------------------------------------------------------------------------------------------


def throughput(table: Table, folder: Path, rounds: int) -> None:
    """A service of 50 ms and a store of 5 ms, against a state in a file."""
    try:
        import obstore  # noqa: F401, PLC0415  # it has no wheel for some machines
    except ImportError:
        missing = "no obstore"
    else:
        missing = ""
    rates: dict[str, list[float]] = {"file": [], "store": []}
    with _store() as store:
        for number in range(0 if missing else rounds):
            for where, given in (("file", {}), ("store", store(f"state-{number}"))):
                rates[where].append(starts.rate(folder / where, 1_000, latency=0.05, parallelism=64, **given))
    file, remote = (statistics.median(one) if one else None for one in rates.values())
    table.add(
        Row(
            what="apply, 1,000 starts at 50 ms, store of 5 ms",
            peer="a state in a file",
            ours=remote,
            theirs=file,
            unit="1/s",
            goal=0.8,
            at_least=True,
            note=missing,
        )
    )


class _Store(ThreadingHTTPServer):
    """What a state needs of S3, in memory. Each request takes `NEAR` seconds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.objects: dict[str, tuple[str, bytes]] = {}


class _Handler(BaseHTTPRequestHandler):
    server: _Store
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """An object."""
        time.sleep(NEAR)
        found = self.server.objects.get(self.path)
        if found is None:
            self._answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, *found)

    def do_PUT(self) -> None:
        """Replace an object, where the condition holds."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(NEAR)
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        with self.server.lock:
            present = self.server.objects.get(self.path, ("", b""))[0]
            holds = self.headers.get("If-Match", "") == present
            if holds:
                self.server.objects[self.path] = tag, data
        if holds:
            self._answer(200, tag, b"")
        else:
            self._answer(412, "", b"<Error><Code>PreconditionFailed</Code></Error>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Nothing."""

    def _answer(self, status: int, tag: str, body: bytes) -> None:
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
            self.send_header("Last-Modified", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _serve(port: Connection) -> None:
    with _Store() as server:
        port.send(server.server_address[1])
        server.serve_forever()


@contextmanager
def _store() -> Iterator[Callable[[str], dict[str, str]]]:
    """A store; gives the variables that lead to a key of it. In a process of its own, like a real one."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # else `recv` would wait for a process that has died
    try:
        port = ours.recv()
        yield lambda key: {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "BATCHFORM_STATE": f"s3://bucket/{key}",
        }
    finally:
        process.terminate()
        process.join()
