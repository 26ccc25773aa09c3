"""A machine without threads or memory: the outcomes so far are kept and reported, and the next run heals the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Ended, Site, site

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
NO_MEMORY_AT_ALL = """
from batchform.api.client import Client
def limited(self, request):
    raise MemoryError
Client.send = limited
"""
NO_MEMORY_TO_DECODE = """
from batchform.api import contract
def limited(body, wanted):
    raise MemoryError
contract.json_part = limited
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


def run(place: Site, fault: str, *words: str) -> Ended:
    """A command on such a machine."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{fault}\nfrom batchform.cli.main import main\nmain()", *words],
        cwd=place.folder,
        env=place.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return place.end(process)


@pytest.mark.parametrize(
    ("fault", "code", "started"),
    [(NO_THREADS, 1, 0), (NO_MEMORY, 4, 3), (NO_MEMORY_TO_DECODE, 1, 0)],
    ids=["threads", "memory", "memory in the refresh"],
)
def test_the_outcomes_come_first(tmp_path: Path, fault: str, code: int, started: int) -> None:
    """No message calls it a bug, and no batch is started twice."""
    with site(tmp_path, {"batches": {one: {"records": 10, "age": "2d"} for one in BATCHES}}) as place:
        place.declare({one: {"batch_id": one} for one in BATCHES})
        words = ["apply", "--auto-approve", "--report", "report.json", "--parallelism", "1"]
        ended = run(place, fault, *words)
        assert ended.code == code, ended
        assert sum(place.accepted().values()) == started
        outcomes = json.loads((tmp_path / "report.json").read_text())["outcomes"]
        results = sorted(one["result"] for one in outcomes)
        assert results == (["not_attempted", "started", "started", "unknown"] if started else ["not_attempted"] * 4)
        again = place.run("apply", "--auto-approve", fast=True)
        assert again.code == 0, again
        place.paid_once(BATCHES)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NO_THREADS, "This system cannot start a thread. Raise its limit of processes or memory. No batch"),
        (NO_MEMORY_AT_ALL, "The account could not be read"),
        (NO_MEMORY_TO_DECODE, "This system has no more memory"),
    ],
    ids=["threads", "memory to send", "memory to decode"],
)
@pytest.mark.parametrize(
    "words",
    [["refresh"], ["status"], ["plan", "--refresh"], ["import", "--all", "--out", "new.yaml"]],
    ids=" ".join,
)
def test_a_command_that_reads_says_what_is_missing(tmp_path: Path, words: list[str], fault: str, said: str) -> None:
    """Exit code 1, as for every error, and nothing is changed."""
    with site(tmp_path, {"batches": {one: {"records": 10} for one in BATCHES}}) as place:
        place.declare({one: {"batch_id": one} for one in BATCHES[:2]})
        ended = run(place, fault, *words)
        assert ended.code == 1, ended
        assert said in " ".join(ended.err.split()), ended
        assert "No batch was started." in ended.err
        assert {path.name for path in tmp_path.iterdir()} <= {"batchform.yaml", "batchform.state.json.lock"}
