"""The batchform command with its clock running faster: `python fast.py FACTOR WORDS...`.

Only time is changed, and from outside: processes, sockets, files and signals are real. The protocol's waits (10 s before
an attempt may be repeated, 30 s of reads without an answer) would otherwise make a test of each fault last a minute. The
simulator of such a test runs on the same fast clock.
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

FACTOR = float(sys.argv.pop(1))
_BEGAN = time.time()


class FastClock:
    """The machine's clocks, sped up since the start of the process."""

    def monotonic(self) -> float:
        """Seconds that only grow, faster."""
        return time.monotonic() * FACTOR

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)


def _collect(self: Threads, timeout: float | None) -> list[tuple[int, Reply]]:
    return _COLLECT(self, None if timeout is None else timeout / FACTOR)


_COLLECT = Threads.collect

if __name__ == "__main__":
    session.clock = FastClock()
    Threads.collect = _collect  # type: ignore[method-assign]  # that is what this program is for
    contract.SINGLE_DEADLINE /= FACTOR
    contract.LIST_DEADLINE /= FACTOR
    main()
