"""Like `tests.e2e.warm`, but a command can be killed at a given step: `python -m tests.proof.dying FACTOR`.

A step is a call that affects a file, the lock or a socket. All threads are counted; with `only`, calls of one name. The
job's `die` says at which step and how: `before` or `after` it, or `half`, in the middle of a write or send. If it is an
errno, this one call fails with it. The number of steps is written to the job's `counted` after the command. With
`plant`, a bug of `plants.py` is planted first. The product contains no code for this.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.fast import run
from tests.e2e.warm import prepare, serve
from tests.proof.plants import PLANTS

if TYPE_CHECKING:
    from collections.abc import Callable

FILES: Final = ("open", "write", "fsync", "fchmod", "ftruncate", "link", "rename", "replace", "unlink", "close")
WIRES: Final = ("connect", "send", "sendall", "recv", "recv_into", "shutdown")
WRITES: Final = frozenset({"write", "send", "sendall"})


class Fate:
    """Counts the steps of this process and ends it at one of them."""

    def __init__(self, at: int, how: str, only: str = "") -> None:
        self.at, self.how, self.only = at, how, only
        self.count = 0
        self._turn = threading.Lock()
        self._elsewhere: set[int] = set()

    def step(self, name: str, call: Callable[..., Any], *words: Any, **more: Any) -> Any:
        """Make the call, or end the process at it."""
        with self._turn:
            self.count += self.only in {"", name}
            is_it = self.count == self.at and self.only in {"", name}
        if not is_it:
            return call(*words, **more)
        if self.how == "half" and name in WRITES:
            target, data, *rest = words
            call(target, bytes(data)[: len(data) // 2], *rest, **more)
        elif self.how == "after":
            call(*words, **more)
        elif self.how not in {"before", "half"}:
            number = getattr(errno, self.how)
            raise OSError(number, os.strerror(number))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError  # the process is killed

    def wrap(self, where: Any, name: str) -> None:
        """Count the calls of this function."""
        call = getattr(where, name)

        def counted(*words: Any, **more: Any) -> Any:
            if words[0] == os.devnull:  # not a file of the state
                self._elsewhere.add(opened := call(*words, **more))
                return opened
            if isinstance(words[0], int) and words[0] in self._elsewhere:
                self._elsewhere -= {words[0]} if name == "close" else set()
                return call(*words, **more)
            return self.step(name, call, *words, **more)

        setattr(where, name, counted)


def doom(job: dict[str, Any]) -> Fate:
    """Wrap all calls that affect files, the lock or sockets."""
    fate = Fate(**job["die"])
    for name in FILES:
        fate.wrap(os, name)
    for name in WIRES:
        fate.wrap(socket.socket, name)
    fate.wrap(fcntl, "flock")
    return fate


def live(job: dict[str, Any], factor: float) -> None:
    """Run the command until its end."""
    prepare(job)
    if "die" not in job:
        run(factor)
        return
    if "plant" in job:
        PLANTS[job["plant"]]()
    fate = doom(job)
    try:
        run(factor)
    finally:
        fate.at = 0
        Path(job["counted"]).write_text(str(fate.count), encoding="ascii")


if __name__ == "__main__":
    serve(live)
