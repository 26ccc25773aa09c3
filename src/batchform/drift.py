"""Drift: the differences between the plan before a refresh and the plan after it.

Only a different action, obstacle or size of a start is drift. So a batch that goes from processing to completed is no
drift, and refreshing an unchanged account shows none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.model import NOTHING_OBSERVED
from batchform.plan import Action, Obstacle, plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from batchform.model import Config
    from batchform.plan import Change, Plan
    from batchform.state.known import State

_SPENDING: Final = frozenset({Action.START, Action.VERIFY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One batch that drifted. `before` is its change in the plan before the refresh, `after` the one in the plan now.

    One of the two can be None: that plan has no such batch.
    """

    before: Change | None
    after: Change | None

    @property
    def change(self) -> Change:
        """The change now, else the one before."""
        change = self.after or self.before
        assert change is not None  # a drifted batch is in one of the plans
        return change

    @property
    def is_size(self) -> bool:
        """Whether only the number of records differs."""
        return _key(self.before) == _key(self.after)


def known_plan(config: Config, state: State | None, actual: Plan, selected: Collection[str] | None) -> Plan:
    """The plan from the state alone, at the time of `actual`."""
    return plan(config, state, NOTHING_OBSERVED, actual.at, endpoint=actual.endpoint, selected=selected)


def drift(known: Plan, actual: Plan) -> tuple[Drift, ...]:
    """The batches that drifted, in the order of the plan."""
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


def _key(change: Change | None) -> tuple[Action, Obstacle | None] | None:
    """What counts as a difference. A contradiction counts as one before and after a single read confirms it."""
    if change is None:
        return None
    return (Action.BLOCKED if change.obstacle is Obstacle.CONTRADICTION else change.action), change.obstacle
