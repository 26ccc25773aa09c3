"""`batchform schema` prints the schema files."""

from __future__ import annotations

import json

import pytest

from batchform.config import schema
from tests.cli.in_process import run


@pytest.mark.parametrize("name", schema.names())
def test_every_schema_is_printed_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The short name works, and the name of the file."""
    for word in (name, name.rpartition("-")[0]):
        assert run("schema", word) == 0
        assert json.loads(capsys.readouterr().out) == schema.load(name)


def test_without_a_name_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has a name and a title."""
    assert run("schema") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name.rpartition("-")[0] for name in schema.names()]
    assert {"config", "plan", "state", "diagnostics", "events", "world"} <= {line.split()[0] for line in lines}


def test_an_unknown_name_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A path does not lead out of the folder."""
    assert run("schema", "../pyproject") == 1
    assert "config, diagnostics" in capsys.readouterr().err
