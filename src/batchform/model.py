"""The words everyone shares: frozen values, no behaviour beyond what their own fields imply.

DESIRED is a `Config` of declared `Batch`es. ACTUAL is an `Observed` of `Reading`s. KNOWN, the state, lives with its
transitions in `state.events`. All times are aware datetimes in UTC; record counts are numbers of records, never of
credits. `Source:` lines name the heading in CONTRACT.md that a fact about the server comes from.
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

    from batchform.errors import Place, Problem, SourceText

DEADLINE = timedelta(days=28)
"""How long after its submission a batch can be started. Source: CONTRACT "28 days" (documented for phone only)."""

MAX_RECORDS = 10_000
"""The most records that a batch can have. Source: CONTRACT "Operations"."""

RATE_LIMIT = 150
"""Requests per minute when no header says otherwise. Source: CONTRACT "Limits" (told by a third party)."""


class Service(StrEnum):
    """The validation services that offer bulk batches; the value is the path segment."""

    PHONE = "phone"
    EMAIL = "email"
    ADDRESS = "address"


class Status(StrEnum):
    """The statuses the vendor's examples show. There is no documented enum, so a `Reading` holds a plain string."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    STOPPED = "stopped"


RUNNING = frozenset({Status.PROCESSING.value, Status.COMPLETED.value})
"""Statuses that show a batch has been started and nobody needs to start it."""

BEYOND_START = RUNNING | {Status.STOPPED.value}
"""Statuses that only a started batch can have."""


# --- DESIRED ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One declared batch. `batch_id` is its identity, `name` a label that may change freely.

    `records` and `submitted_at` are what the author says of it, for when the server has not been asked.
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
    """The limits a configuration may put on one apply."""

    MAX_STARTS = "max_starts"
    MAX_RECORDS = "max_records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A limit on one apply, and where it is set."""

    name: GuardName
    limit: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the author wants: the declared batches, sorted by name. No two share a `batch_id` or a `name`.

    `warnings` are problems of severity warning; they never stop a run. `sources` are the texts of the files they stand
    in, to be shown beside them.
    """

    service: Service = Service.PHONE
    guards: tuple[Guard, ...] = ()
    batches: tuple[Batch, ...] = ()
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, SourceText] = field(default_factory=lambda: NO_SOURCES, compare=False, repr=False)


# --- ACTUAL ----------------------------------------------------------------------------------------------------------


class Source(StrEnum):
    """Where a reading comes from. The list is a hint: it can confirm a start, never the lack of one."""

    LIST = "list"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the server said of one batch, once. Every field but the id may be missing.

    `found` is False when a single read was answered 404 or 400; then all else is None. `status` is whatever word the
    server used. Source: CONTRACT "Responses", no field is required; `date_started` is for people only.
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
    """What the server was heard to say in this run.

    `listed` tells that the list call was made and answered: only then does "not among the readings" mean "absent from
    the list". `readings` holds the newest reading per batch_id, of the batches that were asked about. `skew` is the
    server's clock minus the local one, None when no answer carried a Date.
    """

    listed: bool = False
    readings: Mapping[str, Reading] = field(default_factory=lambda: MappingProxyType({}))
    skew: timedelta | None = None


NOTHING_OBSERVED = Observed()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProblem:
    """The problem of an answer that was not a success, cut to a sane length and with the token redacted.

    `status` is the HTTP status, None when there was no complete answer. The texts are for people: nothing ever branches
    on them. Source: CONTRACT "Errors", no wording is documented.
    """

    status: int | None
    title: str
    detail: str = ""
