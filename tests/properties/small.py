"""Small strategies for the plan's properties: few ids, so that batches, entries and readings often match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from hypothesis import strategies as st

from batchform.model import Batch, Config, Guard, GuardName, Observed, Reading, ServerProblem, Service, Source
from batchform.source_text import Place
from batchform.state.known import Cause, Entry, Evidence, Phase, State

IDS = ("a", "b", "c", "d", "e")
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PLACE = Place(file="batches.yaml", line=1, column=1, end_line=1, end_column=2)

WORDS = st.sampled_from(["submitted", "processing", "completed", "stopped", "queued", "", "Submitted"])
MOMENTS = st.one_of(
    st.sampled_from([-29, -28, -27, -1, 0, 1, 30]).map(lambda days: NOW + timedelta(days=days)),
    st.integers(-40 * 86400, 40 * 86400).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)
ENDS_OF_TIME = st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
FAR_MOMENTS = st.one_of(MOMENTS, ENDS_OF_TIME, st.datetimes(timezones=st.just(UTC)))
COUNTS = st.one_of(st.none(), st.integers(0, 12_000))
PROBLEMS = st.builds(ServerProblem, status=st.sampled_from([None, 200, 400, 404, 500]), title=st.just("no"))


def batches(moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[tuple[Batch, ...]]:
    """Declared batches, ids and names unique, sorted by name as the loader does."""
    one = st.builds(
        Batch,
        name=st.sampled_from(IDS).map("n-{}".format),
        batch_id=st.sampled_from(IDS),
        place=st.just(PLACE),
        records=COUNTS,
        submitted_at=st.none() | moments,
        not_before=st.none() | moments,
        hold=st.sampled_from([False, False, True]),
    )
    some = st.lists(one, max_size=5, unique_by=(lambda batch: batch.name, lambda batch: batch.batch_id))
    return some.map(lambda each: tuple(sorted(each, key=lambda batch: batch.name)))


def configs(moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[Config]:
    """Configurations of up to five batches."""
    guards = st.lists(
        st.builds(Guard, name=st.sampled_from(GuardName), limit=st.integers(0, 30_000), place=st.just(PLACE)),
        max_size=2,
        unique_by=lambda guard: guard.name,
    )
    return st.builds(Config, service=st.sampled_from(Service), guards=guards.map(tuple), batches=batches(moments))


def entries(batch_id: str, moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[Entry]:
    """Any entry, also one that no events lead to."""
    return st.builds(
        Entry,
        batch_id=st.just(batch_id),
        name=st.sampled_from(IDS).map("n-{}".format),
        phase=st.sampled_from(Phase),
        declared=st.booleans(),
        status=st.none() | WORDS,
        found=st.booleans(),
        contradiction=st.booleans(),
        doubt=st.booleans(),
        attempts=st.integers(0, 3),
        cause=st.none() | st.sampled_from(Cause),
        evidence=st.none() | st.sampled_from(Evidence),
        problem=st.none() | PROBLEMS,
        records=COUNTS,
        submitted_at=st.none() | moments,
        updated_at=moments,
        run=st.just("r0"),
    )


def states(moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[State]:
    """States of up to five entries."""
    known = st.fixed_dictionaries({}, optional={key: entries(key, moments) for key in IDS})
    return st.builds(
        State,
        lineage=st.just("l"),
        serial=st.integers(0, 9),
        service=st.just(Service.PHONE),
        endpoint=st.just("https://api.example"),
        entries=known.map(MappingProxyType),
    )


def readings(batch_id: str, moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[Reading]:
    """Any reading of a batch."""
    missing = st.just(Reading(batch_id=batch_id, source=Source.READ, found=False))
    return missing | st.builds(
        Reading,
        batch_id=st.just(batch_id),
        source=st.sampled_from(Source),
        status=st.none() | WORDS,
        reason=st.sampled_from([None, "max_processing_time_reached"]),
        records=COUNTS,
        date_submitted=st.none() | moments,
    )


def observeds(moments: st.SearchStrategy[datetime] = MOMENTS) -> st.SearchStrategy[Observed]:
    """Readings of up to five batches."""
    heard = st.fixed_dictionaries({}, optional={key: readings(key, moments) for key in IDS})
    return st.builds(
        Observed,
        listed=st.booleans(),
        readings=heard.map(MappingProxyType),
        skew=st.none() | st.timedeltas(timedelta(days=-2), timedelta(days=2)),
    )
