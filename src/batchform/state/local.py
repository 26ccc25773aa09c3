"""The state during a run: locked, journalled, committed. Every change goes through `hold`.

`hold` takes the lock, commits the journal of an interrupted run, and returns a `Store`. To read without a lock, use
`state.reader`.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from batchform.errors import StateError
from batchform.state import disk
from batchform.state.events import expire, fold
from batchform.state.journal import Header, Journal
from batchform.state.known import UNTOLD, check_belongs, check_home
from batchform.state.lock import locked
from batchform.state.merge import merge
from batchform.state.reader import combine, decoded, names, not_older, same_lineage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from batchform.state.disk import Paths
    from batchform.state.events import Event
    from batchform.state.known import State, Story


class Store:
    """A state whose lock this run holds. Not thread-safe: only one thread may use it."""

    def __init__(self, files: Paths, fresh: State, run: str, story: Story = UNTOLD) -> None:
        self._files = files
        self._run = run
        self._story = story
        self._journal: Journal | None = None
        self._on_disk = disk.read_bytes(files.state)
        base, leftover = combine(names(files), self._on_disk, disk.read_bytes(files.journal))
        self._base = base or fresh
        check_belongs(self._base, fresh.service, fresh.endpoint)  # safety: also for callers without the command line
        if self._base.home:
            check_home(self._base, str(files.state))
        self._events: list[Event] = list(leftover.events) if leftover else []
        self.recovered = len(self._events)
        self._stories = {**(leftover.stories if leftover else {}), run: story}
        self._state = fold(self._base, self._events, self._stories)
        self._unfolded: list[Event] = []
        self._joined: State | None = None
        self._leftover = leftover

    @property
    def state(self) -> State:
        """The current state. New events are folded in on access: the cost grows with the size of the state."""
        if self._unfolded:
            self._state, self._unfolded = fold(self._state, self._unfolded, self._stories), []
        return self._state

    def recover(self, now: datetime) -> None:
        """Commit the journal of an interrupted run, so that this run can begin its own.

        An incomplete last line is kept in a separate file for inspection, although nothing depended on it.
        """
        if self._leftover is None:
            return
        if self._leftover.torn:
            aside = self._files.journal.with_name(f"{self._files.journal.name}.torn-{self._run}")
            try:
                disk.write_new(aside, self._leftover.torn)
            except OSError as error:
                raise StateError(
                    "The journal's incomplete last line cannot be saved",
                    f"{aside}: {error.strerror}. Free disk space, then try again. Nothing was sent or changed.",
                ) from error
        self.commit(now)

    def record(self, events: Sequence[Event]) -> None:
        """Make the events durable and part of `state`. They are on disk when this returns.

        Raises:
            OutcomeUnknownError: The events could not be written and are not part of `state`.
            StateError: The journal could not be created, so nothing has been sent yet.
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

    def join(self, other: State) -> None:
        """Merge another copy of this state in. It is durable after the next commit only.

        Raises:
            StateError: It does not share a history with this state.
        """
        self._state = merge(self.state, other)
        self._joined = other if self._joined is None else merge(self._joined, other)

    def commit(self, now: datetime) -> bool:
        """Write the state file, then remove the journal. Returns whether the state changed.

        If another run has replaced the file since it was loaded (because the lock file was deleted or a copy was
        restored), our events are folded into the newer state, so nothing is lost.

        Raises:
            StateError: The file cannot be written. The journal stays and contains all events.
        """
        on_disk = disk.read_bytes(self._files.state)
        base = self._base
        if on_disk != self._on_disk and on_disk is not None:
            base = decoded(names(self._files), on_disk)
            same_lineage(base, self.state.lineage, str(self._files.journal))
            not_older(base, self._base.serial, names(self._files))
            self._state, self._unfolded = fold(base, self._events, self._stories), []
            if self._joined is not None:
                self._state = merge(self._state, self._joined)
        self._state = expire(self.state, now)
        changed = self.state.content != base.content
        if changed:
            self._state = replace(self.state, serial=base.serial + 1)
            self._on_disk, self._base = disk.replace_durably(self._files, self.state, self._run), self.state
        try:
            self._remove_journal()
        except OSError as error:
            raise StateError(
                "The journal cannot be removed",
                f"{self._files.journal}: {error.strerror}. The state file is written and contains all of its events."
                " The next run reads them again, which changes nothing.",
            ) from error
        return changed  # the events are kept: if the file is replaced later, the next commit folds them in again

    def leave(self, home: str) -> None:
        """Make this file a copy of the state at `home`, after a commit. No command writes to it any more.

        Raises:
            StateError: The file cannot be written.
        """
        self._state = replace(self.state, serial=self._base.serial + 1, home=home)
        self._on_disk, self._base = disk.replace_durably(self._files, self._state, self._run), self._state

    def _remove_journal(self) -> None:
        """Remove the journal whose events were committed.

        If the lock file was deleted, the path may now name the journal of another run.
        """
        # safety: another run's journal contains outcomes that are recorded nowhere else
        ours = self._leftover is not None if self._journal is None else self._journal.in_place()
        if ours:
            self._files.journal.unlink(missing_ok=True)
        self.close()
        self._leftover = None
        if ours:
            disk.fsync_folder(self._files.journal)

    def rest(self, in_flight: int) -> float:  # noqa: ARG002  # a write costs next to nothing
        """See `store.Store`."""
        return 0.0

    def renew(self) -> None:
        """Check that the journal is in its place: a start may wait for minutes after its intent was written.

        Raises:
            OutcomeUnknownError: It was removed, so the lock may be gone, too, and another run may hold the state.
        """
        if self._journal is not None:
            self._journal.check()

    def sure(self) -> bool:
        """Whether a start may leave now: always, because the lock ends with this process only."""
        return True

    def close(self) -> None:
        """Close the journal's file. Without a commit it stays on disk, and the next run commits it."""
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
    """Lock and open the state. The events of an interrupted run are committed first.

    Args:
        state_file: The state file. It need not exist yet.
        fresh: The empty state to begin with if there is none. A state on disk must have its service and endpoint.
        run: The id of this run.
        holder: The content of the lock file, shown to other runs.
        now: The time of the commit for an interrupted run.
        story: Who runs what, for the history. Saved with the first event.
        timeout: Seconds to wait for a lock that another run holds.
        sleep: Waits for a number of seconds.
        clock: Returns monotonic seconds.

    Raises:
        StateLockedError: Another run held the lock until the timeout. The message names it.
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
