"""An editor underlines what batchform refuses, and nothing else. check-jsonschema stands in for the editor.

It reads YAML 1.2 with another library and judges by `schemas/config-1.json`, as the YAML language server does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchform.config import loader
from batchform.config.problems import Code
from batchform.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "DIAGNOSTICS.md").read_text(encoding="utf-8")
BREAKS_IT = {"alias-bomb", "recursive-alias", "batch-id-5000-digits"}
"""Files on which check-jsonschema runs out of time or stack, or into Python's limit for digits."""
BREAKS_IT_TOO = re.compile(r"&g \[\*f|&l$", re.MULTILINE)
"""The same two aliases, in DIAGNOSTICS.md."""
IN_THE_SCHEMA = {
    *(Code.UNKNOWN_KEY, Code.MISSING_KEY, Code.WRONG_KIND, Code.BAD_NAME, Code.BAD_BATCH_ID, Code.BAD_REFERENCE_ID),
    *(Code.BAD_TEXT, Code.BAD_NUMBER, Code.BAD_TIME, Code.BAD_VERSION, Code.BAD_SERVICE, Code.EMPTY_FILE),
}
"""Codes that a schema can express. Aliases, unquoted text and other files are beyond it."""
READ_AS_RIGHT = {
    *("guard-scientific", "guard-underscore", "hold-capital", "records-octal"),  # YAML 1.2: 1000000, 500000, true, 640
    *("records-decimal", "version-dotted"),  # to JSON Schema 9800.0 and 1.0 are integers
}
"""Files in which the editor's YAML parser takes a disputed scalar for the required type. batchform does not guess."""


def refused(paths: Iterable[Path]) -> set[Path]:
    """The files in which the editor underlines something."""
    command = ["-m", "check_jsonschema", "--schemafile", str(ROOT / "schemas/config-1.json"), "--output-format", "json"]
    ended = subprocess.run([sys.executable, *command, *map(str, paths)], capture_output=True, check=False, text=True)
    found = json.loads(ended.stdout)
    return {Path(entry["filename"]) for entry in [*found.get("errors", []), *found.get("parse_errors", [])]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every example there is: the folders, the invalid cases, and the files of DIAGNOSTICS.md, right and wrong."""
    folder = tmp_path_factory.mktemp("page")
    for number, text in enumerate(re.findall(r"^```yaml.*\n((?s:.*?))^```$", PAGE, re.MULTILINE)):
        (folder / f"{number:03}.yaml").write_text(text, encoding="utf-8")
    examples = [
        path for path in ROOT.glob("examples/**/*.yaml") if "/config-1.json" in path.read_text(encoding="utf-8")
    ]
    invalid = [path for path in ROOT.glob("tests/invalid/*/*.y*ml") if path.parent.name not in BREAKS_IT]
    shown = [path for path in folder.iterdir() if not BREAKS_IT_TOO.search(path.read_text(encoding="utf-8"))]
    return sorted([*examples, *invalid, *shown])


def codes(path: Path) -> set[str]:
    """The codes of the problems of one file alone."""
    try:
        loader.load([path])
    except ConfigError as error:
        return {problem.code for problem in error.problems}
    return set()


def test_the_editor_and_the_loader_agree(files: list[Path]) -> None:
    """Nothing valid is underlined, and nothing a schema can say is missed."""
    underlined, said = refused(files), {path: codes(path) for path in files}
    assert len(files) > 200
    assert sum(not found for found in said.values()) > 40
    assert [path for path in files if path in underlined and not said[path]] == []
    expressible = {code.value[0] for code in IN_THE_SCHEMA}
    missed = {path for path in files if said[path] & expressible and path not in underlined}
    assert {path.parent.name for path in missed} == READ_AS_RIGHT
