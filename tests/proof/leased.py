"""Warm like `tests.e2e.warm`, for commands on a remote state: `python -m tests.proof.leased FACTOR`.

The job's `lease` and `timeout` take the place of a minute and 15 seconds. Its `die` says at which
request to the store the command gets a signal (KILL), and whether before or after it.

The clock with which a run watches another one, and waits for its store, is faster by FACTOR. The clocks that tell a run
whether it still holds the state are those of the machine, so a slow machine does not lose its lease.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import batchform.api.client
import batchform.api.pacing
import batchform.cli.apply
import batchform.engine
import batchform.state.remote.store  # noqa: F401  # that is what makes it warm
from batchform.state import registers
from batchform.state.git import Git
from batchform.state.objects import Objects
from tests.e2e import fast
from tests.e2e.warm import prepare, serve

if TYPE_CHECKING:
    from collections.abc import Callable


def mortal(at: int, how: str, by: int = signal.SIGKILL) -> None:
    """Send this signal to the command before or after request number `at`."""
    count = 0
    turn = threading.Lock()

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any) -> Any:
            nonlocal count
            with turn:
                count += 1
                is_it = count == at
            if is_it and how == "before":
                os.kill(os.getpid(), by)
            try:
                return call(*words)
            finally:
                if is_it:
                    os.kill(os.getpid(), by)

        return counted

    for engine in (Objects, Git):
        engine.read = wrapped(engine.read)  # type: ignore[method-assign]  # that is what this is for
        engine.write = wrapped(engine.write)  # type: ignore[method-assign]  # the same


def hurry(factor: float) -> None:
    """Let the time of waiting pass faster."""
    clocks = registers.SYSTEM
    object.__setattr__(clocks, "monotonic", lambda: time.monotonic() * factor)
    object.__setattr__(clocks, "sleep", lambda seconds: time.sleep(seconds / factor))
    registers._LASTING_PATIENCE *= factor  # type: ignore[misc]  # a request takes as long as ever
    fast.SHORTEST = 20.0  # the service of these tests always answers


def live(job: dict[str, Any], factor: float) -> None:
    """Be the command."""
    prepare(job)
    Objects.lease = Git.lease = job["lease"]
    Git.window = 0.0
    Git.poll = 0.2
    Objects.poll = 0.05
    hurry(factor)
    Objects.timeout = job["timeout"]
    if "die" in job:
        mortal(**job["die"])
    fast.run(factor)


if __name__ == "__main__":
    serve(live)
