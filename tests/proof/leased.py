"""Warm like `tests.e2e.warm`, for commands on a remote state: `python -m tests.proof.leased FACTOR`.

The job's `lease` and `timeout` take the place of a minute and 15 seconds. Its `die` says at which
request to the store the command dies, and whether before or after it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import batchform.api.client
import batchform.api.pacing
import batchform.cli.apply
import batchform.engine
import batchform.state.remote.store  # noqa: F401  # that is what makes it warm
from batchform.state.git import Git
from batchform.state.objects import Objects
from tests.e2e.fast import run
from tests.e2e.warm import prepare

if TYPE_CHECKING:
    from collections.abc import Callable


def mortal(at: int, how: str) -> None:
    """From now on request number `at` is the last one."""
    count = 0
    turn = threading.Lock()

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any) -> Any:
            nonlocal count
            with turn:
                count += 1
                is_it = count == at
            if is_it and how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*words)
            finally:
                if is_it:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counted

    for engine in (Objects, Git):
        engine.read = wrapped(engine.read)  # type: ignore[method-assign]  # that is what this is for
        engine.write = wrapped(engine.write)  # type: ignore[method-assign]  # the same


def live(job: dict[str, Any], factor: float) -> None:
    """Be the command."""
    prepare(job)
    Objects.lease = Git.lease = job["lease"]
    Git.window = 0.0
    Git.poll = 0.2
    Objects.timeout = job["timeout"]
    if "die" in job:
        mortal(**job["die"])
    run(factor)


if __name__ == "__main__":
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            live(json.loads(line), float(sys.argv[1]))
            sys.exit()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
