"""Drives many conversations at once: worker threads send requests, one thread does everything else.

The calling thread owns the journal, the pacing and every decision. A worker sends one request and returns the reply.
One round of the loop:

1. Advance each conversation until it waits.
2. Make the recorded events durable, all with one fsync. So an intent is always on disk before its request.
3. Send the waiting requests, as far as the rate limit allows.
4. Wait for a reply or the next deadline.

A run ends early for one of the `End`s. Then no new request is sent, requests in flight may finish, and each waiting
conversation gets `protocol.Ended`.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from batchform.api import contract
from batchform.api.contract import Answer, Broken, NotSent
from batchform.api.pacing import full_jitter
from batchform.errors import OutcomeUnknownError
from batchform.model import ServerProblem
from batchform.protocol import Backoff, Ended, Pause, Record, Send, Stop
from batchform.state.events import AlreadyStarted, Event, NotAttempted, Rejected, Started, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from batchform.api.contract import Reply, Request
    from batchform.api.pacing import Pacer
    from batchform.protocol import Conversation
    from batchform.state.events import What

SILENT_BATCHES: Final = 10
"""Batches without any answer to their start, one after the other, after which the service counts as down."""

THROTTLED_WINDOWS: Final = 5
"""Throttled windows without an accepted request, one after the other, after which others use up the limit."""

FOREIGN_ANSWERS: Final = 3
"""Answers with the Reference-Id of another request, one after the other, after which no answer can be trusted."""

PATIENT_AT_ONCE: Final = 2
"""The most requests in flight that can wait: an answer with results can have 48 MiB."""

GRACE: Final = 5.0
"""Seconds that requests in flight may take after the first signal."""

NO_MEMORY: Final = ServerProblem(status=None, title="This system has no more memory")
"""Why a run is `Stopped` when memory runs out."""

_REFUSALS: Final = frozenset({400, 401, 403, 404, 406, 415})
"""HTTP statuses that show the service works, although it refuses."""

_BACKOFF_BASE, _BACKOFF_CAP = 0.5, 8.0  # seconds
_AFTER_CUT = 0.05  # seconds between two checks for replies after the sockets were closed


# --- Dependencies ----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, as an argument."""

    def monotonic(self) -> float:
        """Monotonic seconds."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""


class Wire(Protocol):
    """Sends requests, many at once. `Threads` is the real implementation."""

    def submit(self, ticket: int, request: Request) -> None:
        """Send the request. `collect` returns its reply with the same ticket."""

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """Wait up to `timeout` seconds (None: unlimited) for a reply or a `wake`, and return all replies so far."""

    def wake(self) -> None:
        """Make `collect` return. May be called from a signal handler."""

    def cut(self) -> None:
        """Abort the requests in flight. Their replies come soon, as broken."""


class Sender(Protocol):
    """The client, as a worker uses it."""

    def send(self, request: Request) -> Reply:
        """Send, and return the reply. Never raises for a network error."""

    def cut(self) -> None:
        """Close every socket."""


class Threads:
    """Sends with worker threads, started when needed. They are daemons, so they never keep the process alive."""

    def __init__(self, sender: Sender, parallelism: int) -> None:
        self._sender = sender
        self._parallelism = parallelism
        self._work: SimpleQueue[tuple[int, Request] | None] = SimpleQueue()
        self._replies: SimpleQueue[tuple[int, Reply] | BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, ticket: int, request: Request) -> None:
        """Hand the request to a worker. If the system has no more threads, the present ones send it."""
        self._busy += 1
        if self._busy > len(self._threads) < self._parallelism:
            thread = threading.Thread(target=self._run, name=f"batchform-{len(self._threads)}", daemon=True)
            try:
                thread.start()
                self._threads.append(thread)
            except (RuntimeError, MemoryError):
                self._parallelism = len(self._threads)
        if self._threads:
            self._work.put((ticket, request))
        else:
            cause = "This system cannot start a thread. Raise its limit of processes or memory."
            self._replies.put((ticket, NotSent(cause=cause, is_final=True)))

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """Return all replies so far; none after a timeout or `wake`."""
        replies = []
        try:
            item = self._replies.get(timeout=timeout)
            while True:
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    self._busy -= 1
                    replies.append(item)
                item = self._replies.get_nowait()
        except Empty:
            return replies

    def wake(self) -> None:
        """Make `collect` return. SimpleQueue.put is reentrant, so a signal handler may call this."""
        self._replies.put(None)

    def cut(self) -> None:
        """Close every socket."""
        self._sender.cut()

    def close(self) -> None:
        """Stop the workers. Waits for them only if none is busy."""
        for _ in self._threads:
            self._work.put(None)
        if self._busy == 0:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            ticket, request = work
            try:
                self._replies.put((ticket, self._sender.send(request)))
            except MemoryError:  # safety: the request may have left, so its outcome is unknown and the run goes on
                self._replies.put((ticket, Broken(cause="this system has no more memory")))
            except BaseException as error:  # noqa: BLE001  # a bug in the client must stop the run, not hang it
                self._replies.put(error)


# --- Why a run ends early --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """401, 403, 406 or 415, or nothing can be sent: every later request would fail, too."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDown:
    """That many batches, one after the other, got no answer to their start."""

    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Starved:
    """That many windows, one after the other, were throttled."""

    windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignAnswers:
    """Several answers, one after the other, had the Reference-Id of another request. This is the last id."""

    reference_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A signal arrived."""

    signum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecordable:
    """The journal cannot be written. `Engine.unrecorded` has the events since then."""

    error: OutcomeUnknownError


End: TypeAlias = Stopped | ServiceDown | Starved | ForeignAnswers | Interrupted | Unrecordable


# --- The engine ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A conversation for the engine to drive. `key` finds its result. Without a batch, id and name are empty."""

    key: str
    conversation: Conversation[Any]
    batch_id: str = ""
    name: str = ""


def _no_journal(_events: Sequence[Event]) -> None:
    # safety: an engine without a journal must not send a start
    raise OutcomeUnknownError("There is no journal", "An outcome cannot be recorded. No further request was sent.")


class Engine:
    """Drives the conversations of one run. Used by one thread.

    Attributes:
        run: The id of this run.
        end: Why the run ends early, else None.
        skew: The server's clock minus the local one, by the newest answer with a Date. None before the first.
        requests: How many requests were sent.
        unrecorded: Events that could not be made durable. The intents before them are on disk.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        clock: Clock,
        pacer: Pacer,
        run: str,
        random: Callable[[], float],
        parallelism: int = 1,
        record: Callable[[Sequence[Event]], None] = _no_journal,
        renew: Callable[[], None] = lambda: None,
        rest: Callable[[int], float] = lambda _: 0.0,
        listen: Callable[[Sequence[Event]], None] = lambda _: None,
        tick: Callable[[], None] = lambda: None,
        tick_every: float | None = None,
    ) -> None:
        """Sends nothing yet.

        Args:
            wire: Sends requests.
            clock: The time.
            pacer: Decides when a request may be sent.
            run: The id of this run.
            random: Returns numbers from 0 to 1, for jitter.
            parallelism: The most requests in flight.
            record: Makes events durable, all or none. Raises OutcomeUnknownError when it cannot. It is called with
                later events all the same, because a store may be back by then. Without it, the first event ends the
                run, so this engine only reads.
            renew: Called before a start is sent. Raises OutcomeUnknownError when another run may hold the state.
            rest: Seconds for which recorded events wait for more, so that one call records them all. The argument says
                whether answers are still to come. A run that ends does not wait.
            listen: Called with events when they are durable.
            tick: Called in every round, at least every `tick_every` seconds.
            tick_every: Seconds, None: unlimited.
        """
        self._wire, self._clock, self._pacer, self._random = wire, clock, pacer, random
        self._record, self._renew, self._rest, self._listen = record, renew, rest, listen
        self._tick, self._tick_every = tick, tick_every
        self.run = run
        self._parallelism = parallelism
        self._seq = 0
        self._tickets = 0
        self._pending: list[Event] = []
        self._reads: deque[tuple[Task, Send]] = deque()
        self._starts: deque[tuple[Task, Send]] = deque()
        self._patient: deque[tuple[Task, Send]] = deque()
        self._flying: dict[int, Task] = {}
        self._patient_flying: set[int] = set()
        self._asleep: list[tuple[float, int, Task]] = []
        self._silent: set[str] = set()
        self._foreign = 0
        self._results: dict[str, Any] = {}
        self._signals = 0
        self._cut_at: float | None = None
        self.end: End | None = None
        self.skew: timedelta | None = None
        self.requests = 0
        self.unrecorded: list[Event] = []

    def interrupt(self, signum: int) -> None:
        """End the run: the first call gives requests in flight 5 s, the second aborts them. For signal handlers."""
        self._signals += 1
        if not isinstance(self.end, Interrupted):
            self.end = Interrupted(signum=signum)
        self._wire.wake()

    @property
    def in_flight(self) -> int:
        """How many requests were sent and have no answer yet."""
        return len(self._flying)

    def record(self, batch_id: str, name: str, what: What) -> None:
        """Record an event. It is durable before the next start, at the latest when `run_tasks` returns."""
        self._seq += 1
        event = Event(run=self.run, seq=self._seq, at=self._clock.now(), batch_id=batch_id, name=name, what=what)
        self._pending.append(event)
        self._check_service(event)

    def run_tasks(self, tasks: Iterable[Task]) -> dict[str, Any]:
        """Run these tasks, many at once. Returns the results of their conversations by key.

        A conversation that ended early has no result. One that has not begun has recorded nothing. Where memory runs
        out, the run ends, and what was recorded is made durable.
        """
        waiting = deque(tasks)  # generators: no conversation has begun
        self._results = {}
        try:
            self._drive(waiting)
        except MemoryError:  # safety: outcomes first. What is in flight stays unknown, because its reply may be lost
            self.end = self.end or Stopped(problem=NO_MEMORY)
            for queue in (self._reads, self._starts, self._patient, self._asleep, self._flying, self._patient_flying):
                queue.clear()
            self._persist(at_once=True)
        return self._results

    def _drive(self, waiting: deque[Task]) -> None:
        """Run these tasks until all are over and every event is durable."""
        while True:
            self._wake()
            while waiting and self._may_begin():
                self._advance(waiting.popleft(), None)
            self._persist()
            self._dispatch()
            self._tick()
            is_open = self._flying or self._reads or self._starts or self._patient or self._asleep
            if not is_open and (self.end is not None or not waiting):
                break
            for ticket, reply in self._wire.collect(self._timeout(waiting=bool(waiting))):
                task = self._flying.pop(ticket)
                self._patient_flying.discard(ticket)
                self._pace(reply)
                self._advance(task, reply)
        self._persist(at_once=True)

    # -- conversations --

    def _advance(self, task: Task, reply: Reply | None) -> None:
        """Advance a conversation until it waits or is over."""
        conversation = task.conversation
        try:
            step = conversation.send(reply)
            while True:
                match step:
                    case Record():
                        self.record(task.batch_id, task.name, step.what)
                    case Stop():
                        if self.end is None:
                            self.end = Stopped(problem=step.problem)
                    case Send() | Pause() | Backoff() if self.end is not None:
                        step = conversation.throw(Ended())
                        continue
                    case Send():
                        self._queue(step).append((task, step))
                        return
                    case Pause():
                        self._sleep(task, step.seconds)
                        return
                    case Backoff():
                        delay = full_jitter(step.attempt, _BACKOFF_BASE, _BACKOFF_CAP, self._random())
                        self._sleep(task, delay)
                        return
                step = conversation.send(None)
        except StopIteration as stop:
            self._results[task.key] = stop.value
        except Ended:
            pass

    def _queue(self, send: Send) -> deque[tuple[Task, Send]]:
        return self._starts if send.is_start else self._patient if send.can_wait else self._reads

    def _end(self, task: Task) -> None:
        """End a waiting conversation. Its step will not happen."""
        try:
            step = task.conversation.throw(Ended())
            while isinstance(step, Record):
                self.record(task.batch_id, task.name, step.what)
                step = task.conversation.send(None)
        except (StopIteration, Ended):
            return
        raise AssertionError(step)  # after `Ended` a conversation may only record

    def _sleep(self, task: Task, seconds: float) -> None:
        self._tickets += 1
        heapq.heappush(self._asleep, (self._clock.monotonic() + seconds, self._tickets, task))

    def _wake(self) -> None:
        """Advance the conversations whose wait is over, or, when the run ends, end all that wait."""
        if self.end is None:
            while self._asleep and self._asleep[0][0] <= self._clock.monotonic():
                self._advance(heapq.heappop(self._asleep)[2], None)
            return
        queues = self._reads, self._starts, self._patient
        queued = [*(entry[0] for queue in queues for entry in queue), *(entry[2] for entry in self._asleep)]
        for queue in queues:
            queue.clear()
        self._asleep.clear()
        for task in queued:
            self._end(task)
        if self._signals and self._cut_at is None:
            self._cut_at = self._clock.monotonic() + GRACE
        if self._cut_at is not None and (self._signals > 1 or self._clock.monotonic() >= self._cut_at):
            self._wire.cut()

    # -- durability --

    def _persist(self, *, at_once: bool = False) -> None:
        """Make all recorded events durable with one call, unless they may wait for more, then report them."""
        while self._pending and (at_once or self._held() <= 0):
            events, self._pending = self._pending, []
            try:
                self._record(events)
            except OutcomeUnknownError as error:
                self.unrecorded.extend(events)
                self._stop(error)
            else:
                self._listen(events)

    def _held(self) -> float:
        """Seconds for which the recorded events wait for more."""
        return self._rest(self.in_flight) if self._pending and self.end is None else 0.0

    def _stop(self, error: OutcomeUnknownError) -> None:
        """End the run: it can record nothing more."""
        if self.end is None:
            self.end = Unrecordable(error=error)  # safety: no request leaves without its intent on disk
        self._wake()

    # -- sending --

    def _may_begin(self) -> bool:
        """Whether a further task could send its first request now. So no intent waits long for its request."""
        queued = len(self._reads) + len(self._starts)
        return (
            self.end is None
            and len(self._flying) + queued < self._parallelism
            and self._pacer.admits(self._clock.monotonic(), reserve=queued + len(self._asleep)) <= 0
        )

    def _dispatch(self) -> None:
        """Send waiting requests, reads first, as far as workers and the rate limit allow."""
        for queue, reserve in ((self._reads, 0), (self._starts, len(self._asleep)), (self._patient, self._half)):
            while queue and self.end is None and len(self._flying) < self._parallelism:
                if queue is self._starts and self._pending:
                    break  # safety: its intent may be among the events that wait
                if queue is self._patient and len(self._patient_flying) >= PATIENT_AT_ONCE:
                    break
                now = self._clock.monotonic()
                if self._pacer.admits(now, reserve=reserve) > 0:
                    break
                if queue is self._starts:
                    try:
                        self._renew()  # safety: a start leaves only while the state is ours
                    except OutcomeUnknownError as error:
                        self._stop(error)
                        self._persist()
                        break
                self._pacer.sent(now)
                self._tickets += 1
                self.requests += 1
                self._flying[self._tickets], send = queue.popleft()
                if send.can_wait:
                    self._patient_flying.add(self._tickets)
                self._wire.submit(self._tickets, self._traced(send))

    @property
    def _half(self) -> int:
        """How many requests of a window are left to other runs, by requests that can wait."""
        return max(self._pacer.limit // 2, len(self._asleep))

    def _traced(self, send: Send) -> Request:
        """The request with a Reference-Id. A start has the one of its intent, a read one of its own."""
        return send.request if send.is_start else contract.traced(send.request, f"{self.run}-{self.requests}-read")

    def _timeout(self, *, waiting: bool) -> float | None:
        """Seconds until the next step is due without a reply; None: unlimited."""
        now = self._clock.monotonic()
        moments = [] if self._tick_every is None else [self._tick_every]
        if self._cut_at is not None:
            moments.append(self._cut_at - now if self._signals < 2 and now < self._cut_at else _AFTER_CUT)
        if self._asleep:
            moments.append(max(0.0, self._asleep[0][0] - now))
        held = len(self._starts) if self._pending else 0
        if self._pending:
            moments.append(self._held())
        ready = self._reads or len(self._starts) > held
        begins = waiting and len(self._flying) + len(self._reads) + len(self._starts) < self._parallelism
        if self.end is None and len(self._flying) < self._parallelism:
            if ready or begins:
                reserve = 0 if self._reads else len(self._asleep) + held
                moments.append(self._pacer.admits(now, reserve=reserve))
            if self._patient and len(self._patient_flying) < PATIENT_AT_ONCE:
                moments.append(self._pacer.admits(now, reserve=self._half))
        return min(moments) if moments else None

    # -- ends --

    def _pace(self, reply: Reply) -> None:
        """Update the pacer. Ends the run when others use up the rate limit, or when answers belong to others."""
        now = self._clock.monotonic()
        if not isinstance(reply, Answer):
            self._pacer.failed(now)
            if isinstance(reply, Broken) and reply.foreign:
                self._foreign += 1
                if self._foreign >= FOREIGN_ANSWERS and self.end is None:
                    self.end = ForeignAnswers(reference_id=reply.foreign)
            return
        self._foreign = 0
        rate = contract.rate_of(reply)
        if rate.date_epoch is not None:
            self.skew = datetime.fromtimestamp(rate.date_epoch, UTC) - self._clock.now()
        if reply.status != 429:
            self._pacer.answered(rate, now)
            return
        self._pacer.throttled(rate, now, self._random())
        if self._pacer.throttled_in_a_row >= THROTTLED_WINDOWS and self.end is None:
            self.end = Starved(windows=self._pacer.throttled_in_a_row)

    def _check_service(self, event: Event) -> None:
        """End the run when the service is down."""
        what = event.what
        if isinstance(what, (Started, AlreadyStarted)):
            self._silent.clear()
        elif isinstance(what, (Unknown, NotAttempted, Rejected)) and what.problem is not None:
            if what.problem.status in _REFUSALS:  # the service works
                self._silent.clear()
            elif not isinstance(what, Rejected):  # it follows an Unknown that was counted already
                self._silent.add(event.batch_id)
                if len(self._silent) >= SILENT_BATCHES and self.end is None:
                    self.end = ServiceDown(batches=len(self._silent))
