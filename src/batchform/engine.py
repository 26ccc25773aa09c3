"""Drives many talks at once: threads for the wire, one thread for everything else.

The calling thread owns the journal, the pacing and every decision; a worker sends one request and returns the reply.
The loop goes round like this: let talks go on as far as they can; make what they recorded durable, all of it with one
fsync; only then send what they want sent, as far as the rate limit allows; wait for whatever comes first. So an intent
is always on disk before its request, whichever talk it belongs to.

A run ends early for one of the `End`s. Then nothing new is sent, whatever is under way may come home, and each talk
that still waits is told so (`protocol.Ended`).
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from batchform.api import contract
from batchform.api.contract import Answer
from batchform.api.pacing import full_jitter
from batchform.errors import OutcomeUnknownError
from batchform.protocol import Backoff, Ended, Pause, Record, Send, Stop
from batchform.state.events import AlreadyStarted, Event, NotAttempted, Rejected, Started, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from batchform.api.contract import Reply, Request
    from batchform.api.pacing import Pacer
    from batchform.model import ServerProblem
    from batchform.protocol import Talk
    from batchform.state.events import What

SILENT_BATCHES: Final = 10
"""So many batches in a row without an accepted or refused start mean that the service is down."""

THROTTLED_WINDOWS: Final = 5
"""So many throttled windows in a row without an accepted request mean that the budget is somebody else's."""

GRACE: Final = 5.0
"""Seconds that requests under way are given after the first signal."""

_REFUSALS: Final = frozenset({400, 401, 403, 404, 406, 415})
"""Answers by which the server says no: it is there."""

_BACKOFF_BASE, _BACKOFF_CAP = 0.5, 8.0  # seconds
_AFTER_CUT = 0.05  # seconds between two looks at requests whose sockets were closed


# --- What the engine is given ----------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, as an argument."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""


class Wire(Protocol):
    """Sends requests, many at once. `Threads` is the real one."""

    def submit(self, ticket: int, request: Request) -> None:
        """Send it; the reply comes out of `collect` under the same ticket."""

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """Wait up to `timeout` seconds (None: for ever) for replies or a `wake`; all that have come."""

    def wake(self) -> None:
        """Make `collect` return. May be called from a signal handler."""

    def cut(self) -> None:
        """Break what is under way; those replies come soon, as broken."""


class Sender(Protocol):
    """The part of the client that a worker needs."""

    def send(self, request: Request) -> Reply:
        """Send and wait for the reply; never raises for what the network does."""

    def cut(self) -> None:
        """Close every socket."""


class Threads:
    """A wire of worker threads, started as they are needed. They are daemons: a process may always end."""

    def __init__(self, sender: Sender, parallelism: int) -> None:
        self._sender = sender
        self._parallelism = parallelism
        self._work: SimpleQueue[tuple[int, Request] | None] = SimpleQueue()
        self._replies: SimpleQueue[tuple[int, Reply] | BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, ticket: int, request: Request) -> None:
        """Hand the request to a worker."""
        self._busy += 1
        if self._busy > len(self._threads) < self._parallelism:
            thread = threading.Thread(target=self._run, name=f"batchform-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put((ticket, request))

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """All replies that have come, at least one unless time ran out or somebody called `wake`."""
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
        """SimpleQueue.put is reentrant, so that a signal handler may call it."""
        self._replies.put(None)

    def cut(self) -> None:
        """Close every socket."""
        self._sender.cut()

    def close(self) -> None:
        """Let the workers end, and wait for those that are idle."""
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
            except BaseException as error:  # noqa: BLE001  # a bug in the client must stop the run, not hang it
                self._replies.put(error)


# --- How a run may end early -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The server refused in a way that every later call would meet: 401, 403, 406 or 415."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDown:
    """That many batches in a row got no answer to their start."""

    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Starved:
    """That many windows in a row let nothing through."""

    windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A signal."""

    signum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecordable:
    """The journal takes no more. What happened since is in `Engine.unrecorded`."""

    error: OutcomeUnknownError


End: TypeAlias = Stopped | ServiceDown | Starved | Interrupted | Unrecordable


# --- The engine ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A talk about one batch. `key` finds its result; for a talk about all batches the id and name are empty."""

    key: str
    talk: Talk[Any]
    batch_id: str = ""
    name: str = ""


class Engine:
    """Runs conversations; one a run, used by one thread.

    Attributes:
        run: The id of this run.
        end: Why the run is ending early, None while it is not.
        skew: The server's clock minus the local one by the newest answer with a Date, None before there was one.
        requests: How many requests were sent.
        unrecorded: What happened, but could not be made durable. The intents before it are on disk.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        clock: Clock,
        pacer: Pacer,
        record: Callable[[Sequence[Event]], None],
        run: str,
        random: Callable[[], float],
        parallelism: int,
        listen: Callable[[Sequence[Event]], None],
        tick: Callable[[], None] = lambda: None,
        tick_every: float | None = None,
    ) -> None:
        """Nothing is sent or started yet.

        Args:
            wire: Sends requests.
            clock: Tells the time.
            pacer: Keeps to the rate limit.
            record: Makes events durable, all together; raises OutcomeUnknownError when it cannot.
            run: The id of this run.
            random: Numbers from 0 up to 1, for jitter.
            parallelism: The most requests under way at once.
            listen: Is told events once they are durable.
            tick: Is called on every round, at least every `tick_every` seconds.
            tick_every: Seconds, None for no need.
        """
        self._wire, self._clock, self._pacer, self._random = wire, clock, pacer, random
        self._record, self._listen, self._tick, self._tick_every = record, listen, tick, tick_every
        self.run = run
        self._parallelism = parallelism
        self._seq = 0
        self._tickets = 0
        self._pending: list[Event] = []
        self._reads: deque[tuple[Conversation, Send]] = deque()
        self._starts: deque[tuple[Conversation, Send]] = deque()
        self._flying: dict[int, Conversation] = {}
        self._asleep: list[tuple[float, int, Conversation]] = []
        self._silent: set[str] = set()
        self._results: dict[str, Any] = {}
        self._signals = 0
        self._cut_at: float | None = None
        self.end: End | None = None
        self.skew: timedelta | None = None
        self.requests = 0
        self.unrecorded: list[Event] = []
        self._journal_works = True

    def interrupt(self, signum: int) -> None:
        """End the run: the first time what is under way gets 5 s, the second time it is cut. For signal handlers."""
        self._signals += 1
        if not isinstance(self.end, Interrupted):
            self.end = Interrupted(signum=signum)
        self._wire.wake()

    def record(self, batch_id: str, name: str, what: What) -> None:
        """Record something that needs no talk; durable before anything is sent, at the latest after `converse`."""
        self._seq += 1
        event = Event(run=self.run, seq=self._seq, at=self._clock.now(), batch_id=batch_id, name=name, what=what)
        self._pending.append(event)
        self._judge(event)

    def converse(self, conversations: Iterable[Conversation]) -> dict[str, Any]:
        """Have all these conversations, as many at once as pays; what each returned, by key.

        A conversation that had to end early has no result. One that was not begun has recorded nothing.
        """
        waiting = deque(conversations)  # talks are generators: nothing in them has run yet
        self._results = {}
        while True:
            self._let_go_on()
            while waiting and self._may_begin():
                conversation = waiting.popleft()
                self._go_on(conversation, None)
            self._persist()
            self._dispatch()
            self._tick()
            open_talks = self._flying or self._reads or self._starts or self._asleep
            if not open_talks and (self.end is not None or not waiting):
                break
            for ticket, reply in self._wire.collect(self._patience(waiting=bool(waiting))):
                conversation = self._flying.pop(ticket)
                self._account(reply)
                self._go_on(conversation, reply)
        self._persist()
        return self._results

    # -- talks --

    def _go_on(self, conversation: Conversation, reply: Reply | None) -> None:
        """Let a talk go on until it waits for something, or is over."""
        talk = conversation.talk
        try:
            step = talk.send(reply)
            while True:
                match step:
                    case Record():
                        self.record(conversation.batch_id, conversation.name, step.what)
                    case Stop():
                        if self.end is None:
                            self.end = Stopped(problem=step.problem)
                    case Send() | Pause() | Backoff() if self.end is not None:
                        step = talk.throw(Ended())
                        continue
                    case Send():
                        (self._starts if step.is_start else self._reads).append((conversation, step))
                        return
                    case Pause():
                        self._sleep(conversation, step.seconds)
                        return
                    case Backoff():
                        self._sleep(
                            conversation, full_jitter(step.attempt, _BACKOFF_BASE, _BACKOFF_CAP, self._random())
                        )
                        return
                step = talk.send(None)
        except StopIteration as stop:
            self._results[conversation.key] = stop.value
        except Ended:
            pass

    def _break_off(self, conversation: Conversation) -> None:
        """Tell a talk that waits that its step will not be taken."""
        try:
            step = conversation.talk.throw(Ended())
            while isinstance(step, Record):
                self.record(conversation.batch_id, conversation.name, step.what)
                step = conversation.talk.send(None)
        except (StopIteration, Ended):
            return
        raise AssertionError(step)  # a talk that was told to end may record, and nothing else

    def _sleep(self, conversation: Conversation, seconds: float) -> None:
        self._tickets += 1
        heapq.heappush(self._asleep, (self._clock.monotonic() + seconds, self._tickets, conversation))

    def _let_go_on(self) -> None:
        """Wake the talks whose time has come; or, at the end of a run, break off all that wait."""
        if self.end is None:
            while self._asleep and self._asleep[0][0] <= self._clock.monotonic():
                self._go_on(heapq.heappop(self._asleep)[2], None)
            return
        queued = [*(entry[0] for entry in (*self._reads, *self._starts)), *(entry[2] for entry in self._asleep)]
        self._reads.clear()
        self._starts.clear()
        self._asleep.clear()
        for conversation in queued:
            self._break_off(conversation)
        if self._signals and self._cut_at is None:
            self._cut_at = self._clock.monotonic() + GRACE
        if self._cut_at is not None and (self._signals > 1 or self._clock.monotonic() >= self._cut_at):
            self._wire.cut()

    # -- durability --

    def _persist(self) -> None:
        """Make all that was recorded durable with one call, then tell it."""
        while self._pending:
            events, self._pending = self._pending, []
            if not self._journal_works:
                self.unrecorded.extend(events)
                continue
            try:
                self._record(events)
            except OutcomeUnknownError as error:
                self._journal_works = False
                self.unrecorded.extend(events)
                if self.end is None:
                    self.end = Unrecordable(error=error)  # safety: no request leaves without its intent on disk
                self._let_go_on()
            else:
                self._listen(events)

    # -- sending --

    def _may_begin(self) -> bool:
        """Whether a further talk could send its first request now: intents do not lie about while the limit waits."""
        queued = len(self._reads) + len(self._starts)
        return (
            self.end is None
            and len(self._flying) + queued < self._parallelism
            and self._pacer.admits(self._clock.monotonic(), reserve=queued + len(self._asleep)) <= 0
        )

    def _dispatch(self) -> None:
        """Send what waits, reads first, as far as workers and the rate limit allow."""
        for queue, reserve in ((self._reads, 0), (self._starts, len(self._asleep))):
            while queue and self.end is None and len(self._flying) < self._parallelism:
                now = self._clock.monotonic()
                if self._pacer.admits(now, reserve=reserve) > 0:
                    break
                self._pacer.sent(now)
                self._tickets += 1
                self.requests += 1
                self._flying[self._tickets], send = queue.popleft()
                self._wire.submit(self._tickets, send.request)

    def _patience(self, *, waiting: bool) -> float | None:
        """Seconds until something must be done even if no reply comes; None for no such moment."""
        now = self._clock.monotonic()
        moments = [] if self._tick_every is None else [self._tick_every]
        if self._cut_at is not None:
            moments.append(self._cut_at - now if self._signals < 2 and now < self._cut_at else _AFTER_CUT)
        if self._asleep:
            moments.append(max(0.0, self._asleep[0][0] - now))
        if self.end is None and len(self._flying) < self._parallelism and (waiting or self._reads or self._starts):
            reserve = 0 if self._reads else len(self._asleep)
            moments.append(self._pacer.admits(now, reserve=reserve))
        return min(moments) if moments else None

    # -- judging --

    def _account(self, reply: Reply) -> None:
        """Tell the pacer, and notice when the budget is not ours."""
        now = self._clock.monotonic()
        if not isinstance(reply, Answer):
            self._pacer.failed(now)
            return
        date = contract.server_date(reply)
        if date is not None:
            self.skew = date - self._clock.now()
        rate = contract.rate_of(reply)
        if reply.status != 429:
            self._pacer.answered(rate, now)
            return
        self._pacer.throttled(rate, now, self._random())
        if self._pacer.throttled_in_a_row >= THROTTLED_WINDOWS and self.end is None:
            self.end = Starved(windows=self._pacer.throttled_in_a_row)

    def _judge(self, event: Event) -> None:
        """Notice when the service is down."""
        what = event.what
        if isinstance(what, (Started, AlreadyStarted)):
            self._silent.clear()
        elif isinstance(what, (Unknown, NotAttempted, Rejected)) and what.problem is not None:
            if what.problem.status in _REFUSALS:  # a refusal is an answer
                self._silent.clear()
            elif not isinstance(what, Rejected):  # giving up on a batch is neither an answer nor a further silence
                self._silent.add(event.batch_id)
                if len(self._silent) >= SILENT_BATCHES and self.end is None:
                    self.end = ServiceDown(batches=len(self._silent))
