"""The complete effect of each event on the entry of its batch and the numbers of its run."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final

import pytest

from batchform.model import Source
from batchform.state.events import (
    AlreadyStarted,
    Charged,
    Declared,
    Forgotten,
    Intended,
    NotAttempted,
    Removed,
    Seen,
    Unknown,
    What,
    fold,
    step,
)
from batchform.state.known import Cause, Entry, Evidence, Phase, Run, Story, TimeSource
from tests.state.samples import (
    ALREADY,
    BAD_REQUEST,
    DENIED,
    DOWN,
    EMPTY,
    INTENDED,
    NOW,
    RELEASED,
    STARTED,
    event,
    events,
    rejected,
    seen,
)

LATER: Final = NOW + timedelta(hours=5)
DAY: Final = timedelta(days=1)
SUBMITTED_AT: Final = NOW - timedelta(days=3)
INTENT: Final = Intended(reference_id="new-ref", records=40, submitted_at=SUBMITTED_AT, labels={"team": "crm"})
LOOK: Final = Seen(source=Source.READ, status="submitted", reason="why", records=7, submitted_at=SUBMITTED_AT)

MARKED: Final = Entry(
    batch_id="b1",
    name="old-name",
    phase=Phase.SEEN,
    declared=True,
    status="submitted",
    reason="old-reason",
    attempts=2,
    cause=Cause.REFUSED,
    evidence=None,
    problem=DENIED,
    reference_id="old-ref",
    records=30,
    submitted_at=NOW - timedelta(days=9),
    intended_at=NOW - timedelta(hours=3),
    settled_at=NOW - timedelta(hours=2),
    seen_at=NOW - timedelta(hours=1),
    labels={"team": "old"},
    who="bob@host",
    attempt_run="run-00",
    updated_at=NOW,
    run="run-0",
)
"""An entry in which every field has something to lose."""

TOUCH: Final[dict[str, Any]] = {"updated_at": LATER, "run": "run-1"}
"""What every event changes."""

INTENT_LEFT: Final[dict[str, Any]] = {
    "name": "name-of-b1",
    "attempts": 3,
    "reference_id": "new-ref",
    "records": 40,
    "submitted_at": SUBMITTED_AT,
    "intended_at": LATER,
    "cause": None,
    "problem": None,
    "labels": {"team": "crm"},
    "who": "ann@host",
    "attempt_run": "run-1",
}
STARTED_LEFT: Final[dict[str, Any]] = {"status": "processing", "cause": None, "problem": None, "settled_at": LATER}
OURS: Final[dict[str, Any]] = {"started_at": LATER, "time_source": TimeSource.REQUEST}
LATEST: Final[dict[str, Any]] = {"started_at": LATER, "time_source": TimeSource.LATEST}
ATTEMPTED: Final[dict[str, Any]] = {"started_at": MARKED.intended_at, "time_source": TimeSource.REQUEST}
"""The time of the start: of the answer, an upper bound, or of the attempt."""

CHARGED: Final[dict[str, Any]] = {
    "ended_at": NOW,
    "credits": 28,
    "final": True,
    "charged_at": NOW,
    "statistics": {"verified": 28},
}
DATED: Final[dict[str, Any]] = {"started_at": NOW - timedelta(hours=2), "time_source": TimeSource.REQUEST}
SEEN_LEFT: Final[dict[str, Any]] = {"reason": "why", "records": 7, "submitted_at": SUBMITTED_AT, "seen_at": LATER}

EFFECTS: Final[dict[str, tuple[dict[str, Any], What, dict[str, Any]]]] = {
    "an intent": ({}, INTENT, {**INTENT_LEFT, "phase": Phase.INTENDED}),
    "an intent that says less": (
        {},
        Intended(reference_id="new-ref"),
        {
            **INTENT_LEFT,
            "phase": Phase.INTENDED,
            "records": 30,
            "submitted_at": MARKED.submitted_at,
            "labels": {"team": "old"},
        },
    ),
    "an intent upon an intent": (
        {"phase": Phase.INTENDED},
        INTENT,
        {**INTENT_LEFT, "phase": Phase.UNKNOWN, "doubt": True},
    ),
    "no attempt, told why": (
        {"phase": Phase.INTENDED},
        NotAttempted(problem=DOWN),
        {"phase": Phase.NOT_ATTEMPTED, "problem": DOWN, "settled_at": LATER},
    ),
    "no attempt, not told why": (
        {"phase": Phase.INTENDED},
        NotAttempted(),
        {"phase": Phase.NOT_ATTEMPTED, "settled_at": LATER},
    ),
    "no attempt, late": ({"phase": Phase.UNKNOWN}, NotAttempted(problem=DOWN), {}),
    "no attempt, in doubt": (
        {"phase": Phase.INTENDED, "doubt": True},
        NotAttempted(problem=DOWN),
        {"phase": Phase.RELEASED, "problem": DOWN, "settled_at": LATER},
    ),
    "started": (
        {"phase": Phase.INTENDED, "found": False, "contradiction": True},
        STARTED,
        {
            **STARTED_LEFT,
            **OURS,
            "phase": Phase.STARTED,
            "evidence": Evidence.ANSWER,
            "found": True,
            "contradiction": False,
        },
    ),
    "started, known by its status already": (
        {"phase": Phase.STARTED, "evidence": Evidence.STATUS},
        STARTED,
        {**STARTED_LEFT, **OURS},
    ),
    "started, its evidence unknown": (
        {"phase": Phase.STARTED, **DATED},
        STARTED,
        {**STARTED_LEFT, "evidence": Evidence.ANSWER},
    ),
    "started, seen by its status before": (
        {"phase": Phase.ADOPTED, "evidence": Evidence.STATUS},
        STARTED,
        {**STARTED_LEFT, **OURS, "phase": Phase.STARTED, "evidence": Evidence.ANSWER},
    ),
    "already started": (
        {"phase": Phase.INTENDED, "found": False, "contradiction": True},
        ALREADY,
        {**STARTED_LEFT, **LATEST, "phase": Phase.ALREADY_STARTED, "found": True, "contradiction": False},
    ),
    "unknown": (
        {"phase": Phase.INTENDED},
        Unknown(problem=DOWN),
        {"phase": Phase.UNKNOWN, "doubt": True, "problem": DOWN, "settled_at": None},
    ),
    "unknown after a plain no": (
        {"phase": Phase.INTENDED},
        Unknown(problem=BAD_REQUEST),
        {"phase": Phase.UNKNOWN, "problem": BAD_REQUEST, "settled_at": None},
    ),
    "unknown, late": ({"phase": Phase.STARTED, **DATED}, Unknown(problem=DOWN), {}),
    "released": ({"phase": Phase.UNKNOWN}, RELEASED, {"phase": Phase.RELEASED, "settled_at": LATER}),
    "released, its intent open": (
        {"phase": Phase.INTENDED},
        RELEASED,
        {"phase": Phase.RELEASED, "settled_at": LATER, "doubt": True},
    ),
    "released, late": ({"phase": Phase.RELEASED}, RELEASED, {}),
    "rejected": (
        {"phase": Phase.INTENDED},
        rejected(Cause.NOT_FOUND),
        {"phase": Phase.REJECTED, "cause": Cause.NOT_FOUND, "problem": BAD_REQUEST, "settled_at": LATER},
    ),
    "rejected, late": ({"phase": Phase.STARTED, **DATED}, rejected(Cause.NOT_FOUND), {}),
    "seen": ({}, LOOK, {**SEEN_LEFT, "cause": None}),
    "seen, saying nothing": ({}, Seen(source=Source.LIST), {"seen_at": LATER, "cause": None}),
    "seen without a status": ({}, Seen(source=Source.LIST, reason="why"), {"seen_at": LATER, "cause": None}),
    "seen, rejected before": ({"phase": Phase.REJECTED}, LOOK, SEEN_LEFT),
    "seen, not found": ({}, seen(None, found=False), {"found": False, "seen_at": LATER, "cause": None}),
    "seen running": (
        {},
        seen("processing"),
        {
            **LATEST,
            "phase": Phase.ADOPTED,
            "status": "processing",
            "reason": None,
            "seen_at": LATER,
            "cause": None,
            "problem": None,
        },
    ),
    "seen running, ours": (
        {"phase": Phase.UNKNOWN, "doubt": True},
        seen("completed"),
        {
            **ATTEMPTED,
            "phase": Phase.STARTED,
            "status": "completed",
            "ended_at": LATER,
            "reason": None,
            "seen_at": LATER,
            "cause": None,
            "problem": None,
            "evidence": Evidence.STATUS,
        },
    ),
    "an intent after the start": (
        {"phase": Phase.STARTED, **DATED},
        INTENT,
        {**INTENT_LEFT, "labels": {"team": "old"}, "who": "bob@host", "attempt_run": "run-00"},
    ),
    "seen ended, with dates": (
        {"phase": Phase.ADOPTED, "labels": None, **LATEST},
        Seen(source=Source.LIST, status="stopped", started_at=NOW - DAY, ended_at=NOW, labels={"team": "crm"}),
        {
            "status": "stopped",
            "reason": None,
            "seen_at": LATER,
            "cause": None,
            "problem": None,
            "labels": {"team": "crm"},
            "ended_at": NOW,
            "started_at": NOW - DAY,
            "time_source": TimeSource.ACCOUNT,
        },
    ),
    "seen ended, with dates in the future": (
        {"phase": Phase.ADOPTED, **LATEST, "started_at": NOW + DAY},
        Seen(source=Source.LIST, status="completed", started_at=LATER + 2 * DAY, ended_at=LATER + 2 * DAY),
        {
            **LATEST,
            "status": "completed",
            "reason": None,
            "seen_at": LATER,
            "cause": None,
            "problem": None,
            "ended_at": LATER,
        },
    ),
    "seen ended again, without dates": (
        {"phase": Phase.ADOPTED, "status": "completed", "ended_at": NOW, **LATEST, "started_at": NOW},
        Seen(source=Source.LIST, status="completed"),
        {"reason": None, "seen_at": LATER, "cause": None, "problem": None},
    ),
    "an end that bounds the start": (
        {"phase": Phase.ADOPTED, **LATEST},
        Seen(source=Source.LIST, status="completed", ended_at=NOW - DAY),
        {
            "status": "completed",
            "reason": None,
            "seen_at": LATER,
            "cause": None,
            "problem": None,
            "ended_at": NOW - DAY,
            "started_at": NOW - DAY,
        },
    ),
    "already started, and completed": (
        {"phase": Phase.UNKNOWN},
        AlreadyStarted(status="completed"),
        {**STARTED_LEFT, **LATEST, "phase": Phase.ALREADY_STARTED, "status": "completed", "ended_at": LATER},
    ),
    "charged": (
        {"phase": Phase.STARTED, **DATED},
        Charged(status="completed", credits=29, final=True, statistics={"verified": 29}),
        {
            "status": "completed",
            "ended_at": LATER,
            "credits": 29,
            "final": True,
            "charged_at": LATER,
            "statistics": {"verified": 29},
        },
    ),
    "charged, final before": (
        {"phase": Phase.STARTED, **DATED, **CHARGED},
        Charged(status="completed", credits=29, final=False),
        {"status": "completed"},
    ),
    "charged, so far before": (
        {"phase": Phase.STARTED, **DATED, **CHARGED, "final": False},
        Charged(status="stopped", credits=3, final=False),
        {"status": "stopped", "credits": 3, "charged_at": LATER, "statistics": None},
    ),
    "no charge, known before": (
        {"phase": Phase.STARTED, **DATED, **CHARGED, "final": False},
        Charged(status="stopped", credits=None, final=True),
        {"status": "stopped"},
    ),
    "declared": ({"declared": False}, Declared(), {"declared": True, "name": "name-of-b1"}),
    "forgotten": ({}, Forgotten(), {"declared": False}),
}


@pytest.mark.parametrize(("changed", "what", "left"), EFFECTS.values(), ids=EFFECTS)
def test_what_an_event_leaves_in_the_entry(changed: dict[str, Any], what: What, left: dict[str, Any]) -> None:
    """Every field is compared. Fields that are not listed do not change."""
    before = replace(MARKED, **changed)
    assert step(before, event(what, at=LATER), "ann@host") == replace(before, **TOUCH, **left)


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (INTENT, {**INTENT_LEFT, "phase": Phase.INTENDED, "attempts": 1}),
        (
            STARTED,
            {
                **OURS,
                "phase": Phase.STARTED,
                "status": "processing",
                "evidence": Evidence.ANSWER,
                "settled_at": LATER,
            },
        ),
        (LOOK, {**SEEN_LEFT, "phase": Phase.SEEN, "status": "submitted"}),
    ],
    ids=["intent", "started", "seen"],
)  # fmt: skip
def test_what_an_event_leaves_where_nothing_was_known(what: What, left: dict[str, Any]) -> None:
    """The event creates an entry."""
    entry = Entry(batch_id="b1", name="name-of-b1", phase=Phase.SEEN, updated_at=LATER, run="run-1")
    assert step(None, event(what, at=LATER), "ann@host") == replace(entry, **left)


NO_CHARGE: Final = Charged(status="completed", credits=7)


@pytest.mark.parametrize(
    "what", [Declared(), Forgotten(), RELEASED, Removed(), NO_CHARGE], ids=lambda what: type(what).__name__
)
def test_a_word_about_nothing_leaves_nothing(what: What) -> None:
    """The batch has no entry afterwards, and the run counts nothing."""
    state = fold(EMPTY, [event(what)])
    assert dict(state.entries) == {}
    assert numbers(state.runs[-1]) == {}


# --- what a run counts -----------------------------------------------------------------------------------------------


def numbers(run: Run) -> dict[str, int]:
    """The numbers of the run that are not zero."""
    told = asdict(run)
    return {name: value for name, value in told.items() if isinstance(value, int) and name != "seq" and value}


SIZED: Final = Intended(reference_id="r", records=40)

COUNTS: Final[dict[str, tuple[tuple[What, ...], dict[str, int]]]] = {
    "started": ((SIZED, STARTED), {"started": 1, "records": 40}),
    "started, told twice": ((SIZED, STARTED, STARTED), {"started": 1, "records": 40}),
    "started, of no known size": ((INTENDED, STARTED), {"started": 1, "unsized": 1}),
    "already started": ((SIZED, ALREADY), {"already_started": 1}),
    "found to be ours": ((SIZED, Unknown(problem=DOWN), seen("processing")), {"started": 1, "records": 40}),
    "adopted": ((seen("processing"),), {"adopted": 1}),
    "rejected": ((SIZED, rejected(Cause.REFUSED)), {"rejected": 1}),
    "not attempted": ((SIZED, NotAttempted()), {"not_attempted": 1}),
    "not attempted, then started": (
        (SIZED, NotAttempted(), SIZED, STARTED),
        {"not_attempted": 1, "started": 1, "records": 40},
    ),
    "left open": ((SIZED,), {"unknown": 1}),
    "unknown": ((SIZED, Unknown(problem=DOWN)), {"unknown": 1}),
    "unknown, then released": ((SIZED, Unknown(problem=DOWN), RELEASED), {}),
    "in doubt, then not attempted": (
        (SIZED, Unknown(problem=DOWN), RELEASED, SIZED, NotAttempted()),
        {"not_attempted": 1},
    ),
    "seen": ((seen("submitted"),), {}),
    "forgotten": ((seen("submitted"), Forgotten(), Forgotten()), {"forgotten": 1}),
    "removed": ((seen("submitted"), Removed(), Removed()), {"removed": 1}),
}


@pytest.mark.parametrize(("whats", "counted"), COUNTS.values(), ids=COUNTS)
def test_what_a_run_counts(whats: tuple[What, ...], counted: dict[str, int]) -> None:
    """The numbers count batches by the effect of the run."""
    (run,) = fold(EMPTY, events(*whats)).runs
    assert numbers(run) == counted
    assert run.seq == len(whats)


def test_a_run_counts_every_batch() -> None:
    """Two batches of each kind count as two."""
    kinds = [whats for whats, _ in COUNTS.values()]
    told = [(f"b{n}-{twin}", what) for twin in "ab" for n, whats in enumerate(kinds) for what in whats]
    happened = [event(what, seq=seq, batch=batch) for seq, (batch, what) in enumerate(told, start=1)]
    (run,) = fold(EMPTY, happened).runs
    expected: dict[str, int] = {}
    for _, counted in COUNTS.values():
        for name, value in counted.items():
            expected[name] = expected.get(name, 0) + 2 * value
    assert numbers(run) == expected


def test_a_run_that_settles_the_attempt_of_an_earlier_one_updates_it() -> None:
    """The earlier run has no unknown outcome any more, and the later one has none of its own."""
    first = fold(EMPTY, events(SIZED, run="run-1"))
    both = fold(first, [event(STARTED, seq=1, run="run-2", at=LATER)])
    assert [numbers(run) for run in both.runs] == [{}, {"started": 1, "records": 40}]


def test_a_run_that_settles_anothers_attempt_still_has_its_own_open() -> None:
    """Attempts are distinguished by their times."""
    first = fold(EMPTY, events(SIZED, run="run-1"))
    own = event(SIZED, seq=1, run="run-2", batch="b2", at=LATER)
    settled = event(STARTED, seq=2, run="run-2", at=LATER)
    both = fold(first, [own, settled])
    assert [numbers(run) for run in both.runs] == [{}, {"unknown": 1, "started": 1, "records": 40}]


def test_a_run_begins_with_its_first_event_and_its_story() -> None:
    """Who ran what, where, and with which overridden guards."""
    story = Story(command="apply", who="ann@host", job="https://ci/1", commit="c0ffee", overrides=("max_starts",))
    (run,) = fold(EMPTY, [event(seen("submitted"), seq=3, at=LATER)], {"run-1": story, "run-2": Story()}).runs
    assert run == Run(
        id="run-1",
        at=LATER,
        seq=3,
        command="apply",
        who="ann@host",
        job="https://ci/1",
        commit="c0ffee",
        overrides=("max_starts",),
    )
