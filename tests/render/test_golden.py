"""The texts for people, exactly: one folder for each case, no Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchform.render.style import Style
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.report import report_text
from tests.render.cases import check, folders, plan_of, report_of, settings

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Style(color=False)


@pytest.mark.parametrize("folder", folders("plan"), ids=lambda path: path.name)
def test_plan_reads_as_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`expected.txt` is what goes to stdout, `warnings.txt` what goes to stderr."""
    monkeypatch.chdir(folder)
    made = plan_of(folder)
    check(folder / "expected.txt", plan_text(made, PLAIN, recovered=settings(folder).get("recovered", 0)))
    check(folder / "warnings.txt", notices_text(made, PLAIN))


@pytest.mark.parametrize("folder", folders("apply"), ids=lambda path: path.name)
def test_report_reads_as_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`expected.txt` is the report, `progress.txt` has the line of each event."""
    monkeypatch.chdir(folder)
    what, events = report_of(folder)
    check(folder / "expected.txt", report_text(what, PLAIN, state_path="batchform.state.json"))
    check(folder / "progress.txt", "\n".join(event_text(event, PLAIN) for event in events))


@pytest.mark.parametrize(
    "path",
    [path for kind in ("plan", "apply") for folder in folders(kind) for path in folder.glob("*.txt")],
    ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}-{path.stem}",
)
def test_no_golden_line_is_wider_than_100_columns(path: Path) -> None:
    """CI logs and review comments do not scroll well."""
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 100] == []
