"""Merge two diverged copies of one state.

Copies diverge if two machines begin with the same state and both change it, for example if a CI job's push of the state
is rejected because another job pushed first. The events are no longer available, only the resulting entries. So for
each batch the merge takes the maximum of both entries, in an order in which the more cautious value is greater.

The merge is commutative, associative and idempotent, so it can be used in any order and repeatedly. These laws hold
because each part of an entry is merged separately, by the maximum of a total order:

- **The attempt** (phase, cause, problem and the fields that belong to them): started is greatest. An attempt with an
  unknown outcome is greater than all values that allow a start. A final rejection is greater than one that may be
  repeated. So an old copy can cause another status read, but never a start that the newer copy forbids. The labels and
  the user of the attempt belong to it.
- **The observation** (status, reason, found, time): the later status in the life of a batch is greater, then the later
  observation.
- **The time of the start**: a known time is greater than an upper bound; of two bounds the earlier one is greater.
- **The charge**: a number is greater than none, a final one than one that can change, then the later report.
- **The name** is that of the newest change. A doubt or contradiction in either copy is kept. Counts and times are the
  greater ones, except `submitted_at`: the earlier one has the earlier deadline.

A merge cannot detect a removal: an entry that `state rm` removed in one copy only comes back.

The spending of a batch is one record, by its batch_id. So the sums count no batch twice, also when one copy has its
entry and the other only what was kept of it (`State.past`).

The serial is the greater of both and not increased, because a counter would break the laws. The next commit increases
it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from batchform.errors import StateError
from batchform.model import Status
from batchform.state.known import BEYOND, RUNS_KEPT, Cause, Phase, TimeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchform.state.known import Entry, Run, State

# safety: started phases are greater than all others, and unknown outcomes are greater than startable phases
_PHASES: Final = (
    Phase.SEEN,
    Phase.NOT_ATTEMPTED,
    Phase.RELEASED,
    Phase.REJECTED,
    Phase.INTENDED,
    Phase.UNKNOWN,
    Phase.STOPPED,
    Phase.ADOPTED,
    Phase.ALREADY_STARTED,
    Phase.STARTED,
)

# A cause that may pass is less than a final one (see `plan`).
_CAUSES: Final = (None, Cause.NOT_STARTED, Cause.REFUSED, Cause.BAD_ID, Cause.NOT_FOUND, Cause.EXPIRED)

# An unrecognised status blocks a start, so it is greater than `submitted`.
_STATUSES: Final = {
    None: 0,
    Status.SUBMITTED.value: 1,
    Status.PROCESSING.value: 3,
    Status.STOPPED.value: 4,
    Status.COMPLETED.value: 5,
}
_OTHER_STATUS: Final = 2

_TIME_SOURCES: Final = (None, TimeSource.LATEST, TimeSource.ACCOUNT, TimeSource.REQUEST)

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_FAR_OFF: Final = datetime.max.replace(tzinfo=UTC)


def merge(ours: State, theirs: State) -> State:
    """Merge two copies of one state.

    Raises:
        StateError: The lineages, services or endpoints differ, so the states do not share a history.
    """
    for what, a, b in (
        ("lineage", ours.lineage, theirs.lineage),
        ("service", ours.service.value, theirs.service.value),
        ("endpoint", ours.endpoint, theirs.endpoint),
    ):
        if a != b:
            raise StateError(
                "These are two different states" if what == "lineage" else f"The two states are for different {what}s",
                f"The first has {what} {a}, the second {b}. They do not share a history, so nothing was merged. Two"
                " first runs at the same time create two states. Keep one. Check in the account that every batch the"
                " other started is processing or completed, then run apply: it adopts those batches.",
            )
    return replace(
        ours,
        serial=max(ours.serial, theirs.serial),
        home=max(ours.home, theirs.home),
        entries=_all(ours.entries, theirs.entries),
        past=_all(ours.past, theirs.past),
        runs=_runs(ours.runs, theirs.runs),
    )


def spending(state: State) -> dict[str, Entry]:
    """Every batch that was started and its spending, by batch_id: of its entry, of what was kept of it, or of both."""
    started = {key: entry for key, entry in state.entries.items() if entry.phase in BEYOND}
    for key, kept in state.past.items():
        started[key] = join(started[key], kept) if key in started else kept
    return started


def _all(ours: Mapping[str, Entry], theirs: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """The entries of both, one for each batch."""
    ids = sorted(ours.keys() | theirs.keys())
    return MappingProxyType({key: _either(ours.get(key), theirs.get(key), join) for key in ids})


def _either(a: Any, b: Any, both: Callable[[Any, Any], Any]) -> Any:
    """The value that is not None, or the combination of both."""
    return b if a is None else a if b is None else both(a, b)


def join(a: Entry, b: Entry) -> Entry:
    """Merge both entries of one batch."""
    attempt, seen, latest = max(a, b, key=_attempt), max(a, b, key=_observation), max(a, b, key=_change)
    start, charge = max(a, b, key=start_order), max(a, b, key=charge_order)
    return replace(
        attempt,
        status=seen.status,
        reason=seen.reason,
        found=seen.found,
        seen_at=seen.seen_at,
        name=latest.name,
        run=latest.run,
        updated_at=latest.updated_at,
        declared=a.declared or b.declared,
        contradiction=a.contradiction or b.contradiction,
        doubt=a.doubt or b.doubt,
        attempts=max(a.attempts, b.attempts),
        records=_either(a.records, b.records, max),
        submitted_at=_either(a.submitted_at, b.submitted_at, min),
        started_at=start.started_at,
        time_source=start.time_source,
        ended_at=_either(a.ended_at, b.ended_at, min),
        credits=charge.credits,
        final=charge.final,
        charged_at=charge.charged_at,
        statistics=charge.statistics,
    )


def _attempt(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by their attempts to start the batch. Fields that are merged separately are left out."""
    rest = entry.evidence, entry.problem, entry.reference_id, entry.intended_at, entry.settled_at
    by = entry.labels is not None, bool(entry.who), repr((entry.who, entry.attempt_run, _sorted(entry.labels)))
    latest = max(entry.intended_at or _LONG_AGO, entry.settled_at or _LONG_AGO)
    return _PHASES.index(entry.phase), _CAUSES.index(entry.cause), latest, *by, repr(rest)


def start_order(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by what is known of the time of the start. The greater one is the better one."""
    at, source = entry.started_at, _TIME_SOURCES.index(entry.time_source)
    return at is not None, source, _FAR_OFF - (at or _FAR_OFF)


def charge_order(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by what the server reported as charged. The greater one is the better one."""
    number, at = entry.credits, entry.charged_at
    rest = repr((at, _sorted(entry.statistics)))
    return number is not None, entry.final, at or _LONG_AGO, number or 0, rest


def _sorted(mapping: Mapping[str, Any] | None) -> list[tuple[str, Any]] | None:
    return None if mapping is None else sorted(mapping.items())


def _observation(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by what the server reported."""
    status = _STATUSES.get(entry.status, _OTHER_STATUS)
    return status, entry.seen_at or _LONG_AGO, not entry.found, repr((entry.seen_at, entry.status, entry.reason))


def _change(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by their last change."""
    return entry.updated_at, entry.run, entry.name


def _runs(ours: tuple[Run, ...], theirs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The newest runs of both, oldest first, each with the greater number of events."""
    runs: dict[str, Run] = {}
    for run in (*ours, *theirs):
        runs[run.id] = max(runs.get(run.id, run), run, key=lambda one: (one.seq, one.at, repr(one)))
    return tuple(sorted(runs.values(), key=lambda run: (run.at, run.id))[-RUNS_KEPT:])
