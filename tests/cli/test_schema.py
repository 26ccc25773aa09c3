"""`batchform schema` prints the schema files."""

from __future__ import annotations

import json
import sys

import pytest

from batchform.cli.main import main
from batchform.config import schema


def run(*words: str) -> int:
    """The exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["batchform", "schema", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", schema.names())
def test_every_schema_is_printed_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The short name works, and the name of the file."""
    for word in (name, name.rpartition("-")[0]):
        assert run(word) == 0
        assert json.loads(capsys.readouterr().out) == schema.load(name)


def test_without_a_name_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has a name and a title."""
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name.rpartition("-")[0] for name in schema.names()]
    assert {"config", "plan", "state", "diagnostics", "events", "world"} <= {line.split()[0] for line in lines}


def test_an_unknown_name_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A path does not lead out of the folder."""
    assert run("../pyproject") == 1
    assert "config, diagnostics" in capsys.readouterr().err
