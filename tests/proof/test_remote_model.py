"""The protocol of a remote state in every order in which things can happen; and 16 ways to get it wrong, each found."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.remote_explorer import Protocol, Setting, explore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OURS: Final = Protocol()
BASE: Final = Setting()
PAID_TWICE: Final = "paid twice"

SMALL: Final[Mapping[str, Setting]] = {
    "a run dies, an answer is lost, a lease passes": Setting(times=1, attempts=1, answers=False),
    "two leases pass, nothing dies": Setting(crashes=0, attempts=1, answers=False),
    "a run that lives is unlocked": Setting(force=1, crashes=0, losses=0, times=1, attempts=1),
}
WHOLE: Final[Mapping[str, Setting]] = {
    "2 runs, a server that takes every start": BASE,
    "the same, 2 deaths, 2 lost or late writes": Setting(crashes=2, losses=2),
    "the same, 1 death, 3 lost or late writes": Setting(losses=3, attempts=1),
    "3 runs, 2 deaths": Setting(runs=3, crashes=2, losses=0, times=1, attempts=1, answers=False),
    "3 runs, 1 lost or late write": Setting(runs=3, crashes=0, times=1, attempts=1, answers=False),
    "2 runs, one that lives is unlocked": Setting(force=1),
}

MUTANTS: Final[Mapping[str, tuple[Protocol, Setting]]] = {
    "the journal is written without a condition": (replace(OURS, fences=False), BASE),
    "the state is written without a condition": (replace(OURS, swaps=False), Setting(crashes=0, times=3)),
    "the intent after the request": (replace(OURS, intends_first=False), BASE),
    "a lease by wall clocks only, no fence": (
        replace(OURS, fences=False, waits=False),
        Setting(crashes=0, losses=0, times=0),
    ),
    "taken over without folding in": (replace(OURS, folds=False), BASE),
    "the journal closed before the state is written": (replace(OURS, commits_first=False), BASE),
    "no answer to a write is a yes": (replace(OURS, silence_is_no=False), BASE),
    "no check of the lease before a start": (replace(OURS, checks=False), BASE),
    "certainty counted from the answer": (replace(OURS, from_begin=False), BASE),
    "an intent without an outcome was not made": (replace(OURS, verifies=False), BASE),
    "the state read before the journal is ours": (replace(OURS, state_after=False), BASE),
    "taken over from a run that lives": (replace(OURS, waits=False), BASE),
    "unlocked, and released at once": (replace(OURS, owes=False), Setting(force=1)),
    "no rest between two reads": (replace(OURS, rests=False), BASE),
    "a store that ignores conditions, not probed": (OURS, Setting(ignores=True)),
    "contents that repeat, so that tags repeat": (replace(OURS, unique=False), Setting(losses=2, times=3)),
}


def nothing_breaks(setting: Setting, record_property: Callable[[str, object], None]) -> None:
    """At most one accepted start; what was accepted is known as started or uncertain; nothing else as started."""
    began = time.monotonic()
    explored = explore(OURS, setting)
    assert explored.broken == "", "\n".join(explored.trace)
    assert explored.worlds > 500
    seconds = time.monotonic() - began
    record_property("counted", f"remote model: {explored.worlds:,} states in {seconds:.1f} s: {setting}")


@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL)
def test_in_every_order_nothing_is_paid_twice_and_nothing_lost(
    setting: Setting, record_property: Callable[[str, object], None]
) -> None:
    """Two machines and a store, in small worlds."""
    nothing_breaks(setting, record_property)


@pytest.mark.full
@pytest.mark.parametrize("setting", WHOLE.values(), ids=WHOLE)
def test_nor_in_any_larger_world(setting: Setting, record_property: Callable[[str, object], None]) -> None:
    """More deaths, more lost answers, a third machine."""
    nothing_breaks(setting, record_property)


@pytest.mark.full
@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_of_the_protocol_is_found(name: str, record_property: Callable[[str, object], None]) -> None:
    """The explorer is not blind: without any one part of the protocol the promise breaks."""
    explored = explore(*MUTANTS[name])
    assert explored.broken
    record_property("counted", f"remote model: {name!r} found in {len(explored.trace)} steps: {explored.broken}")


@pytest.mark.parametrize("name", ["taken over from a run that lives", "the journal is written without a condition"])
def test_a_mutant_is_found_in_a_small_world(name: str) -> None:
    """So that the short form is not blind either."""
    assert explore(MUTANTS[name][0], Setting(crashes=1, losses=0, times=1, attempts=1)).broken


def test_what_is_believed_without_reading_back_costs_no_money() -> None:
    """A refusal may answer our own write: to believe it ends a run that could go on, and nothing else."""
    assert explore(replace(OURS, reads_back=False), Setting(times=1, attempts=1, answers=False)).broken == ""


@pytest.mark.full
@pytest.mark.parametrize("strict", [True, False])
def test_a_run_suspended_between_its_last_look_and_its_send_is_held_by_the_server_alone(strict: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """What cannot be excluded, because the service knows no fencing token: its own rule is then the last guard."""
    explored = explore(OURS, Setting(gap=True, strict=strict), only=PAID_TWICE)
    assert explored.broken == ("" if strict else PAID_TWICE)
