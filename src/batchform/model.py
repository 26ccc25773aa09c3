"""The values that all modules share. They are frozen and have no behaviour of their own.

DESIRED is a `Config` of declared `Batch`es. ACTUAL is an `Observed` of `Reading`s. KNOWN is in `state.known`. All times
are aware datetimes in UTC. Record counts are numbers of records, never of credits. `Source:` lines name the heading of
CONTRACT.md with the fact about the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.errors import NO_SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.errors import Problem
    from batchform.source_text import Place, SourceText

DEADLINE = timedelta(days=28)
"""How long after its submission a batch can be started. Source: CONTRACT "28 days", documented for phone only."""

MAX_RECORDS = 10_000
"""The most records that a batch can have. Source: CONTRACT "Operations"."""

RATE_LIMIT = 150
"""Requests per minute without a header. Source: CONTRACT "Limits", according to a third party."""


class Service(StrEnum):
    """The validation services with bulk batches. The value is the path segment."""

    PHONE = "phone"
    EMAIL = "email"
    ADDRESS = "address"


class Status(StrEnum):
    """The statuses in the vendor's examples. No list is documented, so a `Reading` has a plain string."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"


RUNNING = frozenset({Status.PROCESSING.value, Status.COMPLETED.value})
"""Statuses of a batch that was started and needs no start."""

BEYOND_START = RUNNING | {Status.STOPPED.value}
"""Statuses that only a started batch has."""


# --- DESIRED ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One declared batch. `batch_id` is its identity. `name` can change.

    `records` and `submitted_at` are declared, for plans without a refresh.
    """

    name: str
    batch_id: str
    place: Place
    reference_id: str | None = None
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    records: int | None = None
    submitted_at: datetime | None = None
    not_before: datetime | None = None
    hold: bool = False


class GuardName(StrEnum):
    """The limits that a configuration can set for one apply."""

    MAX_STARTS = "max_starts"
    MAX_RECORDS = "max_records"

    @property
    def variable(self) -> str:
        """The environment variable that sets a limit beside the configuration's."""
        return f"BATCHFORM_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A limit for one apply, and its place in the configuration. None: it is set by its environment variable."""

    name: GuardName
    limit: int
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a record and a credit cost, for estimates. None: not configured. A price has a currency."""

    credits_per_record: float | None = None
    price_per_credit: float | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The declared batches, sorted by name. Each `batch_id` and each `name` is unique.

    `warnings` are problems of severity warning, which never stop a run. `sources` are the texts of their files.
    """

    service: Service = Service.PHONE
    guards: tuple[Guard, ...] = ()
    costs: Costs = Costs()
    batches: tuple[Batch, ...] = ()
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, SourceText] = field(default_factory=lambda: NO_SOURCES, compare=False, repr=False)


# --- ACTUAL ----------------------------------------------------------------------------------------------------------


class Source(StrEnum):
    """The call that a reading comes from. The list can confirm a start, but never show that there was none."""

    LIST = "list"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One answer of the server about one batch. Every field but the id can be missing.

    `found` is False after a single read with the answer 404 or 400. Then all other fields are None. `status` is the
    server's own word. `date_started` and `date_ended` date the spending. Source: CONTRACT "Responses", no field is
    required.
    """

    batch_id: str
    source: Source
    found: bool = True
    status: str | None = None
    reason: str | None = None
    batch_reference_id: str | None = None
    records: int | None = None
    records_processed: int | None = None
    date_submitted: datetime | None = None
    date_started: datetime | None = None
    date_ended: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a refresh read from the server.

    `listed`: the list call was answered. Only then is a batch without a reading absent from the list. `readings` has
    the newest reading of each selected batch by batch_id. `skew` is the server's clock minus the local one, None when
    no answer had a Date. `asked`: each batch to start was read singly instead of
    listed, with or without an answer.
    """

    listed: bool = False
    readings: Mapping[str, Reading] = field(default_factory=lambda: MappingProxyType({}))
    skew: timedelta | None = None
    asked: bool = False


NOTHING_OBSERVED = Observed()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProblem:
    """The problem in an answer that was no success, with limited length and the token redacted.

    `status` is the HTTP status, None without a complete answer. The texts are for people, and no code branches on them.
    Source: CONTRACT "Errors", no wording is documented.
    """

    status: int | None
    title: str
    detail: str = ""
