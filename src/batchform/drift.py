"""What the server says otherwise than the state: the difference between two plans.

One plan is made of what was known, the other of what was then seen. Whatever changes neither an action nor what it
would spend is progress and no drift, so a batch that went on from processing to completed is never in it, and a second
look at an account that has not changed finds none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.model import NOTHING_OBSERVED
from batchform.plan import Action, Reason, plan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from batchform.model import Config
    from batchform.plan import Change, Plan
    from batchform.state.known import State

_ALIKE: Final[Mapping[Reason, Reason]] = {Reason.COMPLETED: Reason.RUNNING, Reason.SUBMITTED: Reason.NEW}
"""Reasons that differ by nothing but ordinary progress."""

_SPENDING: Final = frozenset({Action.START, Action.VERIFY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One batch of which the server says otherwise.

    `before` is what would have been done by what was known, `after` what would be done now; None: nothing, not even to
    keep it. One of the two is there.
    """

    before: Change | None
    after: Change | None

    @property
    def change(self) -> Change:
        """The one that says most: what would be done now."""
        change = self.after or self.before
        assert change is not None  # a batch that is in neither plan is not in the drift
        return change

    @property
    def is_size(self) -> bool:
        """Whether only the number of records differs."""
        return _key(self.before) == _key(self.after)


def known_plan(config: Config, state: State | None, actual: Plan, selected: Collection[str] | None) -> Plan:
    """What would have been done by what was known, judged at the same moment as `actual`."""
    return plan(config, state, NOTHING_OBSERVED, actual.at, endpoint=actual.endpoint, selected=selected)


def drift(known: Plan, actual: Plan) -> tuple[Drift, ...]:
    """Where the two plans differ in an action or in what it spends, in the order of the plan."""
    before = {change.batch_id: change for change in known.changes}
    after = {change.batch_id: change for change in actual.changes}
    found = [
        Drift(before=before.get(batch_id), after=after.get(batch_id))
        for batch_id in dict.fromkeys((*before, *after))
        if _differs(before.get(batch_id), after.get(batch_id))
    ]
    return tuple(sorted(found, key=lambda one: (one.change.name, one.change.batch_id)))


def _differs(before: Change | None, after: Change | None) -> bool:
    if before is None or after is None:
        return before is not after
    return _key(before) != _key(after) or (
        after.action in _SPENDING and before.records is not None and before.records != after.records
    )


def _key(change: Change | None) -> tuple[Action, Reason] | None:
    """What counts as a difference. A contradiction is one whether a single read has just confirmed it or is yet to."""
    if change is None:
        return None
    action = Action.BLOCKED if change.reason is Reason.CONTRADICTION else change.action
    return action, _ALIKE.get(change.reason, change.reason)
