"""Wall-clock limits on things that have no such limit of their own: a busy socket, and connecting.

A socket's timeout bounds one wait, not the whole. A server that drips a byte a second, or sends `100 Continue` for
ever, would hold a worker until morning, so one `Watchdog` thread shuts the socket at the deadline. Connecting has no
socket that could be shut (it resolves names, tries several addresses and shakes hands), so a `Dial` does it on a thread
of its own, which can be left behind: nothing of the request is sent there.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

LATE = "the deadline passed"
CUT = "this run closed the connection"
CLOSED = "the client is closed"


class Connectable(Protocol):
    """What a `Dial` needs of a connection."""

    def connect(self) -> None:
        """Get ready to send, or raise."""

    def close(self) -> None:
        """Give everything back."""


def cause_of(error: BaseException) -> str:
    """What went wrong, in a few words: the system's own, where one of its errors lies beneath."""
    found, inner = error, error.__cause__ or error.__context__
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, OSError):
            found = inner
        inner = inner.__cause__ or inner.__context__
    if isinstance(found, TimeoutError):
        return LATE
    text = str(found)  # the client redacts it before it is cut
    return text if isinstance(found, OSError) and text else f"{type(found).__name__}: {text}".rstrip(": ")


@dataclass(slots=True, eq=False)
class Watch:
    """One exchange under guard. `stopped` says why its socket was shut, empty as long as it was not."""

    wire: object
    ends: float
    stopped: str = ""

    def stop(self, why: str) -> None:
        """Shut the socket in both directions; whoever waits on it wakes up."""
        self.stopped = why
        wire = getattr(self.wire, "socket", self.wire)  # urllib3's TLS in TLS keeps the proxy's socket there
        if isinstance(wire, socket.SocketType):  # a replayed cassette has none
            with suppress(OSError):
                # safety: not `self.wire.shutdown`, which for TLS drops the encryption first, so that a thread that is
                # just sending could let the token out in the clear
                socket.SocketType.shutdown(wire, socket.SHUT_RDWR)


class Watchdog:
    """Shuts sockets at their deadlines, or all of them at once. One daemon thread, started with the first watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._wakes = float("inf")
        self._over = ""
        self._thread: threading.Thread | None = None

    def watch(self, wire: object, ends: float) -> Watch | str:
        """Guard `wire` until `release`, or the reason why nothing may be sent any more. `ends` is monotonic seconds."""
        watch = Watch(wire=wire, ends=ends)
        with self._changed:
            if self._over:
                return self._over
            if ends <= time.monotonic():
                return LATE
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="batchform-watchdog", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    return cause_of(error)
                self._thread = thread
            self._watches.add(watch)
            if ends < self._wakes:
                self._changed.notify()
        return watch

    def release(self, watch: Watch) -> str:
        """End the guard before the socket is closed or used again; tells why it was shut, empty if it was not."""
        with self._changed:
            self._watches.discard(watch)
            if self._over and not self._watches:
                self._changed.notify()
        return watch.stopped

    def cut(self) -> None:
        """Shut every socket now and guard no more."""
        with self._changed:
            self._over = CUT
            for watch in self._watches:
                watch.stop(CUT)
            self._watches.clear()
            self._changed.notify()

    def rest(self) -> None:
        """Guard what is under way to its end, and nothing new."""
        with self._changed:
            self._over = self._over or CLOSED
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._watches or not self._over:
                now = time.monotonic()
                for watch in [watch for watch in self._watches if watch.ends <= now]:
                    watch.stop(LATE)
                    self._watches.discard(watch)
                self._wakes = min((watch.ends for watch in self._watches), default=float("inf"))
                self._changed.wait(min(self._wakes - now, threading.TIMEOUT_MAX))


class Dial:
    """One attempt to connect, which its starter may leave behind; a connection that is no longer wanted is closed.

    After `wait`, `error` is what connecting raised, and `late` tells whether it took too long.
    """

    def __init__(self, line: Connectable) -> None:
        self._line = line
        self._settling = threading.Lock()
        self._settled = threading.Event()
        self._outcome: str | None = None
        self.error: Exception | None = None
        self.late = False

    def wait(self, seconds: float) -> str:
        """Connect; returns empty when connected, else why not, after `seconds` at the latest."""
        try:
            threading.Thread(target=self._run, name="batchform-dial", daemon=True).start()
        except RuntimeError as error:
            return cause_of(error)
        try:
            self._settled.wait(seconds)
        finally:
            self.leave(LATE)
        self.late = self._outcome == LATE and self.error is None
        return self._outcome or ""

    def leave(self, why: str) -> None:
        """Stop waiting, from any thread. Changes nothing once it is connected."""
        with self._settling:
            if self._outcome is None:
                self._outcome = why
        self._settled.set()

    def _run(self) -> None:
        why, failure = "", None
        try:
            self._line.connect()
        except Exception as error:  # noqa: BLE001  # whatever went wrong, nothing of the request has left
            why, failure = cause_of(error), error
        with self._settling:
            wanted = self._outcome is None
            if wanted:
                self._outcome = why
                self.error = failure
        if why or not wanted:
            with suppress(Exception):
                self._line.close()
        self._settled.set()
