"""`batchform simulator` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.simulator.calls import BATCHES, call

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "batchform", "simulator"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_command_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """It prints its address, logs each request, and exits with 0."""
    log = tmp_path / "log.jsonl"
    words = [*COMMAND, "--log", str(log), "--token", "only-this"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Listening on ").strip()
        try:
            assert call(url, "GET", BATCHES)[0] == 401
            assert call(url, "GET", BATCHES, Auth_Token="only-this")[0] == 200
            process.send_signal(number)
            assert process.communicate(timeout=10) == ("", "")
        finally:
            process.kill()
    assert process.returncode == 0
    assert [json.loads(line)["status"] for line in log.read_text(encoding="utf-8").splitlines()] == [401, 200]


def test_the_command_listens_on_loopback_only() -> None:
    """Another address is refused with exit code 1."""
    ended = subprocess.run([*COMMAND, "--listen", "0.0.0.0:0"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "not a loopback address" in ended.stderr


def test_a_world_that_does_not_exist_is_named_as_one(tmp_path: Path) -> None:
    """`batchform init` writes configurations, not worlds."""
    ended = subprocess.run(
        [*COMMAND, "--world", "nope.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "Error: There is no such world file",
        "  nope.yaml: check the path. `batchform schema world` prints its schema.",
    ]
