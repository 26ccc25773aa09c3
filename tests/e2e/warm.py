"""Imports everything once and forks a process for each command: `python warm.py FACTOR`.

The imports take longer than most commands, and the suite runs hundreds of them. Each forked process runs the whole
command like `fast.py`. stdin has one JSON object a line: words, folder,
environment, the files for stdout and stderr, and a run id if it has to be a certain one. stdout gets one exit code a
line.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import batchform.api.client
import batchform.api.pacing
import batchform.cli.apply
import batchform.engine  # noqa: F401  # imported once for all commands
from batchform.cli import environment
from tests.e2e.fast import run

if TYPE_CHECKING:
    from collections.abc import Callable


def prepare(job: dict[str, Any]) -> None:
    """Set the folder, environment, streams and words of the command."""
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for stream, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["out"], os.O_WRONLY),
        (2, job["err"], os.O_WRONLY),
    ):
        opened = os.open(name, flags)
        os.dup2(opened, stream)
        os.close(opened)
    sys.argv = ["batchform", *job["words"]]
    if run_id := job.get("run_id"):
        environment.new_run = lambda: run_id


def serve(live: Callable[[dict[str, Any], float], None]) -> None:
    """Fork a process for each line of stdin, which runs `live(job, factor)`, and print its exit code."""
    factor = float(sys.argv[1])
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            live(json.loads(line), factor)
            sys.exit()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _live(job: dict[str, Any], factor: float) -> None:
    prepare(job)
    run(factor)


if __name__ == "__main__":
    serve(_live)
