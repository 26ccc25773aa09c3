"""The state as a run holds it: locked, journalled, committed. `hold` is the only way to change anything.

It locks, commits the journal that a dead run may have left, and hands out a `Store`. To look without a lock is
`state.reader`'s.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state import disk
from batchform.state.codec import decode_state
from batchform.state.events import expire, fold
from batchform.state.journal import Header, Journal
from batchform.state.known import UNTOLD, check_belongs
from batchform.state.lock import locked
from batchform.state.reader import combine, not_older, same_lineage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from batchform.state.disk import Paths
    from batchform.state.events import Event
    from batchform.state.known import State, Story


class Store:
    """A state that this run holds the lock of. Not thread-safe: one thread owns it."""

    def __init__(self, files: Paths, fresh: State, run: str, story: Story = UNTOLD) -> None:
        self._files = files
        self._run = run
        self._story = story
        self._journal: Journal | None = None
        self._on_disk = disk.read_bytes(files.state)
        base, leftover = combine(files, self._on_disk, disk.read_bytes(files.journal))
        self._base = base or fresh
        check_belongs(self._base, fresh.service, fresh.endpoint)  # safety: also for callers without the command line
        self._events: list[Event] = list(leftover.events) if leftover else []
        self.recovered = len(self._events)
        self._stories = {**(leftover.stories if leftover else {}), run: story}
        self._state = fold(self._base, self._events, self._stories)
        self._unfolded: list[Event] = []
        self._leftover = leftover

    @property
    def state(self) -> State:
        """What is known now. Folded when somebody asks: a fold costs as much as the state is large."""
        if self._unfolded:
            self._state, self._unfolded = fold(self._state, self._unfolded, self._stories), []
        return self._state

    def recover(self, now: datetime) -> None:
        """Commit what a dead run left in its journal, so that this run can begin one of its own.

        A torn end is kept aside, though nothing depended on it: somebody may want to look.
        """
        if self._leftover is None:
            return
        if self._leftover.torn:
            aside = self._files.journal.with_name(f"{self._files.journal.name}.torn-{self._run}")
            try:
                disk.write_new(aside, self._leftover.torn)
            except OSError as error:
                raise StateError(
                    "The journal's torn end cannot be kept aside",
                    f"{aside}: {error.strerror}. Nothing was sent and nothing changed. Make room, then try again.",
                ) from error
        self.commit(now)

    def record(self, events: Sequence[Event]) -> None:
        """Make the events durable and part of `state`. They are on disk when this returns.

        Raises:
            OutcomeUnknownError: They could not be written; `state` does not hold them.
            StateError: The journal could not be begun, so nothing has been sent yet.
        """
        if not events:
            return
        if self._journal is None:
            header = Header(
                lineage=self._state.lineage,
                serial=self._base.serial,
                service=self._state.service,
                endpoint=self._state.endpoint,
                run=self._run,
                story=self._story,
            )
            try:
                self._journal = Journal(self._files.journal, header)
            except OSError as error:
                raise StateError(
                    "The journal cannot be written", f"{self._files.journal}: {error.strerror}. Nothing was sent."
                ) from error
        self._journal.append(events)
        self._events.extend(events)
        self._unfolded.extend(events)

    def commit(self, now: datetime) -> bool:
        """Write the snapshot, then remove the journal. Returns whether anything had changed.

        The file on disk must still be the one that was loaded; if another run has replaced it (the lock file was
        deleted, or a copy was put in its place), our events are folded onto the newer one and nothing is lost.

        Raises:
            StateError: It cannot be written. The journal stays, and holds everything.
        """
        on_disk = disk.read_bytes(self._files.state)
        base = self._base
        if on_disk != self._on_disk and on_disk is not None:
            base = decode_state(on_disk)
            same_lineage(base, self.state.lineage, self._files.journal)
            not_older(base, self._base.serial, self._files)
            self._state, self._unfolded = fold(base, self._events, self._stories), []
        self._state = expire(self.state, now)
        changed = (self.state.entries, self.state.runs) != (base.entries, base.runs)
        if changed:
            self._state = replace(self.state, serial=base.serial + 1)
            self._on_disk, self._base = disk.replace_durably(self._files, self.state, self._run), self.state
        try:
            self._remove_journal()
        except OSError as error:
            raise StateError(
                "The journal cannot be removed",
                f"{self._files.journal}: {error.strerror}. The state beside it is written and holds all that the"
                " journal does; the next run folds it in once more, which changes nothing.",
            ) from error
        return changed  # the events are kept: should the file be replaced yet, the next commit folds them in again

    def _remove_journal(self) -> None:
        """Remove the journal whose events were committed.

        Where the lock file was deleted, another run's journal may stand in its place by now.
        """
        # safety: what is not ours holds outcomes that are nowhere else
        ours = self._leftover is not None if self._journal is None else self._journal.in_place()
        if ours:
            self._files.journal.unlink(missing_ok=True)
        self.close()
        self._leftover = None
        if ours:
            disk.fsync_folder(self._files.journal)

    def close(self) -> None:
        """Let go of the journal's file. Without a commit it stays on disk, for the next run to fold in."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


@contextlib.contextmanager
def hold(
    state_file: str | os.PathLike[str],
    *,
    fresh: State,
    run: str,
    holder: Mapping[str, str],
    now: datetime,
    story: Story = UNTOLD,
    timeout: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Store]:
    """Lock the state and open it; what a dead run left behind is folded in and committed first.

    Args:
        state_file: The state file; it need not exist yet.
        fresh: The empty state to begin with when there is none. A state on disk must have its service and endpoint.
        run: The id of this run.
        holder: Who holds the lock, for those who wait.
        now: The time of the commit that folds in what a dead run left.
        story: Who runs what, for the history; kept once something is recorded.
        timeout: Seconds to wait for a lock that another run holds.
        sleep: Waits that many seconds.
        clock: Monotonic seconds.

    Raises:
        StateLockedError: Another run held the lock all the time; names it.
        StateError: The files cannot be used or belong to another service or endpoint, or the file system cannot lock.
    """
    files = disk.paths(state_file)
    with locked(files.lock, holder, timeout, sleep, clock):
        store = Store(files, fresh, run, story)
        try:
            store.recover(now)
            yield store
        finally:
            store.close()
