"""A server, a wire and a clock in one thread. The clock moves only when the wire is waited for.

`Lab.apply` is one run of the real engine, from looking to the account, and may be ended by a crash at any step. What
was durable stays, and so does the server with whatever was still on its way to it; the next `apply` finds both. On
every request that is sent the lab checks what the promise rests on (`Lab.check`).
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from batchform.api.contract import Answer, Broken, Reply, Request
from batchform.api.pacing import Pacer
from batchform.apply import Report, carry_out, report
from batchform.engine import Engine, Task
from batchform.errors import OutcomeUnknownError
from batchform.model import Batch, Config, Service
from batchform.observe import Subject, observe
from batchform.planner import plan
from batchform.protocol import Order, Rules, start
from batchform.source_text import Place
from batchform.state.events import Event, Intended, NotAttempted, Rejected, Released, Started, Unknown, fold
from batchform.state.known import Entry, Phase, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
ENDPOINT = "https://api.example"
PREFIX = "/phone/bulk/v1/batches"
SUBMITTED = "2026-11-20T09:00:00.004005Z"
"""When every batch was submitted, as the list says."""
PLACE = Place(file="batches.yaml", line=1, column=1, end_line=1, end_column=2)
RULES = Rules()
FRESH = State(lineage="l", service=Service.PHONE, endpoint=ENDPOINT)
CUT = Broken(cause="cut")
A_DAY = 86_400.0


def ids(count: int) -> list[str]:
    """That many batch_ids, in order."""
    return [f"b{number:03}" for number in range(count)]


def config(names: Iterable[str], **said: Any) -> Config:
    """A configuration of batches whose ids are their names."""
    return Config(batches=tuple(Batch(name=name, batch_id=name, place=PLACE, **said) for name in names))


def failed(status: int) -> Answer:
    """A failure of that status."""
    return Answer(status=status, body=json.dumps({"error": {"title": f"No {status}"}}).encode())


@dataclass
class Clock:
    """Seconds that pass only when the wire is waited for."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self.seconds

    def now(self) -> datetime:
        """The local wall clock."""
        return NOW + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Fate:
    """What happens to one request: seconds until the reply, whether the server gets it, and the reply.

    `reply` None is the server's own answer. The request reaches the server at `arrives` of the way.
    """

    latency: float = 0.1
    reaches: bool = True
    reply: Reply | None = None
    arrives: float = 0.5


@dataclass
class Server:
    """The account, on the worst possible server: it accepts a second start while the first does not show yet.

    `lag` is how many seconds a status read lags behind a start, `list_lag` the same for the list. `accepted` holds the
    times of the starts that were taken, per batch: more than one is what must never happen.
    """

    batches: Iterable[str]
    service: Service = Service.PHONE
    lag: float = 0.0
    list_lag: float = 0.0
    limit: int | None = None
    headers: bool = True
    skew: timedelta = timedelta()
    unlisted: set[str] = field(default_factory=set)
    statuses: dict[str, str | None] = field(default_factory=dict)
    accepted: dict[str, list[float]] = field(default_factory=dict)
    throttled: int = 0
    submitted: str | None = SUBMITTED
    _used: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batches = set(self.batches)

    def handle(self, request: Request, at: float) -> Answer:
        """The answer to a request that reaches the server then."""
        window = int(at // 60)
        used = self._used[window] = self._used.get(window, 0) + 1
        if self.limit is not None and used > self.limit:
            self.throttled += 1
            return self._answer(429, {"error": {"title": "Too Many Requests"}}, at)
        prefix = f"/{self.service.value}/bulk/v1/batches"
        if request.path == prefix:
            listed = [
                {"batch_id": each, "status": self.shown(each, at, self.list_lag), "date_submitted": self.submitted}
                for each in sorted(self.batches)
                if each not in self.unlisted
            ]
            return self._answer(200, {"result": {"batches": listed}}, at)
        batch_id, _, verb = request.path.removeprefix(prefix + "/").partition("/")
        if batch_id not in self.batches:
            return self._answer(404, {"error": {"title": "Not Found"}}, at)
        status = self.shown(batch_id, at, self.lag)
        if not verb:
            return self._answer(200, {"result": {"batch_id": batch_id, "status": status}}, at)
        if status != "submitted":
            return self._answer(400, {"error": {"title": "Bad Request"}}, at)
        self.accepted.setdefault(batch_id, []).append(at)
        return self._answer(200, {"result": {"batch_id": batch_id, "status": "processing"}}, at)

    def shown(self, batch_id: str, at: float, lag: float) -> str | None:
        """The status that the server shows."""
        if batch_id in self.statuses:
            return self.statuses[batch_id]
        begun = self.accepted.get(batch_id)
        return "processing" if begun and begun[0] + lag <= at else "submitted"

    def _answer(self, status: int, document: object, at: float) -> Answer:
        headers: list[tuple[str, str]] = []
        if self.headers:
            clock = NOW + self.skew + timedelta(seconds=at)
            headers.append(("date", format_datetime(clock.replace(microsecond=0), usegmt=True)))
        if self.headers and self.limit is not None:
            window = int(at // 60)
            reset = int((NOW + self.skew).timestamp()) + (window + 1) * 60
            headers += [
                ("x-rate-limit-limit", str(self.limit)),
                ("x-rate-limit-remaining", str(max(0, self.limit - self._used[window]))),
                ("x-rate-limit-reset", str(reset)),
            ]
        return Answer(status=status, headers=tuple(headers), body=json.dumps(document).encode())


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Lab:
    """The whole setup. `fate` decides what happens to each request, from the request and the number sent before."""

    server: Server
    fate: Callable[[Request, int], Fate] = lambda _request, _number: Fate()
    parallelism: int = 8
    base: State = FRESH
    clock: Clock = field(default_factory=Clock)
    durable: list[Event] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    sent: list[tuple[float, Request]] = field(default_factory=list)
    most_flying: int = 0
    record_calls: int = 0
    fail_record_at: int | None = None
    on_record: Callable[[], None] = lambda: None
    renew: Callable[[], None] = lambda: None
    rest: Callable[[int], float] = lambda _: 0.0
    crash_at: int | None = None
    short_at: int | None = None
    steps: int = 0
    runs: int = 0
    at: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    arrivals: list[tuple[float, int, Request, dict[str, Reply]]] = field(default_factory=list)
    last: Engine | None = None
    _last_what: dict[str, list[object]] = field(default_factory=dict)

    # -- dependencies of a run --

    def engine(self) -> Engine:
        """A new run's engine."""
        self.runs += 1
        self.last = Engine(
            wire=FakeWire(self),
            clock=self.clock,
            pacer=Pacer(),
            record=self.record,
            renew=self.renew,
            rest=self.rest,
            run=f"r{self.runs}",
            random=lambda: 0.5,
            parallelism=self.parallelism,
            listen=self.told.extend,
        )
        return self.last

    @property
    def run(self) -> Engine:
        """The engine of the last run."""
        assert self.last is not None
        return self.last

    def state(self) -> State:
        """What is on disk."""
        return fold(self.base, self.durable)

    def entry(self, batch_id: str) -> Entry:
        """What is on disk of a batch."""
        return self.state().entries[batch_id]

    def record(self, events: Sequence[Event]) -> None:
        """Append to the journal. The events are durable when it returns."""
        self.step()
        self.record_calls += 1
        assert events
        if self.fail_record_at is not None and self.record_calls >= self.fail_record_at:
            raise OutcomeUnknownError("The journal cannot be written")
        self.durable.extend(events)
        self.on_record()
        for event in events:
            if isinstance(event.what, (Intended, NotAttempted, Started, Unknown, Released, Rejected)):
                self._last_what.setdefault(event.batch_id, []).append(event.what)
        self.step()

    def step(self) -> None:
        """A step at which the process may die, or have no memory for a moment."""
        self.steps += 1
        if self.steps == self.short_at:
            raise MemoryError
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crash

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something at that time."""
        heapq.heappush(self.at, (seconds, len(self.at), do))

    # -- runs --

    def apply(self, wanted: Config, *, refresh: bool = True, rules: Rules = RULES) -> Report:
        """One run of apply, from the refresh to the report."""
        engine = self.engine()
        before = len(self.told)
        subject = Subject(config=wanted, selected=None, endpoint=ENDPOINT, state=self.state)
        observed = observe(subject, engine, rules, self.clock.now(), refresh=refresh)
        made = plan(wanted, self.state(), observed, self.clock.now(), endpoint=ENDPOINT)
        carry_out(made, config=wanted, state=self.state(), observed=observed, engine=engine, rules=rules)
        return report(made, self.told[before:], engine.unrecorded, engine.end)

    def start(self, names: Iterable[str], rules: Rules = RULES) -> Engine:
        """Only the starts of these batches, without a refresh."""
        engine = self.engine()
        engine.run_tasks(
            Task(
                key=name,
                conversation=start(Order(service=Service.PHONE, batch_id=name, reference_id=f"{name}-ref"), rules),
                batch_id=name,
                name=name,
            )
            for name in names
        )
        return engine

    # -- checks --

    def check(self, request: Request, flying: int) -> None:
        """On every request: no more in flight than allowed, and each start has its intent on disk."""
        assert flying < self.parallelism
        self.most_flying = max(self.most_flying, flying + 1)
        if self.fail_record_at is not None:
            assert self.record_calls < self.fail_record_at, "sent, though the journal takes no more"
        if request.method == "POST":
            *before, last = self._last_what[batch_of(request)]
            assert isinstance(last, Intended), f"a start after {last}"
            assert not before or not isinstance(before[-1], (Unknown, Started)), f"an attempt after {before[-1]}"

    def check_outcomes(self) -> None:
        """Nothing was paid for twice, and each paid start is on disk as started or as unknown."""
        entries = self.state().entries
        for batch_id, times in self.server.accepted.items():
            assert len(times) == 1, f"{batch_id} was paid for {len(times)} times"
            entry = entries[batch_id]
            assert entry.recorded_as_started or entry.uncertain, entry

    def check_all_started(self, names: Iterable[str]) -> None:
        """Each of these was started exactly once, and is recorded as started by us."""
        entries = self.state().entries
        for name in names:
            assert len(self.server.accepted.get(name, ())) == 1, name
            assert entries[name].phase is Phase.STARTED, entries[name]

    @property
    def starts(self) -> list[str]:
        """The batches whose start was sent, in order, with repetitions."""
        return [batch_of(request) for _, request in self.sent if request.method == "POST"]

    def reach(self, until: float) -> None:
        """Let the server handle the requests that have arrived by then."""
        while self.arrivals and self.arrivals[0][0] <= until:
            at, _, request, box = heapq.heappop(self.arrivals)
            box["own"] = self.server.handle(request, at)


def batch_of(request: Request) -> str:
    """The batch that a start or a status read is about; empty for the list."""
    return request.path.partition("/batches")[2].lstrip("/").partition("/")[0]


class FakeWire:
    """The wire of one run. It waits by moving the clock."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._due: list[tuple[float, int, Fate, dict[str, Reply]]] = []
        self._awake = False
        self._idle = 0

    def submit(self, ticket: int, request: Request) -> None:
        """Send it."""
        lab = self._lab
        lab.step()
        lab.check(request, len(self._due))
        fate = lab.fate(request, len(lab.sent))
        now = lab.clock.seconds
        lab.sent.append((now, request))
        box: dict[str, Reply] = {}
        if fate.reaches:
            heapq.heappush(lab.arrivals, (now + fate.latency * fate.arrives, len(lab.sent), request, box))
        heapq.heappush(self._due, (now + fate.latency, ticket, fate, box))
        lab.step()

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """Move the clock to the next event."""
        lab = self._lab
        lab.step()
        moments = [self._due[0][0]] if self._due else []
        if lab.at:
            moments.append(lab.at[0][0])
        if timeout is not None:
            assert timeout >= 0
            moments.append(lab.clock.seconds + timeout)
        if self._awake:
            self._awake = False
            moments = [lab.clock.seconds]
        assert moments, "the engine waits for ever"
        before = lab.clock.seconds
        lab.clock.seconds = max(before, min(moments))
        assert lab.clock.seconds < A_DAY, "the run does not end"
        lab.reach(lab.clock.seconds)
        while lab.at and lab.at[0][0] <= lab.clock.seconds:
            heapq.heappop(lab.at)[2]()
        replies = []
        while self._due and self._due[0][0] <= lab.clock.seconds:
            _, ticket, fate, box = heapq.heappop(self._due)
            replies.append((ticket, fate.reply or box["own"]))
        self._idle = 0 if replies or lab.clock.seconds > before else self._idle + 1
        assert self._idle < 100, "the engine spins"
        return replies

    def wake(self) -> None:
        """Make `collect` return."""
        self._awake = True

    def cut(self) -> None:
        """Requests in flight come back as broken, a hundredth of a second later."""
        soon = self._lab.clock.seconds + 0.01
        self._due = [(min(due, soon), ticket, Fate(reply=CUT), box) for due, ticket, _, box in self._due]
        heapq.heapify(self._due)
