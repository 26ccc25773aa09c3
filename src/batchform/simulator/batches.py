"""One batch: its properties, its progress at a given time, and how the answers show it.

The progress follows from the time of the start and the processing speed; there is no timer. All times are arguments, in
UTC epoch seconds.
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
"""The services, and the key of each for its records. Source: CONTRACT "Operations"."""

RECORDS_PER_SECOND: Final = 100.0
"""The processing speed at `speed` 1 (I)."""

REASON: Final = "max_processing_time_reached"
"""The only reason seen. Source: CONTRACT "Responses"."""

_FICTION: Final = (
    "441632960", "447700900", "442079460", "441134960", "441144960", "441154960", "441164960", "441174960", "441184960",
    "441214960",
)  # fmt: skip
"""Prefixes of 1,000 numbers each that are reserved for fiction, so no number of the simulator is anyone's."""

_METADATA: Final = {
    **{
        f"{prefix}{key}": value
        for prefix in ("original_", "")
        for key, value in (
            ("operator_name", "Example Mobile"),
            ("network_status", "available"),
            ("home_network_identity", "00101"),
            ("country_prefix", "44"),
            ("country_name", "United Kingdom"),
            ("country_iso", "GBR"),
        )
    },
    "is_ported": "no",
}
"""The metadata of a phone number. The network is the one that is reserved for tests."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """The statuses seen. Source: CONTRACT "Responses"."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch at the beginning of the world.

    `age` is the number of seconds since its submission, `max_processing_time` the number of seconds from its start.
    `records_processed` and `reason` apply to a batch that begins as processing or stopped. `lag` is how many status or
    list reads after a start still say `submitted`; None means the world's `lag`. `credits` is what it charges; None
    means the world's `credits_per_record`.
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
    credits: int | None = None

    def cost(self, records: int, per_record: float) -> int:
        """The credits for this many of its records, rounded up."""
        return math.ceil(records * per_record) if self.credits is None else self.credits


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A batch in the world.

    `head_start` records were processed before `started`. `stopped` is when it was stopped by hand, with `reason`; None
    if it was not. `stale_reads` more reads say `submitted`. `inputs` are the records given to create, empty if the
    batch comes from a world file; `config` are the options given to create.
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
        """The batch after one more status or list read."""
        return replace(self, stale_reads=self.stale_reads - 1) if self.stale_reads else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a batch. `ended` is None until it is completed or stopped."""

    status: Status
    processed: int = 0
    reason: str | None = None
    ended: float | None = None


def born(batch: Batch, now: float) -> Life:
    """The batch as it is when the world begins."""
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


def progress(life: Life, now: float, speed: float) -> Progress:
    """The progress at this time, at `RECORDS_PER_SECOND` times `speed`. At speed 0 no record is processed."""
    if life.started is None:
        return Progress(status=Status.SUBMITTED)
    batch, began, per_second = life.batch, life.started, RECORDS_PER_SECOND * speed
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
    """The members that begin every answer about one batch."""
    reference = life.batch.batch_reference_id
    named = {} if reference is None else {"batch_reference_id": reference}
    return {"batch_id": life.batch.batch_id, **named, "status": status}


def shown(life: Life, now: float, speed: float) -> dict[str, Any]:
    """A batch as status and list show it: while there are stale reads, as submitted.

    Members that would be null are left out, as in the vendor's examples. `date_started` appears in none of them.
    """
    at = progress(replace(life, started=None) if life.stale_reads else life, now, speed)
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


def results(life: Life, now: float, speed: float, *, metadata: bool, per_record: float = 1.0) -> dict[str, Any]:
    """The result of each record; no records until the batch has ended.

    `credits_charged` follows the vendor's examples: 0 until the end, then the price of the records that were processed.
    The start has charged the balance before (I). Records of a world file have made-up inputs.
    """
    at = progress(life, now, speed)
    total = 0 if at.ended is None else life.batch.records
    done = 0 if at.ended is None else at.processed
    counts = {"verified": done, "unprocessed": total - done}
    return {
        **brief(life, at.status),
        "credits_charged": 0 if at.ended is None else life.batch.cost(done, per_record),
        **({} if at.reason is None else {"reason": at.reason}),
        "statistics": [{"name": name, "value": count} for name, count in counts.items() if count],
        RECORDS_KEYS[life.batch.service]: [
            _record(life, number, processed=number < done, metadata=metadata) for number in range(total)
        ],
    }


def _record(life: Life, number: int, *, processed: bool, metadata: bool) -> dict[str, Any]:
    """The result of one record, as in the vendor's documents. Of an address, only the common members are known (I)."""
    given = life.inputs[number] if life.inputs else None
    confidence = "verified" if processed else "unprocessed"
    more = processed and metadata
    match life.batch.service:
        case "email":
            email = {"email": given or f"someone+{number}@example.com", "confidence": confidence}
            return {
                **email,
                **({"verbose_output": "verified", "did_you_mean": []} if processed else {}),
                **({"metadata": {"domain_detail": {"type": "corporate"}}} if more else {}),
            }
        case "address":
            address = {"address": given or f"{number + 1} Example Street", "confidence": confidence}
            return {**address, **({"metadata": {}} if more else {})}
        case _:
            phone = given or f"{_FICTION[number // 1000 % len(_FICTION)]}{number % 1000:03}"
            found = phone if processed else ""
            return {
                "number": phone,
                "validated_phone_number": found,
                "formatted_phone_number": found,
                "phone_type": "mobile" if processed else "",
                "confidence": confidence,
                **({"metadata": _METADATA} if more else {}),
            }


def _date(seconds: float) -> str:
    """A date as the vendor writes it. Source: CONTRACT "Responses"."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
