"""DIAGNOSTICS.md says what the program says: every code is there, every example is run.

Of each section the files (or the shell that makes them) up to the `text` block must give that block, which shows the
code and carets at its place; those after it must be valid. `BATCHFORM_UPDATE_GOLDEN=1`, without xdist, rewrites the
`text` blocks: read them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchform.config import judge, loader, schema
from batchform.config.problems import Code
from batchform.errors import ConfigError
from batchform.render.style import Style
from batchform.render.text.problems import problems_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.errors import Problem

PAGE = Path(__file__).parents[2] / "DIAGNOSTICS.md"
SECTION = re.compile(r"^### (?P<code>BF[0-9]{3}): (?P<summary>.+)\n(?P<body>(?:(?!##).*\n)*)", re.MULTILINE)
BLOCK = re.compile(r"^```(?P<kind>yaml|sh|text)(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = "$ batchform validate"


@dataclass(frozen=True, slots=True)
class Section:
    """One code: the files with the problem, the output, the corrected files."""

    code: str
    summary: str
    failing: tuple[re.Match[str], ...]
    said: str
    repaired: tuple[re.Match[str], ...]


def sections() -> list[Section]:
    """The sections of the page, in its order."""
    found = []
    for match in SECTION.finditer(PAGE.read_text(encoding="utf-8")):
        blocks = list(BLOCK.finditer(match["body"]))
        at = next((number for number, block in enumerate(blocks) if block["kind"] == "text"), None)
        if at is not None:
            failing, said, repaired = tuple(blocks[:at]), blocks[at]["text"], tuple(blocks[at + 1 :])
            found.append(Section(match["code"], match["summary"], failing, said, repaired))
    return found


def made(blocks: Sequence[re.Match[str]], folder: Path) -> None:
    """Write the files of the blocks into the folder, or run the shell commands that make them."""
    folder.mkdir()
    for block in blocks:
        if block["kind"] == "sh":
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environ = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
            subprocess.run(["sh", "-eu", "-c", block["text"]], cwd=folder, env=environ, check=True, capture_output=True)
        else:
            (folder / (block["name"] or "batchform.yaml")).write_text(block["text"], encoding="utf-8")


def judged(said: str) -> tuple[tuple[Problem, ...], str]:
    """The problems of the files that the command of a `text` block names, and the output."""
    words = shlex.split(said.splitlines()[0].removeprefix(COMMAND))
    paths = [word for word in words if word != "-f"] or ["batchform.yaml"]
    try:
        config = loader.load(paths)
    except ConfigError as error:
        problems, sources = error.problems, error.sources
    else:
        problems, sources = config.warnings, config.sources
    here = os.path.realpath(os.curdir)
    shown = [replace(problem, detail=problem.detail.replace(here, "/checkout")) for problem in problems]
    return problems, problems_text(shown, Style(color=False), sources)


def shortened(text: str) -> str:
    """A long output without its middle."""
    lines = text.splitlines()
    return text if len(lines) < 40 else "\n".join([*lines[:5], "", "[...]", "", *lines[-1:]])


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.code)
def test_the_example_has_this_problem_and_the_repair_has_none(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly this code, at the place the page shows."""
    if section.code == Code.SCHEMA.value[0]:
        changed = schema.load(judge.NAME)
        changed["$defs"]["labels"]["minProperties"] = 2
        monkeypatch.setattr(judge, "judge", lambda: judge.Judge(changed))
    made(section.failing, tmp_path / "failing")
    monkeypatch.chdir(tmp_path / "failing")
    problems, text = judged(section.said)
    wanted = f"{section.said.splitlines()[0]}\n{shortened(text)}\n"
    if os.environ.get("BATCHFORM_UPDATE_GOLDEN") == "1":
        page = PAGE.read_text(encoding="utf-8")
        head = page.index(f"### {section.code}:")
        PAGE.write_text(page[:head] + page[head:].replace(section.said, wanted, 1), encoding="utf-8")
    else:
        assert section.said == wanted
    if section.code == Code.TOO_MANY_PROBLEMS.value[0]:
        problems = problems[-1:]
    assert {(problem.code, problem.summary) for problem in problems} == {(section.code, section.summary)}
    made(section.repaired, tmp_path / "repaired")
    monkeypatch.chdir(tmp_path / "repaired")
    assert judged(section.said)[0] == ()


def test_the_page_has_every_code_in_order_and_no_other() -> None:
    """With the summary that the program prints."""
    titles = [(match["code"], match["summary"]) for match in SECTION.finditer(PAGE.read_text(encoding="utf-8"))]
    assert titles == [code.value for code in Code]
    assert [section.code for section in sections()] == [code for code, _ in titles]
