"""The batchform command with its clock running faster: `python fast.py FACTOR WORDS...`.

Only time is changed, and from outside: processes, sockets, files and signals are real. The protocol's waits (10 s
before an attempt may be repeated, 30 s of reads without an answer) would otherwise make a test of each fault last a
minute.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchform.api import contract
from batchform.cli import session
from batchform.cli.main import main
from batchform.engine import Threads

if TYPE_CHECKING:
    from batchform.api.contract import Reply

SHORTEST = 0.8
"""Seconds. A shorter deadline would meet busy machines, not hanging servers: deadlines watch real sockets."""


class FastClock:
    """The machine's clocks, of which the monotonic one runs faster."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def monotonic(self) -> float:
        """Seconds that only grow, faster."""
        return time.monotonic() * self._factor

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)


def run(factor: float) -> None:
    """Be the command, that much faster, with the words in `sys.argv`."""
    collect = Threads.collect

    def fast(self: Threads, timeout: float | None) -> list[tuple[int, Reply]]:
        return collect(self, None if timeout is None else timeout / factor)

    session.clock = FastClock(factor)
    Threads.collect = fast  # type: ignore[method-assign]  # that is what this program is for
    contract.SINGLE_DEADLINE = max(contract.SINGLE_DEADLINE / factor, SHORTEST)
    contract.LIST_DEADLINE = max(contract.LIST_DEADLINE / factor, SHORTEST)
    main()


if __name__ == "__main__":
    run(float(sys.argv.pop(1)))
