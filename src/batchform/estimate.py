"""How many credits a start will probably cost (pure). An estimate is shown, and decides nothing.

The account's own charges count more than a declared number. There is no currency unless a price is configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.model import Status

if TYPE_CHECKING:
    from batchform.model import Costs
    from batchform.state.known import Entry, State

LAST: Final = 20
"""How many of the last charges the rate is learnt from."""

ENOUGH: Final = 3
"""With fewer charges than this, no rate is learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The credits that a record costs: on average, and the least and the most of one batch.

    `learnt` counts the charges that it is from; 0: it is configured. `price` is that of a credit, None without one.
    """

    per_record: float
    least: float
    most: float
    learnt: int = 0
    price: float | None = None
    currency: str = ""


def rate_of(costs: Costs, state: State | None) -> Rate | None:
    """The rate by the last charges of the state, else the configured one, else None."""
    last = [] if state is None else _last_charges(state)
    if len(last) >= ENOUGH:
        sizes = [(entry.credits or 0, entry.records or 1) for entry in last]
        each = [number / records for number, records in sizes]
        per_record = sum(number for number, _ in sizes) / sum(records for _, records in sizes)
        least, most = min(each), max(each)
    elif costs.credits_per_record is not None:
        per_record = least = most = costs.credits_per_record
    else:
        return None
    return Rate(
        per_record=per_record,
        least=least,
        most=most,
        learnt=len(last) if len(last) >= ENOUGH else 0,
        price=costs.price_per_credit,
        currency=costs.currency,
    )


def _last_charges(state: State) -> list[Entry]:
    """The last completed batches with a final charge. A stopped batch was not charged for all of its records."""
    charged = [
        entry
        for entry in (*state.entries.values(), *state.past.values())
        if entry.final and entry.credits is not None and entry.records and entry.status == Status.COMPLETED
    ]
    charged.sort(key=lambda entry: (entry.spent_at, entry.batch_id))
    return charged[-LAST:]
