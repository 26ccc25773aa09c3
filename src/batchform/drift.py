"""Drift: the differences between the plan before a refresh and the plan after it.

Only a different action, obstacle or size of a start is drift. So a batch that goes from processing to completed is no
drift, and refreshing an unchanged account shows none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.model import NOTHING_OBSERVED, GuardName
from batchform.plan import Action, Notice, Obstacle
from batchform.planner import plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from batchform.model import Batch, Config
    from batchform.plan import Change, Plan
    from batchform.state.known import State

_FEW: Final = 5
"""So many names are listed before the others are counted."""

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


def since(base: Config, config: Config) -> tuple[Notice, ...]:
    """What a reviewer must not miss: the guards, holds and batch_ids that differ from those of the base."""
    texts = []
    was, now = ({guard.name: f"{guard.limit:,}" for guard in one.guards} for one in (base, config))
    for name in GuardName:
        old, new = was.get(name, "none"), now.get(name, "none")
        if old != new:
            texts.append(f"The guard {name.value} was changed: {old} in the base, {new} now.")
    names, ids = ({key(batch): batch for batch in base.batches} for key in (_name, _id))
    released: list[str] = []
    held: list[str] = []
    others: list[str] = []
    for batch in config.batches:
        before = ids.get(batch.batch_id) or names.get(batch.name)
        if before is not None and before.hold != batch.hold:
            (held if batch.hold else released).append(batch.name)
        if batch.name in names and names[batch.name].batch_id != batch.batch_id:
            others.append(batch.name)
    for what, found in (("hold was removed", released), ("hold was set", held), ("the batch_id was changed", others)):
        if found:
            more = f" and {len(found) - _FEW:,} more" if len(found) > _FEW else ""
            texts.append(f"Since the base, {what} for {', '.join(found[:_FEW])}{more}.")
    return tuple(Notice(text=text) for text in texts)


def _name(batch: Batch) -> str:
    return batch.name


def _id(batch: Batch) -> str:
    return batch.batch_id


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
