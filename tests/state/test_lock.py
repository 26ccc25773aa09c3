"""The lock: one run at a time, with real processes and with file systems that do not lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from batchform.errors import Exit, StateError, StateLockedError
from batchform.state.disk import paths
from batchform.state.local import hold
from batchform.state.reader import read
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHO = {
    "Operation": "apply",
    "Who": "alice@build-7",
    "Created": "2026-11-20T09:00:00Z",
    "Info": "https://ci.example.test/jobs/42",
}

# A run in its own process: it locks, records an attempt, prints a line, and commits when told to.
RUN = """
import json, sys
from datetime import datetime
from batchform.model import Service
from batchform.state.events import Event, Intended
from batchform.state.known import State
from batchform.state.local import hold

path, holder = sys.argv[1], json.loads(sys.argv[2])
now = datetime.fromisoformat("2026-11-20T09:00:00+00:00")
fresh = State(lineage="lineage-1", service=Service.PHONE, endpoint="https://api.example.test")
with hold(path, fresh=fresh, run="run-other", holder=holder, now=now) as store:
    store.record([Event(run="run-other", seq=1, at=now, batch_id="other", name="n", what=Intended(reference_id="r"))])
    print("held", flush=True)
    sys.stdin.readline()
    store.commit(now)
"""


@contextmanager
def another_run(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the state when this returns. It is always ended."""
    command = [sys.executable, "-c", RUN, str(file), json.dumps(WHO)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> None:
    """Let the other run commit and end."""
    process.communicate("\n")
    assert process.returncode == 0


class Time:
    """A clock that advances only by `sleep`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += max(seconds, 0.001)

    def clock(self) -> float:
        """The current time."""
        return self.now


def lock(file: Path, *, timeout: float = 0.0, time: Time | None = None) -> None:
    """Take and release the lock."""
    time = time or Time()
    with hold(file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW, timeout=timeout, sleep=time.sleep, clock=time.clock):
        pass


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the state."""
    return tmp_path / "state.json"


# --- Between processes -----------------------------------------------------------------------------------------------


def test_a_second_run_is_told_who_holds_the_state_and_a_killed_one_frees_it(file: Path) -> None:
    """The message names who, when, what and the job. After SIGKILL the lock is free and the attempt is recovered."""
    with another_run(file) as process:
        with pytest.raises(StateLockedError) as caught:
            lock(file)
        for word in ("alice@build-7", "2026-11-20T09:00:00Z", "apply", "https://ci.example.test/jobs/42"):
            assert word in caught.value.detail
        assert "Nothing was sent" in caught.value.detail
        assert caught.value.exit_code is Exit.LOCKED
        assert read(file).leftover == 1
        process.kill()
        process.wait()
    assert paths(file).lock.exists()
    with hold(file, fresh=EMPTY, run="run-1", holder={}, now=NOW) as store:
        assert store.recovered == 1
        assert store.state.entries["other"].uncertain


def test_a_run_waits_for_the_one_before_it(file: Path) -> None:
    """The state is read after the lock is taken, so it includes the other run's commit."""
    with another_run(file) as process:
        time = Time()

        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            if len(time.slept) == 3:
                finish(process)

        with hold(
            file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW, timeout=60.0, sleep=sleep, clock=time.clock
        ) as store:
            assert store.state.entries["other"].uncertain
            assert (store.recovered, store.state.serial) == (0, 1)
    assert time.slept == [0.1, 0.1, 0.1]


def test_waiting_ends_in_time(file: Path) -> None:
    """The error comes exactly at the timeout. With 0 there is no wait."""
    with hold(file, fresh=EMPTY, run="run-2", holder=WHO, now=NOW):
        for timeout in (0.0, 0.05, 1.0, 7.25):
            time = Time()
            with pytest.raises(StateLockedError):
                lock(file, timeout=timeout, time=time)
            assert sum(time.slept) == pytest.approx(timeout, abs=0.01)
            assert bool(time.slept) is bool(timeout)
    lock(file)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'"x"', b'{"Who": 1}'])
def test_a_holder_that_has_not_said_who_it_is_holds_all_the_same(file: Path, data: bytes) -> None:
    """Its disk may be full, or it has not written its name yet."""
    with hold(file, fresh=EMPTY, run="run-2", holder=WHO, now=NOW):
        paths(file).lock.write_bytes(data)
        with pytest.raises(StateLockedError) as caught:
            lock(file)
    assert "does not name the run" in caught.value.detail


def test_the_lock_is_free_after_any_end(file: Path) -> None:
    """After an exception in the run, or with a state that cannot be used."""

    def die() -> None:
        with hold(file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die()
    file.write_bytes(b"")
    with pytest.raises(StateError, match="empty"):
        lock(file)
    file.unlink()
    lock(file)


# --- File systems, and people, that do what they should not ----------------------------------------------------------


class Flock:
    """Replaces `fcntl.flock`. An answer is None for success, or an errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: int | None) -> None:
        self._answers = list(answers)
        self.calls = 0
        monkeypatch.setattr(fcntl, "flock", self)

    def __call__(self, descriptor: int, operation: int) -> None:
        """Succeed or raise an error."""
        assert operation == fcntl.LOCK_EX | fcntl.LOCK_NB
        self.calls += 1
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise OSError(answer, os.strerror(answer))


def test_a_lock_that_is_given_to_everyone_is_noticed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems grant every lock."""
    flock = Flock(monkeypatch)
    with pytest.raises(StateError, match="cannot lock") as caught:
        lock(file)
    assert flock.calls == 2
    assert "local disk" in caught.value.detail
    assert not file.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO, errno.EACCES])
def test_a_file_system_without_locks_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The run never continues without a lock, and the message does not blame another run."""
    Flock(monkeypatch, number)
    with pytest.raises(StateError, match="cannot lock") as caught:
        lock(file)
    assert os.strerror(number) in caught.value.detail


def test_a_lock_file_deleted_in_the_moment_of_locking_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock on a deleted or replaced file protects nothing."""
    really = fcntl.flock
    calls = []

    def flock(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            paths(file).lock.unlink()
        if len(calls) == 2:
            paths(file).lock.unlink()
            paths(file).lock.touch()
        really(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    time = Time()
    with hold(file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW, timeout=1.0, sleep=time.sleep, clock=time.clock):
        assert len(time.slept) == 2
        with pytest.raises(StateLockedError):
            lock(file)


def test_a_lock_file_that_is_deleted_while_held_lets_a_second_run_in_and_loses_nothing(file: Path) -> None:
    """The run cannot notice this in time, so the outcomes of both runs must be kept."""
    with another_run(file) as process:
        paths(file).lock.unlink()
        with hold(file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW) as store:
            assert store.recovered == 1
            store.record(events(INTENDED, STARTED))
            finish(process)
            assert paths(file).journal.exists()
            store.commit(NOW)
    known = read(file)
    assert known.state is not None
    assert {key: entry.phase.value for key, entry in known.state.entries.items()} == {
        "b1": "started",
        "other": "intended",
    }


def test_a_full_disk_is_no_reason_to_go_without_the_lock(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's name is missing, but the lock is held."""

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with hold(file, fresh=EMPTY, run="run-2", holder=WHO, now=NOW):
        with pytest.raises(StateLockedError):
            lock(file)
        with pytest.raises(StateError, match="cannot be opened"):
            lock(file.parent / "missing" / "state.json")


def test_the_lock_file_is_the_owners_and_is_never_renamed_or_unlinked(file: Path) -> None:
    """All runs must lock the same file."""
    before = os.umask(0)
    try:
        lock(file)
    finally:
        os.umask(before)
    inode = paths(file).lock.stat().st_ino
    assert paths(file).lock.stat().st_mode & 0o777 == 0o600
    with hold(file, fresh=EMPTY, run="run-1", holder=WHO, now=NOW) as store:
        store.record(events(INTENDED))
        store.commit(NOW)
    assert paths(file).lock.stat().st_ino == inode


def test_without_fcntl_the_message_is_clear(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows reading works, and apply names the supported systems."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(StateError, match="cannot lock files") as caught:
        lock(file)
    assert "Linux and macOS" in caught.value.detail
    assert read(file).state is None
