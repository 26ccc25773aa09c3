"""One batch: what it is, how far it is at a given time, and how the answers show it.

How far a batch is follows from when it was started and how fast records are processed; nothing ticks. All times are UTC
epoch seconds and come in as arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDS_KEYS: Final = {"phone": "phones", "email": "emails", "address": "addresses"}
"""The services, and what each calls its records. Source: CONTRACT "The other five operations"."""

RECORDS_PER_SECOND: Final = 100.0
"""How fast a batch is processed at speed 1 (I)."""

REASON: Final = "max_processing_time_reached"
"""The only reason seen. Source: CONTRACT "The other five operations"."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """The statuses seen. Source: CONTRACT "The other five operations"."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as the world finds it when it begins.

    `age` is in seconds since its submission; `max_processing_time` in seconds from its start. `records_processed` and
    `reason` matter for a batch that begins as processing or stopped. `lag` is how many status or list reads after a
    start still say `submitted`, None takes the world's.
    """

    batch_id: str
    records: int = 1
    service: str = "phone"
    age: float = 0.0
    status: Status = Status.SUBMITTED
    records_processed: int | None = None
    reason: str | None = None
    batch_reference_id: str | None = None
    max_processing_time: float | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A batch in the world.

    `head_start` records were processed before `started`. `stopped` is when it was stopped by hand, with `reason`; None
    as long as it was not. `stale_reads` reads still say `submitted`. `inputs` are what create was given, empty when
    nobody knows; `config` the options it came with.
    """

    batch: Batch
    submitted: float
    started: float | None = None
    head_start: int = 0
    stopped: float | None = None
    reason: str | None = None
    stale_reads: int = 0
    inputs: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Life:
        """The life after one more status or list read."""
        return replace(self, stale_reads=self.stale_reads - 1) if self.stale_reads else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is. `ended` is None until it is completed or stopped."""

    status: Status
    processed: int = 0
    reason: str | None = None
    ended: float | None = None


def born(batch: Batch, now: float) -> Life:
    """The life of a batch that is there when the world begins."""
    life = Life(batch=batch, submitted=now - batch.age)
    halfway = now - batch.age / 2
    match batch.status:
        case Status.SUBMITTED:
            return life
        case Status.PROCESSING:
            return replace(life, started=now, head_start=batch.records_processed or 0)
        case Status.COMPLETED:
            return replace(life, started=halfway, head_start=batch.records)
        case Status.STOPPED:
            done = batch.records // 2 if batch.records_processed is None else batch.records_processed
            return replace(life, started=halfway, head_start=done, stopped=halfway, reason=batch.reason)


def progress(life: Life, now: float, per_second: float) -> Progress:
    """How far the batch is at that time, when `per_second` records are processed in a second (0: never any)."""
    if life.started is None:
        return Progress(status=Status.SUBMITTED)
    batch, began = life.batch, life.started
    left = batch.records - life.head_start
    needed = 0.0 if left <= 0 else left / per_second if per_second else math.inf
    finish = began + needed
    limit = math.inf if batch.max_processing_time is None else began + batch.max_processing_time
    end = limit if life.stopped is None else min(limit, life.stopped)

    def processed(at: float) -> int:
        return min(batch.records, life.head_start + math.floor((at - began) * per_second))

    if end < finish and now >= end:
        reason = life.reason if end == life.stopped else REASON
        return Progress(status=Status.STOPPED, processed=processed(end), reason=reason, ended=end)
    if now >= finish:
        return Progress(status=Status.COMPLETED, processed=batch.records, ended=finish)
    return Progress(status=Status.PROCESSING, processed=processed(now))


# --- as the answers show it ------------------------------------------------------------------------------------------


def brief(life: Life, status: Status) -> dict[str, Any]:
    """What every answer about one batch begins with."""
    reference = life.batch.batch_reference_id
    named = {} if reference is None else {"batch_reference_id": reference}
    return {"batch_id": life.batch.batch_id, **named, "status": status}


def shown(life: Life, now: float, per_second: float) -> dict[str, Any]:
    """A batch as status and list show it, late as long as there are stale reads.

    What is null for a state is left out, as in the vendor's examples; `date_started` appears in none of them.
    """
    at = progress(replace(life, started=None) if life.stale_reads else life, now, per_second)
    return {
        **brief(life, at.status),
        **({} if at.reason is None else {"reason": at.reason}),
        "records": life.batch.records,
        "records_processed": at.processed,
        "date_submitted": _date(life.submitted),
        **({} if at.ended is None else {"date_ended": _date(at.ended)}),
    }


def options(life: Life) -> dict[str, Any]:
    """The options a batch was created with, as status metadata shows them."""
    return {key: value for key, value in life.config.items() if key != "batch_reference_id"}


def results(life: Life, now: float, per_second: float, *, metadata: bool) -> dict[str, Any]:
    """What came of each record; no records until the batch has ended.

    `credits_charged` follows the vendor's examples: 0 until the end, then the records processed. The balance is charged
    by the start all the same (I). Records of a world file have made-up inputs.
    """
    at = progress(life, now, per_second)
    total = 0 if at.ended is None else life.batch.records
    done = 0 if at.ended is None else at.processed
    counts = {"verified": done, "unprocessed": total - done}
    return {
        **brief(life, at.status),
        "credits_charged": done,
        **({} if at.reason is None else {"reason": at.reason}),
        "statistics": [{"name": name, "value": count} for name, count in counts.items() if count],
        RECORDS_KEYS[life.batch.service]: [
            {**_record(life, number, processed=number < done), **({"metadata": {}} if metadata else {})}
            for number in range(total)
        ],
    }


def _record(life: Life, number: int, *, processed: bool) -> dict[str, Any]:
    """What came of one record. Phone follows the vendor's example; the other two show what is common (I)."""
    given = life.inputs[number] if life.inputs else None
    confidence = "verified" if processed else "unprocessed"
    if life.batch.service == "email":
        return {"email": given or f"someone+{number}@example.com", "confidence": confidence}
    if life.batch.service == "address":
        return {"address": given or f"{number + 1} Example Street", "confidence": confidence}
    phone = given or f"441632960{number % 1000:03}"  # a range reserved for fiction
    found = phone if processed else ""
    return {
        "number": phone,
        "validated_phone_number": found,
        "formatted_phone_number": found,
        "phone_type": "mobile" if processed else "",
        "confidence": confidence,
    }


def _date(seconds: float) -> str:
    """A date as the vendor writes it. Source: CONTRACT "The other five operations"."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
