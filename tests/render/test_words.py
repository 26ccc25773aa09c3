"""Every fact has its words: the tables are complete, and their phrases fit a line of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from batchform.apply import Result
from batchform.plan import Action, Reason
from batchform.render.escape import width
from batchform.render.outcomes import RESULTS
from batchform.render.text.state import PHASES
from batchform.render.words import ACTIONS, CAUSES, REASONS, Wording
from batchform.state.known import Cause, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum


@pytest.mark.parametrize(
    ("table", "kind"),
    [(ACTIONS, Action), (REASONS, Reason), (CAUSES, Cause), (RESULTS, Result), (PHASES, Phase)],
    ids=["actions", "reasons", "causes", "results", "phases"],
)
def test_every_member_has_an_entry(table: Mapping[Any, object], kind: type[Enum]) -> None:
    """A missing one would be a KeyError in front of a user."""
    assert set(table) == set(kind)


@pytest.mark.parametrize("wording", [*REASONS.values(), *CAUSES.values()], ids=lambda wording: wording.word)
def test_a_reason_has_a_short_phrase_a_rule_and_a_next_step(wording: Wording) -> None:
    """`why` prints the rule and the next step, a plan prints the phrase in 42 columns."""
    assert wording.rule or wording.text
    assert wording.next
    assert width(wording.text) <= 42
