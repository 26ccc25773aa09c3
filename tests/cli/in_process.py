"""Runs a command in the process of the test: for what ends before anything is sent, a fifth of the time."""

from __future__ import annotations

import sys

import pytest

from batchform.cli.main import main


def run(*words: str) -> int:
    """The exit code of a command. Its output goes to `sys.stdout` and `sys.stderr` as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["batchform", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)
