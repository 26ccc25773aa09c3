"""`batchform show`: what it says of a file that it cannot show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.in_process import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"format_version": "1.0", "digest": "x"}, "batchform state recover"),
        ({"format_version": "99.0"}, "Upgrade batchform"),
        ({}, "neither a saved plan nor a state file"),
    ],
    ids=["changed by hand", "newer", "other"],
)
def test_a_file_that_cannot_be_shown_is_named(
    document: dict[str, str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do."""
    file = tmp_path / "state.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert run("show", str(file)) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert file.name in said
    assert says in said
