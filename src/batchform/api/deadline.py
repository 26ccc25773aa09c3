"""Deadlines for an exchange on a socket and for connecting.

The timeout of a socket limits each wait, not the whole exchange. A server that sends one byte per second, or `100
Continue` without end, could block a worker for hours. So a `Watchdog` thread shuts the socket at the deadline. During
connecting there is no socket to shut (names are resolved, several addresses are tried, TLS is negotiated). So
`Connecting` runs it in a thread that can be abandoned, because that thread sends nothing of the request.
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
    """The part of a connection that `Connecting` uses."""

    def connect(self) -> None:
        """Connect, or raise."""

    def close(self) -> None:
        """Close the connection."""


def cause_of(error: BaseException) -> str:
    """A short description of an error: that of the operating system if one of its errors is the cause."""
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
    """A watched exchange. `stopped` is why its socket was shut, empty if it was not."""

    wire: object
    ends: float
    stopped: str = ""

    def stop(self, why: str) -> None:
        """Shut the socket in both directions, which wakes up a waiting thread."""
        self.stopped = why
        wire = getattr(self.wire, "socket", self.wire)  # urllib3's TLS in TLS keeps the proxy's socket there
        if isinstance(wire, socket.SocketType):  # a replayed cassette has none
            with suppress(OSError):
                # safety: not `self.wire.shutdown`: for TLS it first removes the encryption, so a thread that is sending
                # could send the token unencrypted
                socket.SocketType.shutdown(wire, socket.SHUT_RDWR)


class Watchdog:
    """Shuts sockets at their deadlines, or all of them at once. One daemon thread, started with the first watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._wakes = float("inf")
        self._ended = ""
        self._thread: threading.Thread | None = None

    def watch(self, wire: object, ends: float) -> Watch | str:
        """Watch `wire` until `release`, or return why nothing may be sent. `ends` is monotonic seconds."""
        watch = Watch(wire=wire, ends=ends)
        with self._changed:
            if self._ended:
                return self._ended
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
        """Stop watching, before the socket is closed or reused. Returns why it was shut, empty if it was not."""
        with self._changed:
            self._watches.discard(watch)
            if self._ended and not self._watches:
                self._changed.notify()
        return watch.stopped

    def cut(self) -> None:
        """Shut every socket now. No exchange can begin afterwards."""
        with self._changed:
            self._ended = CUT
            for watch in self._watches:
                watch.stop(CUT)
            self._watches.clear()
            self._changed.notify()

    def close(self) -> None:
        """Watch the current exchanges to their ends. No exchange can begin afterwards."""
        with self._changed:
            self._ended = self._ended or CLOSED
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._watches or not self._ended:
                now = time.monotonic()
                for watch in [watch for watch in self._watches if watch.ends <= now]:
                    watch.stop(LATE)
                    self._watches.discard(watch)
                self._wakes = min((watch.ends for watch in self._watches), default=float("inf"))
                self._changed.wait(min(self._wakes - now, threading.TIMEOUT_MAX))


class Connecting:
    """An attempt to connect that can be abandoned. A connection that is made after that is closed.

    After `wait`, `error` is the exception of the attempt, and `late` is whether it took too long.
    """

    def __init__(self, connection: Connectable) -> None:
        self._connection = connection
        self._settling = threading.Lock()
        self._settled = threading.Event()
        self._outcome: str | None = None
        self.error: Exception | None = None
        self.late = False

    def wait(self, seconds: float) -> str:
        """Connect within `seconds`. Returns empty when connected, else why not."""
        try:
            threading.Thread(target=self._run, name="batchform-connecting", daemon=True).start()
        except RuntimeError as error:
            return cause_of(error)
        try:
            self._settled.wait(seconds)
        finally:
            self.abandon(LATE)
        self.late = self._outcome == LATE and self.error is None
        return self._outcome or ""

    def abandon(self, why: str) -> None:
        """Stop waiting, from any thread. Has no effect once it is connected."""
        with self._settling:
            if self._outcome is None:
                self._outcome = why
        self._settled.set()

    def _run(self) -> None:
        why, failure = "", None
        try:
            self._connection.connect()
        except Exception as error:  # noqa: BLE001  # every error must become a reply; nothing of the request was sent
            why, failure = cause_of(error), error
        with self._settling:
            wanted = self._outcome is None
            if wanted:
                self._outcome = why
                self.error = failure
        if why or not wanted:
            with suppress(Exception):
                self._connection.close()
        self._settled.set()
