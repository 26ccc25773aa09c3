"""The registers of one remote state, as one run reads and writes them: paced, patient, with errors for users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchform.errors import StateError
from batchform.state.answers import not_usable
from batchform.state.journal import encode_header, replay
from batchform.state.reader import Names, combine
from batchform.state.registers import SYSTEM, Down, obtain, replace

if TYPE_CHECKING:
    from batchform.state.journal import Header, Replay
    from batchform.state.known import State
    from batchform.state.registers import Clocks, Held, Registers, Tag

STATE: Final = ""
JOURNAL: Final = ".journal"
BACKUP: Final = ".backup"

PATIENCE: Final = 60.0
"""Seconds for which a request is tried."""


class Access:
    """One engine, with what a run knows of it. Safe to share between threads that write different registers.

    Attributes:
        registers: The engine.
        clocks: Time.
        patience: Seconds for which a request is tried.
        called: What the state and its journal are called.
        down: The store gave no answer in time. A write is then tried once only, so that a run can end.
    """

    def __init__(self, registers: Registers, patience: float = PATIENCE, clocks: Clocks = SYSTEM) -> None:
        """Nothing is sent yet."""
        self.registers, self.clocks, self.patience = registers, clocks, patience
        self.called = Names(
            state=registers.where, journal=registers.where + JOURNAL, kept="an older version that the store keeps"
        )
        self.down = False
        self._written: dict[str, float] = {}

    @property
    def where(self) -> str:
        """The address."""
        return self.registers.where

    @property
    def lease(self) -> float:
        """Seconds for which a journal has to be unchanged before another run may take it over."""
        return self.registers.lease

    @property
    def poll(self) -> float:
        """Seconds between two reads of a register that another run writes."""
        return max(self.registers.poll, self.registers.every)

    def read(self, name: str) -> Held | None:
        """The present content; None: proven absent. Raises StateError."""
        try:
            return obtain(self.registers, name, self.patience, self.clocks)
        except Down as down:
            raise self.not_usable(down) from None

    def write(self, name: str, data: bytes, tag: Tag | None, patience: float | None = None) -> Tag:
        """Replace the content that has this tag; None: create. `patience` is in seconds; None: that of the run.

        Raises:
            Taken: Another content is there.
            Down: The store gave no usable answer.
        """
        self.pace(name)
        if patience is None:
            patience = 0 if self.down else self.patience
        new = replace(self.registers, name, data, tag, patience=patience, clocks=self.clocks)
        self._written[name] = self.clocks.monotonic()
        return new

    def pace(self, name: str) -> None:
        """Wait until the store allows the next write of this register."""
        if (rest := self.registers.every - self.rested(name)) > 0:
            self.clocks.sleep(rest)

    def rested(self, name: str) -> float:
        """Seconds since this run wrote the register; infinite if it never did."""
        return self.clocks.monotonic() - self._written.get(name, float("-inf"))

    def not_usable(self, down: Down) -> StateError:
        """The error for a store that gave no usable answer."""
        return not_usable(self.where, down)

    def replay(self, held: Held) -> Replay:
        """The content of a journal. Raises StateError."""
        found = replay(held.data, self.called.journal)
        if found.header is None or found.torn:  # a store writes all or nothing, so this is no torn end
            raise StateError(
                "The journal is damaged",
                f"{self.called.journal} is cut off. Restore it from {self.called.kept}, or run `batchform state"
                " recover`. Nothing was sent.",
            )
        return found

    def base(self, held: Held | None, header: Header) -> State:
        """The state on which the journal with this header builds. Raises StateError."""
        base, _ = combine(self.called, None if held is None else held.data, encode_header(header))
        assert base is not None
        return base
