"""The protocol, in every order in which things can happen; and eighteen ways to get it wrong, each of them found."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.explorer import Protocol, Setting, explore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OURS: Final = Protocol()

LAX: Final = Setting(runs=3, crashes=2)
"""The protocol alone: a server that takes every start, two runs that die, a third that goes on."""

SETTINGS: Final[Mapping[str, Setting]] = {
    "one folder, a server that takes every start": LAX,
    "two runs at once in one folder, the same server": Setting(folders=(0, 0), runs=3, crashes=2),
    "taken out and put back, the same server": Setting(runs=3, crashes=1, undeclares=2),
    "one folder, a server that refuses, and somebody else": Setting(strict=True, runs=4, crashes=2, console=True),
    "two folders, a server that refuses": Setting(folders=(0, 1), strict=True, runs=2, crashes=0),
}

PAID_TWICE: Final = "paid twice"

MUTANTS: Final[Mapping[str, tuple[Protocol, Setting]]] = {
    "no intent": (replace(OURS, intends=False), LAX),
    "the intent after the request": (replace(OURS, intends_first=False), LAX),
    "no answer is no attempt": (replace(OURS, records_unknown=False), LAX),
    "released after one read": (replace(OURS, reads_needed=1), LAX),
    "two reads without a rest": (replace(OURS, rests=False), LAX),
    "released by the list": (replace(OURS, list_releases=True), LAX),
    "sent again after silence, unread": (replace(OURS, reads_after_silence=False), LAX),
    "a read without an answer says submitted": (replace(OURS, silence_is_submitted=True), LAX),
    "a 400 clears the doubt": (replace(OURS, reads_after_no=False), LAX),
    "half an answer is accepted": (replace(OURS, half_is_accepted=True), LAX),
    "an error is repeated like a 429": (replace(OURS, error_is_throttled=True), LAX),
    "forgotten when no longer declared": (replace(OURS, forgets=True), Setting(undeclares=1)),
    "started again after a crash, unread": (replace(OURS, verifies_after_crash=False), LAX),
    "the age of an intent by clocks that differ": (replace(OURS, trusts_clocks=True), LAX),
    "an answer to another request is believed": (replace(OURS, believes_foreign=True), LAX),
    "a status of another request is believed": (replace(OURS, reads_foreign=True), LAX),
    "removed while its status lags": (replace(OURS, removes_early=True), LAX),
    "no lock": (replace(OURS, locks=False), Setting(folders=(0, 0), crashes=0)),
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_in_every_order_nothing_is_paid_twice_and_nothing_lost(
    setting: Setting, record_property: Callable[[str, object], None]
) -> None:
    """At most one start is accepted; it is on disk as started or unknown; nothing else is recorded as started."""
    began = time.monotonic()
    explored = explore(OURS, setting)
    assert explored.broken == "", "\n".join(explored.trace)
    assert explored.worlds > 500
    seconds = time.monotonic() - began
    record_property("counted", f"model: {explored.worlds:,} states in {seconds:.1f} s: {setting}")


@pytest.mark.full
@pytest.mark.parametrize(
    "setting",
    [
        Setting(runs=5, crashes=4, undeclares=2),
        Setting(folders=(0, 0, 0), runs=5, crashes=3, undeclares=1),
        Setting(folders=(0, 0, 0), strict=True, runs=5, crashes=3, undeclares=1, console=True),
        Setting(folders=(0, 1), strict=True, runs=2, crashes=1),
        Setting(folders=(0, 1), strict=True, runs=3, crashes=2),
        Setting(folders=(0, 1), strict=True, runs=3, crashes=1, console=True),
    ],
)
def test_nor_in_any_larger_world(setting: Setting, record_property: Callable[[str, object], None]) -> None:
    """More runs, more deaths, and both folders again."""
    test_in_every_order_nothing_is_paid_twice_and_nothing_lost(setting, record_property)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_of_the_protocol_is_found(name: str, record_property: Callable[[str, object], None]) -> None:
    """The explorer finds each mutant: an outcome is lost, and then money."""
    explored = explore(*MUTANTS[name])
    assert explored.broken
    twice = explore(*MUTANTS[name], only=PAID_TWICE)
    assert bool(twice.broken) == (name != "half an answer is accepted")  # which loses a batch but no money
    record_property("counted", f"model: mutant {name!r} found in {len(explored.trace)} steps: {explored.broken}")


def test_without_the_servers_rule_two_folders_pay_twice() -> None:
    """The proof has a limit: clients that share only the account are separated by the server alone."""
    explored = explore(OURS, Setting(folders=(0, 1), crashes=0, runs=2))
    assert explored.broken == PAID_TWICE
