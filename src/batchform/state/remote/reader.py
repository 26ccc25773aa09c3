"""A remote state and who holds it, without holding it and without writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.state.events import fold
from batchform.state.reader import Known, combine
from batchform.state.registers import SYSTEM
from batchform.state.remote.access import JOURNAL, PATIENCE, STATE, Access

if TYPE_CHECKING:
    from datetime import datetime

    from batchform.state.journal import Header
    from batchform.state.registers import Clocks, Registers


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Who holds a state. `written` is when the journal was written last, by the store's clock; None: not known."""

    header: Header
    written: datetime | None


def holding(registers: Registers, patience: float = PATIENCE, clocks: Clocks = SYSTEM) -> Holding | None:
    """Who holds the state, None if it is free.

    Raises:
        StateError: The store cannot be used, or the journal is damaged.
    """
    access = Access(registers, patience, clocks)
    held = access.read(JOURNAL)
    header = None if held is None else access.replay(held).header
    if held is None or header is None or not header.open:
        return None
    return Holding(header=header, written=held.written)


def read(registers: Registers, patience: float = PATIENCE, clocks: Clocks = SYSTEM) -> Known:
    """What is known now.

    The journal is read first: what it holds is then either part of the state or folded in here.

    Raises:
        StateError: The store cannot be used, or what it holds.
    """
    access = Access(registers, patience, clocks)
    journal, state = access.read(JOURNAL), access.read(STATE)
    if journal is not None:
        access.replay(journal)  # refuses one that is cut off: what it recorded would look like never started
    base, found = combine(
        access.called, None if state is None else state.data, None if journal is None else journal.data
    )
    if base is None or found is None or (state is None and not found.events):
        return Known(state=base if state is not None else None, leftover=0)
    return Known(state=fold(base, found.events, found.stories), leftover=len(found.events))


def who(header: Header) -> str:
    """Who wrote this journal: operation, user and job."""
    holder = header.holder
    job = f", {holder['Info']}" if holder.get("Info") else ""
    return f"{holder.get('Operation', 'a run')} by {holder.get('Who', 'an unknown holder')}{job}"
