"""The known state of the batches and the runs that changed it, as plain values.

`state.events` turns one state into the next; `state.codec` writes and reads it as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.model import ServerProblem, Service

RUNS_KEPT = 1_000
"""How many runs the state keeps. They make the fold idempotent and are the history of the runs."""

PAST_KEPT = timedelta(days=775)
"""How long the spending of a batch is kept after its start when its entry is gone: 25 months."""


class Evidence(StrEnum):
    """How a start is known: from the answer to the start call, or from a later status."""

    ANSWER = "answer"
    STATUS = "status"


class TimeSource(StrEnum):
    """How the time of a start is known. `LATEST` is an upper bound: the batch was then seen as started or ended."""

    REQUEST = "request"
    ACCOUNT = "account"
    LATEST = "latest"


class Cause(StrEnum):
    """Why a start was rejected. The first three causes are final, unless the server later reports otherwise."""

    BAD_ID = "bad_id"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    REFUSED = "refused"
    NOT_STARTED = "not_started"


FOR_GOOD = frozenset({Cause.BAD_ID, Cause.NOT_FOUND, Cause.EXPIRED})


class Phase(StrEnum):
    """How far starting a batch has come."""

    SEEN = "seen"
    """Known from the server; not started and never attempted."""
    INTENDED = "intended"
    """An attempt has no outcome yet, because the run is active or was interrupted."""
    UNKNOWN = "unknown"
    """The outcome of an attempt is unknown."""
    RELEASED = "released"
    """An attempt with an unknown outcome turned out to have no effect. May be started."""
    NOT_ATTEMPTED = "not_attempted"
    """An attempt had no effect. May be started."""
    REJECTED = "rejected"
    """The server refused to start it."""
    STOPPED = "stopped"
    """Found stopped; never started by us."""
    ADOPTED = "adopted"
    """Found processing or completed; never attempted by us."""
    ALREADY_STARTED = "already_started"
    """Our attempt found that someone else had started it."""
    STARTED = "started"
    """Started and paid for by us."""


UNCERTAIN = frozenset({Phase.INTENDED, Phase.UNKNOWN})
RECORDED_AS_STARTED = frozenset({Phase.ADOPTED, Phase.ALREADY_STARTED, Phase.STARTED})
BEYOND = RECORDED_AS_STARTED | {Phase.STOPPED}
"""Phases that never change to one in which the batch could be started. # safety: all guarantees depend on this set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Everything known about one batch.

    `status` is the last status from the server. A started batch never goes back to `submitted`; `contradiction` is set
    instead. `doubt` means that an attempt of ours may have had an effect without a clean answer: if the batch turns out
    to be running, the start was ours. `attempts` counts the attempts.

    What the start cost: `labels` are those declared at the start, None if they were not recorded. `who` and
    `attempt_run` are the user and the run of the last attempt. `started_at` is the best known time of the start.
    `credits` is the charge that the server reported, None if it reported no usable number; `charged_at` is the time of
    that report, and `final` says that it is not read again. `statistics` count the results.
    """

    batch_id: str
    name: str
    phase: Phase
    declared: bool = True
    status: str | None = None
    reason: str | None = None
    found: bool = True
    contradiction: bool = False
    doubt: bool = False
    attempts: int = 0
    cause: Cause | None = None
    evidence: Evidence | None = None
    problem: ServerProblem | None = None
    reference_id: str | None = None
    records: int | None = None
    submitted_at: datetime | None = None
    intended_at: datetime | None = None
    settled_at: datetime | None = None
    seen_at: datetime | None = None
    labels: Mapping[str, str] | None = None
    who: str = ""
    attempt_run: str = ""
    started_at: datetime | None = None
    time_source: TimeSource | None = None
    ended_at: datetime | None = None
    credits: int | None = None
    final: bool = False
    charged_at: datetime | None = None
    statistics: Mapping[str, int] | None = None
    updated_at: datetime
    run: str

    @property
    def uncertain(self) -> bool:
        """Whether the outcome of an attempt is unknown."""
        return self.phase in UNCERTAIN

    @property
    def recorded_as_started(self) -> bool:
        """Whether the batch is recorded as started, by us or by someone else."""
        return self.phase in RECORDED_AS_STARTED

    @property
    def spent_at(self) -> datetime:
        """When the batch was started, as far as it is known. Only for a batch beyond its start."""
        return self.started_at or self.updated_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Who ran what: command, user, URL of the CI job, commit, overridden guards. Empty if unknown."""

    command: str = ""
    who: str = ""
    job: str = ""
    commit: str = ""
    overrides: tuple[str, ...] = ()


UNTOLD = Story()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run whose events up to number `seq` are part of the state: who ran what, and its results.

    The numbers count batches. `records` counts the records of the `started` batches; `unsized` of these batches have an
    unknown number of records. `unknown` counts the attempts of this run whose outcome is still unknown.
    """

    id: str
    at: datetime
    seq: int
    command: str = ""
    who: str = ""
    job: str = ""
    commit: str = ""
    overrides: tuple[str, ...] = ()
    started: int = 0
    records: int = 0
    unsized: int = 0
    already_started: int = 0
    adopted: int = 0
    rejected: int = 0
    unknown: int = 0
    not_attempted: int = 0
    forgotten: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole state. `lineage` is its identity, made once; `serial` grows by 1 with each commit that changes it.

    `home` is the address of a state that lives in a store, empty for one on a disk. Read anywhere else it is a copy.
    `past` has the spending of started batches whose entries were deleted. No start depends on it.
    """

    lineage: str
    serial: int = 0
    service: Service
    endpoint: str
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    past: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    runs: tuple[Run, ...] = ()
    home: str = ""

    @property
    def content(self) -> tuple[Mapping[str, Entry], Mapping[str, Entry], tuple[Run, ...]]:
        """What a commit writes when it differs from the file."""
        return self.entries, self.past, self.runs


def check_belongs(state: State, service: Service, endpoint: str | None) -> None:
    """Refuse a state of another service or another endpoint. Without an endpoint, only the service is compared.

    Raises:
        StateError: The state records outcomes of another service or endpoint; a start could be paid for twice.
    """
    if state.service is not service:  # safety: a batch of another service is not the batch that was started
        raise StateError(
            "The state belongs to another service",
            f"The state is for {state.service.value}, the configuration for {service.value}. Use a separate state file"
            " for each service: name one with --state. Nothing was sent.",
        )
    if endpoint is not None and state.endpoint != endpoint:  # safety: the same id elsewhere is another batch
        raise StateError(
            "The state belongs to another endpoint",
            f"The state was made with {state.endpoint}, but the endpoint is {endpoint}. Name another state file with"
            " --state, or correct BATCHFORM_ENDPOINT. Nothing was sent.",
        )


def check_home(state: State, where: str) -> None:
    """Refuse to write a copy of a state.

    Args:
        state: The state that was read.
        where: Its address in a store. For a file: its path, which is never a home.

    Raises:
        StateError: The state lives elsewhere.
    """
    if state.home == where:
        return
    # safety: two copies that both went on would pay twice
    raise StateError(
        "This state is a copy",
        (f"It lives at {state.home}, and was read from {where}." if state.home else f"{where} was put there by hand.")
        + " A copy can be read, not changed: two that both went on would pay twice. Nothing was sent."
        + (" Use --state with its address." if state.home else " Move the state with `batchform state migrate`."),
    )
