"""A state in a store that machines share: its journal is the lock, the lease, the fence and the log.

Three registers (`state.registers`): the state, its journal, its backup. Who replaces the journal by a header of its own
holds the state. Every later write of the journal names the tag of the one before, so the first write of another run
stops this one: a tag never comes back, because run and beat make each content unique. Nothing is listed or deleted, and
no unlocking is needed: a journal that has not changed for a lease is folded into the state and taken over.

What keeps money safe, beside what holds for any state:

- An intent is in the store before its request leaves (`record`).
- A start leaves only while no other run can have taken over (`sure`, asked by the client at the last moment). Certainty
  counts from the beginning of a write that took place. It lasts a third of a lease, a start a third at the most, and
  who watches waits a whole one.
- A run that was replaced writes nothing more. What it has heard goes to a file (`spill`).

`tests/proof/test_remote_model.py` explores this protocol in every order, and what breaks when a part is left out.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from batchform.errors import OutcomeUnknownError, StateError, StateLockedError
from batchform.state import disk
from batchform.state.answers import ignores_conditions, not_usable
from batchform.state.codec import decode_state, encode_state
from batchform.state.events import expire, fold
from batchform.state.journal import Header, encode_header, encode_line, replay
from batchform.state.known import UNTOLD, State, check_belongs, check_home
from batchform.state.merge import merge
from batchform.state.reader import Known, Names, combine, not_older, same_lineage
from batchform.state.registers import SYSTEM, Down, Taken, Unsure, Why, obtain
from batchform.state.registers import replace as swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from batchform.state.events import Event
    from batchform.state.journal import Replay
    from batchform.state.known import Story
    from batchform.state.registers import Clocks, Held, Registers, Tag

STATE: Final = ""
JOURNAL: Final = ".journal"
BACKUP: Final = ".backup"

PATIENCE: Final = 60.0
"""Seconds for which a write is tried."""

_FOLD_FROM: Final = 128 << 10  # bytes of journal, so that its writes do not grow with the run
_POLL: Final = 1.0  # seconds between two reads of a journal that another run holds
_CLOSING: Final = 5.0  # seconds for which closing is tried: the next run takes over without it


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment on two clocks: one counts a suspended machine's time, the other may be set."""

    boot: float
    wall: float


class Remote:
    """A state that this run holds. One thread owns it; `sure` may be asked from any.

    Attributes:
        recovered: How many events of an interrupted run were folded in.
        spilled: The file that holds what the store did not take, None as long as there is none.
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
        """Nothing is read or written yet: see `take`."""
        self._registers, self._clocks = registers, clocks
        self._called = called(registers)
        self._fresh, self._run, self._story, self._holder = fresh, run, story, holder
        self._folder, self._patience = folder, patience
        self.recovered = 0
        self.spilled: Path | None = None
        self._base = fresh
        self._state = fresh
        self._state_tag: Tag | None = None
        self._before: bytes | None = None  # what becomes the backup
        self._stories = {run: story}
        self._events: list[Event] = []
        self._unfolded: list[Event] = []
        self._joined: State | None = None
        self._down = False
        self._owes = False
        # The journal: guarded by `_writing`, for a thread of its own writes it while nothing else does.
        self._writing = threading.Lock()
        self._lines: list[bytes] = []
        self._size = 0
        self._fold_at = _FOLD_FROM
        self._durable = 0
        self._header = _header(fresh, run, story, holder, registers.lease)
        self._tag: Tag | None = None
        self._replaced: Tag | None = None
        self._bytes = b""
        self._written: dict[str, float] = {}
        self._certain: _Moment | None = None
        self._fence: OutcomeUnknownError | None = None
        self._over = threading.Event()
        self._keeper: threading.Thread | None = None

    # --- Taking hold -------------------------------------------------------------------------------------------------

    def take(self, timeout: float | None, waiting: Callable[[float], None]) -> None:
        """Hold the state, as soon as no other run does.

        Args:
            timeout: Seconds to wait for another run. None: as long as it may be dead.
            waiting: Waits that many seconds.

        Raises:
            StateLockedError: Another run held it all the time.
            StateError: The store cannot be used, or what it holds.
        """
        began = self._clocks.monotonic()
        watched: Held | None = None
        since = began
        lives = False
        while True:
            held = self._obtain(JOURNAL)
            now = self._clocks.monotonic()
            if held is None:
                if self._obtain(STATE) is not None:
                    raise StateError(
                        "The journal of the state is gone",
                        f"{self._called.state} is there and {self._called.journal} is not, so what a run recorded last"
                        " may be missing. Nothing was sent. Restore it from the versions that the bucket keeps.",
                    )
                if self._claim(self._header, None):
                    return
                continue
            found = self._replay(held)
            header = found.header
            assert header is not None
            if not header.open:
                if self._claim(header, held.tag):
                    return
                continue
            if watched is None or watched.tag != held.tag:
                lives, watched, since = watched is not None, held, now
            lease = max(header.lease, self._registers.lease)
            # safety: by this machine's own clock, from when the answer was here; so its holder is sure no longer
            if now - since >= lease:
                if self._fold_in(found) and self._claim(header, held.tag):
                    self.recovered = len(found.events)
                    return
                watched = None
                continue
            late = lives if timeout is None else now - began >= timeout
            if late:
                raise StateLockedError("The state is locked by another run", _holder(header, now - since, lease))
            waiting(max(_POLL, self._registers.every))

    def seize(self, run: str, timeout: float, waiting: Callable[[float], None]) -> None:
        """Take the state from a run that hangs, and hold it until that run can send nothing more.

        Args:
            run: The id of that run.
            timeout: Seconds for which it is tried, while that run writes.
            waiting: Waits that many seconds.

        Raises:
            StateLockedError: That run wrote all the time, so it does not hang.
            StateError: That run does not hold the state, or the store cannot be used.
            OutcomeUnknownError: Another run took over while this one waited.
        """
        began = self._clocks.monotonic()
        # safety: without the wait below, an end of any kind leaves the journal open, so the next run waits instead
        self._owes = True
        while True:
            held = self._obtain(JOURNAL)
            found = None if held is None else self._replay(held)
            header = None if found is None else found.header
            if held is None or found is None or header is None or not header.open or header.run != run:
                raise not_held(run)
            if self._fold_in(found) and self._claim(header, held.tag):
                self.recovered = len(found.events)
                break
            if self._clocks.monotonic() - began >= timeout:
                raise StateLockedError(
                    "The run is at work",
                    f"Run {run} writes to its journal: it does not hang. Cancel its job, or try longer with"
                    " --lock-timeout 5m. Nothing was changed.",
                )
            waiting(max(_POLL, self._registers.every))
        lease = max(header.lease, self._registers.lease)
        taken = self._clocks.monotonic()
        # safety: that run may be certain, and its start on its way, for as long as a watcher would wait
        while self._clocks.monotonic() - taken < lease:
            waiting(max(_POLL, self._registers.every))
            self.beat()
            if self._fence is not None:
                raise self._fence
        self._owes = False

    def _claim(self, before: Header, tag: Tag | None) -> bool:
        """Replace the journal by a header of ours; whether this run holds the state now."""
        self._header = replace(
            before,
            run=self._run,
            story=self._story,
            epoch=before.epoch + 1,
            beat=0,
            open=True,
            lease=self._registers.lease,
            holder=self._holder,
        )
        self._tag = tag
        try:
            self._write(self._patience)
        except Taken:
            return False  # it lives, or another run was first
        except Down as down:
            raise not_usable(self._registers.where, down) from None
        try:
            self._probe()
            self._load()  # safety: only now, for until now another run could change it
        except BaseException:
            self.close()
            raise
        return True

    def _probe(self) -> None:
        """Write the header once more under the tag it replaced, which a store has to refuse."""
        ends = self._clocks.monotonic() + self._patience
        while True:
            try:
                self._registers.write(JOURNAL, self._bytes, self._replaced)
            except Unsure as unsure:
                if unsure.why is Why.REFUSED:
                    return
                if self._clocks.monotonic() >= ends:
                    raise not_usable(self._registers.where, Down(unsure, writing=True)) from None
                self._clocks.sleep(max(_POLL, self._registers.every))
            else:
                # safety: without conditions two runs could hold one state
                raise ignores_conditions(self._registers.where)

    def _load(self) -> None:
        """Read the state, once the journal is ours."""
        held = self._obtain(STATE)
        base, _ = combine(self._called, None if held is None else held.data, encode_header(self._header))
        base = self._fresh if base is None or held is None else base
        check_belongs(base, self._fresh.service, self._fresh.endpoint)
        self._adopt(held, base)

    def _adopt(self, held: Held | None, base: State) -> None:
        """Build on this state from now on."""
        if held is not None:
            check_home(base, self._registers.where)
            self._before = held.data if self._state_tag is None else self._before
        self._state_tag = None if held is None else held.tag
        self._base = base
        self._state, self._unfolded = fold(base, self._events, self._stories), []
        if self._joined is not None:
            self._state = merge(self._state, self._joined)
        with self._writing:
            self._header = replace(
                self._header,
                lineage=base.lineage,
                serial=base.serial,
                service=base.service,
                endpoint=base.endpoint,
            )

    def _fold_in(self, found: Replay) -> bool:
        """Make the events of a run that died part of the state; False when another run was first."""
        if not found.events:
            return True
        held = self._obtain(STATE)
        base, _ = combine(self._called, None if held is None else held.data, _all(found))
        assert base is not None
        if held is not None:
            check_home(base, self._registers.where)
        state = fold(base, found.events, found.stories)
        if (state.entries, state.runs) == (base.entries, base.runs):
            return True
        state = replace(state, serial=base.serial + 1, home=self._registers.where)
        try:
            self._swap(STATE, encode_state(state), None if held is None else held.tag)
        except Taken:
            return False
        except Down as down:
            raise not_usable(self._registers.where, down) from None
        return True

    def _obtain(self, name: str) -> Held | None:
        try:
            return obtain(self._registers, name, self._patience, self._clocks)
        except Down as down:
            raise not_usable(self._registers.where, down) from None

    def _replay(self, held: Held) -> Replay:
        found = replay(held.data, self._called.journal)
        if found.header is None or found.torn:  # a store writes all or nothing, so this is no torn end
            raise StateError(
                "The journal is damaged",
                f"{self._called.journal} is cut off. Nothing was sent. Restore it from the versions that the bucket"
                " keeps.",
            )
        return found

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
        lines = [encode_line(event) for event in events]
        self._events.extend(events)
        self._unfolded.extend(events)
        with self._writing:
            self._lines.extend(lines)
            self._size += sum(map(len, lines))
        self._sync()
        if self._size >= self._fold_at:
            self._fold_at = self._size + _FOLD_FROM
            with contextlib.suppress(StateError):  # they are in the journal
                self.commit(events[-1].at)

    def renew(self) -> None:
        """Be certain that no other run holds the state. For who is about to start something.

        Raises:
            OutcomeUnknownError: Another run does, or the store does not answer.
        """
        if self._fence is not None:
            raise self._fence
        if self._age() > self._registers.lease / 6:
            self._sync()

    def sure(self) -> bool:
        """Whether a start may leave now: no other run can have taken over, or will while it is on its way."""
        return self._fence is None and self._age() < self._registers.lease / 3

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
        if self._fence is not None:
            raise self._spilling(self._fence)
        while True:
            state = expire(self.state, now)
            changed = (state.entries, state.runs) != (self._base.entries, self._base.runs)
            if not changed:
                break
            state = replace(state, serial=self._base.serial + 1, home=self._registers.where)
            data = encode_state(state)
            self._keep_backup()
            try:
                tag = self._swap(STATE, data, self._state_tag)
            except Taken as taken:
                self._sync()  # safety: only while the journal is ours is anything written on top of it
                self._follow(taken.now)
                continue
            except Down as down:
                raise self._unsaved(down) from None
            self._base, self._state, self._state_tag = state, state, tag
            break
        with self._writing:
            self._lines, self._size, self._durable, self._fold_at = [], 0, 0, _FOLD_FROM
            self._header = replace(self._header, serial=self._base.serial)
        return changed  # the events are kept: should the state be replaced yet, they are folded in again

    def close(self) -> None:
        """Let go of the state. Without a commit its journal stays open, and the next run folds it in."""
        self._over.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        if self._lines and (self._fence is not None or len(self._lines) > self._durable):
            self.spill()
        if self._fence is not None or self._lines or self._tag is None or self._owes:
            return
        with self._writing, contextlib.suppress(Taken, Down):
            self._write(min(self._patience, _CLOSING), is_open=False)
        self._tag = None

    def keep(self) -> None:
        """Begin to replace the journal while nothing else does, so that who watches sees that this run lives."""
        self._keeper = threading.Thread(target=self._run_keeper, name="batchform-keeper", daemon=True)
        self._keeper.start()

    def beat(self) -> None:
        """Replace the journal if it has rested for a quarter of a lease."""
        with self._writing:
            if self._over.is_set() or self._fence is not None or self._rested() < self._registers.lease / 4:
                return
            with contextlib.suppress(Down):
                try:
                    self._write(0)
                except Taken as taken:
                    self._fenced(taken)

    def _run_keeper(self) -> None:
        while not self._over.wait(self._registers.lease / 30):
            self.beat()

    def _rested(self) -> float:
        return self._clocks.monotonic() - self._written.get(JOURNAL, 0.0)

    def _age(self) -> float:
        """Seconds since another run certainly held nothing, by the faster of two clocks."""
        certain = self._certain
        if certain is None:
            return float("inf")
        # safety: a monotonic clock may stand still while the machine is suspended, and the wall clock may be set back
        return max(self._clocks.boot() - certain.boot, self._clocks.wall() - certain.wall)

    # --- Writing -----------------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Write the journal as it is now.

        Raises:
            OutcomeUnknownError: It could not be written, or another run holds it.
        """
        with self._writing:
            if self._fence is not None:
                raise self._fence
            try:
                self._write(0 if self._down else self._patience)
            except Taken as taken:
                raise self._fenced(taken) from None
            except Down as down:
                self._down = True
                raise OutcomeUnknownError(
                    "The state cannot be recorded",
                    f"{not_usable(self._registers.where, down).detail} What was intended is in the store, so the"
                    " next apply verifies it before it starts anything.",
                ) from None
            self._down = False

    def _write(self, patience: float, *, is_open: bool = True) -> None:
        """Replace the journal by the header and all lines. The caller holds `_writing`.

        Raises:
            Taken: Another run holds it.
            Down: The store gave no usable answer.
        """
        while True:
            self._header = replace(self._header, beat=self._header.beat + 1, open=is_open)
            lines = len(self._lines)
            self._bytes = encode_header(self._header) + b"".join(self._lines)
            self._replaced = self._tag
            self._pace(JOURNAL)
            began = _Moment(self._clocks.boot(), self._clocks.wall())
            try:
                self._tag = self._swap(JOURNAL, self._bytes, self._tag, patience)
            except Taken as taken:
                if taken.now is None or not self._is_ours(taken.now):
                    raise
                self._tag = taken.now.tag  # an earlier write of ours came late; this one holds all that it does
                continue
            # safety: another run may have watched the journal since then, not since the answer was here
            self._certain = began
            self._durable = lines
            return

    def _swap(self, name: str, data: bytes, tag: Tag | None, patience: float | None = None) -> Tag:
        self._pace(name)
        if patience is None:
            patience = 0 if self._down else self._patience
        new = swap(self._registers, name, data, tag, patience=patience, clocks=self._clocks)
        self._written[name] = self._clocks.monotonic()
        return new

    def _pace(self, name: str) -> None:
        """Wait until the store allows the next write of this register."""
        rest = self._written.get(name, float("-inf")) + self._registers.every - self._clocks.monotonic()
        if rest > 0:
            self._clocks.sleep(rest)

    def _is_ours(self, held: Held) -> bool:
        header = _header_of(held)
        return header is not None and (header.run, header.epoch) == (self._run, self._header.epoch)

    def _fenced(self, taken: Taken) -> OutcomeUnknownError:
        """Another run holds the journal, for good. From here on nothing is written."""
        header = None if taken.now is None else _header_of(taken.now)
        self._fence = OutcomeUnknownError(
            "Another run has taken over the state",
            f"{self._called.journal} "
            + (f"is now written by {_who(header)}." if header else "was removed or replaced by hand.")
            + " Nothing more was sent.",
        )
        return self._fence

    def _follow(self, held: Held | None) -> None:
        """Build on the state that was put in the place of ours."""
        if held is None:
            raise StateError("The state is gone", f"{self._called.state} was deleted. Restore it from the bucket.")
        base = decode_state(held.data)
        same_lineage(base, self._base.lineage, self._called.journal)
        not_older(base, self._base.serial, self._called)
        self._adopt(held, base)

    def _keep_backup(self) -> None:
        """Before the first commit: keep the state there was. No start depends on it, so one try is enough."""
        before, self._before = self._before, None
        if before is None:
            return
        with contextlib.suppress(Unsure, Taken, Down):
            held = self._registers.read(BACKUP)
            if held is None or held.data != before:
                self._swap(BACKUP, before, None if held is None else held.tag, 0)

    # --- What the store did not take ---------------------------------------------------------------------------------

    def spill(self) -> Path | None:
        """Write all events of this run to a file in the current folder; None when there are none.

        Raises:
            OutcomeUnknownError: The file cannot be written either.
        """
        if not self._events:
            return None
        path = self._folder / f"batchform.outcomes-{self._run}.journal"
        temporary = path.with_name(f".{path.name}.tmp")
        data = encode_header(self._header) + b"".join(encode_line(event) for event in self._events)
        try:
            temporary.unlink(missing_ok=True)
            disk.write_new(temporary, data)
            temporary.replace(path)
            disk.fsync_folder(path)
        except OSError as error:
            raise OutcomeUnknownError(
                "Outcomes could not be recorded",
                f"Neither {self._registers.where} nor {path} could be written: {error.strerror}. The intents are in"
                " the store, so the next apply verifies each batch before it starts anything.",
            ) from error
        self.spilled = path
        return path

    def _spilling(self, error: OutcomeUnknownError) -> OutcomeUnknownError:
        """The error, once what was heard is in a file."""
        path = self.spill() if self._lines else None
        if path is None:
            return error
        return OutcomeUnknownError(
            error.summary,
            f"{error.detail} What was heard is in {path.name}: add it with `batchform state push {path.name}`.",
        )

    def _unsaved(self, down: Down) -> StateError | OutcomeUnknownError:
        """The error of a commit that the store did not take."""
        self._down = True
        detail = not_usable(self._registers.where, down).detail
        if len(self._lines) <= self._durable:
            return StateError(
                "The state cannot be written",
                f"{detail} Every outcome is in {self._called.journal}, and the next run folds it in.",
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
        store.keep()
        yield store
    finally:
        store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Who holds a state. `written` is when the journal was written last, by the store's clock; None: not known."""

    header: Header
    written: datetime | None


def holding(registers: Registers, patience: float = PATIENCE, clocks: Clocks = SYSTEM) -> Holding | None:
    """Who holds the state, None if it is free. Nothing is written.

    Raises:
        StateError: The store cannot be used, or the journal is damaged.
    """
    try:
        held = obtain(registers, JOURNAL, patience, clocks)
    except Down as down:
        raise not_usable(registers.where, down) from None
    header = None if held is None else replay(held.data, called(registers).journal).header
    if held is None or header is None or not header.open:
        return None
    return Holding(header=header, written=held.written)


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


def not_held(run: str) -> StateError:
    """The error for a run that does not hold the state."""
    return StateError(
        "This run does not hold the state",
        f"Run {run} has ended, or another run has taken over. `batchform state lock` shows the run that holds it."
        " Nothing was changed.",
    )


def read(registers: Registers, patience: float = PATIENCE, clocks: Clocks = SYSTEM) -> Known:
    """What is known now. Nothing is held or written.

    The journal is read first: what it holds is then either part of the state or folded in here.

    Raises:
        StateError: The store cannot be used, or what it holds.
    """
    try:
        journal = obtain(registers, JOURNAL, patience, clocks)
        state = obtain(registers, STATE, patience, clocks)
    except Down as down:
        raise not_usable(registers.where, down) from None
    base, found = combine(
        called(registers), None if state is None else state.data, None if journal is None else journal.data
    )
    if base is None or found is None or (state is None and not found.events):
        return Known(state=base if state is not None else None, leftover=0)
    return Known(state=fold(base, found.events, found.stories), leftover=len(found.events))


def called(registers: Registers) -> Names:
    """What the state and its journal are called."""
    return Names(state=registers.where, journal=registers.where + JOURNAL)


def _header(state: State, run: str, story: Story, holder: Mapping[str, str], lease: float) -> Header:
    return Header(
        lineage=state.lineage,
        serial=0,
        service=state.service,
        endpoint=state.endpoint,
        run=run,
        story=story,
        lease=lease,
        holder=holder,
    )


def _header_of(held: Held) -> Header | None:
    """The header of a journal, None where it is none."""
    try:
        return replay(held.data.partition(b"\n")[0] + b"\n", "").header
    except StateError:
        return None


def _all(found: Replay) -> bytes:
    assert found.header is not None
    return encode_header(found.header)


def _who(header: Header) -> str:
    holder = header.holder
    job = f", {holder['Info']}" if holder.get("Info") else ""
    return f"{holder.get('Operation', 'a run')} by {holder.get('Who', 'an unknown holder')}{job}"


def _holder(header: Header, quiet: float, lease: float) -> str:
    since = header.holder.get("Created")
    return (
        f"Held by {_who(header)}{f', since {since}' if since else ''}; quiet for {quiet:.0f} of {lease:.0f} s. Nothing"
        f" was sent. A run that died is taken over after {lease:.0f} s without a sign of it. Wait with --lock-timeout"
        f" 5m; `batchform state unlock {header.run}` stops a run that hangs."
    )
