"""Files a user could have written, and the exact output for each: one folder per case, no Python per case.

`tests/invalid/<case>/` holds `batchform.yaml`, or several files, and `expected.txt`, which
`BATCHFORM_UPDATE_GOLDEN=1` rewrites. Read what it wrote: is the caret under what has to change, and does the message
alone suffice to change it?
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from batchform.config import loader, schema
from batchform.config.problems import Code
from batchform.errors import ConfigError
from batchform.render.documents.diagnostics import diagnostics_document
from batchform.render.github import github_text
from batchform.render.style import Style
from batchform.render.text.problems import problems_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchform.errors import Problem
    from batchform.source_text import Place, SourceText

INVALID = Path(__file__).parents[1] / "invalid"
CASES = sorted(path for path in INVALID.iterdir() if path.is_dir())
PLAIN = Style(color=False)
VALIDATOR = Draft202012Validator(schema.load("diagnostics-1"))
NO_FILE_CAN_SHOW = {
    Code.UNREADABLE,
    Code.NOT_REGULAR,
    Code.TOO_LARGE,
    Code.EMPTY_FOLDER,
    Code.TOO_MANY_PROBLEMS,
    Code.LEADS_OUT,
    Code.SCHEMA,
}
"""These are about paths, sizes and rules that the schema does not have; DIAGNOSTICS.md has them."""


@cache
def found(folder: Path) -> tuple[tuple[Problem, ...], Mapping[str, SourceText]]:
    """What is wrong with the files of a case, and their texts. The folder must be the working directory."""
    try:
        config = loader.load(sorted(path.name for path in folder.iterdir() if path.suffix in loader.SUFFIXES))
    except ConfigError as error:
        return error.problems, error.sources
    return config.warnings, config.sources


@pytest.fixture(params=CASES, ids=lambda path: path.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a case, as the working directory."""
    folder: Path = request.param
    monkeypatch.chdir(folder)
    return folder


def test_the_case_reads_as_written_down(case: Path) -> None:
    """Code, place, excerpt, caret, words and hint."""
    problems, sources = found(case)
    text = problems_text(problems, PLAIN, sources) + "\n"
    golden = case / "expected.txt"
    if os.environ.get("BATCHFORM_UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_every_form_names_the_same_place(case: Path) -> None:
    """Text, JSON and workflow commands; the JSON fits its schema, and its bytes and its snippet hold what is meant."""
    problems, sources = found(case)
    document = json.loads(json.dumps(diagnostics_document(problems, sources)))
    VALIDATOR.validate(document)
    commands = github_text(problems, lambda file: file).splitlines()
    for problem, entry in zip(problems, document["diagnostics"], strict=True):
        place = problem.place
        assert place is not None
        assert f"{problem.severity.value.title()}: {place}: {problem.summary} [{problem.code}]" in told(
            problem, sources
        )
        start = entry["range"]["start"]
        assert (entry["code"], start["line"], start["column"]) == (problem.code, place.line, place.column)
        check_bytes(case, entry["range"], place, sources)
        snippet = entry["snippet"]
        marked = snippet["code"][snippet["highlight_start_offset"] : snippet["highlight_end_offset"]]
        assert re.sub("[\udc80-\udcff]", "\ufffd", stretch(place, sources)).startswith(marked)
    errors = [problem for problem in problems if problem.severity.value == "error"][:10]
    pattern = re.compile(r"::(error|warning) file=([^,]*),line=(\d+),col=(\d+),.*title=[^:]*\[(BF\d+)\]::.")
    for problem, command in zip(errors, commands, strict=False):
        match = pattern.match(command)
        assert match, command
        assert match.groups() == (problem.severity, *str(problem.place).split(":"), problem.code)


def told(problem: Problem, sources: Mapping[str, SourceText]) -> str:
    """The text form of one problem, its first lines joined where they are wrapped."""
    return re.sub(r"\n  (?=\S)", " ", problems_text([problem], PLAIN, sources))


def stretch(place: Place, sources: Mapping[str, SourceText]) -> str:
    """What stands at a place."""
    source = sources[place.file]
    return source.text[source.offset(place.line, place.column) : source.offset(place.end_line, place.end_column)]


def check_bytes(case: Path, found: dict[str, Any], place: Place, sources: Mapping[str, SourceText]) -> None:
    """The file's own bytes at the offsets are what stands at the place."""
    data = (case / place.file).read_bytes()[found["start"]["byte"] : found["end"]["byte"]]
    assert data.decode(errors="surrogateescape") == stretch(place, sources)


def test_the_cases_show_every_code_that_a_file_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 80 cases, each with a problem."""
    shown = set()
    for folder in CASES:
        monkeypatch.chdir(folder)
        problems, _ = found(folder)
        assert problems, folder
        shown |= {problem.code for problem in problems}
    assert len(CASES) >= 80
    assert shown == {code.value[0] for code in Code if code not in NO_FILE_CAN_SHOW}
