"""Which charges a refresh reads, and what an answer says about one (pure).

A charge is read once a batch has ended, one call a batch, until it is final. That of a completed batch is final at
once. That of a stopped batch can change for 7 days, because it is not documented whether a stop gives credits back. A
charge that is still unknown is read again ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from batchform.api.results import Results
from batchform.model import Status
from batchform.state.events import Charged
from batchform.state.merge import spending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from batchform.model import Observed, ServerProblem
    from batchform.state.known import Entry, State

CAN_CHANGE: Final = timedelta(days=7)
"""How long after its end the charge of a stopped batch can change."""

MOST: Final = 300
"""The most charges that one refresh reads: four minutes at half of the rate limit, for which it holds the state."""

_AGAIN: Final = timedelta(hours=20)
"""The least time between two reads of one charge. Less than a day, so that a nightly job reads it each night."""

_ENDED: Final = frozenset({Status.COMPLETED.value, Status.STOPPED.value})
_ABOUT_THE_BATCH: Final = frozenset({200, 400, 404})
"""HTTP statuses of answers without a charge that say something about the batch, and not about the service."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """The charges that one refresh read, in numbers of batches; `credits` are those that it read.

    `open`: a number that can change. `unknown`: an answer without a usable number. `unanswered`: no answer, or the
    batch is still processing. `left`: not read in this run.
    """

    read: int
    credits: int
    open: int
    unknown: int
    unanswered: int
    left: int


def summed(events: Iterable[Charged | None], *, due: int) -> Charges:
    """The numbers of a refresh in which so many charges were due. None is an answer that says nothing."""
    told = [event for event in events if event is not None]
    asked = min(due, MOST)
    return Charges(
        read=len(told),
        credits=sum(event.credits or 0 for event in told),
        open=sum(event.credits is not None and not event.final for event in told),
        unknown=sum(event.credits is None for event in told),
        unanswered=asked - len(told),
        left=due - asked,
    )


def to_read(state: State, observed: Observed, selected: Collection[str] | None, now: datetime) -> tuple[Entry, ...]:
    """The started batches whose charges are to be read, in the order in which they are read.

    Args:
        state: The state, with what was just observed.
        observed: What the server said in this run.
        selected: Only these batch_ids, None for all: also of batches that are no longer declared.
        now: The local time.
    """
    due = [
        entry
        for entry in spending(state).values()
        if (selected is None or entry.batch_id in selected) and _has_ended(entry, observed) and _is_due(entry, now)
    ]
    return tuple(sorted(due, key=lambda entry: (entry.charged_at or _NEVER, entry.spent_at, entry.batch_id)))


def _has_ended(entry: Entry, observed: Observed) -> bool:
    """Whether it has ended, or may have: the status of an undeclared batch is not read."""
    reading = observed.readings.get(entry.batch_id)
    if reading is not None and reading.status is not None:
        return reading.status in _ENDED
    return entry.status in _ENDED or not entry.declared


def _is_due(entry: Entry, now: datetime) -> bool:
    """Whether its charge can still become known or change, and was not read lately."""
    if entry.final:
        return False
    if entry.charged_at is None:
        return True
    if now - entry.charged_at < _AGAIN:
        return False
    ended = entry.ended_at or entry.spent_at
    if entry.credits is not None:
        return True
    return now - ended >= 1.5 * (entry.charged_at - ended)


def charged(entry: Entry, found: Results | ServerProblem, now: datetime) -> Charged | None:
    """The event for an answer to the results call, None if it says nothing about the charge.

    Args:
        entry: The batch.
        found: The answer.
        now: The local time.
    """
    if not isinstance(found, Results):
        return Charged() if found.status in _ABOUT_THE_BATCH else None
    if found.status not in _ENDED:
        return None  # it says 0 until the batch has ended
    over = now - (entry.ended_at or now) >= CAN_CHANGE
    final = over or (found.status == Status.COMPLETED and found.credits_charged is not None)
    number = found.credits_charged
    if number is None and final:
        number = entry.credits  # the last one counts
    return Charged(status=found.status, credits=number, final=final, statistics=found.statistics or None)
