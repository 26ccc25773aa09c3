"""Whether a store checks conditions, before a state moves there.

A run probes its journal each time it takes hold (`state.remote`). Here the rest is tested on names that hold nothing
yet: that a second create is refused, that nothing absent is replaced, and that of eight writers at once one succeeds.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from batchform.state.answers import ignores_conditions, not_usable
from batchform.state.registers import SYSTEM, Down, Taken, Unsure, Why, obtain, replace

if TYPE_CHECKING:
    from batchform.state.registers import Clocks, Registers, Tag

_RACERS: Final = 8


def probe(registers: Registers, name: str, absent: str, patience: float, clocks: Clocks = SYSTEM) -> None:
    """Test the store on the name. If something is there already, nothing is written.

    Args:
        registers: The engine.
        name: Which register to create.
        absent: Another one, which stays absent in a store that checks conditions.
        patience: Seconds for which each request is tried.
        clocks: Time.

    Raises:
        StateError: The store ignores conditions, or cannot be used.
    """
    try:
        if obtain(registers, name, patience, clocks) is not None:
            return
        tag = replace(registers, name, _unique(), None, patience=patience, clocks=clocks)
        _refuses(registers, name, None)
        if obtain(registers, absent, patience, clocks) is None:
            _refuses(registers, absent, tag)
        with ThreadPoolExecutor(_RACERS) as pool:
            wins = list(pool.map(lambda _: _wins(registers, name, tag), range(_RACERS)))
        now = obtain(registers, name, patience, clocks)
    except Down as down:
        raise not_usable(registers.where, down) from None
    except Taken:
        raise ignores_conditions(registers.where) from None  # only this probe writes this name
    if sum(wins) > 1 or now is None:
        raise ignores_conditions(registers.where)


def _refuses(registers: Registers, name: str, tag: Tag | None) -> None:
    try:
        registers.write(name, _unique(), tag)
    except Unsure as unsure:
        if unsure.why not in {Why.REFUSED, Why.ABSENT}:
            raise Down(unsure, writing=True) from None
        return
    raise ignores_conditions(registers.where)


def _wins(registers: Registers, name: str, tag: Tag) -> bool:
    try:
        registers.write(name, _unique(), tag)
    except Unsure:
        return False
    return True


def _unique() -> bytes:
    return b"batchform tests this store: %s\n" % uuid.uuid4().hex.encode()
