"""Properties of every text for people, for any input, and the layout of some."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.apply import Outcome, Report, Result
from batchform.engine import Interrupted, Unrecordable
from batchform.errors import BatchformError, ConfigError, OutcomeUnknownError, Problem, Severity, StateGoneError
from batchform.model import ServerProblem, Service
from batchform.plan import NEAR, Action, Change, Plan, Reason, span
from batchform.render.escape import width
from batchform.render.outcomes import end_text
from batchform.render.style import Style
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.problems import error_text, problems_text
from batchform.render.text.report import report_text
from batchform.render.text.state import entry_text, state_list_text
from batchform.render.words import problem_words
from batchform.source_text import Place, SourceText
from batchform.state.events import Event, Rejected, Started, Unknown
from batchform.state.known import Cause, Entry, Evidence, Phase, State
from tests import strategies as bf

PLAIN = Style(color=False)
COLOUR = Style(color=True)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
_SGR = re.compile(r"\x1b\[[0-9]{1,2}m")


def check_safe(text: str, style: Style) -> None:
    """No commands, invisible characters, blanks at the end, or lines that are too wide, but for a long word at the end.

    No text has fewer than 20 columns, so a shorter word always fits.
    """
    assert not text.endswith("\n")
    for line in text.split("\n"):
        assert line.isprintable()
        assert not line.lstrip().startswith(("::", "##["))
        assert line == line.rstrip()
        if width(line) > style.columns:
            before, _, word = line.rpartition(" ")
            assert width(before) <= style.columns
            assert width(word) > 20


styles = st.sampled_from([40, 41, 60, 80, 100, 120, 200]).map(lambda columns: Style(color=False, columns=columns))


@given(bf.plans(), st.integers(0, 3), styles)
def test_plan_text_is_safe_whatever_the_plan_holds(made: Plan, recovered: int, style: Style) -> None:
    """A saved plan comes from outside."""
    check_safe(plan_text(made, style, recovered=recovered), style)
    check_safe(plan_text(made, style, applying=True), style)
    check_safe(notices_text(made, style), style)


@given(bf.reports(), bf.texts(), styles)
def test_report_text_is_safe_whatever_the_server_said(report: Report, path: str, style: Style) -> None:
    """Problems come from the server."""
    check_safe(report_text(report, style, state_path=path), style)


@given(bf.events(), styles)
def test_event_text_is_safe_and_says_all(event: Event, style: Style) -> None:
    """The server's words are broken into lines, never cut. Later lines are indented."""
    text = event_text(event, style)
    check_safe(text, style)
    assert all(line.startswith("  ") for line in text.split("\n")[1:])
    if isinstance(event.what, (Unknown, Rejected)):
        said = "".join(problem_words(event.what.problem).split())
        assert said in "".join(text.split())


@given(bf.states(), styles)
def test_state_texts_are_safe(state: State, style: Style) -> None:
    """The list and every entry of it."""
    check_safe(state_list_text(state, style), style)
    for entry in state.entries.values():
        check_safe(entry_text(entry, style), style)


@given(st.lists(bf.problems(), max_size=3), bf.texts(), styles)
def test_problems_text_is_safe_with_any_source(problems: list[Problem], source: str, style: Style) -> None:
    """The excerpt shows text from a file."""
    places = [problem.place for problem in problems if problem.place is not None]
    sources = {place.file: SourceText(place.file, "\n" * (place.line % 50) + source) for place in places}
    near = [replace(p, place=p.place and replace(p.place, line=p.place.line % 50 + 1)) for p in problems]
    check_safe(problems_text(near, style, sources), style)


@given(bf.texts(), bf.texts(200), bf.ends(), styles)
def test_error_and_end_texts_are_safe(summary: str, detail: str, end: Interrupted, style: Style) -> None:
    """Errors quote file names and answers."""
    check_safe(error_text(BatchformError(summary, detail), style), style)
    assert end_text(end).isprintable()


@given(bf.plans(), bf.reports(), bf.events(), bf.states())
def test_colour_adds_nothing_but_colour(made: Plan, report: Report, event: Event, state: State) -> None:
    """Without its sequences the coloured text equals the plain text."""
    for coloured, plain in (
        (plan_text(made, COLOUR), plan_text(made, PLAIN)),
        (notices_text(made, COLOUR), notices_text(made, PLAIN)),
        (report_text(report, COLOUR, state_path="s"), report_text(report, PLAIN, state_path="s")),
        (event_text(event, COLOUR), event_text(event, PLAIN)),
        (state_list_text(state, COLOUR), state_list_text(state, PLAIN)),
    ):
        assert _SGR.sub("", coloured) == plain


def test_the_plan_is_coloured_by_what_needs_attention() -> None:
    """Green starts, red blocks."""
    text = plan_text(_plan(_change(), _change(action=Action.BLOCKED, reason=Reason.EXPIRED)), COLOUR)
    assert "\x1b[32m+\x1b[0m" in text
    assert "\x1b[31m!\x1b[0m" in text


@given(bf.plans())
def test_every_change_but_keep_has_a_line(made: Plan) -> None:
    """And the summary line has its fixed prefix."""
    text = plan_text(made, PLAIN)
    shown = [change for change in made.changes if change.action is not Action.KEEP]
    assert len(re.findall(r"^  [+=?.!-] ", text, re.MULTILINE)) == len(shown)
    assert len(re.findall(r"^(Plan: |No changes\. )", text, re.MULTILINE)) == 1


def test_the_records_at_stake_are_bold() -> None:
    """They are what a reviewer approves."""
    assert "At stake: \x1b[1m2 records\x1b[0m (2 batches)." in plan_text(_plan(_change("a"), _change("b")), COLOUR)


def test_a_long_plan_shows_the_starts_first_and_counts_what_needs_no_attention() -> None:
    """With fewer than 20 lines, each change has its line in the order of the names."""
    others = [
        _change("a", action=Action.HOLD, reason=Reason.HELD),
        _change("b", action=Action.BLOCKED, reason=Reason.EXPIRED),
        _change("c", action=Action.ADOPT, reason=Reason.RUNNING),
        _change("d", action=Action.KEEP, reason=Reason.RUNNING),
    ]
    starts = [_change(f"s{number}") for number in range(17)]
    lines = plan_text(_plan(*others, *starts), PLAIN).split("\n\n")[0].splitlines()
    assert [line.split()[:2] for line in lines[:17]] == [["+", one.name] for one in starts]
    assert [" ".join(line.split()[:4]) for line in lines[17:]] == [
        "! b expired past", "= 1 batch to", ". 1 batch on", "= 1 batch as",
    ]  # fmt: skip
    short = plan_text(_plan(*others, *starts[:16]), PLAIN).split("\n\n")[0].splitlines()
    assert [line.split()[1] for line in short[:4]] == ["a", "b", "c", "s0"]


# --- Plans -----------------------------------------------------------------------------------------------------------


def _change(name: str = "uk", *, action: Action = Action.START, reason: Reason = Reason.NEW, days: float = 0) -> Change:
    deadline = NOW + timedelta(days=days) if days else None
    return Change(name=name, batch_id=name, action=action, reason=reason, records=1, deadline=deadline)


def _plan(*changes: Change, service: Service = Service.PHONE) -> Plan:
    return Plan(
        service=service,
        endpoint="https://api.example.test",
        lineage="l",
        serial=1,
        at=NOW,
        refreshed=True,
        targeted=False,
        changes=changes,
        guards=(),
        notices=(),
    )


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (8, None),
        (7.001, None),
        (7, "expires in 7 days"),
        (2, "expires in 2 days"),
        (1.99, "expires in 47 hours"),
        (0.08, "expires in 115 minutes"),
        (-0.5, "at the 28-day limit"),
    ],
)
def test_start_says_when_it_expires_soon(days: float, words: str | None) -> None:
    """Within seven days, in days, hours or minutes."""
    text = plan_text(_plan(_change(days=days)), PLAIN)
    assert (words in text) if words else ("expires" not in text)


def test_no_deadline_is_claimed_where_none_is_documented() -> None:
    """The 28 days are documented for phone only."""
    assert "expires" not in plan_text(_plan(_change(days=1), service=Service.EMAIL), PLAIN)


def test_spans_are_rounded_down() -> None:
    """A text never promises more time than is left."""
    assert [span(timedelta(hours=h)) for h in (71.9, 47.9, 1.99, 1 / 60)] == [
        "2 days",
        "47 hours",
        "119 minutes",
        "1 minute",
    ]
    assert timedelta(days=7) == NEAR


# --- Reports ---------------------------------------------------------------------------------------------------------


def _outcomes(number: int, result: Result, **fields: Any) -> list[Outcome]:
    prefix = result.value.replace("_", "-")
    changes = [_change(f"{prefix}-{n:03}", reason=Reason.RUNNING) for n in range(number)]
    return [replace(Outcome(change=change, result=result), **fields) for change in changes]


def test_forty_ordinary_lines_are_shown() -> None:
    """So few lines are not folded."""
    text = report_text(Report(outcomes=tuple(_outcomes(40, Result.STARTED))), PLAIN, state_path="s")
    assert "started-039" in text


def test_many_ordinary_lines_are_folded_and_problems_are_not() -> None:
    """Results as planned become a number, problems keep a line each, and a few lines are never folded."""
    problem = ServerProblem(status=500, title="Internal Server Error")
    outcomes = [
        *_outcomes(41, Result.STARTED),
        *_outcomes(5, Result.ADOPTED),
        *_outcomes(60, Result.NOT_ATTEMPTED),
        *_outcomes(50, Result.UNKNOWN, problem=problem),
        *_outcomes(50, Result.REJECTED, problem=problem, cause=Cause.NOT_STARTED),
    ]
    lines = report_text(Report(outcomes=tuple(outcomes), end=Interrupted(signum=2)), PLAIN, state_path="s")
    table = lines.split("\n\n")[0].splitlines()
    assert [line.split()[1:4] for line in table[:2]] == [["41", "batches", "started"], ["60", "batches", "not"]]
    assert len(table) == 2 + 5 + 50 + 50


@pytest.mark.parametrize("error", [OutcomeUnknownError, StateGoneError])
def test_only_intents_that_are_in_the_store_are_promised(error: type[OutcomeUnknownError]) -> None:
    """Those of a state that was deleted are deleted, too."""
    report = Report(outcomes=tuple(_outcomes(1, Result.STARTED)), end=Unrecordable(error=error("gone")))
    text = report_text(report, PLAIN, state_path="s")
    assert ("The intents are recorded" in text) == (error is OutcomeUnknownError)


def test_an_outcome_that_is_not_on_disk_is_never_folded() -> None:
    """No other place has it."""
    outcomes = [*_outcomes(41, Result.STARTED), *_outcomes(1, Result.STARTED, recorded=False)]
    text = report_text(Report(outcomes=tuple(outcomes)), PLAIN, state_path="s")
    assert text.count("NOT RECORDED") == 1


def test_an_unknown_outcome_is_not_said_to_be_unstarted() -> None:
    """The sentence about the end of the run claims only what is known."""
    unknown = Report(outcomes=tuple(_outcomes(1, Result.UNKNOWN)), end=Interrupted(signum=2))
    assert "No batch is known to be started" in report_text(unknown, PLAIN, state_path="s")


# --- Problems --------------------------------------------------------------------------------------------------------

SOURCE = 'version: 1\nbatches:\n  uk:\n    batchid: "3f0c"  # ours\n'


def _problem(place: Place | None, **fields: str) -> Problem:
    return Problem(code="BF202", summary="Unknown key", detail="`batchid` is no setting of a batch.", place=place)


def test_problem_is_shown_in_its_line() -> None:
    """The place, the line, the carets, the text, and the number of problems."""
    place = Place(file="b.yaml", line=4, column=5, end_line=4, end_column=12)
    first = Place(file="b.yaml", line=3, column=3, end_line=3, end_column=5)
    problem = replace(_problem(place), hint="Write `batch_id`.", related=((first, "the batch is here"),))
    assert problems_text([problem], PLAIN, {"b.yaml": SourceText("b.yaml", SOURCE)}).splitlines() == [
        "Error: b.yaml:4:5: Unknown key [BF202]",
        '    4 |     batchid: "3f0c"  # ours',
        "      |     ^^^^^^^",
        "  `batchid` is no setting of a batch.",
        "  Hint: Write `batch_id`.",
        "  See b.yaml:3:3: the batch is here",
        "    3 |   uk:",
        "      |   ^^",
        "",
        "1 error.",
    ]


def test_carets_stand_below_what_is_shown() -> None:
    """After escapes and wide characters, and in a line that is cut."""
    line = "東京\x1b" + "a" * 300 + " BAD " + "b" * 300
    place = Place(file="b", line=1, column=305, end_line=1, end_column=308)
    shown, carets = problems_text([_problem(place)], PLAIN, {"b": SourceText("b", line)}).splitlines()[1:3]
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "BAD"
    place = Place(file="b", line=1, column=3, end_line=1, end_column=4)
    shown, carets = problems_text([_problem(place)], PLAIN, {"b": SourceText("b", line[:3])}).splitlines()[1:3]
    assert shown.endswith("東京\\x1b")
    assert carets == f"      | {' ' * 4}^^^^"


def test_warnings_are_counted_apart() -> None:
    """And have their own prefix."""
    text = problems_text([_problem(None), replace(_problem(None), severity=Severity.WARNING)], PLAIN)
    assert text.endswith("1 error, 1 warning.")
    assert "\nWarning: Unknown key [BF202]" in text


def test_error_text_wraps_and_keeps_line_breaks() -> None:
    """The summary first, the detail indented. A configuration error shows all its problems."""
    error = BatchformError("It went wrong", "word " * 30 + "\nNext.")
    lines = error_text(error, PLAIN).splitlines()
    assert lines[0] == "Error: It went wrong"
    assert lines[-1] == "  Next."
    assert len(lines) == 4
    assert "[BF202]" in error_text(ConfigError([_problem(None)]), PLAIN)


# --- States and events -----------------------------------------------------------------------------------------------


def test_entry_text_has_every_field_in_words() -> None:
    """Times in full, without unknown fields."""
    entry = Entry(
        batch_id="3f0c",
        name="uk-mobiles",
        phase=Phase.STARTED,
        status="processing",
        attempts=1,
        evidence=Evidence.ANSWER,
        reference_id="uk-mobiles-r1",
        records=9800,
        submitted_at=NOW,
        updated_at=NOW,
        run="r1",
    )
    assert entry_text(entry, PLAIN).splitlines() == [
        "uk-mobiles",
        "  batch_id             3f0c",
        "  phase                started: started by batchform",
        "  declared             yes",
        "  status               processing",
        "  attempts             1",
        "  start confirmed by   the answer to the start",
        "  reference_id         uk-mobiles-r1",
        "  records              9,800 records",
        "  submitted at         2026-11-23T09:00:00Z",
        "  updated at           2026-11-23T09:00:00Z",
        "  run                  r1",
    ]


def test_state_list_text_is_a_table() -> None:
    """Sorted by name, numbers to the right; undeclared batches in brackets."""
    entries = [
        Entry(batch_id="1", name="uk", phase=Phase.STARTED, status="completed", records=9800, updated_at=NOW, run="r"),
        Entry(batch_id="2", name="de", phase=Phase.UNKNOWN, records=7, declared=False, updated_at=NOW, run="r"),
    ]
    known = {entry.batch_id: entry for entry in entries}
    state = State(lineage="l", service=Service.PHONE, endpoint="e", entries=known)
    assert state_list_text(state, PLAIN).splitlines() == [
        "NAME   PHASE       STATUS      RECORDS   LAST CHANGE",
        "de     (unknown)   -                 7   2026-11-23 09:00 UTC",
        "uk     started     completed     9,800   2026-11-23 09:00 UTC",
        "",
        "2 batches, 1 of them undeclared.",
    ]
    assert state_list_text(replace(state, entries={}), PLAIN) == "The state holds no batches."


def test_event_text_names_the_batch_first() -> None:
    """A log can be searched by batch."""
    what = Started(status="processing", evidence=Evidence.STATUS)
    event = Event(run="r", seq=1, at=NOW, batch_id="1", name="uk-mobiles", what=what)
    assert event_text(event, PLAIN) == "uk-mobiles: started, confirmed by its status"
