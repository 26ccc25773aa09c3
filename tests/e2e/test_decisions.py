"""Each row of the decision table, through the real commands against the simulator, offline and refreshed.

One folder for each case in tests/golden/decisions, no Python: `batchform.yaml` (and files to replace it), `world.yaml`
for the simulator, `steps.txt` with one command a line (`use FILE` copies that file over `batchform.yaml`), and
`expected.txt`: the output and exit code of each step, and the requests that the simulator got.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchform.config.reader import load
from batchform.plan import Reason
from batchform.render.words import REASONS
from tests.e2e.harness import Site, Warm, site, warmed
from tests.render.cases import check

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).parents[1] / "golden" / "decisions"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())


FACTOR = 50.0
"""The clock of these commands runs so much faster. No case depends on time."""

# Values that differ in each run are replaced by values of the same width, so that lines break at the same places.
_PASSING = (
    (r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", "YYYY-MM-DD"),
    (r"\b[0-9]{2}:[0-9]{2}\b", "hh:mm"),
    (r"\b[0-9a-f]{16}\b", "0" * 16),
)
_PROGRESS = re.compile(r"^(?:Reading the account|Applying: ).*\n", re.MULTILINE)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all the cases."""
    with warmed("tests.e2e.warm", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


def transcript(place: Site, warm: Warm, steps: list[str]) -> Iterator[str]:
    """The output of each step, its exit code and its requests."""
    for step in steps:
        words = shlex.split(step)
        if words[0] == "use":
            shutil.copy(place.folder / words[1], place.folder / "batchform.yaml")
            yield f"$ cp {words[1]} batchform.yaml\n"
            continue
        before = len(place.log.entries)
        ended = warm.run(place, *words)
        asked = Counter(entry.operation for entry in place.log.entries[before:])
        requests = ", ".join(f"{number} {operation}" for operation, number in sorted(asked.items())) or "none"
        said = ended.out + _PROGRESS.sub("", ended.err)
        yield f"$ batchform {step}\n{said}[exit {ended.code}; requests: {requests}]\n"


def timeless(text: str) -> str:
    """The text without values that differ in each run."""
    for pattern, instead in _PASSING:
        text = re.sub(pattern, instead, text)
    return text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_row_of_the_table_reads_as_written_down(folder: Path, tmp_path: Path, warm: Warm) -> None:
    """And no case pays for a start twice."""
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    steps = (folder / "steps.txt").read_text(encoding="utf-8").splitlines()
    world: Any = load(str(folder / "world.yaml")).root
    with site(tmp_path, world) as place:
        text = timeless("\n".join(transcript(place, warm, [step for step in steps if step.strip()])))
        place.paid_once_anywhere()
    check(folder / "expected.txt", text.rstrip())


_OF_APPROVALS = {Reason.NOT_APPROVED, Reason.TOO_LARGE}  # not rows of the table

ROWS = {
    **{reason.value: words.rule or words.text for reason, words in REASONS.items() if reason not in _OF_APPROVALS},
    "adopt": "status processing, not in the state: ADOPT",
    "keep": "status processing, in the state: KEEP",
    "uncertain": f"rule {REASONS[Reason.UNCERTAIN].text}: VERIFY",
    "uncertain, not declared": f"rule undeclared, but {REASONS[Reason.UNCERTAIN].text}: VERIFY",
    "contradiction": "but the server says submitted: VERIFY",
    "contradiction, confirmed": "but the server says submitted, confirmed by a status read: BLOCKED",
    "marked": "undeclared, and marked so already: no action",
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_case(row: str) -> None:
    """A row without a case would be a row without a review."""
    said = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in CASES.glob("*/expected.txt"))
    assert ROWS[row] in said


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_line_is_wider_than_100_columns(folder: Path) -> None:
    """CI logs do not scroll well."""
    lines = (folder / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 100] == []
