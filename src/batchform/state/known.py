"""What is known of the batches, and who made it known: the KNOWN of desired, actual, known.

Plain values. What turns one into the next is `state.events`; how they stand in a file is `state.codec`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batchform.model import ServerProblem, Service

RUNS_KEPT = 1_000
"""How many runs the state remembers. They make the fold idempotent, and they are the history of what was spent."""


class Evidence(StrEnum):
    """How a start is known: by the start call's own answer, or by a status the server gave afterwards."""

    ANSWER = "answer"
    STATUS = "status"


class Cause(StrEnum):
    """Why a start was rejected. The first three are for good, unless the server later says otherwise."""

    BAD_ID = "bad_id"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    REFUSED = "refused"
    NOT_STARTED = "not_started"


FOR_GOOD = frozenset({Cause.BAD_ID, Cause.NOT_FOUND, Cause.EXPIRED})


class Phase(StrEnum):
    """What is known of one batch, as far as starting it goes."""

    SEEN = "seen"
    """Known from the server, not started, never attempted."""
    INTENDED = "intended"
    """An intent has no outcome: the run died, or is still at it. Uncertain."""
    UNKNOWN = "unknown"
    """The outcome of an attempt is not known. Uncertain."""
    RELEASED = "released"
    """An uncertain attempt was found not to have been acted upon. May be started."""
    NOT_ATTEMPTED = "not_attempted"
    """An attempt had no effect. May be started."""
    REJECTED = "rejected"
    """The server did not start it."""
    STOPPED = "stopped"
    """Found stopped, never started by us."""
    ADOPTED = "adopted"
    """Found processing or completed, never attempted by us."""
    ALREADY_STARTED = "already_started"
    """Our attempt found it started by somebody else."""
    STARTED = "started"
    """Started by us: paid for."""


UNCERTAIN = frozenset({Phase.INTENDED, Phase.UNKNOWN})
RECORDED_AS_STARTED = frozenset({Phase.ADOPTED, Phase.ALREADY_STARTED, Phase.STARTED})
BEYOND = RECORDED_AS_STARTED | {Phase.STOPPED}
"""Phases that are never left for one in which the batch could be started. # safety: everything rests on this set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All that is known of one batch.

    `status` is the last one the server gave, except that a batch beyond its start never goes back to `submitted`: that
    is a `contradiction` instead. `doubt` tells that some attempt of ours, now or earlier, may have been acted upon
    without a clean answer; it says whose start it was if the batch turns out to be running. `attempts` counts intents.
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
    updated_at: datetime
    run: str

    @property
    def uncertain(self) -> bool:
        """Whether an attempt of ours still waits to be settled."""
        return self.phase in UNCERTAIN

    @property
    def recorded_as_started(self) -> bool:
        """Whether the batch was started as far as this state knows, by whomever."""
        return self.phase in RECORDED_AS_STARTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Who ran what: the command, the person, the CI job's address, the commit, the guards that were passed by.

    Empty where nobody knows.
    """

    command: str = ""
    who: str = ""
    job: str = ""
    commit: str = ""
    overrides: tuple[str, ...] = ()


UNTOLD = Story()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run whose events are part of the state, up to and including number `seq`; what it was, and what came of it.

    The numbers count batches, by what this run made known of them; `records` counts those of the batches it `started`,
    of which `unsized` are of a size that nobody knows. `unknown` are the attempts of this run that it left without an
    outcome.
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
    """Everything known. `lineage` is made once; `serial` grows by 1 with each commit that changed something."""

    lineage: str
    serial: int = 0
    service: Service
    endpoint: str
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    runs: tuple[Run, ...] = ()


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
