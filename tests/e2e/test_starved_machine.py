"""A machine without threads or memory: the outcomes so far are kept and reported, and the next run heals the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import site

if TYPE_CHECKING:
    from pathlib import Path

BATCHES = [f"b{number}" for number in range(4)]

NO_THREADS = """
import threading
start = threading.Thread.start
def limited(self):
    if self.name.startswith("batchform-"):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = limited
"""
NO_MEMORY = """
from batchform.engine import Threads
collect = Threads.collect
answers = 0
def limited(self, timeout):
    global answers
    replies = collect(self, timeout)
    answers += len(replies)
    if answers > 3:  # the list and two starts
        raise MemoryError
    return replies
Threads.collect = limited
"""


@pytest.mark.parametrize(
    ("fault", "code", "started"), [(NO_THREADS, 1, 0), (NO_MEMORY, 4, 3)], ids=["threads", "memory"]
)
def test_the_outcomes_come_first(tmp_path: Path, fault: str, code: int, started: int) -> None:
    """No message calls it a bug, and no batch is started twice."""
    with site(tmp_path, {"batches": {one: {"records": 10, "age": "2d"} for one in BATCHES}}) as place:
        place.declare({one: {"batch_id": one} for one in BATCHES})
        words = ["apply", "--auto-approve", "--report", "report.json", "--parallelism", "1"]
        process = subprocess.Popen(
            [sys.executable, "-c", f"{fault}\nfrom batchform.cli.main import main\nmain()", *words],
            cwd=place.folder,
            env=place.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ended = place.end(process)
        assert ended.code == code, ended
        assert sum(place.accepted().values()) == started
        outcomes = json.loads((tmp_path / "report.json").read_text())["outcomes"]
        results = sorted(one["result"] for one in outcomes)
        assert results == (["not_attempted", "started", "started", "unknown"] if started else ["not_attempted"] * 4)
        again = place.run("apply", "--auto-approve", fast=True)
        assert again.code == 0, again
        place.paid_once(BATCHES)
