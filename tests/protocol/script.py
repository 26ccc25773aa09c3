"""Plays a conversation by hand: replies in, steps out. No engine; time passes only in pauses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from batchform.api.contract import Answer, Broken, NotSent
from batchform.model import Service
from batchform.protocol import Backoff, Ended, Order, Pause, Record, Send, Stop
from batchform.state.events import (
    AlreadyStarted,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Seen,
    Started,
    Unknown,
    What,
)

if TYPE_CHECKING:
    from batchform.api.contract import Reply
    from batchform.protocol import Conversation, Step

T = TypeVar("T")

BATCH = "b1"
ORDER = Order(service=Service.PHONE, batch_id=BATCH, reference_id="ref-1")


# --- replies ---------------------------------------------------------------------------------------------------------


def answer(status: int, document: object = None, **headers: str) -> Answer:
    """A complete answer with a JSON body."""
    body = b"" if document is None else json.dumps(document).encode()
    return Answer(status=status, headers=tuple(headers.items()), body=body)


def said(status: str | None, batch_id: str = BATCH, **fields: Any) -> Answer:
    """A 200 that names the batch and a status: an accepted start, or an answered read."""
    return answer(200, {"result": {"batch_id": batch_id, "status": status} | fields})


def failed(status: int) -> Answer:
    """A failure of that status, as documented."""
    return answer(status, {"error": {"title": f"No {status}", "detail": "because"}})


SUBMITTED, PROCESSING, COMPLETED, STOPPED = (said(s) for s in ("submitted", "processing", "completed", "stopped"))
LOST = Broken(cause="connection reset")
UNSENT = NotSent(cause="connection refused")
REFUSED_CLIENT = NotSent(cause="No access token: 401 invalid_client", is_final=True)
UNSENT_FOR_LONG = NotSent(cause="no answer within 15 s", sent_at=5.0, received_at=35.0)
TOKEN_ENDED = replace(failed(401), renewed=True)
THROTTLED = failed(429)


# --- playing ---------------------------------------------------------------------------------------------------------


@dataclass
class Played(Generic[T]):
    """What a conversation did. `steps` holds each step with the second it was taken at and the reply it was given."""

    steps: list[tuple[float, Step, Reply | None]] = field(default_factory=list)
    returned: T | None = None
    ended: bool = False

    @property
    def events(self) -> list[What]:
        """What was recorded."""
        return [step.what for _, step, _ in self.steps if isinstance(step, Record)]

    @property
    def words(self) -> str:
        """The steps, a word each."""
        return " ".join(word(step) for _, step, _ in self.steps)


def word(step: Step) -> str:
    """A step in a word."""
    match step:
        case Record(what):
            return of(what)
        case Send():
            return "start" if step.is_start else "read"
        case Pause():
            return f"pause:{step.seconds:g}"
        case Backoff():
            return f"backoff:{step.attempt}"
        case Stop():
            return f"stop:{step.problem.status}"


def of(what: What) -> str:
    """An event in a word."""
    match what:
        case Started():
            return f"Started:{what.status}:{what.evidence.value}"
        case AlreadyStarted():
            return f"AlreadyStarted:{what.status}"
        case Rejected():
            return f"Rejected:{what.cause.value}"
        case Seen():
            return f"Seen:{what.status}"
        case _:
            return type(what).__name__


def play(
    conversation: Conversation[T], *replies: Reply, end_at: int | None = None, settle: float = 10.0, spare: bool = False
) -> Played[T]:
    """Play the conversation as the engine does.

    Each `Send` takes the next reply; when none is left, or after a `Stop`, or at the `end_at`-th step that waits for
    something (from 0), the conversation gets `Ended`. `spare`: replies may be left over.
    """
    played: Played[T] = Played()
    left = list(replies)
    now, waits, over = 0.0, 0, False
    try:
        step = next(conversation)
        while True:
            reply: Reply | None = None
            if isinstance(step, Record):
                played.steps.append((now, step, None))
            elif isinstance(step, Stop):
                played.steps.append((now, step, None))
                over = True
            else:
                over = over or waits == end_at or (isinstance(step, Send) and not left)
                waits += 1
                if over:
                    step = conversation.throw(Ended())
                    continue
                if isinstance(step, Send):
                    reply = left.pop(0)
                elif isinstance(step, Pause):
                    now += step.seconds
                played.steps.append((now, step, reply))
            step = conversation.send(reply)
    except StopIteration as stop:
        played.returned = stop.value
        assert over or spare or not left, f"{len(left)} replies were not asked for"
    except Ended:
        played.ended = True
    check_safe(played, settle)
    return played


def check_safe(played: Played[Any], settle: float) -> None:
    """What holds for every conversation, whatever the server answers.

    A start goes out only under an open intent; after a doubtful answer none goes out before `Released`; and `Released`
    comes only after two reads that said `submitted`, 5 s apart or more, the second at least `settle` seconds after the
    attempt.
    """
    last: What | None = None
    attempted_at = 0.0
    submitted_at: list[float] = []
    for now, step, reply in played.steps:
        if isinstance(step, Record):
            if isinstance(step.what, Intended):
                assert not isinstance(last, (Intended, Unknown, Started, AlreadyStarted, Rejected, NotAttempted))
            if isinstance(step.what, Released):
                assert len(submitted_at) >= 2
                assert submitted_at[-1] - submitted_at[0] >= 5
                assert submitted_at[-1] - attempted_at >= settle
            last = step.what
        elif isinstance(step, Send) and step.is_start:
            assert isinstance(last, Intended), f"a start after {last}"
            assert (step.request.method, step.request.path) == ("POST", f"/phone/bulk/v1/batches/{BATCH}/start")
            attempted_at, submitted_at = now, []
        elif isinstance(step, Send):
            assert step.request.method == "GET"
            if isinstance(reply, Answer) and reply.body == SUBMITTED.body:
                submitted_at.append(now)
