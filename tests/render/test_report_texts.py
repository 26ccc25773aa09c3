"""The texts and documents of refresh, status, why, history and import are safe for any input."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.results import Results
from batchform.config.loader import load
from batchform.drift import drift, known_plan
from batchform.fetch import Fetched, Kind
from batchform.model import Batch, Config, Observed, Reading, ServerProblem, Service, Source
from batchform.planner import plan
from batchform.render.declarations import Declaration, declarations_text, names_for
from batchform.render.documents.history import history_document
from batchform.render.documents.plan import plan_document, refresh_document
from batchform.render.documents.results import results_document
from batchform.render.documents.status import status_document
from batchform.render.documents.stream import waited_document
from batchform.render.escape import width
from batchform.render.layout import Line, grid, table, wrap
from batchform.render.style import Style, Tone
from batchform.render.text.drift import refresh_text
from batchform.render.text.history import history_text
from batchform.render.text.results import results_text, warning_text
from batchform.render.text.status import changed_lines, frame, log_words, status_text
from batchform.render.text.why import Case, why_text
from batchform.source_text import Place
from batchform.state.known import Entry, Run, State
from batchform.status import Pace, Snapshot, snapshot
from tests import strategies as bf
from tests.render.test_schemas import strict, through_json
from tests.render.test_text import check_safe, styles

if TYPE_CHECKING:
    from batchform.plan import Plan

PLAIN = Style(color=False)
COLOUR = Style(color=True)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ENDPOINT = "https://api.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A configuration, a state and the readings of the same few batches."""

    config: Config
    state: State
    observed: Observed

    @property
    def plan(self) -> Plan:
        """The plan made from them."""
        return plan(self.config, self.state, self.observed, NOW, endpoint=ENDPOINT)

    @property
    def look(self) -> Snapshot:
        """The progress of the batches."""
        return snapshot(self.config, self.state, self.observed, NOW, endpoint=ENDPOINT)


@st.composite
def known(draw: st.DrawFn) -> Known:
    """Any configuration, state and readings of the same few batches."""
    batches: list[Batch] = draw(
        st.lists(bf.batches(), max_size=4, unique_by=(lambda one: one.name, lambda one: one.batch_id))
    )
    entries: dict[str, Entry] = {}
    readings: dict[str, Reading] = {}
    for batch in batches:
        if draw(st.booleans()):
            entries[batch.batch_id] = draw(bf.entries(batch.batch_id))
        if draw(st.booleans()):
            readings[batch.batch_id] = draw(bf.readings(batch.batch_id))
    service = draw(st.sampled_from(Service))
    return Known(
        config=Config(service=service, batches=tuple(batches)),
        state=State(lineage="l", service=service, endpoint=ENDPOINT, entries=MappingProxyType(entries)),
        observed=Observed(listed=draw(st.booleans()), readings=MappingProxyType(readings)),
    )


@given(known(), styles)
def test_refresh_is_safe_and_fits_its_schema(known: Known, style: Style) -> None:
    """Names, statuses and reasons come from outside."""
    made = known.plan
    found = drift(known_plan(known.config, known.state, made, None), made)
    check_safe(refresh_text(found, made, style, saved_as="s.json"), style)
    assert drift(made, made) == ()
    document = refresh_document(made, found, version="1.2.3", changed=True)
    strict("refresh-1").validate(through_json(document))
    strict("plan-1").validate(through_json(plan_document(made, version="1.2.3", drift=found)))


@given(known(), styles)
def test_status_is_safe_and_fits_its_schema(known: Known, style: Style) -> None:
    """The table, the words of a log, the document, and the line of the stream."""
    seen = known.look
    check_safe(status_text(seen, style), style)
    check_safe(status_text(seen, style, only=()), style)
    for line in changed_lines(None, seen):
        check_safe(line, PLAIN)
    check_safe(log_words(seen, 90.0), PLAIN)
    strict("status-1").validate(through_json(status_document(seen)))
    strict("events-1").validate(through_json(waited_document(seen, exit_code=3)))


@given(known(), styles, st.data())
def test_results_are_safe_and_fit_their_schema(known: Known, style: Style, data: st.DataObject) -> None:
    """Statuses, reasons, names of statistics and problems come from outside."""
    seen = known.look
    found = []
    for one in seen.standings:
        kind = data.draw(st.sampled_from(Kind))
        results = Results(
            batch_id=one.change.batch_id,
            status=data.draw(st.text(min_size=1)),
            reason=data.draw(st.none() | st.text()),
            credits_charged=data.draw(st.none() | st.integers(0, 10**9)),
            statistics=data.draw(st.dictionaries(st.text(), st.integers(0, 10**9), max_size=3)),
            count=data.draw(st.none() | st.integers(0, 10**6)),
        )
        problem = ServerProblem(status=200, title=data.draw(st.text()), detail=data.draw(st.text()))
        unread = kind in {Kind.KEPT, Kind.UNFINISHED, Kind.UNREADABLE}
        found.append(
            Fetched(
                standing=one,
                kind=kind,
                results=None if unread and data.draw(st.booleans()) else results,
                problem=problem if kind is Kind.UNREADABLE else None,
                file="out/a" if kind in {Kind.WRITTEN, Kind.KEPT} else "",
            )
        )
    check_safe(results_text(found, style), style)
    for each in found:
        if warning := warning_text(each):
            check_safe("\n".join(wrap(warning, style.columns)), style)
    strict("results-1").validate(through_json(results_document(seen, found)))


@given(known(), st.integers(1, 200), st.integers(1, 60), st.none() | st.floats(0, 10**9))
def test_a_frame_fits_any_window(known: Known, columns: int, rows: int, left: float | None) -> None:
    """However small. Colour adds no lines."""
    seen = known.look
    lines = frame(seen, PLAIN, columns=columns, rows=rows, left=left, footer="the last line")
    assert len(lines) <= rows
    assert all(width(line) <= columns for line in lines)
    coloured = frame(seen, COLOUR, columns=columns, rows=rows, left=left, footer="the last line")
    assert len(coloured) == len(lines)


@given(known(), styles)
def test_why_is_a_safe_label_and_text_on_each_line(known: Known, style: Style) -> None:
    """For any configuration, state and readings: the decision, then the facts in their order."""
    made = known.plan
    for batch in known.config.batches:
        case = Case(
            name=batch.name,
            change=next((change for change in made.changes if change.batch_id == batch.batch_id), None),
            batch=batch,
            entry=known.state.entries.get(batch.batch_id),
            reading=known.observed.readings.get(batch.batch_id),
            refreshed=known.observed.listed,
        )
        text = why_text(case, made, style)
        check_safe(text, style)
        labels = [label for line in text.splitlines() if (label := line[:11].strip()) and line.startswith("  ")]
        facts = [label for label in labels if label in {"declared", "state", "server", "deadline", "rule", "next"}]
        assert facts[:3] == ["declared", "state", "server"]
        assert [label for label in facts if label != "deadline"][3:5] in (["rule"], ["rule", "next"])


@given(st.lists(bf.runs(), max_size=4), st.none() | st.integers(1, 3), styles)
def test_history_is_safe_and_fits_its_schema(runs: list[Run], last: int | None, style: Style) -> None:
    """The person, the job and the commit come from the environment."""
    check_safe(history_text(runs, style, last=last), style)
    check_safe(history_text(runs, style, last=last, charged=(10, 2, 1)), style)
    state = State(lineage="l", service=Service.PHONE, endpoint=ENDPOINT, runs=tuple(runs))
    strict("history-1").validate(through_json(history_document(state, runs)))


@pytest.mark.parametrize(
    ("last", "said"), [(1, " The last one is shown."), (2, " The last 2 are shown."), (3, ""), (None, "")]
)
def test_a_part_of_the_history_says_so(last: int | None, said: str) -> None:
    """In the singular, too."""
    runs = [Run(id=f"r{number}", at=datetime(2026, 11, number, tzinfo=UTC), seq=1) for number in (1, 2, 3)]
    assert history_text(runs, PLAIN, last=last).rstrip().endswith(f"3 runs: 0 batches started, 0 records.{said}")


@given(st.lists(bf.readings(), min_size=1, max_size=4, unique_by=lambda one: one.batch_id), st.sampled_from(Service))
def test_whatever_is_imported_can_be_read_back(
    tmp_path_factory: pytest.TempPathFactory, readings: list[Reading], service: Service
) -> None:
    """Each id once, under a name that was free."""
    names = names_for(readings, {"taken"})
    assert len({*names.values(), "taken"}) == len(readings) + 1
    place = Place(file="", line=1, column=1, end_line=1, end_column=1)
    batches = tuple(Batch(name=names[one.batch_id], batch_id=one.batch_id, place=place) for one in readings)
    heard = {one.batch_id: one for one in readings}
    made = plan(
        Config(service=service, batches=batches),
        None,
        Observed(listed=True, readings=MappingProxyType(heard)),
        NOW,
        endpoint=ENDPOINT,
    )
    text = declarations_text(made, [Declaration(reading=heard[one.batch_id], change=one) for one in made.changes])
    file = tmp_path_factory.mktemp("imported") / "all.yaml"
    file.write_text(text, encoding="utf-8")
    config = load([file])
    assert config.service is service
    assert {batch.batch_id: batch.name for batch in config.batches} == names


def test_a_pace_is_known_once_records_were_processed() -> None:
    """The slowest batch decides how long it takes."""
    place = Place(file="f", line=1, column=1, end_line=1, end_column=1)
    config = Config(batches=tuple(Batch(name=one, batch_id=one, place=place) for one in ("a", "b")))

    def seen(a: int, b: int) -> Snapshot:
        readings = {
            one: Reading(batch_id=one, source=Source.LIST, status="processing", records=100, records_processed=done)
            for one, done in (("a", a), ("b", b))
        }
        return snapshot(config, None, Observed(listed=True, readings=readings), NOW, endpoint=ENDPOINT)

    pace = Pace()
    pace.saw(seen(0, 0).standings, 0.0)
    assert pace.left() is None
    pace.saw(seen(50, 0).standings, 10.0)
    assert pace.left() is None
    pace.saw(seen(50, 20).standings, 20.0)
    assert pace.left() == pytest.approx(80.0)


def test_a_watch_keeps_completed_batches_in_the_total() -> None:
    """Otherwise the records so far would shrink each time a batch completes."""
    place = Place(file="f", line=1, column=1, end_line=1, end_column=1)
    config = Config(batches=tuple(Batch(name=one, batch_id=one, place=place) for one in ("a", "b")))
    readings = {
        "a": Reading(batch_id="a", source=Source.LIST, status="completed", records=100),
        "b": Reading(batch_id="b", source=Source.LIST, status="processing", records=50, records_processed=10),
    }
    seen = snapshot(config, None, Observed(listed=True, readings=readings), NOW, endpoint=ENDPOINT)
    assert log_words(seen, None) == "1 processing; 110 of 150 records"


def test_a_narrow_watch_leaves_the_bar_out() -> None:
    """The share and the name matter more. No line ends in a blank, with colour or without."""
    place = Place(file="f", line=1, column=1, end_line=1, end_column=1)
    config = Config(batches=(Batch(name="uk-mobiles", batch_id="a", place=place),))
    reading = Reading(batch_id="a", source=Source.LIST, status="processing", records=100, records_processed=25)
    seen = snapshot(config, None, Observed(listed=True, readings={"a": reading}), NOW, endpoint=ENDPOINT)

    def first(columns: int) -> str:
        return frame(seen, PLAIN, columns=columns, rows=9, left=None, footer="f")[0]

    assert first(40) == "uk-mobiles  processing         25%  25…"
    assert first(72) == "uk-mobiles  processing        [#####...............]  25%  25 of 100"
    unread = snapshot(config, None, Observed(listed=False), NOW, endpoint=ENDPOINT)
    line = frame(unread, COLOUR, columns=80, rows=9, left=None, footer="f")[0]
    assert line.endswith("not started\x1b[0m")


def test_a_grid_becomes_narrower_step_by_step() -> None:
    """First the gaps, then the name, then what can be left out; at last each row is a card of labelled cells."""
    headings = ("NAME", "STATUS", "EMPTY", "NUMBER", "STARTED")
    row = ("a-name-of-some-length-which-is-cut", "processing", "-", "9,800", "2026-11-23 09:00")

    def shown(columns: int) -> list[str]:
        style = Style(color=False, columns=columns)
        head, rows = grid(headings, [row], style, numbers={3}, optional=(4,))
        return [*head, *rows[0]]

    assert shown(100)[1] == "a-name-of-some-length-which-is-cut   processing   -        9,800   2026-11-23 09:00"
    assert shown(82)[1] == "a-name-of-some-length-which-is-cut  processing  -       9,800  2026-11-23 09:00"
    assert shown(74)[1] == "a-name-of-some…h-which-is-cut  processing  -       9,800  2026-11-23 09:00"
    assert shown(66)[0].split() == ["NAME", "STATUS", "NUMBER", "STARTED"]
    assert shown(50)[0].split() == ["NAME", "STATUS", "NUMBER"]
    assert shown(40) == [
        "a-name-of-some-length-which-is-cut",
        "  STATUS processing   NUMBER 9,800",
        "  STARTED 2026-11-23 09:00",
    ]


def test_a_place_that_has_no_room_beside_the_text_keeps_its_line_number() -> None:
    """It is cut at its beginning, and the row stays within the terminal."""
    style = Style(color=False, columns=80)
    rows = table(
        [
            Line(
                symbol="~",
                tone=Tone.YELLOW,
                name="n" * 10,
                word="start -> already started",
                detail="y" * 30,
                place=place,
            )
            for place in ("x y" * 20 + ":310", "z:1")
        ],
        style,
    )
    assert max(map(width, rows)) <= 80
    assert any(row.endswith(":310") for row in rows)
