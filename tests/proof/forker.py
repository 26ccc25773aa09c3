"""A process that has imported everything and forks a command for each input line: `python forker.py`.

Like `tests/e2e/warm.py`, but for any number of commands at once, which can receive signals. It prints one line with the
process id when a command begins, and one with the exit code and the time (monotonic seconds) when it ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import Any

from tests.e2e.fast import run
from tests.e2e.warm import prepare


def tell(**what: Any) -> None:
    """Print one line."""
    os.write(1, (json.dumps(what) + "\n").encode())


def begin(line: str, came: int) -> int:
    """Fork the command of this line and return its process id."""
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(came)
        prepare(job)
        run(job["factor"])  # ends in SystemExit
    tell(job=job["id"], pid=child)
    return child


def main() -> None:
    """Fork the requested commands and report their ends, until the input ends and all commands have ended."""
    came, comes = os.pipe()
    for end in (came, comes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(comes)
    running: dict[int, None] = {}
    asked, is_open = b"", True
    while is_open or running:
        ready, _, _ = select.select([came, 0] if is_open else [came], [], [])
        if came in ready:
            os.read(came, 65536)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del running[pid]
                    tell(pid=pid, code=os.waitstatus_to_exitcode(status), at=time.monotonic())
        if 0 in ready:
            data = os.read(0, 65536)
            is_open = bool(data)
            *lines, asked = (asked + data).split(b"\n")
            for line in lines:
                running[begin(line.decode(), came)] = None


if __name__ == "__main__":
    main()
    sys.exit(0)
