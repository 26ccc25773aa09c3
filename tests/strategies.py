"""Strategies for every value that modules exchange, with hostile text and extreme dates.

What is made here need not make sense (an entry may hold what no run of events leads to): whoever prints, saves or
compares such values has to cope with all of them. For values that meet each other as they do in earnest, see
`tests.properties.small`.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from batchform.apply import Outcome, Report, Result
from batchform.engine import ForeignAnswers, Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.errors import OutcomeUnknownError, Problem, Severity
from batchform.estimate import Rate
from batchform.model import Batch, Config, Guard, GuardName, Observed, Reading, ServerProblem, Service, Source
from batchform.plan import Action, Change, GuardCheck, Notice, Obstacle, Plan, Reason, RecordsSource
from batchform.source_text import Place
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
)
from batchform.state.known import Cause, Entry, Evidence, Phase, Run, State, TimeSource

if TYPE_CHECKING:
    from batchform.engine import End
    from batchform.state.events import What

_HOSTILE = (
    "::error::gotcha", " ::add-mask::a", "##[error]b", "##vso[task.complete]", "\x1b[2J", "\r\n::warning::", "\u202e",
    "\u2066", "\u200b", "\ufeff", "\u2028", "\ud800", "\x00", "\x9b31m", "e\u0301\u0301\u0301\u0301", "\u3164",
    "クレジット", "👩‍👩‍👧", "\U000f0000", "`rm`", "<!--", "|",
)  # fmt: skip

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
BATCH_ID = r"[A-Za-z0-9_-]{1,128}"


def texts(max_size: int = 60) -> st.SearchStrategy[str]:
    """Any text, with lone surrogates and commands to CI systems."""
    pieces = st.sampled_from(_HOSTILE) | st.text(max_size=max_size)
    return st.lists(pieces, max_size=4).map("".join)


def names() -> st.SearchStrategy[str]:
    """Names that the rules allow."""
    return st.from_regex(NAME, fullmatch=True)


def batch_ids() -> st.SearchStrategy[str]:
    """Ids that the rules allow."""
    return st.from_regex(BATCH_ID, fullmatch=True)


def times() -> st.SearchStrategy[datetime]:
    """Moments in UTC, mostly near each other, sometimes at the ends of time."""
    near = st.integers(-40 * 86_400, 40 * 86_400).map(
        lambda s: datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=s)
    )
    return near | st.datetimes(timezones=st.just(UTC))


def counts() -> st.SearchStrategy[int]:
    """Numbers of records and the like."""
    return st.integers(0, 10_000) | st.integers(0, 10**12)


def places() -> st.SearchStrategy[Place]:
    """Stretches of files with any name."""
    number = st.integers(1, 10**6)
    return st.builds(Place, file=texts(), line=number, column=number, end_line=number, end_column=number)


def problems() -> st.SearchStrategy[Problem]:
    """Problems of the configuration."""
    return st.builds(
        Problem,
        code=st.sampled_from(["BF101", "BF202"]),
        summary=texts(),
        detail=texts(200),
        hint=texts(),
        severity=st.sampled_from(Severity),
        place=st.none() | places(),
        related=st.lists(st.tuples(places(), texts()), max_size=2).map(tuple),
    )


def server_problems() -> st.SearchStrategy[ServerProblem]:
    """Problems in answers."""
    status = st.none() | st.sampled_from([400, 401, 403, 404, 429, 500, 503])
    return st.builds(ServerProblem, status=status, title=texts(), detail=texts(200))


# --- DESIRED and ACTUAL ----------------------------------------------------------------------------------------------


def batches() -> st.SearchStrategy[Batch]:
    """One declared batch."""
    return st.builds(
        Batch,
        name=names(),
        batch_id=batch_ids(),
        place=places(),
        reference_id=st.none() | names(),
        description=texts(),
        labels=labels(),
        records=st.none() | counts(),
        submitted_at=st.none() | times(),
        not_before=st.none() | times(),
        hold=st.booleans(),
    )


def guards() -> st.SearchStrategy[Guard]:
    """One guard."""
    return st.builds(Guard, name=st.sampled_from(GuardName), limit=counts(), place=st.none() | places())


def configs() -> st.SearchStrategy[Config]:
    """Configurations: names and ids unique, batches sorted by name, a guard at most once."""
    unique = st.lists(batches(), max_size=6, unique_by=(lambda batch: batch.name, lambda batch: batch.batch_id))
    return st.builds(
        Config,
        service=st.sampled_from(Service),
        guards=st.lists(guards(), max_size=2, unique_by=lambda guard: guard.name).map(tuple),
        batches=unique.map(lambda some: tuple(sorted(some, key=lambda batch: batch.name))),
        files=st.just(("batchform.yaml",)),
        warnings=st.lists(problems(), max_size=1).map(tuple),
    )


def statuses() -> st.SearchStrategy[str]:
    """Statuses that the server uses, and others."""
    return st.sampled_from(["submitted", "processing", "completed", "stopped"]) | texts(20)


def readings(batch_id: str | None = None) -> st.SearchStrategy[Reading]:
    """A reading of one batch."""
    return st.builds(
        Reading,
        batch_id=batch_ids() if batch_id is None else st.just(batch_id),
        source=st.sampled_from(Source),
        found=st.booleans(),
        status=st.none() | statuses(),
        reason=st.none() | texts(),
        batch_reference_id=st.none() | texts(),
        records=st.none() | counts(),
        records_processed=st.none() | counts(),
        date_submitted=st.none() | times(),
        date_started=st.none() | times(),
        date_ended=st.none() | times(),
    )


def observeds() -> st.SearchStrategy[Observed]:
    """Everything read in one run."""
    heard = st.lists(readings(), max_size=5).map(lambda some: MappingProxyType({one.batch_id: one for one in some}))
    skews = st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=1))
    return st.builds(Observed, listed=st.booleans(), readings=heard, skew=skews)


# --- KNOWN -----------------------------------------------------------------------------------------------------------


def labels() -> st.SearchStrategy[dict[str, str]]:
    """Labels of a batch."""
    return st.dictionaries(names(), texts(), max_size=3)


def entries(batch_id: str | None = None) -> st.SearchStrategy[Entry]:
    """Anything an entry can hold."""
    return st.builds(
        Entry,
        batch_id=batch_ids() if batch_id is None else st.just(batch_id),
        name=names(),
        phase=st.sampled_from(Phase),
        declared=st.booleans(),
        status=st.none() | statuses(),
        reason=st.none() | texts(),
        found=st.booleans(),
        contradiction=st.booleans(),
        doubt=st.booleans(),
        attempts=st.integers(0, 9),
        cause=st.none() | st.sampled_from(Cause),
        evidence=st.none() | st.sampled_from(Evidence),
        problem=st.none() | server_problems(),
        reference_id=st.none() | texts(),
        records=st.none() | counts(),
        submitted_at=st.none() | times(),
        intended_at=st.none() | times(),
        settled_at=st.none() | times(),
        seen_at=st.none() | times(),
        labels=st.none() | labels(),
        who=texts(),
        attempt_run=names(),
        started_at=st.none() | times(),
        time_source=st.none() | st.sampled_from(TimeSource),
        ended_at=st.none() | times(),
        credits=st.none() | counts(),
        final=st.booleans(),
        charged_at=st.none() | times(),
        statistics=st.none() | st.dictionaries(texts(20), counts(), max_size=2),
        updated_at=times(),
        run=names(),
    )


def runs() -> st.SearchStrategy[Run]:
    """Runs, with and without a story."""
    numbers = {field.name: counts() for field in fields(Run) if field.default == 0}
    told = {name: texts(20) for name in ("command", "who", "job", "commit")}
    return st.builds(
        Run,
        id=names(),
        at=times(),
        seq=st.integers(0, 10**6),
        overrides=st.lists(texts(20), max_size=3).map(tuple),
        **told,
        **numbers,
    )


def states() -> st.SearchStrategy[State]:
    """States of a few entries."""
    known = st.lists(entries(), max_size=5).map(lambda some: MappingProxyType({one.batch_id: one for one in some}))
    return st.builds(
        State,
        lineage=st.uuids(version=4).map(str),
        serial=st.integers(0, 10**6),
        service=st.sampled_from(Service),
        endpoint=st.sampled_from(["https://api.experianaperture.io", "http://127.0.0.1:8080"]),
        entries=known,
        past=known,
        runs=st.lists(runs(), max_size=3).map(tuple),
    )


def whats() -> st.SearchStrategy[What]:
    """Everything that can happen to a batch."""
    return st.one_of(
        st.builds(
            Intended,
            reference_id=names(),
            records=st.none() | counts(),
            submitted_at=st.none() | times(),
            labels=st.none() | labels(),
        ),
        st.builds(NotAttempted, problem=st.none() | server_problems()),
        st.builds(Started, status=statuses(), evidence=st.sampled_from(Evidence)),
        st.builds(AlreadyStarted, status=statuses()),
        st.builds(Unknown, problem=server_problems()),
        st.builds(Released),
        st.builds(Rejected, cause=st.sampled_from(Cause), problem=server_problems()),
        st.builds(
            Seen,
            source=st.sampled_from(Source),
            found=st.booleans(),
            status=st.none() | statuses(),
            reason=st.none() | texts(),
            records=st.none() | counts(),
            submitted_at=st.none() | times(),
            started_at=st.none() | times(),
            ended_at=st.none() | times(),
            labels=st.none() | labels(),
        ),
        st.builds(
            Charged,
            status=st.sampled_from(["completed", "stopped"]),
            credits=st.none() | counts(),
            final=st.booleans(),
            statistics=st.none() | st.dictionaries(texts(20), counts(), max_size=2),
        ),
        st.builds(Declared),
        st.builds(Forgotten),
        st.builds(Removed),
    )


def events() -> st.SearchStrategy[Event]:
    """One event."""
    return st.builds(
        Event, run=names(), seq=st.integers(1, 10**6), at=times(), batch_id=batch_ids(), name=names(), what=whats()
    )


# --- Plans and reports -----------------------------------------------------------------------------------------------


def changes(name: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Change]:
    """One change, with any reason for any action, as in a forged plan."""
    any_change = st.builds(
        Change,
        name=texts() | names() if name is None else name,
        batch_id=texts() | batch_ids(),
        action=st.sampled_from(Action),
        reason=st.sampled_from(Reason),
        status=st.none() | statuses(),
        server_reason=st.none() | texts(200),
        records=st.none() | counts(),
        records_source=st.sampled_from(RecordsSource),
        counted=st.none() | counts(),
        approved=st.none() | counts(),
        submitted_at=st.none() | times(),
        deadline=st.none() | times(),
        not_before=st.none() | times(),
        reference_id=st.none() | texts(),
        place=st.none() | places(),
    )
    return any_change.map(with_obstacle)


def with_obstacle(change: Change) -> Change:
    """The change with the obstacle that its reason names."""
    return replace(change, obstacle=next((one for one in Obstacle if one.value == change.reason.value), None))


def plans() -> st.SearchStrategy[Plan]:
    """Any plan, also a saved one."""
    checks = st.builds(
        GuardCheck, guard=guards(), measured=counts(), unknown=st.integers(0, 9), overridden=st.booleans()
    )
    notices = st.builds(Notice, text=texts(200), name=st.none() | texts())
    priors = st.none() | st.tuples(st.uuids(version=4).map(str), st.integers(0, 10**6))
    return st.builds(
        _plan,
        prior=priors,
        service=st.sampled_from(Service),
        endpoint=st.sampled_from(["https://api.experianaperture.io", "http://127.0.0.1:8080"]) | texts(),
        at=times(),
        refreshed=st.booleans(),
        targeted=st.booleans(),
        changes=st.lists(changes(), max_size=6).map(tuple),
        guards=st.lists(checks, max_size=2).map(tuple),
        notices=st.lists(notices, max_size=2).map(tuple),
        rate=st.none() | rates(),
    )


def rates() -> st.SearchStrategy[Rate]:
    """Any rate for an estimate."""
    number = st.floats(0, 1000, allow_nan=False)
    return st.builds(
        lambda each, price, learnt: Rate(
            per_record=each[1], least=each[0], most=each[2], learnt=learnt, price=price, currency="EUR" if price else ""
        ),
        st.tuples(number, number, number).map(sorted),
        st.none() | st.floats(1e-6, 1e6),
        st.integers(0, 20),
    )


def _plan(*, prior: tuple[str, int] | None, **fields: object) -> Plan:
    lineage, serial = prior if prior is not None else (None, None)
    return Plan(lineage=lineage, serial=serial, **fields)  # type: ignore[arg-type]  # as `plans` made them


def ends() -> st.SearchStrategy[End]:
    """Every reason to end a run early."""
    return st.one_of(
        st.builds(Stopped, problem=server_problems()),
        st.builds(ServiceDown, batches=st.integers(1, 99)),
        st.builds(Starved, windows=st.integers(1, 99)),
        st.builds(ForeignAnswers, reference_id=st.text(min_size=1, max_size=99)),
        st.builds(Interrupted, signum=st.sampled_from([1, 2, 15])),
        st.builds(Unrecordable, error=st.builds(OutcomeUnknownError, texts(), texts(200))),
    )


def reports() -> st.SearchStrategy[Report]:
    """Any report."""
    outcomes = st.builds(
        Outcome,
        change=changes(),
        result=st.sampled_from(Result),
        evidence=st.none() | st.sampled_from(Evidence),
        cause=st.none() | st.sampled_from(Cause),
        problem=st.none() | server_problems(),
        recorded=st.booleans(),
    )
    some = st.tuples(st.lists(outcomes, max_size=6), st.sampled_from([1, 1, 1, 20]))
    return st.builds(
        Report,
        outcomes=some.map(lambda each: tuple(each[0] * each[1])),
        end=st.none() | ends(),
        rate=st.none() | rates(),
    )
