"""Starts: how many a second, how close to what the rate limit allows, and with how many requests."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from batchform import simulator
from tests.bench import peers
from tests.bench.measure import TOKEN, Spent, in_turns, megabytes, spend
from tests.bench.plans import OURS
from tests.bench.table import Row
from tests.engine import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchform.api.contract import Answer, Request
    from tests.bench.table import Table

LIMIT: Final = 150
LATENCY: Final = 0.3
PARALLELISM: Final = 10
_UNLIMITED: Final = 1_000_000_000


class _TimedLog(simulator.Log):
    """A log that knows when."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def write(self, entry: simulator.Entry) -> None:
        """Keep the moment, too."""
        super().write(entry)
        self.times.append(time.perf_counter())


@dataclass(frozen=True)
class _Account:
    """A simulator with so many batches submitted, and a folder in which they are declared."""

    folder: Path
    url: str
    log: _TimedLog
    count: int

    def apply(self, parallelism: int, **more: str) -> Spent:
        """One apply of all of them. `more` is added to its environment."""
        spent = spend(_apply(parallelism), self.folder, (0,), BATCHFORM_ENDPOINT=self.url, **more)
        self.check()
        return spent

    def check(self) -> None:
        """Each was started once.

        Raises:
            RuntimeError: Then no figure counts.
        """
        started = [entry.batch_id for entry in self.log.entries if entry.accepted]
        if len(started) != self.count or len(set(started)) != self.count:
            raise RuntimeError(f"{len(started)} starts of {self.count} batches")

    @property
    def rate(self) -> float:
        """Starts a second, from the first to the last."""
        times = [at for at, entry in zip(self.log.times, self.log.entries, strict=True) if entry.operation == "start"]
        return (len(times) - 1) / (times[-1] - times[0])


def _apply(parallelism: int) -> tuple[str, ...]:
    return (*OURS, "apply", "--auto-approve", "--parallelism", str(parallelism))


@contextmanager
def _account(
    folder: Path, count: int, *, latency: float = 0.0, limit: int = _UNLIMITED, window: float = 60.0
) -> Iterator[_Account]:
    """A new account; what an earlier one left in the folder is gone."""
    peers.declare(folder, count)
    for left in folder.glob("batchform.state.json*"):
        left.unlink()
    batches = {peers.batch_id(number): None for number in range(count)}
    world = simulator.from_values({"token": TOKEN, "batches": batches})
    log = _TimedLog()
    with simulator.serve(world, log=log, latency=latency, rate_limit=limit, rate_window=window) as url:
        yield _Account(folder, url, log, count)


def rate(folder: Path, count: int, *, latency: float, parallelism: int, **more: str) -> float:
    """How many starts a second an apply makes. `more` is added to its environment."""
    with _account(folder, count, latency=latency) as account:
        account.apply(parallelism, **more)
        return account.rate


def throughput(table: Table, folder: Path, rounds: int) -> None:
    """A server that takes 50 ms, 64 at once, every outcome durable."""
    what, peer = "apply, 1,000 starts at 50 ms: starts a second", "wrk -c64"
    rates: dict[str, list[float]] = {"ours": [], "wrk": []}
    for _ in range(rounds):
        rates["ours"].append(rate(folder / "rate", 1_000, latency=0.05, parallelism=64))
        if peers.there_is("wrk"):
            with _account(folder / "rate", 1_000, latency=0.05) as account:
                rates["wrk"].append(peers.wrk(folder, account.url, 2))
    ours, theirs = (sorted(values)[len(values) // 2] if values else None for values in rates.values())
    note = "" if theirs else "no wrk on PATH"
    table.add(Row(what=what, peer=peer, ours=ours, theirs=theirs, unit="1/s", goal=0.85, at_least=True, note=note))


def sequential(table: Table, folder: Path, rounds: int, *, quick: bool) -> None:
    """A server that answers at once: what all the rest of a start costs."""
    count = 1_000

    def ours() -> Spent:
        with _account(folder / "fast", count) as account:
            return account.apply(PARALLELISM)

    def other(*words: str) -> Callable[[], Spent]:
        def run() -> Spent:
            with _account(folder / "fast", count) as account:
                return spend(words, folder, URL=account.url, COUNT=str(count))

        return run

    measured: dict[str, Callable[[], Spent]] = {"ours": ours}
    if peers.has("requests"):
        measured["requests"] = other(OURS[0], "-c", peers.REQUESTS)
    spent = in_turns(rounds, measured)
    if peers.there_is("curl") and not quick:
        spent["xargs"] = other("sh", "-c", _XARGS)()
    if peers.there_is("terraform") and peers.there_is("curl") and not quick:
        with _account(folder / "fast", count) as account:
            peers.terraform_with_curl(folder / "curl", count, account.url)
            spent["terraform"] = spend(("terraform", "apply", "-auto-approve", "-input=false"), folder / "curl")
    for name, peer, goal, missing in (
        ("requests", "requests.Session, one by one", 1.0, "requests is not installed"),
        ("xargs", "xargs -P10 curl (once)", None, "no curl on PATH"),
        ("terraform", "terraform with curl (once)", None, "no terraform or curl on PATH"),
    ):
        found = spent.get(name)
        table.add(
            Row(
                what="apply, 1,000 starts at 0 ms",
                peer=peer,
                ours=spent["ours"].seconds,
                theirs=found.seconds if found else None,
                goal=goal,
                note="" if found else "not in --quick" if quick and name != "requests" else missing,
            )
        )


_XARGS: Final = (
    'seq -f %012.0f 0 "$((COUNT - 1))" | xargs -P10 -I{} curl -sSf -o /dev/null -X POST'
    ' -H "Auth-Token: $BATCHFORM_AUTH_TOKEN" "$URL/phone/bulk/v1/batches/3f0c1f6e-2a55-4d0e-9a7e-{}/start"'
)


def many(table: Table, folder: Path) -> None:
    """Ten thousand starts: memory and requests."""
    count = 10_000
    with _account(folder / "many", count) as account:
        weight = megabytes(_apply(32), account.folder, BATCHFORM_ENDPOINT=account.url)
        account.check()
        requests = len(account.log.entries)
    table.add(
        Row(
            what="apply, 10,000 starts: memory",
            peer="120 MB",
            ours=weight,
            theirs=120.0,
            unit="MB",
            goal=1.0,
        )
    )
    table.add(
        Row(
            what="apply, 10,000 starts: requests",
            peer="starts + 1",
            ours=float(requests),
            theirs=float(count + 1),
            unit="",
            goal=1.0,
        )
    )


# --- the rate limit --------------------------------------------------------------------------------------------------


def floor(requests: int, *, begin: float, window: float = 60.0, limit: int = LIMIT) -> float:
    """The fewest seconds in which so many requests can be answered, so many at once, so many in each window."""
    at, left = begin, requests
    while True:
        end = (math.floor(at / window) + 1) * window
        possible = min(limit, math.ceil((end - at) / LATENCY) * PARALLELISM)
        if left <= possible:
            return at + math.ceil(left / PARALLELISM) * LATENCY - begin
        left, at = left - possible, end


def paced(table: Table) -> None:
    """On a clock that only moves when somebody waits: alone, and where half of each window is taken by others."""
    for others in (0, LIMIT // 2):
        for begin in (0.0, 17.3, 43.9):
            seconds, throttled = _fake(others, begin)
            fewest = floor(1_001, begin=begin, limit=LIMIT - others)
            table.add(_pace(f"1,000 starts from second {begin:g}", seconds, fewest, throttled, others=others))


def _fake(others: int, begin: float) -> tuple[float, int]:
    """How long a thousand starts take, and how often we were told to wait."""
    names = lab.ids(1_000)
    server = _Shared(names, others)
    world = lab.Lab(server, fate=lambda _request, _number: lab.Fate(latency=LATENCY), parallelism=PARALLELISM)
    world.clock.seconds = begin
    world.apply(lab.config(names))
    world.check_all_started(names)
    return world.clock.seconds - begin, server.throttled


class _Shared(lab.Server):
    """An account of which others take so many requests as soon as a window begins."""

    def __init__(self, names: list[str], others: int) -> None:
        super().__init__(names, limit=LIMIT)
        self._others = others

    def handle(self, request: Request, at: float) -> Answer:
        """Count the others first."""
        self._used.setdefault(int(at // 60), self._others)
        return super().handle(request, at)


def paced_for_real(table: Table, folder: Path) -> None:
    """Against the simulator, with windows of 10 s."""
    window = 10.0
    with _account(folder / "paced", 1_000, latency=LATENCY, limit=LIMIT, window=window) as account:
        account.apply(PARALLELISM)
        first, last = (datetime.fromisoformat(account.log.entries[place].time) for place in (0, -1))
        begin = first.astimezone(UTC).timestamp() - LATENCY / 2
        seconds = (last - first).total_seconds() + LATENCY
        throttled = sum(entry.status == 429 for entry in account.log.entries)
    fewest = floor(1_001, begin=begin, window=window)
    table.add(_pace("1,000 starts for real, windows of 10 s", seconds, fewest, throttled))


def _pace(what: str, seconds: float, fewest: float, throttled: int, *, others: int = 0) -> Row:
    """The row of a run. Not a single 429 may be of our own making.

    Raises:
        RuntimeError: One was.
    """
    if throttled:
        raise RuntimeError(f"{what}: {throttled} times 429")
    peer, goal = ("the floor, half taken by others", 1.05) if others else ("the floor", 1.02)
    return Row(what=what, peer=peer, ours=seconds, theirs=fewest, goal=goal, note="no 429")
