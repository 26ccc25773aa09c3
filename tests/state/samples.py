"""Events, states and strategies for the tests of the state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from batchform.model import ServerProblem, Service, Source
from batchform.state.events import (
    AlreadyStarted,
    Charged,
    Declared,
    Event,
    Forgotten,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Removed,
    Seen,
    Started,
    Unknown,
    What,
)
from batchform.state.known import Cause, Entry, Evidence, Phase, Run, State, TimeSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EMPTY = State(lineage="lineage-1", service=Service.PHONE, endpoint="https://api.example.test")

DOWN = ServerProblem(status=503, title="Service Unavailable")
SILENT = ServerProblem(status=None, title="No answer")
BAD_REQUEST = ServerProblem(status=400, title="Bad Request")
NOT_FOUND = ServerProblem(status=404, title="Not Found")
DENIED = ServerProblem(status=401, title="Unauthorized")

INTENDED = Intended(reference_id="ref")
STARTED = Started(status="processing", evidence=Evidence.ANSWER)
ALREADY = AlreadyStarted(status="processing")
RELEASED = Released()


def seen(status: str | None, source: Source = Source.READ, *, found: bool = True) -> Seen:
    """A status read."""
    return Seen(source=source, found=found, status=status)


def rejected(cause: Cause, problem: ServerProblem = BAD_REQUEST) -> Rejected:
    """A rejected start."""
    return Rejected(cause=cause, problem=problem)


def event(what: What, *, seq: int = 1, batch: str = "b1", run: str = "run-1", at: datetime | None = None) -> Event:
    """An event. The default time is `seq` minutes after `NOW`."""
    return Event(
        run=run, seq=seq, at=at or NOW + timedelta(minutes=seq), batch_id=batch, name=f"name-of-{batch}", what=what
    )


def events(*whats: What, batch: str = "b1", run: str = "run-1", first: int = 1) -> list[Event]:
    """Consecutive events of one batch and one run."""
    return [event(what, seq=first + number, batch=batch, run=run) for number, what in enumerate(whats)]


# --- Strategies ------------------------------------------------------------------------------------------------------

# Any text that JSON can contain, with lone surrogates and NUL, but without the two halves of a pair side by side.
texts = st.text(st.characters(), max_size=8).map(lambda text: str(json.loads(json.dumps(text))))
times = st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
near = st.integers(0, 90 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))
short_texts = st.just("ref")
counts = st.integers(0, 10**30)
statuses = st.sampled_from(["submitted", "processing", "completed", "stopped", "queued", "", None])
beyond_statuses = st.sampled_from(["processing", "completed", "stopped"])
problems = st.builds(
    ServerProblem, status=st.sampled_from([None, 400, 401, 404, 408, 429, 500, 503]), title=texts, detail=texts
)


def charges(text: st.SearchStrategy[str] = short_texts) -> st.SearchStrategy[Charged]:
    """Every report of a charge."""
    return st.builds(
        Charged,
        status=st.sampled_from(["completed", "stopped"]),
        credits=st.none() | counts,
        final=st.booleans(),
        statistics=st.none() | st.dictionaries(text, counts, max_size=2),
    )


def whats(
    text: st.SearchStrategy[str] = short_texts, time: st.SearchStrategy[datetime] = near
) -> st.SearchStrategy[What]:
    """Every kind of event, with the values that the protocol can produce."""
    records = st.none() | counts
    labels = st.none() | st.dictionaries(text, text, max_size=2)
    return st.one_of(
        st.builds(Intended, reference_id=text, records=records, submitted_at=st.none() | time, labels=labels),
        st.builds(NotAttempted, problem=st.none() | problems),
        st.builds(Started, status=beyond_statuses, evidence=st.sampled_from(Evidence)),
        st.builds(AlreadyStarted, status=beyond_statuses),
        st.builds(Unknown, problem=problems),
        st.just(Released()),
        st.builds(Rejected, cause=st.sampled_from(Cause), problem=problems),
        st.builds(
            Seen,
            source=st.sampled_from(Source),
            found=st.just(True),
            status=statuses,
            reason=st.none() | text,
            records=records,
            submitted_at=st.none() | time,
            started_at=st.none() | time,
            ended_at=st.none() | time,
            labels=labels,
        ),
        charges(text),
        st.just(Seen(source=Source.READ, found=False)),
        st.just(Declared()),
        st.just(Forgotten()),
        st.just(Removed()),
    )


any_event = st.builds(Event, run=texts, seq=counts, at=times, batch_id=texts, name=texts, what=whats(texts, times))


def number(drawn: Iterable[tuple[str, str, datetime, What]]) -> list[Event]:
    """The events in the order drawn. `seq` counts within each run, as in a journal."""
    last: dict[str, int] = {}
    made = []
    for run, batch, at, what in drawn:
        last[run] = last.get(run, 0) + 1
        made.append(Event(run=run, seq=last[run], at=at, batch_id=batch, name=f"name-of-{batch}", what=what))
    return made


histories = st.lists(
    st.tuples(st.sampled_from(["run-1", "run-2"]), st.sampled_from(["b1", "b2"]), near, whats()), max_size=14
).map(number)
"""Events of two runs on two batches, mixed in every way."""

entries = st.builds(
    Entry,
    batch_id=texts,
    name=texts,
    phase=st.sampled_from(Phase),
    declared=st.booleans(),
    status=st.none() | texts,
    reason=st.none() | texts,
    found=st.booleans(),
    contradiction=st.booleans(),
    doubt=st.booleans(),
    attempts=counts,
    cause=st.none() | st.sampled_from(Cause),
    evidence=st.none() | st.sampled_from(Evidence),
    problem=st.none() | problems,
    reference_id=st.none() | texts,
    records=st.none() | counts,
    submitted_at=st.none() | times,
    intended_at=st.none() | times,
    settled_at=st.none() | times,
    seen_at=st.none() | times,
    labels=st.none() | st.dictionaries(texts, texts, max_size=2),
    who=texts,
    attempt_run=texts,
    started_at=st.none() | times,
    time_source=st.none() | st.sampled_from(TimeSource),
    ended_at=st.none() | times,
    credits=st.none() | counts,
    final=st.booleans(),
    charged_at=st.none() | times,
    statistics=st.none() | st.dictionaries(texts, counts, max_size=2),
    updated_at=times,
    run=texts,
)


def _by_id(some: list[Entry]) -> Mapping[str, Entry]:
    return MappingProxyType({entry.batch_id: entry for entry in some})


states = st.builds(
    State,
    lineage=texts,
    serial=counts,
    service=st.sampled_from(Service),
    endpoint=texts,
    entries=st.lists(entries, max_size=3).map(_by_id),
    past=st.lists(entries, max_size=2).map(_by_id),
    runs=st.lists(st.builds(Run, id=texts, at=times, seq=counts), max_size=2).map(tuple),
    home=texts,
)
