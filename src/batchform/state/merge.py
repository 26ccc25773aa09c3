"""Two states of one lineage -> the state that knows what both know.

Needed where two machines each began with the same state and both went on: a CI job whose push of the state was
rejected because another job's was first. No events are at hand any more, only what became of them, so this is no fold
but a join: per batch the greater of what both know, by an order in which more caution is greater.

Three laws make it safe to use without thinking, in any order and as often as one likes: it is commutative, associative
and idempotent. They hold because every part of an entry is joined for itself by the maximum of a total order:

- **The attempt** (phase, cause, problem and what goes with them): started is greatest; an attempt without an outcome is
  greater than all that would allow a start; a rejection for good is greater than one that may be repeated. So a stale
  state may ask for a status to be read once more, but never for a start that the newer one rules out.
- **The sight** (status, reason, found, when): later in a batch's life is greater, then the later look.
- **The name** goes with the newest word; doubts and contradictions are kept if either side has them; counts and times
  are the greater, except `submitted_at`: the earlier one is the one whose deadline comes first.

What a join cannot know is that something was taken out: an entry that `state rm` removed on one side only comes back.

The serial is the greater of both, not one more: joining adds no knowledge, and a counter would break the laws. The next
commit counts on from it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from batchform.errors import StateError
from batchform.model import Status
from batchform.state.known import RUNS_KEPT, Cause, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.state.known import Entry, Run, State

# safety: whatever is known to be started is never less than anything else; what is uncertain never less than startable
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

# A reason that the server may yet take back is less than one that it will not (see `plan`).
_CAUSES: Final = (None, Cause.NOT_STARTED, Cause.REFUSED, Cause.BAD_ID, Cause.NOT_FOUND, Cause.EXPIRED)

# A word that nobody knows blocks a start, so it is greater than `submitted`.
_STATUSES: Final = {
    None: 0,
    Status.SUBMITTED.value: 1,
    Status.PROCESSING.value: 3,
    Status.STOPPED.value: 4,
    Status.COMPLETED.value: 5,
}
_OTHER_STATUS: Final = 2

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def merge(ours: State, theirs: State) -> State:
    """What both know.

    Raises:
        StateError: They are of different lineages, services or endpoints: nothing one knows holds for the other.
    """
    for what, a, b in (
        ("lineage", ours.lineage, theirs.lineage),
        ("service", ours.service.value, theirs.service.value),
        ("endpoint", ours.endpoint, theirs.endpoint),
    ):
        if a != b:
            raise StateError(
                f"The two states are of another {what}",
                f"One says {a}, the other {b}. What one of them knows does not hold for the other, so nothing was"
                " merged. Keep theirs and run apply: it looks at the account and adopts what was started.",
            )
    ids = sorted(ours.entries.keys() | theirs.entries.keys())
    entries = {key: _either(ours.entries.get(key), theirs.entries.get(key), _join) for key in ids}
    return replace(
        ours,
        serial=max(ours.serial, theirs.serial),
        entries=MappingProxyType(entries),
        runs=_runs(ours.runs, theirs.runs),
    )


def _either(a: Any, b: Any, both: Callable[[Any, Any], Any]) -> Any:
    """The one that is there, or what is made of both."""
    return b if a is None else a if b is None else both(a, b)


def _join(a: Entry, b: Entry) -> Entry:
    """All that both know of one batch."""
    attempt, sight, word = max(a, b, key=_attempt), max(a, b, key=_sight), max(a, b, key=_word)
    return replace(
        attempt,
        status=sight.status,
        reason=sight.reason,
        found=sight.found,
        seen_at=sight.seen_at,
        name=word.name,
        run=word.run,
        updated_at=word.updated_at,
        declared=a.declared or b.declared,
        contradiction=a.contradiction or b.contradiction,
        doubt=a.doubt or b.doubt,
        attempts=max(a.attempts, b.attempts),
        records=_either(a.records, b.records, max),
        submitted_at=_either(a.submitted_at, b.submitted_at, min),
    )


def _attempt(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by what is known of attempts to start the batch. What is joined for itself is left out."""
    rest = replace(
        entry,
        status=None,
        reason=None,
        found=True,
        name="",
        run="",
        updated_at=_LONG_AGO,
        seen_at=None,
        declared=True,
        contradiction=False,
        doubt=False,
        attempts=0,
        records=None,
        submitted_at=None,
    )
    latest = max(entry.intended_at or _LONG_AGO, entry.settled_at or _LONG_AGO)
    return _PHASES.index(entry.phase), _CAUSES.index(entry.cause), latest, repr(rest)


def _sight(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by what the server was heard to say of the batch."""
    status = _STATUSES.get(entry.status, _OTHER_STATUS)
    return status, entry.seen_at or _LONG_AGO, not entry.found, repr((entry.seen_at, entry.status, entry.reason))


def _word(entry: Entry) -> tuple[Any, ...]:
    """Orders entries by when they were last written."""
    return entry.updated_at, entry.run, entry.name


def _runs(ours: tuple[Run, ...], theirs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The runs of both, each as far as either has folded it in; the newest of them, oldest first."""
    runs: dict[str, Run] = {}
    for run in (*ours, *theirs):
        runs[run.id] = max(runs.get(run.id, run), run, key=lambda one: (one.seq, one.at, repr(one)))
    return tuple(sorted(runs.values(), key=lambda run: (run.at, run.id))[-RUNS_KEPT:])
