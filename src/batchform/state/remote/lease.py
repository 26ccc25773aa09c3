"""The journal while this run holds it: what is written there, how long a write makes certain, when to stop."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from batchform.errors import OutcomeUnknownError, StateError, StateGoneError
from batchform.state.answers import ignores_conditions
from batchform.state.journal import Header, encode_header, encode_line, replay
from batchform.state.registers import Down, Taken, Unsure, Why
from batchform.state.remote.access import JOURNAL
from batchform.state.remote.reader import who

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.state.events import Event
    from batchform.state.known import State, Story
    from batchform.state.registers import Held, Tag
    from batchform.state.remote.access import Access

_CLOSING: Final = 5.0  # seconds for which closing is tried: the next run takes over without it


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment on two clocks: one counts a suspended machine's time, the other may be set."""

    boot: float
    wall: float


class Lease:
    """The journal of this run. One thread records; another keeps it; `sure` may be asked from any.

    Attributes:
        fence: The error that says that another run has taken over; None as long as none has.
    """

    def __init__(self, access: Access, run: str, story: Story, holder: Mapping[str, str], state: State) -> None:
        """Nothing is written yet: see `claim`. `state` is the one to begin with when there is none."""
        self._access, self._run, self._story, self._holder = access, run, story, holder
        self.fence: OutcomeUnknownError | None = None
        # Guarded by `_writing`, for a thread of its own writes the journal while nothing else does.
        self._writing = threading.Lock()
        self._header = Header(
            lineage=state.lineage,
            serial=state.serial,
            service=state.service,
            endpoint=state.endpoint,
            run=run,
            story=story,
        )
        self._lines: list[bytes] = []
        self._durable = 0
        self._tag: Tag | None = None
        self._replaced: Tag | None = None
        self._bytes = b""
        self._certain: _Moment | None = None
        self._failed: OutcomeUnknownError | None = None
        self._rests_until = float("-inf")
        self._over = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def header(self) -> Header:
        """The header, as it was written last."""
        return self._header

    @property
    def empty(self) -> bool:
        """Whether the journal is a header alone."""
        return not self._lines

    @property
    def durable(self) -> bool:
        """Whether each of its events is in the store."""
        return len(self._lines) <= self._durable

    # --- From the first write to the last ----------------------------------------------------------------------------

    def claim(self, before: Header | None, tag: Tag | None) -> bool:
        """Replace the journal by a header of ours; whether this run holds the state now.

        Args:
            before: The header that is replaced; None: there is no journal yet.
            tag: The tag that is replaced.
        """
        before = self._header if before is None else before
        self._header = replace(
            before,
            run=self._run,
            story=self._story,
            epoch=before.epoch + 1,
            beat=0,
            open=True,
            lease=self._access.lease,
            holder=self._holder,
        )
        self._tag = tag
        try:
            self._write(self._access.patience)
        except Taken:
            return False  # it lives, or another run was first
        except Down as down:
            raise self._access.not_usable(down) from None
        return True

    def probe(self) -> None:
        """Write the header once more under the tag it replaced, which a store has to refuse. Raises StateError."""
        clocks, registers = self._access.clocks, self._access.registers
        ends = clocks.monotonic() + self._access.patience
        while True:
            try:
                registers.write(JOURNAL, self._bytes, self._replaced)
            except Unsure as unsure:
                if unsure.why is Why.REFUSED:
                    return
                if clocks.monotonic() >= ends:
                    raise self._access.not_usable(Down(unsure, writing=True)) from None
                clocks.sleep(self._access.poll)
            else:
                # safety: without conditions two runs could hold one state
                raise ignores_conditions(self._access.where)

    def follow(self, base: State) -> None:
        """The journal continues this state from now on."""
        with self._writing:
            self._header = replace(
                self._header,
                lineage=base.lineage,
                serial=base.serial,
                service=base.service,
                endpoint=base.endpoint,
            )

    def append(self, events: Sequence[Event]) -> int:
        """Add the events to what the next write holds; returns how many bytes they are."""
        lines = [encode_line(event) for event in events]
        with self._writing:
            self._lines.extend(lines)
        return sum(map(len, lines))

    def committed(self, serial: int) -> None:
        """Leave the events out of the next write: the state has them."""
        with self._writing:
            self._lines, self._durable = [], 0
            self._header = replace(self._header, serial=serial)

    def stop(self) -> None:
        """Write nothing more unless asked."""
        self._over.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def release(self) -> None:
        """Let the next run go on at once. With events in it, the journal stays open, and the next run folds it in."""
        if self.fence is not None or self._lines or self._tag is None:
            return
        with self._writing, contextlib.suppress(Taken, Down):
            self._write(min(self._access.patience, _CLOSING), is_open=False)
        self._tag = None

    # --- Certainty ---------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Begin to replace the journal while nothing else does, so that who watches sees that this run lives."""
        self._keeper = threading.Thread(target=self._run_keeper, name="batchform-keeper", daemon=True)
        self._keeper.start()

    def beat(self) -> None:
        """Replace the journal if it has rested for a quarter of a lease."""
        with self._writing:
            rested = self._access.rested(JOURNAL)
            if self._over.is_set() or self.fence is not None or rested < self._access.lease / 4:
                return
            if self._given_up() is not None:
                return
            with contextlib.suppress(Down):
                try:
                    self._try(0)
                except Taken as taken:
                    self._fenced(taken)

    def renew(self) -> None:
        """Be certain that no other run holds the state. For who is about to start something.

        Raises:
            OutcomeUnknownError: Another run does, or the store does not answer.
        """
        if self.fence is not None:
            raise self.fence
        if self._age() > self._access.lease / 6:
            self.sync()

    def sure(self) -> bool:
        """Whether a start may leave now: no other run can have taken over, or will while it is on its way."""
        return self.fence is None and self._age() < self._access.lease / 3

    def sync(self) -> None:
        """Write the journal as it is now.

        Raises:
            OutcomeUnknownError: It could not be written, or another run holds it.
        """
        access = self._access
        with self._writing:
            if self.fence is not None:
                raise self.fence
            if (failed := self._given_up()) is not None:
                raise failed
            try:
                self._try(0 if access.down else access.patience)
            except Taken as taken:
                raise self._fenced(taken) from None
            except Down as down:
                access.down = True
                self._failed = OutcomeUnknownError(
                    "The state cannot be recorded",
                    f"{access.not_usable(down).detail} What was intended is in the store, so the next apply verifies"
                    " it before it starts anything.",
                )
                raise self._failed from None
            access.down, self._failed = False, None

    def _run_keeper(self) -> None:
        while not self._over.wait(self._access.lease / 30):
            self.beat()

    def _age(self) -> float:
        """Seconds since another run certainly held nothing, by the faster of two clocks."""
        certain, clocks = self._certain, self._access.clocks
        if certain is None:
            return float("inf")
        # safety: a monotonic clock may stand still while the machine is suspended, and the wall clock may be set back
        return max(clocks.boot() - certain.boot, clocks.wall() - certain.wall)

    def _given_up(self) -> OutcomeUnknownError | None:
        """The error of the last write, as long as the store is not asked again: see `_try`."""
        return self._failed if self._access.clocks.monotonic() < self._rests_until else None

    def _try(self, patience: float) -> None:
        """As `_write`. Once the run has given the store up, it rests for twice as long as the last try took.

        Else one that hangs would be asked at each outcome, for half a minute each time, and the run would not end.
        """
        clock = self._access.clocks.monotonic
        began, self._rests_until = clock(), float("-inf")
        try:
            self._write(patience)
        except Down:
            self._rests_until = clock() + 2 * (clock() - began - patience)
            raise

    def _write(self, patience: float, *, is_open: bool = True) -> None:
        """Replace the journal by the header and all lines. The caller holds `_writing`.

        Raises:
            Taken: Another run holds it.
            Down: The store gave no usable answer.
        """
        clocks = self._access.clocks
        while True:
            self._header = replace(self._header, beat=self._header.beat + 1, open=is_open)
            lines = len(self._lines)
            self._bytes = encode_header(self._header) + b"".join(self._lines)
            self._replaced = self._tag
            self._access.pace(JOURNAL)
            began = _Moment(clocks.boot(), clocks.wall())
            try:
                self._tag = self._access.write(JOURNAL, self._bytes, self._tag, patience)
            except Taken as taken:
                if taken.now is None or not self._is_ours(taken.now):
                    raise
                self._tag = taken.now.tag  # an earlier write of ours came late; this one holds all that it does
                continue
            # safety: another run may have watched the journal since then, not since the answer was here
            self._certain = began
            self._durable = lines
            return

    def _is_ours(self, held: Held) -> bool:
        header = _header_of(held)
        return header is not None and (header.run, header.epoch) == (self._run, self._header.epoch)

    def _fenced(self, taken: Taken) -> OutcomeUnknownError:
        """Another run holds the journal, for good, or there is none. From here on nothing is written."""
        called = self._access.called
        if taken.now is None:
            self.fence = StateGoneError(
                "The state was deleted during the run",
                f"{called.journal} is gone. Nothing more was sent. Before the next apply, restore it from"
                f" {called.kept}, if you have one.",
            )
            return self.fence
        header = _header_of(taken.now)
        self.fence = OutcomeUnknownError(
            "Another run has taken over the state",
            f"{called.journal} "
            + (f"is now written by {who(header)}." if header else "was replaced by hand.")
            + " Nothing more was sent.",
        )
        return self.fence


def _header_of(held: Held) -> Header | None:
    """The header of a journal, None where it is none."""
    try:
        return replay(held.data.partition(b"\n")[0] + b"\n", "").header
    except StateError:
        return None
