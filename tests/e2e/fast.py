"""Runs a batchform command with a faster clock: `python fast.py FACTOR WORDS...`.

Only the clock is replaced; processes, sockets, files and signals are real. With the real waits of the protocol (10 s
before a start is repeated, 30 s of reads without an answer) the test of each fault would take a minute.
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
"""Seconds. A shorter deadline would fail on a busy machine: deadlines use the real clock."""


class FastClock:
    """The clocks of this machine; the monotonic one runs faster."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def monotonic(self) -> float:
        """Seconds that never decrease, faster."""
        return time.monotonic() * self._factor

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)


def run(factor: float) -> None:
    """Run the command in `sys.argv` with a clock that is faster by this factor."""
    collect = Threads.collect

    def fast(self: Threads, timeout: float | None) -> list[tuple[int, Reply]]:
        return collect(self, None if timeout is None else timeout / factor)

    session.clock = FastClock(factor)
    Threads.collect = fast  # type: ignore[method-assign]  # the purpose of this program
    contract.SINGLE_DEADLINE = max(contract.SINGLE_DEADLINE / factor, SHORTEST)
    contract.LIST_DEADLINE = max(contract.LIST_DEADLINE / factor, SHORTEST)
    main()


if __name__ == "__main__":
    run(float(sys.argv.pop(1)))
