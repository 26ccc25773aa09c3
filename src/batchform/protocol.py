"""The requests and waits about one batch, from intent to outcome.

Each conversation is a generator. It yields the next `Step` and receives the reply, if the step has one. It uses no
clock, socket, file or thread. The engine drives many conversations at once and keeps two promises:

- An event that was yielded before a request is durable before that request is sent.
- A request that was not sent when the run ends is never sent. `Ended` is raised at its `yield` instead.

An attempt whose outcome is unknown is released only by two single reads that say `submitted`, `Rules.settle` apart. The
list can confirm a start, but it never releases one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, assert_never

from batchform.api import contract
from batchform.api.contract import (
    Accepted,
    Broken,
    Doubtful,
    Listing,
    Missing,
    NoAnswer,
    NotSent,
    Read,
    Refused,
    Throttled,
)
from batchform.api.results import Results, results_meaning
from batchform.charges import charged
from batchform.errors import UsageError
from batchform.model import BEYOND_START, Reading, Source, Status
from batchform.state.events import AlreadyStarted, Intended, NotAttempted, Rejected, Released, Seen, Started, Unknown
from batchform.state.known import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from batchform.api.contract import Reply, Request, StartMeaning
    from batchform.api.endpoint import Endpoint
    from batchform.model import ServerProblem, Service
    from batchform.state.events import Charged, What
    from batchform.state.known import Entry

T = TypeVar("T")
M = TypeVar("M")

SETTLE: Final = 10.0
"""The shortest settle time in seconds where starts are paid for."""

IN_FLIGHT: Final = 20.0
"""Seconds that a request without an answer may take to arrive: a proxy can hold it after the connection broke."""

_DECLINED: Final = frozenset({400, 404})
"""HTTP statuses that refuse a start, unless an earlier attempt may have been accepted."""


# --- The steps of a conversation -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Make this event durable before any later `Send` of any conversation."""

    what: What


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request. The reply is the value of the `yield`. Reads go before starts.

    One that `can_wait` goes after all others, and leaves half of the rate limit to other runs.
    """

    request: Request
    is_start: bool = False
    can_wait: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait for the `attempt`-th (from 0) of a growing series of delays with full jitter."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the whole run: every later request would fail in the same way."""

    problem: ServerProblem


class Ended(Exception):  # noqa: N818  # not an error: the run ends before this step
    """Raised inside a conversation in place of a step. No part of that step has happened."""


Step: TypeAlias = Record | Send | Pause | Backoff | Stop
Conversation: TypeAlias = Generator[Step, "Reply | None", T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Waits (in seconds) and numbers of tries.

    `settle`: how long a status may lag behind a start; also the time between two reads that must agree.
    `in_flight`: how long a request without an answer may take to arrive.
    `attempts`: starts sent for one batch in one run. `unsent_tries`: tries to send a request that does not get out, for
    at most `unsent_time`.
    `read_waits`: between reads that get no answer.
    """

    settle: float = SETTLE
    in_flight: float = IN_FLIGHT
    attempts: int = 3
    unsent_tries: int = 3
    unsent_time: float = 30.0
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
    """The batch that a conversation is about.

    `reference_id` traces the start. `expired`: the batch is 28 days old or older. `over`: it is a day older than
    that, so it cannot be started. `doubt`: the server may have accepted an earlier attempt of ours without a clean
    answer. `labels` are recorded with the attempt.
    """

    service: Service
    batch_id: str
    reference_id: str
    records: int | None = None
    submitted_at: datetime | None = None
    expired: bool = False
    over: bool = False
    doubt: bool = False
    labels: Mapping[str, str] | None = None


# --- Conversations ---------------------------------------------------------------------------------------------------


def start(order: Order, rules: Rules) -> Conversation[None]:
    """Start a batch, so that the server accepts at most one start, and record the outcome."""
    doubt = order.doubt
    problem = None
    for _ in range(rules.attempts):
        # safety: durable before the request is sent, so that after a crash the outcome counts as unknown
        yield Record(
            Intended(
                reference_id=order.reference_id,
                records=order.records,
                submitted_at=order.submitted_at,
                labels=order.labels,
            )
        )
        try:
            meaning, took = yield from _send_start(order, rules)
        except Ended:  # the request was never sent, or it was cleanly throttled
            yield Record(NotAttempted())
            return
        match meaning:
            case NotSent():
                yield Record(NotAttempted(problem=contract.problem_of(meaning)))
                if meaning.is_final:
                    yield Stop(contract.problem_of(meaning))
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
                yield Record(Unknown(problem=problem))  # safety: read the status before the start is sent again
                patience = patient(rules, took) if _may_be_under_way(problem) else rules
                verdict = yield from verify(order, patience, problem=problem, doubt=doubt)
                if not verdict.released:
                    return
                doubt = True
            case Throttled():  # pragma: no cover - `_send_start` waits these out; mypy needs the case
                raise AssertionError(meaning)
            case _:
                assert_never(meaning)
    if problem is not None:
        yield Record(Rejected(cause=Cause.NOT_STARTED, problem=problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of status reads about an attempt. `reading` is the last one, None without an answer."""

    released: bool = False
    reading: Reading | None = None


def verify(order: Order, rules: Rules, *, problem: ServerProblem | None, doubt: bool) -> Conversation[Verdict]:
    """Verify an attempt whose outcome is unknown by status reads, and record the outcome.

    Args:
        order: The batch.
        rules: Waits and numbers of tries.
        problem: The answer to the attempt, None when the run was interrupted before one came.
        doubt: Whether the outcome of an earlier attempt was unknown, too.

    Returns:
        Whether the batch may be started again. If not, the outcome is known, or no read was answered.
    """
    declined = problem is not None and problem.status in _DECLINED
    first = True
    while True:
        found = yield from read(order, rules, believe_missing=declined and not doubt)
        if found is None:
            return Verdict()
        if isinstance(found, Missing):
            cause = Cause.NOT_FOUND if found.problem.status == 404 else Cause.BAD_ID
            yield Record(Rejected(cause=cause, problem=found.problem))
            return Verdict()
        if found.status in BEYOND_START:
            yield Record(_found_started(found.status, ours=doubt or not declined))
            return Verdict(reading=found)
        if found.status != Status.SUBMITTED:  # an unrecognised status shows no outcome
            yield Record(seen(found))
            return Verdict(reading=found)
        if not first:
            break
        first = False
        # safety: a status may lag behind a start, so one `submitted` is not enough, not even after a 400
        yield Pause(rules.settle)
    if not declined:
        yield Record(Released())
        return Verdict(released=True, reading=found)
    if doubt and order.over:
        yield Record(Released())  # `plan` does not start it again: it is too old
    elif not doubt and problem is not None:
        cause = Cause.EXPIRED if order.expired else Cause.NOT_STARTED
        yield Record(Rejected(cause=cause, problem=problem))
    return Verdict(reading=found)  # safety: after an attempt in doubt, a 400 can mean "already started"


def read(order: Order, rules: Rules, *, believe_missing: bool) -> Conversation[Reading | Missing | None]:
    """Read the status of the batch, with retries. None when no answer came, or the credentials were refused.

    Args:
        order: The batch.
        rules: Waits and numbers of tries.
        believe_missing: Accept a 400 or 404 as the answer. It can also come from another region or a proxy.
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


def refresh(order: Order, rules: Rules, *, was_started: bool) -> Conversation[Verdict]:
    """Read one batch without an unknown attempt. Records nothing.

    Args:
        order: The batch.
        rules: Waits and numbers of tries.
        was_started: Whether the state has it as started. Then two reads must say `submitted`, because a status may lag
            behind the start.
    """
    found = yield from read(order, rules, believe_missing=True)
    if was_started and isinstance(found, Reading) and found.status == Status.SUBMITTED:
        yield Pause(rules.settle)
        found = yield from read(order, rules, believe_missing=True)
    if isinstance(found, Missing):
        return Verdict(reading=Reading(batch_id=order.batch_id, source=Source.READ, found=False))
    return Verdict(reading=found)


def list_all(
    service: Service, rules: Rules, wanted: Collection[str] | None = None
) -> Conversation[Listing | ServerProblem]:
    """List the wanted batches (None: all), with retries. Returns the problem of the last try when no answer came."""
    step = Send(contract.list_request(service))
    meaning = yield from _answered(step, rules, lambda reply: contract.list_meaning(reply, wanted))
    return meaning if isinstance(meaning, Listing) else meaning.problem


def results(
    order: Order, rules: Rules, *, items: bool = False, metadata: bool = False, can_wait: bool = False
) -> Conversation[Results | ServerProblem]:
    """Read the results of a batch, with retries. Records nothing.

    Args:
        order: The batch.
        rules: Waits and numbers of tries.
        items: Whether the items are wanted. Without, the answer is not kept.
        metadata: Whether the items should have all fields.
        can_wait: Whether other requests go first.

    Returns:
        The results, or the problem of the last try. A 400 or 404 is not retried, nor is an answer that is too large.
    """
    request = contract.results_request(order.service, order.batch_id, metadata=metadata)
    step = Send(request, can_wait=can_wait)
    meaning = yield from _answered(step, rules, lambda reply: results_meaning(reply, order.batch_id, items=items))
    return meaning if isinstance(meaning, Results) else meaning.problem


def _answered(
    step: Send, rules: Rules, meaning_of: Callable[[Reply], M | Missing | Refused | Throttled | NoAnswer]
) -> Conversation[M | Missing | Refused | NoAnswer]:
    """The meaning of the first usable answer, else of the last try. What is too large is not asked for again."""
    waits, began = iter(rules.read_waits[:3]), None
    while True:
        reply = yield from _send(step)
        began = reply.sent_at if began is None else began
        meaning = meaning_of(reply)
        if isinstance(meaning, Throttled):
            continue
        if isinstance(meaning, Refused):
            yield Stop(meaning.problem)
        if not isinstance(meaning, NoAnswer):
            return meaning
        wait = next(waits, None)
        is_large = isinstance(reply, Broken) and reply.too_large
        if wait is None or is_large or _is_over(reply, began, rules):
            return meaning
        del reply  # it may be large
        yield Pause(wait)


def charge(order: Order, rules: Rules, entry: Entry, now: datetime) -> Conversation[Charged | None]:
    """Read what a batch was charged, and record it. Returns None when the answer does not say it.

    Args:
        order: The batch.
        rules: Waits and numbers of tries.
        entry: What is known of it.
        now: The local time.
    """
    what = charged(entry, (yield from results(order, rules, can_wait=True)), now)
    if what is not None:
        yield Record(what)
    return what


def confirm(reading: Reading, *, problem: ServerProblem | None, doubt: bool) -> Conversation[Verdict]:
    """Record that the batch of an unknown attempt was found started. Sends nothing."""
    declined = problem is not None and problem.status in _DECLINED
    yield Record(_found_started(reading.status or Status.PROCESSING, ours=doubt or not declined))
    return Verdict(reading=reading)


def seen(reading: Reading) -> Seen:
    """The event that records a reading."""
    return Seen(
        source=reading.source,
        found=reading.found,
        status=reading.status,
        reason=reading.reason,
        records=reading.records,
        submitted_at=reading.date_submitted,
        started_at=reading.date_started,
        ended_at=reading.date_ended,
    )


def _found_started(status: str, *, ours: bool) -> Started | AlreadyStarted:
    return Started(status=status, evidence=Evidence.STATUS) if ours else AlreadyStarted(status=status)


def _may_be_under_way(problem: ServerProblem) -> bool:
    """Whether the server may still receive or carry out a start: after no complete answer, and after most errors.

    A 5xx can come from a gateway that has passed the request on.
    """
    return problem.status is None or problem.status == 408 or problem.status >= 500


def patient(rules: Rules, took: float = 0.0) -> Rules:
    """The rules for an attempt without an answer, which ended `took` seconds after its request was sent.

    The request may still be under way. For an attempt of an interrupted run the time is unknown, so 0: the clocks of
    two machines can differ.
    """
    # safety: a request that arrives after the reads would be a second start
    return replace(rules, settle=rules.settle + max(rules.in_flight - took, 0.0))


def _send_start(order: Order, rules: Rules) -> Conversation[tuple[StartMeaning, float]]:
    """Send the start until it was sent and not throttled. Also returns how many seconds the last one took."""
    request = contract.start_request(order.service, order.batch_id, order.reference_id)
    unsent, began = 0, None
    while True:
        reply = yield from _send(Send(request, is_start=True))
        began = reply.sent_at if began is None else began
        meaning = contract.start_meaning(reply, order.batch_id)
        if isinstance(meaning, NotSent):
            unsent += 1
            if unsent == rules.unsent_tries or meaning.is_final or _is_over(reply, began, rules):
                return meaning, 0.0
            yield Backoff(unsent - 1)
        elif not isinstance(meaning, Throttled):
            return meaning, reply.received_at - reply.sent_at


def _is_over(reply: Reply, began: float, rules: Rules) -> bool:
    """Whether a request that does not get out has been tried for long enough."""
    return isinstance(reply, NotSent) and reply.received_at - began >= rules.unsent_time


def _send(step: Send) -> Conversation[Reply]:
    reply = yield step
    assert reply is not None  # the engine answers every Send
    return reply
