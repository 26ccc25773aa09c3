"""What commands use of a state, wherever it lives: a file (`state.local`) or a store (`state.remote`).

`hold` and `read` choose by the type of the location. What a remote state needs is imported only for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from batchform.state.address import Address, Branch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from batchform.state.events import Event
    from batchform.state.known import State, Story
    from batchform.state.reader import Known
    from batchform.state.registers import Registers

Place: TypeAlias = Path | Address
"""Where a state is."""


class Store(Protocol):
    """A state that this run holds. One thread owns it; `sure` may be asked from any."""

    @property
    def recovered(self) -> int:
        """How many events of an interrupted run were folded in."""

    @property
    def state(self) -> State:
        """What is known now."""

    def record(self, events: Sequence[Event]) -> None:
        """Make the events durable and part of `state`. Raises OutcomeUnknownError."""

    def rest(self, in_flight: int) -> float:
        """Seconds for which events should wait for more, so that one write records them. So many answers will come."""

    def join(self, other: State) -> None:
        """Merge another copy of this state in. It is durable after the next commit only. Raises StateError."""

    def commit(self, now: datetime) -> bool:
        """Write the state; returns whether anything had changed. Raises StateError or OutcomeUnknownError."""

    def renew(self) -> None:
        """Be certain that this run still holds the state, before a start. Raises OutcomeUnknownError."""

    def sure(self) -> bool:
        """Whether a start may leave now."""

    def close(self) -> None:
        """Let go of the state; what was not committed stays in the journal."""


def hold(
    place: Place,
    *,
    fresh: State,
    run: str,
    holder: Mapping[str, str],
    now: datetime,
    story: Story,
    timeout: float | None,
    patience: float,
    sleep: Callable[[float], None],
) -> AbstractContextManager[Store]:
    """Hold the state; what an interrupted run left behind is folded in first.

    Args:
        place: Where it is. It need not exist yet.
        fresh: The empty state to begin with when there is none.
        run: The id of this run.
        holder: Who holds it, for those who wait.
        now: The time of the commit that folds in what an interrupted run left.
        story: Who runs what, for the history.
        timeout: Seconds to wait for another run. None: on a disk 0, in a store as long as that run may be dead.
        patience: Seconds for which a write to a store is tried.
        sleep: Waits that many seconds.

    Raises:
        StateLockedError: Another run held it all the time; names it.
        StateError: It cannot be used.
    """
    if isinstance(place, Path):
        from batchform.state import local  # noqa: PLC0415  # the one that is needed

        return local.hold(
            place, fresh=fresh, run=run, holder=holder, now=now, story=story, timeout=timeout or 0.0, sleep=sleep
        )
    from batchform.state.remote import store  # noqa: PLC0415  # the same

    return store.hold(
        registers(place),
        fresh=fresh,
        run=run,
        holder=holder,
        folder=Path.cwd(),
        story=story,
        timeout=timeout,
        patience=patience,
        waiting=sleep,
    )


def read(place: Place) -> Known:
    """What is known now. Nothing is locked or written.

    Raises:
        StateError: It cannot be used.
    """
    if isinstance(place, Path):
        from batchform.state.reader import read as read_file  # noqa: PLC0415  # the one that is needed

        return read_file(place)
    from batchform.state.remote.reader import read as read_remote  # noqa: PLC0415  # the same

    return read_remote(registers(place))


def registers(address: Address) -> Registers:
    """The engine for this address."""
    if isinstance(address, Branch):
        from batchform.state.git import Git  # noqa: PLC0415  # for remote states only

        return Git(address)
    from batchform.state.objects import Objects  # noqa: PLC0415  # for remote states only

    return Objects(address)
