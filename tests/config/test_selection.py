"""Patterns for batches: names, globs, labels and ids. A pattern that matches nothing is an error with the nearest."""

from __future__ import annotations

import pytest

from batchform.config.selection import Item, select, select_one
from batchform.errors import Exit, UsageError
from batchform.model import Batch
from batchform.source_text import Place

NOWHERE = Place(file="f.yaml", line=1, column=1, end_line=1, end_column=1)
LABELS = {
    "uk-mobiles": {"region": "uk", "team": "crm"},
    "uk-landlines": {"region": "uk"},
    "de-mobiles": {"region": "de", "team": "crm", "odd": "a=b"},
    "plain": {},
}
DECLARED = [Batch(name=name, batch_id=f"id-{name}", place=NOWHERE, labels=own) for name, own in LABELS.items()]
KNOWN = [Item(name="plain", batch_id="older"), Item(name="gone", batch_id="g1"), Item(name="gone", batch_id="g2")]


@pytest.mark.parametrize(
    ("targets", "excludes", "names"),
    [
        (["uk-mobiles"], [], {"uk-mobiles"}),
        (["uk-*"], [], {"uk-mobiles", "uk-landlines"}),
        (["*-mobiles", "plain"], [], {"uk-mobiles", "de-mobiles", "plain"}),
        (["id-plain"], [], {"plain"}),
        (["id-plain", "uk-*"], ["id-uk-mobiles"], {"plain", "uk-landlines"}),
        (["label:region=uk"], [], {"uk-mobiles", "uk-landlines"}),
        (["label:region=*"], [], {"uk-mobiles", "uk-landlines", "de-mobiles"}),
        (["label:odd=a=b"], [], {"de-mobiles"}),
        (["label:team=crm"], ["uk-*"], {"de-mobiles"}),
        ([], ["label:region=uk"], {"de-mobiles", "plain"}),
        (["plain"], ["plain"], set()),
    ],
)
def test_patterns_select_and_exclude_by_id(targets: list[str], excludes: list[str], names: set[str]) -> None:
    """The result holds ids, so that a rename changes nothing."""
    assert select(DECLARED, targets, excludes) == frozenset(f"id-{name}" for name in names)


def test_without_patterns_there_is_no_selection() -> None:
    """None means all, which is not the same as a selection of all."""
    assert select(DECLARED, [], []) is None


@pytest.mark.parametrize("option", ["--target", "--exclude"])
@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("uk-mobile", "Did you mean `uk-mobiles`"),
        ("UK-mobiles", "Did you mean `uk-mobiles`"),
        ("ID-plian", "Did you mean `id-plain`"),
        ("label:regio=uk", "No batch has a label `regio`. Did you mean `region`?"),
        ("label:region=dk", "`label:region=de`"),
        ("label:region=france", "The values of the label `region` are: `de`, `uk`."),
        ("label:team=sales", "The values of the label `team` are: `crm`."),
        ("label:zone=1", "The labels are: `odd`, `region`, `team`."),
        ("label:region", "`label:key=value`"),
        ("zzz", "The names are: `de-mobiles`, `plain`, `uk-landlines`, `uk-mobiles`."),
        ("z" * 1_000_000, "The names are:"),
    ],
)
def test_a_pattern_without_a_match_is_an_error_that_helps(pattern: str, says: str, option: str) -> None:
    """An unknown label above all: a run that starts nothing would look complete."""
    targets, excludes = ([pattern], []) if option == "--target" else ([], [pattern])
    with pytest.raises(UsageError) as caught:
        select(DECLARED, targets, excludes)
    assert caught.value.summary == f"`{option} {pattern}` matches no declared batch"
    assert says in caught.value.detail
    assert caught.value.detail.endswith("Nothing was sent.")
    assert caught.value.exit_code is Exit.ERROR


def test_a_name_that_is_the_id_of_another_batch_is_refused() -> None:
    """Either guess could start, or fail to exclude, a batch that was not meant."""
    items = [Item(name="x", batch_id="1"), Item(name="y", batch_id="x")]
    for targets, excludes in ((["x"], []), ([], ["x"])):
        with pytest.raises(UsageError, match="is the name of one batch and the batch_id of another") as caught:
            select(items, targets, excludes)
        assert caught.value.detail == "Give the batch_id `1` or the name `y` instead. Nothing was sent."
    assert select([Item(name="x", batch_id="x")], ["x"]) == frozenset("x")


@pytest.mark.parametrize(
    ("word", "batch_id"),
    [
        ("plain", "id-plain"),
        ("older", "older"),
        ("id-plain", "id-plain"),
        ("de-*", "id-de-mobiles"),
        ("label:odd=*", "id-de-mobiles"),
        ("g1", "g1"),
    ],
)
def test_one_is_found_in_the_first_group_that_has_it(word: str, batch_id: str) -> None:
    """What is declared comes before what only the state remembers."""
    assert select_one(word, DECLARED, KNOWN) == batch_id


@pytest.mark.parametrize(
    ("word", "summary", "detail"),
    [
        ("gone", "`gone` matches several batches", "Give one batch_id: `g1`, `g2`. Nothing was changed."),
        ("gon", "`gon` matches no batch in the state", "Did you mean `gone`? Nothing was changed."),
    ],
)
def test_one_is_refused_where_none_or_several_match(word: str, summary: str, detail: str) -> None:
    """The message names what to write instead."""
    with pytest.raises(UsageError) as caught:
        select_one(word, DECLARED, KNOWN, among="batch in the state", after="Nothing was changed.")
    assert (caught.value.summary, caught.value.detail) == (summary, detail)


def test_nothing_to_select_from() -> None:
    """The message does not end in an empty list."""
    with pytest.raises(UsageError) as caught:
        select([], ["x"], option="", among="batch in the account")
    assert caught.value.summary == "`x` matches no batch in the account"
    assert caught.value.detail == "There is none. Nothing was sent."
