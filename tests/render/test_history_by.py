"""The sums as text, Markdown, CSV and JSON: safe for any label and user, and the same numbers in each."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchform.charges import Charges
from batchform.history import Group, Spending, Sums
from batchform.render.documents.history_by import history_by_document
from batchform.render.history_by import history_by_csv, history_by_markdown, history_by_text
from batchform.render.outcomes import event_words
from batchform.render.style import Style
from batchform.render.text.drift import charges_sentences
from batchform.state.events import Charged
from tests.render.test_schemas import strict, through_json
from tests.render.test_text import check_safe, styles
from tests.strategies import texts

PLAIN = Style(color=False)
WIDE = Style(color=False, columns=10_000)
COUNTS = st.integers(0, 10**7)


def sums() -> st.SearchStrategy[Sums]:
    """Any sums."""
    numbers = {field.name: COUNTS for field in fields(Sums) if field.name != "credits_charged"}
    return st.builds(Sums, credits_charged=st.none() | COUNTS, **numbers)


@st.composite
def spendings(draw: st.DrawFn) -> Spending:
    """Any groups by one to four keys, with hostile labels."""
    label = texts(20).map(lambda text: f"label:{text}")
    by = draw(st.lists(st.sampled_from(["month", "actor", "service"]) | label, min_size=1, max_size=4, unique=True))
    values = st.tuples(*[st.none() | texts() for _ in by])
    groups = draw(st.lists(st.builds(Group, values=values, sums=sums()), max_size=4))
    return Spending(by=tuple(by), groups=tuple(groups), total=draw(sums()))


def one(value: str | None, charged: int | None, records: int = 10) -> Group:
    """A group of one batch."""
    unknown = int(charged is None)
    return Group(
        values=(value,), sums=Sums(starts=1, records=records, credits_charged=charged, credits_unknown=unknown)
    )


def of(*groups: Group, key: str = "month", **total: Any) -> Spending:
    """Groups by one key."""
    return Spending(by=(key,), groups=groups, total=Sums(starts=len(groups), **total))


@given(spendings(), st.sampled_from(["", "#", "\N{FULL BLOCK}"]), styles)
@example(of(one("a blank at the end of a wide label ", 1), key="actor"), "", Style(color=False, columns=40))
def test_every_form_is_safe(spending: Spending, bar: str, style: Style) -> None:
    """No commands, no hidden characters. The table fits a terminal."""
    check_safe(history_by_text(spending, style, bar=bar), style)
    check_safe(history_by_markdown(spending), WIDE)
    check_safe(history_by_csv(spending), WIDE)
    strict("history-by-1").validate(through_json(history_by_document(spending)))


@given(spendings())
def test_no_cell_of_the_csv_is_a_formula(spending: Spending) -> None:
    """One header line, and a line for each group that a reader splits into the same cells."""
    header, *rows = csv.reader(io.StringIO(history_by_csv(spending)))
    assert len(header) == len(spending.by) + len(fields(Sums))
    assert len(rows) == len(spending.groups)
    for row, group in zip(rows, spending.groups, strict=True):
        assert len(row) == len(header)
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in (*header, *row))
        assert row[len(spending.by)] == str(group.sums.starts)


@given(spendings())
def test_nothing_leaves_the_chart(spending: Spending) -> None:
    """The block has seven lines, and its names hold letters, digits and a few signs."""
    text = history_by_markdown(spending)
    if "```mermaid" not in text:
        return
    block = text.partition("```mermaid\n")[2].partition("\n```\n")[0].split("\n")
    kind, title, names, axis, bars = block
    assert (kind, bars[:9]) == ("xychart-beta horizontal", "    bar [")
    assert re.fullmatch(r'    title "(credits|records) by [\w .-]+"', title)
    assert re.fullmatch(r'    x-axis \[("[\w .-]+"(, )?)+\]', names)
    assert re.fullmatch(r'    y-axis "(credits|records)" 0 --> \d+', axis)
    assert names.count('"') == 2 * (bars.count(",") + 1)


def test_bars_are_as_long_as_the_credits() -> None:
    """The longest takes the room there is, and what cost something has at least one column."""
    found = of(one("2026-09", 1000), one("2026-10", 500), one("2026-11", 1), one("2026-12", 0), credits_charged=1501)
    lines = history_by_text(found, PLAIN, bar="#").split("\n")
    assert [line.count("#") for line in lines] == [0, 30, 15, 1, 0, 0]
    assert "#" not in history_by_text(found, PLAIN)


def test_without_any_charge_the_bars_show_records() -> None:
    """A state before the first `refresh --credits`. The text says how to learn the charges."""
    found = of(one("2026-09", None, 60), one("2026-10", None, 30), credits_charged=None, credits_unknown=2)
    text = history_by_text(found, PLAIN, bar="#")
    assert [line.count("#") for line in text.split("\n")][:3] == [0, 30, 15]
    assert "The charge of 2 batches is not known: `batchform refresh --credits` reads it." in text
    assert 'title "records by month"' in history_by_markdown(found)
    assert 'y-axis "records" 0 --> 60' in history_by_markdown(found)


def test_notes_say_what_the_numbers_leave_out() -> None:
    """Only what applies."""
    found = of(one("crm", 5), key="label:team", credits_charged=5, credits_open=1, unsized=1, adopted=1)
    for text in (history_by_text(found, PLAIN), history_by_markdown(found)):
        assert "The charge of 1 batch can still change." in text
        assert "The records of 1 batch are not known." in text
        assert "1 batch was started elsewhere, by another run or person." in text
        assert "is not known:" not in text


def test_a_chart_without_a_bar_is_left_out() -> None:
    """Nothing was charged."""
    assert "mermaid" not in history_by_markdown(of(one("2026-09", 0), credits_charged=0))
    assert history_by_markdown(of()) == "### Spent, by `month`\n\nNothing was started in this time."


@pytest.mark.parametrize(("key", "first", "last"), [("day", "d06", "d29"), ("actor", "d29", "d06")])
def test_a_chart_has_the_latest_or_the_largest(key: str, first: str, last: str) -> None:
    """And says how many are left out."""
    found = of(*(one(f"d{number:02}", number) for number in range(30)), key=key, credits_charged=1)
    text = history_by_markdown(found)
    assert f'x-axis ["{first}", ' in text
    assert f', "{last}"]' in text
    assert f"The chart leaves out 6 values of `{key}`." in text


def test_a_cell_that_looks_like_a_formula_is_text() -> None:
    """An apostrophe before it makes it text in a spreadsheet."""
    rows = history_by_csv(of(one('=HYPERLINK("x")', 5), one("-1", 5), one(None, None), key="label:team")).split("\n")
    assert [row.partition(",1,")[0] for row in rows[1:]] == ['"\'=HYPERLINK(""x"")"', '"\'-1"', ""]


@pytest.mark.parametrize(
    ("charges", "words"),
    [
        (
            Charges(read=0, credits=0, open=0, unknown=0, unanswered=0, left=0),
            "Charges: there is none to read.",
        ),
        (
            Charges(read=3, credits=10, open=0, unknown=0, unanswered=0, left=0),
            "Charges: 10 credits for 3 batches.",
        ),
        (
            Charges(read=4, credits=10, open=1, unknown=2, unanswered=5, left=7),
            (
                "Charges: 10 credits for 2 batches. 1 charge can still change. The answers about 2 batches had no"
                " usable number of credits. There was no answer with a charge for 5 batches. Left for the next"
                " `batchform refresh --credits`: 7 batches."
            ),
        ),
    ],
    ids=["none", "all known", "of each"],
)
def test_what_a_refresh_says_of_the_charges(charges: Charges, words: str) -> None:
    """Zeros are left out."""
    assert " ".join(charges_sentences(charges)) == words


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Charged(status="completed", credits=1, final=True), "charged 1 credit"),
        (Charged(status="stopped", credits=950), "charged 950 credits so far"),
        (Charged(status="stopped"), "the charge is not known yet"),
        (Charged(status="stopped", final=True), "the charge is unknown"),
    ],
    ids=["final", "so far", "not yet", "never"],
)
def test_what_an_event_says_of_a_charge(event: Charged, words: str) -> None:
    """In the progress of a run and in `state show`."""
    assert event_words(event)[1] == words
