"""Libraries that are older than batchform needs, as in an environment that others share."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from batchform.cli.main import _outdated

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OLD_CLICK = """
import importlib.metadata, sys
import click
if hasattr(click.exceptions, "NoArgsIsHelpError"):
    del click.exceptions.NoArgsIsHelpError
click.ParamType = type("ParamType", (), {})
version = importlib.metadata.version
importlib.metadata.version = lambda name: "8.1.7" if name == "click" else version(name)
from batchform.cli.main import main
main()
"""


def test_an_old_click_is_named_in_one_sentence(tmp_path: Path) -> None:
    """It lacks a class and the generic type of the options, so the error boundary itself failed."""
    ended = subprocess.run(
        [sys.executable, "-c", OLD_CLICK, "plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "Error: A library is too old\n  batchform needs click 8.4 or newer, but version 8.1.7 is installed.\n"
    )


def test_libraries_that_fit_are_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are those of the extras."""
    assert _outdated() is None
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2024.12.1")
    assert _outdated() is None
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.26" if name == "urllib3" else "99")
    outdated = _outdated()
    assert outdated is not None
    assert re.match(r"batchform needs urllib3 2[.0-9]+ or newer, but version 1\.26 is installed\.", outdated.detail)
