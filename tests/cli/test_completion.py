"""Shell completion offers names without importing the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_IMPORTED = (
    "import sys; from batchform.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
)


def complete(line: str) -> subprocess.CompletedProcess[str]:
    """The completion at the end of the line for bash. On stderr: the imported modules."""
    environment = {
        **os.environ,
        "_BATCHFORM_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    return subprocess.run(
        [sys.executable, "-c", _IMPORTED], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("batchform pl", ["plan"]),
        ("batchform s", ["schema", "show", "simulator", "state", "status"]),
        ("batchform --v", ["--version"]),
        ("batchform plan --ta", ["--target"]),
        ("batchform nothing", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str]) -> None:
    """Completion offers commands, and the options of a command."""
    told = complete(line)
    assert [word.partition(",")[2] for word in told.stdout.split()] == offered


def test_commands_are_offered_without_importing_them() -> None:
    """Neither the commands nor their imports are loaded."""
    modules = set(complete("batchform p").stderr.split())
    assert "batchform.cli.main" in modules
    assert modules.isdisjoint({"batchform.cli.plan", "batchform.model", "yaml", "urllib3"})


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--version"], ["batchform.model", "yaml", "json", "urllib3", "jsonschema"]),
        (["plan"], ["batchform.protocol", "batchform.state.events", "batchform.engine", "urllib3"]),
    ],
    ids=lambda value: value[0],
)
def test_a_command_imports_no_more_than_it_needs(words: list[str], absent: list[str], tmp_path: Path) -> None:
    """Start-up stays fast: an offline plan imports no network library."""
    tmp_path.joinpath("batchform.yaml").write_text("version: 1\nbatches:\n  a: {batch_id: a-1}\n", encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0
    assert set(absent).isdisjoint(told.stderr.split("\n")[-2].split(" "))
