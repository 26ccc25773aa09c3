"""What is said to the server about one batch, from intent to outcome: the protocol, written as it reads.

Each talk is a generator. It yields what it wants done (a `Step`) and is handed the reply when there is one; it sees no
clock, socket, file or thread. The engine drives many of them at once and keeps two promises on which all of this rests:
an event that was yielded before a request is durable before that request is sent, and a request that was not sent when
the run ends is never sent: `Ended` is raised at that very `yield` instead.

An uncertain attempt is released only by two single reads that say `submitted`, far enough apart and far enough from the
attempt (`Rules`). The list can confirm a start, never release one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, assert_never

from batchform.api import contract
from batchform.api.contract import Accepted, Doubtful, Listing, Missing, NoAnswer, NotSent, Read, Refused, Throttled
from batchform.errors import UsageError
from batchform.model import BEYOND_START, Reading, Source, Status
from batchform.state.events import AlreadyStarted, Intended, NotAttempted, Rejected, Released, Seen, Started, Unknown
from batchform.state.known import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from batchform.api.contract import Reply, Request, StartMeaning
    from batchform.api.endpoint import Endpoint
    from batchform.model import ServerProblem, Service
    from batchform.state.events import What

T = TypeVar("T")

SETTLE: Final = 10.0
"""The shortest settle time in seconds where starts are paid for."""

IN_FLIGHT: Final = 20.0
"""Seconds that a request of an interrupted run may take to arrive."""

_PLAIN_NO: Final = frozenset({400, 404})
"""Statuses by which the server says that it did not take a start, if nothing else is in doubt."""


# --- What a talk may ask for -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Make this event durable. It is, before any later `Send` of any talk goes out."""

    what: What


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request; the reply is the value of the `yield`. Starts wait for reads when requests are scarce."""

    request: Request
    is_start: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on that many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Backoff:
    """Go on after the `attempt`-th wait (from 0) of a growing series with full jitter."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the whole run: every later call would fail the same way."""

    problem: ServerProblem


class Ended(Exception):  # noqa: N818  # not an error: the run is over, and this talk's next step will not happen
    """Raised inside a talk in place of a step that will not be taken any more. Nothing of that step has happened."""


Step: TypeAlias = Record | Send | Pause | Backoff | Stop
Talk: TypeAlias = Generator[Step, "Reply | None", T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Waits (in seconds) and numbers of tries.

    `settle`: how long a status may lag behind a start; also the time between two reads that must agree.
    `in_flight`: how long a request of an interrupted run may take to arrive.
    `attempts`: starts sent for one batch in one run. `unsent_tries`: tries to send a request that does not get out.
    `read_waits`: between reads that get no answer.
    """

    settle: float = SETTLE
    in_flight: float = IN_FLIGHT
    attempts: int = 3
    unsent_tries: int = 3
    read_waits: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)


def rules(settle: float, endpoint: Endpoint) -> Rules:
    """The rules for this settle time at this endpoint.

    Raises:
        UsageError: It is too short where starts are paid for.
    """
    made = Rules(settle=settle, in_flight=IN_FLIGHT if settle >= SETTLE else 2 * settle)
    check_rules(made, str(endpoint))
    return made


def check_rules(rules: Rules, endpoint: str) -> None:
    """Refuse rules that are too short for an endpoint where starts are paid for: any but plain http.

    Raises:
        UsageError: They are too short.
    """
    # safety: a start that does not show yet would be taken for one that never happened, and repeated
    if not endpoint.startswith("http:") and not (rules.settle >= SETTLE and rules.in_flight >= IN_FLIGHT):
        raise UsageError(
            "The settle time is too short",
            "With `--settle` below 10s, a start that does not show yet could be repeated and paid for twice. A shorter"
            " time is allowed only with a simulator (plain http on a loopback address). Nothing was sent.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One batch to talk about.

    `reference_id` traces the start. `expired` tells whether the batch is 28 days old or more. `doubt` tells whether an
    earlier attempt of ours may have been acted upon without a clean answer.
    """

    service: Service
    batch_id: str
    reference_id: str
    records: int | None = None
    submitted_at: datetime | None = None
    expired: bool = False
    doubt: bool = False


# --- Talks -----------------------------------------------------------------------------------------------------------


def start(order: Order, rules: Rules) -> Talk[None]:
    """Start a batch, at most once as far as the server will ever know, and record what came of it."""
    doubt = order.doubt
    problem = None
    for _ in range(rules.attempts):
        # safety: on disk before the first byte leaves, so that a crash from here on is seen as uncertain
        yield Record(Intended(reference_id=order.reference_id, records=order.records, submitted_at=order.submitted_at))
        try:
            meaning = yield from _ask_to_start(order, rules)
        except Ended:  # nothing of this attempt is under way: it waited to be sent, or was cleanly throttled
            yield Record(NotAttempted())
            return
        match meaning:
            case NotSent():
                yield Record(NotAttempted(problem=contract.problem_of(meaning)))
                return
            case Accepted():
                yield Record(Started(status=meaning.status, evidence=Evidence.ANSWER))
                return
            case Refused():
                yield Record(Rejected(cause=Cause.REFUSED, problem=meaning.problem))
                yield Stop(meaning.problem)
                return
            case Doubtful():
                problem = meaning.problem
                yield Record(Unknown(problem=problem))  # safety: nothing is sent again before the status was read
                verdict = yield from settle(order, rules, problem=problem, doubt=doubt)
                if not verdict.released:
                    return
                doubt = True
            case Throttled():  # pragma: no cover - `_ask_to_start` waits these out; the line keeps mypy's promise
                raise AssertionError(meaning)
            case _:
                assert_never(meaning)
    if problem is not None:
        yield Record(Rejected(cause=Cause.NOT_STARTED, problem=problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of looking into an uncertain attempt. `reading` is the last the server said, None without an answer."""

    released: bool = False
    reading: Reading | None = None


def settle(order: Order, rules: Rules, *, problem: ServerProblem | None, doubt: bool) -> Talk[Verdict]:
    """Find out by status reads what came of an uncertain attempt, and record it.

    Args:
        order: The batch.
        rules: How patient to be.
        problem: What the attempt was answered, None when nobody knows (the run died).
        doubt: Whether an attempt before that one was uncertain, too.

    Returns:
        Whether the batch may be started (again). If not, it is settled, or stays unknown for lack of an answer.
    """
    said_no = problem is not None and problem.status in _PLAIN_NO
    first = True
    while True:
        found = yield from read(order, rules, believe_missing=said_no and not doubt)
        if found is None:
            return Verdict()
        if isinstance(found, Missing):
            cause = Cause.NOT_FOUND if found.problem.status == 404 else Cause.BAD_ID
            yield Record(Rejected(cause=cause, problem=found.problem))
            return Verdict()
        if found.status in BEYOND_START:
            yield Record(_started_by_status(found.status, ours=doubt or not said_no))
            return Verdict(reading=found)
        if found.status != Status.SUBMITTED:  # a word nobody knows settles nothing
            yield Record(seen(found))
            return Verdict(reading=found)
        if not first:
            break
        first = False
        # safety: a status may lag behind a start, so one `submitted` is not believed, not after a 400 either
        yield Pause(rules.settle)
    if not said_no:
        yield Record(Released())
        return Verdict(released=True, reading=found)
    if not doubt and problem is not None:
        cause = Cause.EXPIRED if order.expired else Cause.NOT_STARTED
        yield Record(Rejected(cause=cause, problem=problem))
    return Verdict(reading=found)  # safety: with an earlier attempt in doubt, a 400 may well mean "already started"


def read(order: Order, rules: Rules, *, believe_missing: bool) -> Talk[Reading | Missing | None]:
    """Read the batch's status, patiently. None when no answer came, or the run was stopped by a refusal.

    Args:
        order: The batch.
        rules: How long to wait between tries.
        believe_missing: Take a 400 or 404 for an answer. It can also mean another region or a proxy.
    """
    request = contract.status_request(order.service, order.batch_id)
    for wait in (*rules.read_waits, None):
        meaning = contract.read_meaning((yield from _send(Send(request))), order.batch_id)
        while isinstance(meaning, Throttled):
            meaning = contract.read_meaning((yield from _send(Send(request))), order.batch_id)
        match meaning:
            case Read():
                return meaning.reading
            case Missing() if believe_missing:
                return meaning
            case Refused():
                yield Stop(meaning.problem)
                return None
            case Missing() | NoAnswer():
                if wait is not None:
                    yield Pause(wait)
            case _:
                assert_never(meaning)
    return None


def look(order: Order, rules: Rules, *, was_started: bool) -> Talk[Verdict]:
    """Read one batch on which no attempt is open. Records nothing.

    Args:
        order: The batch.
        rules: How patient to be.
        was_started: Whether the state has it as started: then `submitted` is believed only from two reads, for a status
            may lag behind the start.
    """
    found = yield from read(order, rules, believe_missing=True)
    if was_started and isinstance(found, Reading) and found.status == Status.SUBMITTED:
        yield Pause(rules.settle)
        found = yield from read(order, rules, believe_missing=True)
    if isinstance(found, Missing):
        return Verdict(reading=Reading(batch_id=order.batch_id, source=Source.READ, found=False))
    return Verdict(reading=found)


def list_all(service: Service, rules: Rules, wanted: Collection[str] | None = None) -> Talk[Listing | ServerProblem]:
    """List the account, patiently; the wanted batches, None: all. The problem of the last try when no answer came."""
    request = contract.list_request(service)
    waits = iter(rules.read_waits[:3])
    while True:
        meaning = contract.list_meaning((yield from _send(Send(request))), wanted)
        match meaning:
            case Listing():
                return meaning
            case Throttled():
                continue
            case Refused():
                yield Stop(meaning.problem)
                return meaning.problem
            case NoAnswer():
                wait = next(waits, None)
                if wait is None:
                    return meaning.problem
                yield Pause(wait)
            case _:
                assert_never(meaning)


def confirmed(reading: Reading, *, problem: ServerProblem | None, doubt: bool) -> Talk[Verdict]:
    """Record that the batch of an uncertain attempt was found beyond its start, without asking anything more."""
    said_no = problem is not None and problem.status in _PLAIN_NO
    yield Record(_started_by_status(reading.status or Status.PROCESSING, ours=doubt or not said_no))
    return Verdict(reading=reading)


def seen(reading: Reading) -> Seen:
    """The event that says what the server was heard to say."""
    return Seen(
        source=reading.source,
        found=reading.found,
        status=reading.status,
        reason=reading.reason,
        records=reading.records,
        submitted_at=reading.date_submitted,
    )


def _started_by_status(status: str, *, ours: bool) -> Started | AlreadyStarted:
    return Started(status=status, evidence=Evidence.STATUS) if ours else AlreadyStarted(status=status)


def _ask_to_start(order: Order, rules: Rules) -> Talk[StartMeaning]:
    """Send the start until it has left this machine and was not throttled."""
    request = contract.start_request(order.service, order.batch_id, order.reference_id)
    unsent = 0
    while True:
        meaning = contract.start_meaning((yield from _send(Send(request, is_start=True))), order.batch_id)
        if isinstance(meaning, NotSent):
            unsent += 1
            if unsent == rules.unsent_tries:
                return meaning
            yield Backoff(unsent - 1)
        elif not isinstance(meaning, Throttled):
            return meaning


def _send(step: Send) -> Talk[Reply]:
    reply = yield step
    assert reply is not None  # the engine answers every Send
    return reply
