"""A process that has everything imported and forks one for each command it is asked to run: `python warm.py FACTOR`.

A cold start costs more than most commands do; with hundreds of them that is the difference between a suite that is run
and one that is not. What is forked is what `fast.py` makes: the command, whole, in a process of its own. One JSON
object a line comes in (words, folder, environment, and the files for stdout and stderr); an exit code a line goes out.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import batchform.api.client
import batchform.api.pacing
import batchform.cli.apply
import batchform.engine  # noqa: F401  # that is what makes it warm
from tests.e2e.fast import run


def prepare(job: dict[str, Any]) -> None:
    """Have this process stand where that command is to run: folder, environment, streams and words."""
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


if __name__ == "__main__":
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            factor = float(sys.argv[1])
            prepare(json.loads(line))
            run(factor)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
