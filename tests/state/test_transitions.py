"""The effect of each event in each phase, as one table, and the properties of any sequence of events.

The table was written from the design, not from the code.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.model import Source
from batchform.state.events import (
    FORGET_AFTER,
    TRANSITIONS,
    AlreadyStarted,
    Charged,
    Declared,
    Event,
    Forgotten,
    Intended,
    NotAttempted,
    Released,
    Removed,
    Seen,
    Started,
    Unknown,
    What,
    expire,
    fold,
    step,
)
from batchform.state.known import BEYOND, UNCERTAIN, Cause, Entry, Evidence, Phase
from tests.state.samples import (
    ALREADY,
    BAD_REQUEST,
    DENIED,
    DOWN,
    EMPTY,
    INTENDED,
    NOT_FOUND,
    NOW,
    RELEASED,
    SILENT,
    STARTED,
    event,
    events,
    histories,
    near,
    rejected,
    seen,
    whats,
)

if TYPE_CHECKING:
    from datetime import datetime

# --- The table -------------------------------------------------------------------------------------------------------

# How a batch reaches each situation. `unknown` was answered with an error, `refused` with a plain 400.
SITUATIONS: dict[str, tuple[What, ...]] = {
    "none": (),
    "seen": (seen("submitted"),),
    "intended": (INTENDED,),
    "unknown": (INTENDED, Unknown(problem=DOWN)),
    "refused": (INTENDED, Unknown(problem=BAD_REQUEST)),
    "released": (INTENDED, Unknown(problem=DOWN), RELEASED),
    "not_attempted": (INTENDED, NotAttempted()),
    "rejected": (INTENDED, Unknown(problem=BAD_REQUEST), rejected(Cause.NOT_STARTED)),
    "not_found": (INTENDED, Unknown(problem=NOT_FOUND), rejected(Cause.NOT_FOUND, NOT_FOUND)),
    "stopped": (seen("stopped"),),
    "adopted": (seen("processing"),),
    "already": (INTENDED, Unknown(problem=BAD_REQUEST), ALREADY),
    "started": (INTENDED, STARTED),
}

OCCURRENCES: dict[str, What] = {
    "intended": INTENDED,
    "not_attempted": NotAttempted(problem=SILENT),
    "started": STARTED,
    "already": ALREADY,
    "unknown_503": Unknown(problem=DOWN),
    "unknown_400": Unknown(problem=BAD_REQUEST),
    "released": RELEASED,
    "rejected": rejected(Cause.NOT_STARTED),
    "rejected_401": rejected(Cause.REFUSED, DENIED),
    "rejected_404": rejected(Cause.NOT_FOUND, NOT_FOUND),
    "seen_processing": seen("processing"),
    "seen_completed": seen("completed"),
    "seen_stopped": seen("stopped"),
    "listed_processing": seen("processing", Source.LIST),
    "listed_submitted": seen("submitted", Source.LIST),
    "read_submitted": seen("submitted"),
    "seen_a_word": seen("queued"),
    "seen_null": seen(None),
    "seen_not_found": seen(None, found=False),
    "charged": Charged(status="completed", credits=7, final=True),
    "declared": Declared(),
    "forgotten": Forgotten(),
    "removed": Removed(),
}

# A dot: the phase does not change. `-`: there is no entry (any more).
TABLE = """
                  none          seen          intended      unknown  refused  released      not_attempted rejected      not_found     stopped  adopted  already  started
intended          intended      intended      unknown       .        .        intended      intended      intended      intended      .        .        .        .
not_attempted     not_attempted .             not_attempted .        .        .             .             .             .             .        .        .        .
started           started       started       started       started  started  started       started       started       started       started  started  started  .
already           already       already       already       already  already  already       already       already       already       already  already  .        .
unknown_503       unknown       unknown       unknown       .        .        unknown       unknown       unknown       unknown       .        .        .        .
unknown_400       unknown       unknown       unknown       .        .        unknown       unknown       unknown       unknown       .        .        .        .
released          -             .             released      released released .             .             .             .             .        .        .        .
rejected          rejected      rejected      rejected      .        rejected rejected      rejected      .             .             .        .        .        .
rejected_401      rejected      rejected      rejected      .        rejected rejected      rejected      .             .             .        .        .        .
rejected_404      rejected      rejected      rejected      .        rejected rejected      rejected      .             .             .        .        .        .
seen_processing   adopted       adopted       started       started  already  started       adopted       adopted       adopted       adopted  .        .        .
seen_completed    adopted       adopted       started       started  already  started       adopted       adopted       adopted       adopted  .        .        .
seen_stopped      stopped       stopped       started       started  already  started       stopped       stopped       stopped       .        .        .        .
listed_processing adopted       adopted       started       started  already  started       adopted       adopted       adopted       adopted  .        .        .
listed_submitted  seen          .             .             .        .        .             .             .             seen          .        .        .        .
read_submitted    seen          .             .             .        .        .             .             .             seen          .        .        .        .
seen_a_word       seen          .             .             .        .        .             .             .             seen          .        .        .        .
seen_null         seen          .             .             .        .        .             .             .             .             .        .        .        .
seen_not_found    seen          .             .             .        .        .             .             .             .             .        .        .        .
charged           -             .             .             .        .        .             .             .             .             .        .        .        .
declared          -             .             .             .        .        .             .             .             .             .        .        .        .
forgotten         -             .             .             .        .        .             .             .             .             .        .        .        .
removed           -             -             -             -        -        -             -             -             -             -        -        -        -
"""  # noqa: E501  # a table is read in columns

HEAD, *LINES = (line.split() for line in TABLE.strip().splitlines())
CELLS = [(line[0], situation, cell) for line in LINES for situation, cell in zip(HEAD, line[1:], strict=True)]
SHORT = {"already": Phase.ALREADY_STARTED, "refused": Phase.UNKNOWN, "not_found": Phase.REJECTED}


def phase_of(word: str) -> Phase | None:
    """The phase for a word of the table."""
    return None if word in {"none", "-"} else SHORT.get(word) or Phase(word)


def entry_in(situation: str) -> Entry | None:
    """The entry of a batch in this situation, reached by its own events."""
    return fold(EMPTY, events(*SITUATIONS[situation])).entries.get("b1")


def after(situation: str, *whats: What) -> Entry:
    """The entry of a batch in this situation after further events. There must be one."""
    return fold(EMPTY, events(*SITUATIONS[situation], *whats)).entries["b1"]


@pytest.mark.parametrize(("occurrence", "situation", "cell"), CELLS, ids=[f"{what}-on-{on}" for what, on, _ in CELLS])
def test_every_event_moves_every_phase_as_the_table_says(occurrence: str, situation: str, cell: str) -> None:
    """Defined transitions reach the expected phase. Other events do not change it."""
    before = entry_in(situation)
    assert (before.phase if before else None) is phase_of(situation)
    result = step(before, event(OCCURRENCES[occurrence], seq=9))
    assert (result.phase if result else None) is phase_of(situation if cell == "." else cell)


def test_the_table_leaves_nothing_out() -> None:
    """Every event, every phase, and each row and column once."""
    assert {type(what) for what in OCCURRENCES.values()} == set(get_args(What))
    assert {phase_of(situation) for situation in HEAD} == {None, *Phase}
    assert set(HEAD) == set(SITUATIONS)
    assert [line[0] for line in LINES] == list(OCCURRENCES)


NO_MOVE = [
    (occurrence, situation)
    for occurrence, situation, cell in CELLS
    if cell == "."
    and (
        occurrence in {"not_attempted", "released"}
        or (occurrence.startswith(("unknown", "rejected")) and phase_of(situation) in BEYOND)
        or (occurrence.startswith("rejected") and situation == "unknown")
    )
]


@pytest.mark.parametrize(("occurrence", "situation"), NO_MOVE, ids=[f"{what}-on-{on}" for what, on in NO_MOVE])
def test_an_outcome_that_fits_no_open_attempt_changes_nothing(occurrence: str, situation: str) -> None:
    """An event about an attempt that is not open only updates the time of the last event."""
    before = entry_in(situation)
    assert before is not None
    late = event(OCCURRENCES[occurrence], seq=9, run="run-2")
    assert step(before, late) == replace(before, updated_at=late.at, run="run-2")


def test_no_row_of_the_code_leads_back_from_beyond_the_start() -> None:
    """This protects against double payment: no transition leaves the four phases for another one."""
    assert frozenset({Phase.STOPPED, Phase.ADOPTED, Phase.ALREADY_STARTED, Phase.STARTED}) == BEYOND
    for row in TRANSITIONS.values():
        assert all(to in BEYOND for before, to in row.items() if before in BEYOND)


# --- Doubt -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [DOWN, SILENT, DENIED], ids=["503", "silence", "401"])
def test_an_answer_that_is_no_plain_no_leaves_doubt(problem: object) -> None:
    """Only 400 and 404 mean that the start was not accepted."""
    assert after("intended", Unknown(problem=problem)).doubt  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", [BAD_REQUEST, NOT_FOUND], ids=["400", "404"])
def test_a_plain_no_leaves_no_doubt(problem: object) -> None:
    """A 400 or 404 means that this attempt had no effect."""
    assert not after("intended", Unknown(problem=problem)).doubt  # type: ignore[arg-type]


def test_a_plain_no_does_not_take_earlier_doubt_away() -> None:
    """The 400 may mean `already started`, by the previous attempt."""
    assert after("unknown", Unknown(problem=BAD_REQUEST)).doubt
    assert after("released", INTENDED, Unknown(problem=BAD_REQUEST)).doubt


def test_an_intent_found_open_and_released_leaves_doubt() -> None:
    """A crash is not an answer."""
    assert after("intended", RELEASED).doubt


@pytest.mark.parametrize("situation", ["intended", "unknown", "refused"])
def test_an_intent_upon_an_open_attempt_leaves_doubt(situation: str) -> None:
    """With two runs at once, the answer to the later attempt says nothing about the earlier one."""
    entry = after(situation, INTENDED)
    assert (entry.phase, entry.doubt) == (Phase.UNKNOWN, True)
    for cause in Cause:
        assert step(entry, event(rejected(cause, DENIED), seq=9)).phase is Phase.UNKNOWN  # type: ignore[union-attr]
    assert step(entry, event(NotAttempted(), seq=9)).phase is Phase.UNKNOWN  # type: ignore[union-attr]


def test_an_attempt_without_effect_on_a_batch_in_doubt_counts_as_released() -> None:
    """The batch may be started, but the doubt about the earlier attempt stays."""
    entry = after("released", INTENDED, NotAttempted())
    assert (entry.phase, entry.doubt) == (Phase.RELEASED, True)


@pytest.mark.parametrize("status", ["processing", "completed", "stopped"])
@pytest.mark.parametrize(
    "whats",
    [(rejected(Cause.NOT_STARTED, DOWN),), (rejected(Cause.NOT_FOUND), seen("submitted"))],
    ids=["rejected", "seen again"],
)
def test_a_batch_in_doubt_that_turns_out_to_be_started_was_started_by_us(whats: tuple[What, ...], status: str) -> None:
    """All attempts seemed to have failed, but one was accepted: it is our start, known by its status."""
    entry = after("released", *whats, seen(status))
    assert (entry.phase, entry.evidence, entry.status) == (Phase.STARTED, Evidence.STATUS, status)


# --- Status and contradiction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", ["stopped", "adopted", "already", "started"])
def test_a_single_read_of_submitted_beyond_the_start_is_a_contradiction(situation: str) -> None:
    """The contradiction is set, and the status does not change."""
    entry = after(situation, seen("submitted"))
    assert entry.contradiction
    assert entry.status == ("stopped" if situation == "stopped" else "processing")


@pytest.mark.parametrize("situation", ["stopped", "adopted", "already", "started"])
@pytest.mark.parametrize(
    "what",
    [seen("submitted", Source.LIST), seen(None), seen(None, found=False), seen("queued")],
    ids=["listed", "null", "not found", "a word"],
)
def test_nothing_else_is_a_contradiction(situation: str, what: What) -> None:
    """The list is only a hint, and a missing status proves nothing."""
    assert not after(situation, what).contradiction


@pytest.mark.parametrize("situation", [name for name in SITUATIONS if phase_of(name) not in BEYOND])
def test_submitted_is_no_contradiction_before_the_start(situation: str) -> None:
    """This is the expected status."""
    assert not after(situation, seen("submitted")).contradiction


@pytest.mark.parametrize("status", ["processing", "completed", "stopped"])
@pytest.mark.parametrize("source", list(Source))
def test_a_status_beyond_the_start_ends_the_contradiction(status: str, source: Source) -> None:
    """The server agrees with the state again."""
    entry = after("started", seen("submitted"), seen(status, source))
    assert (entry.contradiction, entry.status) == (False, status)


@pytest.mark.parametrize(
    "what", [seen("submitted", Source.LIST), seen(None), seen("queued"), INTENDED, Declared(), Forgotten()]
)
def test_a_contradiction_stays_until_then(what: What) -> None:
    """Weaker evidence does not replace it."""
    assert after("started", seen("submitted"), what).contradiction


def test_a_late_answer_does_not_set_a_finished_batch_back() -> None:
    """`completed` was read before the answer to the start arrived."""
    assert after("intended", seen("completed"), STARTED).status == "completed"


def test_a_null_status_keeps_the_known_one() -> None:
    """A missing status proves nothing."""
    entry = after("adopted", seen(None))
    assert (entry.status, entry.found) == ("processing", True)


def test_not_found_keeps_the_known_status_and_is_noted() -> None:
    """It can mean another region or a proxy."""
    entry = after("adopted", seen(None, found=False))
    assert (entry.status, entry.found, entry.phase) == ("processing", False, Phase.ADOPTED)


def test_a_batch_known_to_be_started_shows_no_problem() -> None:
    """Every answer settles an attempt, and a late event does not reopen it."""
    for situation in ("already", "started", "adopted", "stopped"):
        assert after(situation).problem is None
        assert after(situation, NotAttempted(problem=DOWN)).problem is None
        assert after(situation, Unknown(problem=DOWN)).problem is None
    assert after("unknown", seen("processing")).problem is None


def test_evidence_is_the_answer_where_there_was_one() -> None:
    """A later status does not replace the evidence of a clean 200."""
    assert after("started", Started(status="completed", evidence=Evidence.STATUS)).evidence is Evidence.ANSWER
    assert after("started", seen("completed")).evidence is Evidence.ANSWER
    assert after("unknown", Started(status="processing", evidence=Evidence.STATUS)).evidence is Evidence.STATUS


def test_what_is_known_is_not_forgotten_for_silence() -> None:
    """The records and the submission time stay if an event does not include them."""
    told = event(replace(seen("submitted"), records=7, submitted_at=NOW))
    entry = fold(EMPTY, [told, event(INTENDED, seq=2), event(seen("processing"), seq=3)]).entries["b1"]
    assert (entry.records, entry.submitted_at) == (7, NOW)


def test_declaring_and_forgetting_touch_the_mark_only() -> None:
    """Forgetting keeps all knowledge. Declaring again takes the new name."""
    forgotten = after("started", Forgotten())
    assert (forgotten.declared, forgotten.phase, forgotten.attempts) == (False, Phase.STARTED, 1)
    renamed = step(forgotten, replace(event(Declared(), seq=9), name="new name"))
    assert renamed is not None
    assert (renamed.declared, renamed.name, renamed.phase) == (True, "new name", Phase.STARTED)


# --- Whatever happens ------------------------------------------------------------------------------------------------


@given(histories)
def test_what_is_beyond_its_start_stays_there(history: list[Event]) -> None:
    """Only `state rm` makes a started batch startable again."""
    state = EMPTY
    for happened in history:
        before = state.entries.get(happened.batch_id)
        state = fold(state, [happened])
        if before is not None and before.phase in BEYOND and not isinstance(happened.what, Removed):
            entry = state.entries[happened.batch_id]
            assert entry.phase in BEYOND
            assert entry.status != "submitted"
            if before.phase is Phase.STARTED:
                assert entry.phase is Phase.STARTED


@given(histories, st.integers(0, 14))
def test_folding_twice_is_folding_once(history: list[Event], cut: int) -> None:
    """A journal that is already partly or completely included changes nothing more."""
    once = fold(EMPTY, history)
    assert fold(once, history) == once
    assert fold(fold(EMPTY, history[:cut]), history) == once
    assert fold(fold(EMPTY, history[:cut]), history[cut:]) == once


@given(histories)
def test_an_intent_is_never_hidden(history: list[Event]) -> None:
    """Until there is an outcome, a batch with an attempt is unknown or known to be started."""
    state = EMPTY
    for happened in history:
        state = fold(state, [happened])
        if isinstance(happened.what, Intended):
            assert state.entries[happened.batch_id].phase in UNCERTAIN | BEYOND


@given(histories)
def test_an_uncertain_attempt_in_doubt_ends_by_two_ways_only(history: list[Event]) -> None:
    """It is released or found started. The refusal of another attempt does not clear it."""
    state = EMPTY
    for happened in history:
        before = state.entries.get(happened.batch_id)
        state = fold(state, [happened])
        if before is not None and before.phase is Phase.UNKNOWN and before.doubt:
            entry = state.entries.get(happened.batch_id)
            if not isinstance(happened.what, (Released, Removed)):
                assert entry is not None
                assert entry.phase is Phase.UNKNOWN or entry.phase in BEYOND
            if entry is not None:
                assert entry.doubt


@given(histories)
def test_attempts_count_intents(history: list[Event]) -> None:
    """Counted since the entry was created."""
    state, intents = EMPTY, 0
    for happened in history:
        state = fold(state, [happened])
        if happened.batch_id == "b1":
            intents += isinstance(happened.what, Intended)
            entry = state.entries.get("b1")
            assert (entry.attempts if entry else 0) == intents or entry is None
            intents = 0 if entry is None else intents


@given(histories)
def test_only_a_read_of_submitted_raises_a_contradiction(history: list[Event]) -> None:
    """It occurs only for a started batch."""
    state = EMPTY
    for happened in history:
        before = state.entries.get(happened.batch_id)
        state = fold(state, [happened])
        entry = state.entries.get(happened.batch_id)
        if entry is not None and entry.contradiction and not (before is not None and before.contradiction):
            assert isinstance(happened.what, Seen)
            assert (happened.what.source, happened.what.status) == (Source.READ, "submitted")
            assert before is not None
            assert before.phase in BEYOND


@given(histories, whats(), near)
def test_folding_leaves_the_rest_alone(history: list[Event], what: What, at: datetime) -> None:
    """An event changes only its own batch, the serial counts commits, and entries keep their key."""
    state = fold(replace(EMPTY, serial=7), history)
    late = replace(event(what, seq=99, batch="b1", run="run-3"), at=at)
    result = fold(state, [late])
    assert result.entries.get("b2") == state.entries.get("b2")
    assert (result.serial, result.lineage) == (7, EMPTY.lineage)
    assert all(key == entry.batch_id for key, entry in result.entries.items())


def test_removing_what_is_not_there_changes_nothing() -> None:
    """A `state rm` folded into a state without the batch only records the run."""
    known = fold(EMPTY, events(INTENDED, STARTED))
    for state in (EMPTY, known):
        after_it = fold(state, [event(Removed(), batch="gone", run="run-2")])
        assert after_it.entries == state.entries
        assert after_it.runs[:-1] == state.runs
        assert (after_it.runs[-1].id, after_it.runs[-1].removed) == ("run-2", 0)


def test_runs_are_kept_to_a_thousand() -> None:
    """The newest runs are kept."""
    state = fold(EMPTY, [event(Declared(), run=f"run-{number}") for number in range(1_005)])
    assert [run.id for run in state.runs] == [f"run-{number}" for number in range(5, 1_005)]


# --- Expiry ----------------------------------------------------------------------------------------------------------


@given(histories, st.integers(0, 200))
def test_expiry_never_drops_what_may_still_matter(history: list[Event], days: int) -> None:
    """Declared, unknown and recent entries stay unchanged; the others are removed."""
    state = fold(EMPTY, history)
    now = NOW + timedelta(days=days)
    kept = expire(state, now).entries
    for key, entry in state.entries.items():
        stays = entry.declared or entry.phase in UNCERTAIN or entry.updated_at >= now - timedelta(days=35)
        assert (kept.get(key) == entry) is stays
    assert expire(state, now).runs == state.runs


@pytest.mark.parametrize("situation", list(SITUATIONS)[1:])
def test_a_declared_entry_never_expires(situation: str) -> None:
    """The age does not matter."""
    state = fold(EMPTY, events(*SITUATIONS[situation]))
    assert expire(state, NOW + timedelta(days=10_000)) == state


def test_an_undeclared_entry_goes_after_35_days_and_not_before() -> None:
    """This is one week longer than a batch can be started."""
    state = fold(EMPTY, events(INTENDED, STARTED, Forgotten()))
    last = state.entries["b1"].updated_at
    assert timedelta(days=35) == FORGET_AFTER
    assert "b1" in expire(state, last + timedelta(days=35)).entries
    assert "b1" not in expire(state, last + timedelta(days=35, seconds=1)).entries


def test_an_old_event_does_not_make_an_entry_old() -> None:
    """An old journal, or one from a machine with a wrong clock, is added: the latest event counts."""
    state = fold(EMPTY, events(INTENDED, STARTED, Forgotten()))
    old = event(AlreadyStarted(status="processing"), run="run-0", at=NOW - timedelta(days=9_000))
    assert "b1" in expire(fold(state, [old]), NOW + timedelta(days=1)).entries
