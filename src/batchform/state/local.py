"""The state on this machine: its file, its lock, its journal and its atomic commit.

Four files stand side by side: the state; `.lock`, which is never renamed or unlinked, so that the kernel frees it when
a run dies; `.journal`, there only while a run is at work or after it died; `.backup`, the state before the last commit.
`read` looks without a lock and writes nothing. `hold` is the only way to change anything: it locks, commits the journal
that a dead run may have left, and hands out a `Store`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.errors import StateError, StateLockedError
from batchform.state.codec import decode_state, encode_state
from batchform.state.events import UNTOLD, Event, State, Story, expire, fold
from batchform.state.journal import Header, Journal, Replay, fsync_folder, replay, write_fully

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

_POLL: Final = 0.1  # seconds between two tries at a lock that is held


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The four files of one state, links resolved: a rename must replace the file, not a link to it."""

    state: Path
    lock: Path
    journal: Path
    backup: Path


def paths(state: str | os.PathLike[str]) -> Paths:
    """The files that belong to this state file."""
    path = Path(os.path.realpath(state))
    return Paths(
        state=path,
        lock=path.with_name(path.name + ".lock"),
        journal=path.with_name(path.name + ".journal"),
        backup=path.with_name(path.name + ".backup"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is on disk.

    `state` is None when there is nothing yet; `leftover` counts the events of a journal that are folded in: another run
    is at work, or one died.
    """

    state: State | None
    leftover: int


def read(state_file: str | os.PathLike[str]) -> Known:
    """What is known now, without a lock and without writing anything.

    Raises:
        StateError: The files cannot be used.
    """
    files = paths(state_file)
    while True:
        before, journal, after = read_bytes(files.state), read_bytes(files.journal), read_bytes(files.state)
        if before == after:  # else a run committed meanwhile, and its journal may be gone: read again
            break
    base, leftover = _combine(files, before, journal)
    if base is None or leftover is None:
        return Known(state=base, leftover=len(leftover.events) if leftover else 0)
    return Known(state=fold(base, leftover.events, leftover.stories), leftover=len(leftover.events))


class Store:
    """A state that this run holds the lock of. Not thread-safe: one thread owns it."""

    def __init__(self, files: Paths, fresh: State, run: str, story: Story = UNTOLD) -> None:
        self._files = files
        self._run = run
        self._story = story
        self._journal: Journal | None = None
        self._on_disk = read_bytes(files.state)
        base, leftover = _combine(files, self._on_disk, read_bytes(files.journal))
        self._base = base or fresh
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
                _write_new(aside, self._leftover.torn)
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
        on_disk = read_bytes(self._files.state)
        base = self._base
        if on_disk != self._on_disk and on_disk is not None:
            base = decode_state(on_disk)
            _same_lineage(base, self.state.lineage, self._files.journal)
            _not_older(base, self._base.serial, self._files)
            self._state, self._unfolded = fold(base, self._events, self._stories), []
        self._state = expire(self.state, now)
        changed = (self.state.entries, self.state.runs) != (base.entries, base.runs)
        if changed:
            self._state = replace(self.state, serial=base.serial + 1)
            self._on_disk, self._base = replace_durably(self._files, self.state, self._run), self.state
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
            fsync_folder(self._files.journal)

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
        fresh: The empty state to begin with when there is none.
        run: The id of this run.
        holder: Who holds the lock, for those who wait.
        now: The time of the commit that folds in what a dead run left.
        story: Who runs what, for the history; kept once something is recorded.
        timeout: Seconds to wait for a lock that another run holds.
        sleep: Waits that many seconds.
        clock: Monotonic seconds.

    Raises:
        StateLockedError: Another run held the lock all the time; names it.
        StateError: The files cannot be used, or this file system cannot lock.
    """
    files = paths(state_file)
    with locked(files.lock, holder, timeout, sleep, clock):
        store = Store(files, fresh, run, story)
        try:
            store.recover(now)
            yield store
        finally:
            store.close()


# --- The lock --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(
    path: Path,
    holder: Mapping[str, str],
    timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Hold the lock for the length of a `with`. Waits up to `timeout` seconds; raises as `hold` does."""
    give_up = clock() + timeout
    while (descriptor := _try_lock(path)) is None:
        if clock() >= give_up:
            raise StateLockedError("The state is locked by another run", _describe(path))
        sleep(min(_POLL, max(0.0, give_up - clock())))
    try:
        with contextlib.suppress(OSError):  # a full disk: who waits learns less, the lock holds all the same
            os.ftruncate(descriptor, 0)
            write_fully(descriptor, (json.dumps(holder, indent=2) + "\n").encode())
        yield
    finally:
        os.close(descriptor)  # the kernel frees the lock; the file stays, so that all runs lock the same one


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, None when another run does."""
    try:
        import fcntl  # noqa: PLC0415  # there is none on Windows, where the rest must still import
    except ImportError as error:
        raise StateError("This system cannot lock files", "batchform applies on Linux and macOS only.") from error
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError("The lock file cannot be opened", f"{path}: {error.strerror}.") from error
    held = False
    try:
        # Another run holds it; or it was deleted between open and lock, so that another run would lock another file.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(path.stat(), os.fstat(descriptor)) and _really_locked(path, fcntl.flock)
    except OSError as error:
        raise StateError(
            "This file system cannot lock",
            f"{path}: {error.strerror}. Without a lock two runs could work on one state: keep it on a local disk.",
        ) from error
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def _really_locked(path: Path, flock: Callable[[int, int], None]) -> bool:
    """Whether a second try at the lock we hold is refused, as it must be: some file systems say yes to everyone."""
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        flock(second, 2 | 4)  # LOCK_EX | LOCK_NB
    except OSError:
        return True
    finally:
        os.close(second)
    raise StateError(
        "This file system cannot lock",
        f"{path}: a lock that is held was given out again. Keep the state on a local disk.",
    )


def _describe(path: Path) -> str:
    """Who holds the lock, as the lock file tells it."""
    try:
        holder = json.loads(path.read_bytes())
        who, when = holder["Who"], holder["Created"]
        job = f", {holder['Info']}" if holder.get("Info") else ""
        text = f"{holder['Operation']} by {who} since {when}{job}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        text = f"The holder has not said who it is ({path})"
    return (
        f"{text}. Nothing was sent. The lock is freed when that run ends, however it ends; wait for it with"
        " --lock-timeout 5m."
    )


# --- The files -------------------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes | None:
    """The file's content, None when there is none. Raises StateError when it cannot be read."""
    try:
        is_file = path.is_file() or not path.exists()
        data = path.read_bytes() if is_file else None  # a pipe would be waited for for ever
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError("The state cannot be read", f"{path}: {error.strerror}.") from error
    if not is_file:
        raise StateError("The state cannot be read", f"{path} is not a file.")
    return data


def _combine(files: Paths, state: bytes | None, journal: bytes | None) -> tuple[State | None, Replay | None]:
    """The state on disk and the journal beside it, once they are known to belong together."""
    base = decode_state(state) if state is not None else None
    if journal is None:
        return base, None
    leftover = replay(journal, files.journal.name)
    header = leftover.header
    if header is None:
        return base, leftover
    if base is None:
        if header.serial > 0:
            raise StateError(
                "The state file is gone",
                f"{files.journal.name} builds on serial {header.serial} of {files.state}, which is not there. Nothing"
                " was sent. Restore it from version control, or run `batchform state recover`.",
            )
        return State(lineage=header.lineage, service=header.service, endpoint=header.endpoint), leftover
    _same_lineage(base, header.lineage, files.journal)
    _not_older(base, header.serial, files)
    return base, leftover


def _same_lineage(base: State, lineage: str, path: Path) -> None:
    if base.lineage != lineage:
        raise StateError(
            "Two histories that do not belong together",
            f"{path} has lineage {lineage}, the state {base.lineage}. Nothing was sent. Put back the state that belongs"
            " to it, or run `batchform state recover`.",
        )


def _not_older(base: State, serial: int, files: Paths) -> None:
    """Refuse a state from before the one that was built upon: it lacks what was committed in between."""
    if base.serial < serial:  # safety: outcomes that were recorded are missing from it
        raise StateError(
            "An older state was put in the place of the state",
            f"{files.state} has serial {base.serial}, but a run built on serial {serial}: what was committed in between"
            f" is missing. What the run itself recorded stands in {files.journal.name}. Put back the newer state from"
            " version control or from the .backup file, or run `batchform state recover`.",
        )


def _write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, durably."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_fully(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(files: Paths, state: State, run: str) -> bytes:
    """Put `state` in the state file's place; after a crash at any moment it is the old file or the new one, whole.

    Returns:
        The bytes that are on disk now.

    Raises:
        StateError: It could not be written, or not made durable.
    """
    data = encode_state(state)
    temporary = files.state.with_name(f".{files.state.name}.{run}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        _write_new(temporary, data, _mode(files.state))
        _keep_backup(files, temporary)
        temporary.replace(files.state)
        fsync_folder(files.state)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateError(
            "The state file cannot be written",
            f"{files.state}: {error.strerror}. Every outcome stands in the journal beside it and is folded in by the"
            " next run; do not delete it.",
        ) from error
    return data


def keep_copy(path: Path, run: str) -> Path:
    """Copy a damaged file to a name of its own, durably; where the copy is."""
    copy = path.with_name(f"{path.name}.damaged-{run}")
    try:
        _write_new(copy, path.read_bytes())
    except OSError as error:
        raise StateError(
            "The damaged file cannot be kept", f"{copy}: {error.strerror}. Nothing was changed."
        ) from error
    return copy


def _mode(path: Path) -> int:
    """The mode of the present file, or one that keeps a new file to its owner."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o600


def _keep_backup(files: Paths, temporary: Path) -> None:
    """The present state becomes the backup, without a moment in which there is none."""
    copy = temporary.with_suffix(".backup")
    copy.unlink(missing_ok=True)
    try:
        try:
            os.link(files.state, copy)
        except FileNotFoundError:
            return
        except OSError:  # a file system without hard links
            _write_new(copy, files.state.read_bytes())
        copy.replace(files.backup)
    finally:  # after a failure; and where the backup is this very file already, a rename does nothing
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
