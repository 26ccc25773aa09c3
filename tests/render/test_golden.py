"""The texts for people, exactly: one folder for each case, no Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from batchform.plan import Action
from batchform.render.escape import width
from batchform.render.style import Style
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.report import report_text
from tests.render.cases import check, folders, plan_of, report_of, settings

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.plan import Change

PLAIN = Style(color=False)


def narrow(folder: Path) -> list[tuple[Path, Style]]:
    """The files `at-80.txt`, each with a style of as many columns."""
    return [(path, Style(color=False, columns=int(path.stem.removeprefix("at-")))) for path in folder.glob("at-*.txt")]


@pytest.mark.parametrize("folder", folders("plan"), ids=lambda path: path.name)
def test_plan_reads_as_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`expected.txt` is what goes to stdout, `warnings.txt` what goes to stderr."""
    monkeypatch.chdir(folder)
    made = plan_of(folder)
    check(folder / "expected.txt", plan_text(made, PLAIN, recovered=settings(folder).get("recovered", 0)))
    check(folder / "warnings.txt", notices_text(made, PLAIN))
    for path, style in narrow(folder):
        check(path, f"{plan_text(made, style)}\n\n{notices_text(made, style)}".rstrip())


@pytest.mark.parametrize("folder", folders("apply"), ids=lambda path: path.name)
def test_report_reads_as_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`expected.txt` is the report, `progress.txt` has the line of each event."""
    monkeypatch.chdir(folder)
    what, events = report_of(folder)
    check(folder / "expected.txt", report_text(what, PLAIN, state_path="batchform.state.json"))
    check(folder / "progress.txt", "\n".join(event_text(event, PLAIN) for event in events))
    for path, style in narrow(folder):
        check(path, report_text(what, style, state_path="batchform.state.json"))


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("folder", [*folders("plan"), *folders("apply")], ids=lambda path: path.name)
def test_every_text_fits_every_terminal(folder: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a single word may be wider: a name in a warning. No row loses its place."""
    monkeypatch.chdir(folder)
    style = Style(color=False, columns=columns)
    if folder.parent.name == "plan":
        changes: tuple[Change, ...] = plan_of(folder).changes
        text = plan_text(plan_of(folder), style) + "\n" + notices_text(plan_of(folder), style)
    else:
        what, events = report_of(folder)
        changes = ()
        text = "\n".join([report_text(what, style, state_path="s"), *(event_text(one, style) for one in events)])
    lines = text.splitlines()
    assert [line for line in lines if width(line) > columns and len(line.split()) > 1] == []
    placed = {change.place.line for change in changes if change.place is not None and change.action is not Action.KEEP}
    assert placed <= set(map(int, re.findall(r"(?:\.yaml:|line )([0-9]+)$", text, re.MULTILINE)))
