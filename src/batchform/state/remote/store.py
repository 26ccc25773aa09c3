"""A remote state that this run holds: recorded in the journal, committed to the state, spilled where neither works."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from batchform.errors import OutcomeUnknownError, StateError
from batchform.state.codec import encode_state
from batchform.state.events import expire, fold
from batchform.state.known import UNTOLD, State, check_belongs, check_home
from batchform.state.merge import merge
from batchform.state.reader import decoded, not_older, same_lineage
from batchform.state.registers import SYSTEM, Down, Taken, Unsure
from batchform.state.remote import takeover
from batchform.state.remote.access import BACKUP, PATIENCE, STATE, Access
from batchform.state.remote.lease import Lease
from batchform.state.remote.spill import spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from batchform.state.events import Event
    from batchform.state.journal import Header
    from batchform.state.known import Story
    from batchform.state.registers import Clocks, Held, Registers, Tag
    from batchform.state.remote.reader import Holding

_FOLD_FROM: Final = 256 << 10  # bytes of journal, so that its writes do not grow with the run. A fold costs many writes


class Remote:
    """A state that this run holds. One thread owns it; `sure` may be asked from any.

    Attributes:
        recovered: How many events of an interrupted run were folded in.
        lease: The journal.
    """

    def __init__(
        self,
        registers: Registers,
        *,
        fresh: State,
        run: str,
        folder: Path,
        holder: Mapping[str, str],
        story: Story = UNTOLD,
        patience: float = PATIENCE,
        clocks: Clocks = SYSTEM,
    ) -> None:
        """Nothing is read or written yet: see `take`.

        Args:
            registers: The engine.
            fresh: The state to begin with when there is none. Its `home` is where a move comes from, else empty: a copy
                that was left behind there, and only such a copy, becomes the state again.
            run: The id of this run.
            folder: Where a file goes that holds what the store did not take.
            holder: Who holds it, for those who wait.
            story: Who runs what, for the history.
            patience: Seconds for which a request is tried.
            clocks: Time.
        """
        self._access = Access(registers, patience, clocks)
        self.lease = Lease(self._access, run, story, holder, fresh)
        self._fresh, self._folder = fresh, folder
        self.recovered = 0
        self._base = fresh
        self._state = fresh
        self._state_tag: Tag | None = None
        self._before: bytes | None = None  # what becomes the backup
        self._stories = {run: story}
        self._events: list[Event] = []
        self._unfolded: list[Event] = []
        self._joined: State | None = None
        self._size = 0
        self._fold_at = _FOLD_FROM
        self._owes = False

    # --- Taking hold -------------------------------------------------------------------------------------------------

    def take(self, timeout: float | None, waiting: Callable[[float], None]) -> None:
        """Hold the state, as soon as no other run does: see `takeover.take`."""
        self.recovered = takeover.take(self._access, self._claim, timeout, waiting)

    def seize(self, run: str, timeout: float, waiting: Callable[[float], None]) -> None:
        """Take the state from a run that hangs, and hold it until that run can send nothing more.

        Raises:
            OutcomeUnknownError: Another run took over while this one waited.
            StateError: See `takeover.seize`.
        """
        # safety: without the wait below, an end of any kind leaves the journal open, so the next run waits instead
        self._owes = True
        self.recovered, lease = takeover.seize(self._access, self._claim, run, timeout, waiting)
        clocks = self._access.clocks
        taken = clocks.monotonic()
        # safety: that run may be certain, and its start on its way, for as long as a watcher would wait
        while clocks.monotonic() - taken < lease:
            waiting(self._access.poll)
            self.lease.beat()
            if self.lease.fence is not None:
                raise self.lease.fence
        self._owes = False

    def _claim(self, before: Header | None, tag: Tag | None) -> bool:
        if not self.lease.claim(before, tag):
            return False
        try:
            self.lease.probe()
            self._load()  # safety: only now, for until now another run could change it
        except BaseException:
            self.close()
            raise
        return True

    def _load(self) -> None:
        """Read the state, once the journal is ours."""
        held, header = self._access.read(STATE), self.lease.header
        if held is None and header.lineage == self._fresh.lineage and header.serial <= self._fresh.serial:
            base = self._fresh  # of a move to the store that did not end, and is made again
        else:
            base = self._access.base(held, header)
            base = self._fresh if held is None else base
        check_belongs(base, self._fresh.service, self._fresh.endpoint)
        self._adopt(held, base)

    def _adopt(self, held: Held | None, base: State) -> None:
        """Build on this state from now on."""
        if held is not None:
            if not self._fresh.home or base.home != self._fresh.home:
                check_home(base, self._access.where)
            self._before = held.data if self._state_tag is None else self._before
        self._state_tag = None if held is None else held.tag
        self._base = base
        self._state, self._unfolded = fold(base, self._events, self._stories), []
        if self._joined is not None:
            self._state = merge(self._state, self._joined)
        self.lease.follow(base)

    # --- Holding -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What is known now. Folded when it is needed: a fold costs as much as the state is large."""
        if self._unfolded:
            self._state, self._unfolded = fold(self._state, self._unfolded, self._stories), []
        return self._state

    def record(self, events: Sequence[Event]) -> None:
        """Make the events durable and part of `state`. They are in the store when this returns.

        Raises:
            OutcomeUnknownError: They are not durable. Later outcomes are recorded if the store is back, else spilled.
        """
        if not events:
            return
        self._events.extend(events)
        self._unfolded.extend(events)
        self._size += self.lease.append(events)
        self.lease.sync()
        if self._size >= self._fold_at:
            self._fold_at = self._size + _FOLD_FROM
            with contextlib.suppress(StateError):  # they are in the journal
                self.commit(events[-1].at)

    def rest(self, in_flight: int) -> float:
        """See `registers.Registers.rest`."""
        return self._access.registers.rest(in_flight)

    def renew(self) -> None:
        """See `lease.Lease.renew`."""
        self.lease.renew()

    def sure(self) -> bool:
        """See `lease.Lease.sure`."""
        return self.lease.sure()

    def join(self, other: State) -> None:
        """Merge another copy of this state in. It is durable after the next commit only.

        Raises:
            StateError: It does not share a history with this state.
        """
        self._state = merge(self.state, other)
        self._joined = other if self._joined is None else merge(self._joined, other)

    def commit(self, now: datetime) -> bool:
        """Write the state, whose journal may then be short again. Returns whether anything had changed.

        Raises:
            StateError: It cannot be written. The journal in the store holds everything.
            OutcomeUnknownError: Nor can the journal. A file holds everything.
        """
        if self.lease.fence is not None:
            raise self._spilling(self.lease.fence)
        while True:
            state = expire(self.state, now)
            moved = self._joined is not None and self._base.home != self._access.where
            changed = moved or state.content != self._base.content
            if not changed:
                break
            state = replace(state, serial=state.serial + 1, home=self._access.where)
            data = encode_state(state)
            self._keep_backup()
            try:
                tag = self._access.write(STATE, data, self._state_tag)
            except Taken as taken:
                self.lease.sync()  # safety: only while the journal is ours is anything written on top of it
                self._follow(taken.now)
                continue
            except Down as down:
                raise self._unsaved(down) from None
            self._base, self._state, self._state_tag = state, state, tag
            break
        self.lease.committed(self._base.serial)
        self._size, self._fold_at = 0, _FOLD_FROM
        return changed  # the events are kept: should the state be replaced yet, they are folded in again

    def leave(self, home: str) -> None:
        """Make the state in the store a copy of the state at `home`. No command writes to it any more.

        Raises:
            OutcomeUnknownError: Another run holds the state.
            StateError: It cannot be written.
        """
        self.lease.sync()
        state = replace(self.state, serial=self._base.serial + 1, home=home)
        try:
            self._state_tag = self._access.write(STATE, encode_state(state), self._state_tag)
        except Taken:
            raise StateError(
                "The state was changed meanwhile", f"{self._access.called.state}: run the same command again."
            ) from None
        except Down as down:
            raise self._access.not_usable(down) from None
        self._base = self._state = state

    def close(self) -> None:
        """Let go of the state. Without a commit its journal stays open, and the next run folds it in."""
        self.lease.stop()
        if not self.lease.empty and (self.lease.fence is not None or not self.lease.durable):
            self._spill()
        if not self._owes:
            self.lease.release()

    def _follow(self, held: Held | None) -> None:
        """Build on the state that was put in the place of ours."""
        called = self._access.called
        if held is None:
            raise StateError("The state is gone", f"{called.state} was deleted. Restore it from {called.kept}.")
        base = decoded(called, held.data)
        same_lineage(base, self._base.lineage, called.journal)
        not_older(base, self._base.serial, called)
        self._adopt(held, base)

    def _keep_backup(self) -> None:
        """Before the first commit: keep the state there was. No start depends on it, so one try is enough."""
        if self._before is None or self._access.down:  # each try can take half a minute
            return
        before, self._before = self._before, None
        with contextlib.suppress(Unsure, Taken, Down):
            held = self._access.registers.read(BACKUP)
            if held is None or held.data != before:
                self._access.write(BACKUP, before, None if held is None else held.tag, 0)

    # --- What the store did not take ---------------------------------------------------------------------------------

    def _spill(self) -> Path:
        """Write all events of this run to a file. Raises OutcomeUnknownError: the file cannot be written either."""
        return spill(self._folder, self.lease.header, self._events, self._access.where)

    def _spilling(self, error: OutcomeUnknownError) -> OutcomeUnknownError:
        """The error, once what was received is in a file."""
        if self.lease.empty:
            return error
        name = self._spill().name
        return OutcomeUnknownError(
            error.summary,
            f"{error.detail} What is not in the state is in {name}: add it with `batchform state push {name}`.",
        )

    def _unsaved(self, down: Down) -> StateError | OutcomeUnknownError:
        """The error of a commit that the store did not take."""
        self._access.down = True
        detail = self._access.not_usable(down).detail
        if self.lease.durable:
            return StateError(
                "The state cannot be written",
                f"{detail} Every outcome is in {self._access.called.journal}, and the next run folds it in.",
            )
        return self._spilling(OutcomeUnknownError("The outcomes cannot be recorded", detail))


@contextlib.contextmanager
def hold(
    registers: Registers,
    *,
    fresh: State,
    run: str,
    holder: Mapping[str, str],
    folder: Path,
    story: Story = UNTOLD,
    timeout: float | None = 0.0,
    patience: float = PATIENCE,
    clocks: Clocks = SYSTEM,
    waiting: Callable[[float], None] | None = None,
) -> Iterator[Remote]:
    """Hold the state and keep it; what an interrupted run left behind is folded in first. See `Remote`."""
    store = Remote(
        registers, fresh=fresh, run=run, folder=folder, holder=holder, story=story, patience=patience, clocks=clocks
    )
    store.take(timeout, waiting or clocks.sleep)
    try:
        store.lease.keep()
        yield store
    finally:
        store.close()


def unlock(
    registers: Registers,
    holding: Holding,
    *,
    run: str,
    holder: Mapping[str, str],
    folder: Path,
    timeout: float,
    waiting: Callable[[float], None],
    patience: float = PATIENCE,
    clocks: Clocks = SYSTEM,
) -> int:
    """Stop the run that holds the state; see `Remote.seize`. Returns how many of its events were folded in."""
    header = holding.header
    fresh = State(lineage=header.lineage, service=header.service, endpoint=header.endpoint)
    store = Remote(registers, fresh=fresh, run=run, folder=folder, holder=holder, patience=patience, clocks=clocks)
    try:
        store.seize(header.run, timeout, waiting)
    finally:
        store.close()
    return store.recovered
