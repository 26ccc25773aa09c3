"""`--target` and `--exclude`: names, globs and labels; what fits nothing is an error that names the nearest."""

from __future__ import annotations

import pytest

from batchform.config.selection import select
from batchform.errors import Exit, Place, UsageError
from batchform.model import Batch, Config

NOWHERE = Place(file="f.yaml", line=1, column=1, end_line=1, end_column=1)
LABELS = {
    "uk-mobiles": {"region": "uk", "team": "crm"},
    "uk-landlines": {"region": "uk"},
    "de-mobiles": {"region": "de", "team": "crm", "odd": "a=b"},
    "plain": {},
}
CONFIG = Config(
    batches=tuple(Batch(name=name, batch_id=f"id-{name}", place=NOWHERE, labels=own) for name, own in LABELS.items())
)


@pytest.mark.parametrize(
    ("targets", "excludes", "names"),
    [
        (["uk-mobiles"], [], {"uk-mobiles"}),
        (["uk-*"], [], {"uk-mobiles", "uk-landlines"}),
        (["*-mobiles", "plain"], [], {"uk-mobiles", "de-mobiles", "plain"}),
        (["label:region=uk"], [], {"uk-mobiles", "uk-landlines"}),
        (["label:region=*"], [], {"uk-mobiles", "uk-landlines", "de-mobiles"}),
        (["label:odd=a=b"], [], {"de-mobiles"}),
        (["label:team=crm"], ["uk-*"], {"de-mobiles"}),
        ([], ["label:region=uk"], {"de-mobiles", "plain"}),
        (["plain"], ["plain"], set()),
    ],
)
def test_what_fits_is_chosen_and_what_is_excluded_left_out(
    targets: list[str], excludes: list[str], names: set[str]
) -> None:
    """By id, so that a rename changes nothing."""
    assert select(CONFIG, targets, excludes) == frozenset(f"id-{name}" for name in names)


def test_without_a_wish_there_is_no_selection() -> None:
    """None means all, which is not the same as a selection of all."""
    assert select(CONFIG, [], []) is None


@pytest.mark.parametrize("option", ["--target", "--exclude"])
@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("uk-mobile", "uk-mobiles"),
        ("UK-mobiles", "uk-mobiles"),
        ("label:regio=uk", "The labels there are: region."),
        ("label:region=dk", "label:region=de"),
        ("label:region=france", "The label region is de, uk."),
        ("label:team=sales", "The label team is crm."),
        ("label:zone=1", "The labels there are: odd, region, team."),
        ("label:region", "label:key=value"),
        ("zzz", "4 batches are declared"),
    ],
)
def test_what_fits_nothing_is_an_error_that_helps(pattern: str, says: str, option: str) -> None:
    """A label that no batch has above all: starting nothing would look like having nothing to start."""
    targets, excludes = ([pattern], []) if option == "--target" else ([], [pattern])
    with pytest.raises(UsageError) as caught:
        select(CONFIG, targets, excludes)
    assert caught.value.summary == f"{option} {pattern} fits no declared batch"
    assert says in caught.value.detail
    assert caught.value.detail.endswith("Nothing was sent.")
    assert caught.value.exit_code is Exit.ERROR
