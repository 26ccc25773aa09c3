"""A thousand hostile texts through every renderer: no commands to a CI system or a terminal in the output."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from batchform.apply import Outcome, Report, Result
from batchform.engine import Stopped
from batchform.errors import Problem, Severity
from batchform.model import ServerProblem, Service
from batchform.plan import Action, Change, Notice, Plan, Reason
from batchform.render.github import github_text
from batchform.render.markdown import log_markdown, plan_markdown
from batchform.render.style import Style
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.problems import problems_text
from batchform.render.text.report import report_text
from batchform.render.text.state import entry_text, state_list_text
from batchform.source_text import Place
from batchform.state.events import Event, Unknown
from batchform.state.known import Cause, Entry, Phase, State
from tests.strategies import problems, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = Style(color=False)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
COMMAND = re.compile(r"\s*::|.*##[A-Za-z]*\[")


def rendered(name: str, note: str, server: str) -> Iterator[str]:
    """All texts for people, with these strings wherever a text from outside goes."""
    place = Place(file=note, line=1, column=1, end_line=1, end_column=2)
    change = Change(
        name=name,
        batch_id=name,
        action=Action.BLOCKED,
        reason=Reason.STOPPED,
        status=server,
        server_reason=server,
        place=place,
    )
    made = Plan(
        service=Service.PHONE,
        endpoint=note,
        lineage=None,
        serial=None,
        at=NOW,
        refreshed=True,
        targeted=False,
        changes=(change, replace(change, reason=Reason.UNRECOGNISED)),
        guards=(),
        notices=(Notice(text=note, name=name), Notice(text=server)),
    )
    said = ServerProblem(status=400, title=name, detail=server)
    outcome = Outcome(change=change, result=Result.REJECTED, cause=Cause.REFUSED, problem=said)
    report = Report(outcomes=(outcome,), end=Stopped(problem=said))
    entry = Entry(
        batch_id="a", name=name, phase=Phase.UNKNOWN, status=server, reason=server, problem=said,
        reference_id=note, updated_at=NOW, run="r",
    )  # fmt: skip
    state = State(lineage="l", service=Service.PHONE, endpoint=note, entries={"a": entry})
    event = Event(run="r", seq=1, at=NOW, batch_id="a", name=name, what=Unknown(problem=said))
    problem = Problem(code="BF101", summary=name, detail=note, hint=server, place=place, related=((place, note),))
    told = report_text(report, PLAIN, state_path=note)
    yield from (plan_text(made, PLAIN), notices_text(made, PLAIN), told, event_text(event, PLAIN))
    yield from (state_list_text(state, PLAIN), entry_text(entry, PLAIN))
    yield problems_text([problem], PLAIN)
    yield from (plan_markdown(made, key="0123abcd"), log_markdown(told, title="complete"))


@settings(max_examples=400)
@given(name=texts(), note=texts(), server=texts(200))
def test_no_renderer_lets_a_hostile_text_through(name: str, note: str, server: str) -> None:
    """No line is a command. No character controls a terminal or is invisible."""
    for shown in rendered(name, note, server):
        assert [line for line in shown.split("\n") if COMMAND.match(line)] == []
        acting = {character for character in shown if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
        assert acting <= {"\n"}


@given(found=st.lists(problems(), min_size=1, max_size=6), times=st.sampled_from([1, 4]))
def test_an_annotation_is_one_line_and_one_command(found: list[Problem], times: int) -> None:
    """At most ten of a kind and the count of the rest; no text makes another command."""
    lines = github_text(found * times, lambda file: file).split("\n")
    for severity in Severity:
        assert sum(line.startswith(f"::{severity.value} ") for line in lines) <= 10
    assert len(lines) <= 21
    for line in lines:
        assert re.match(r"::(error|warning|notice) [^\r\n]*::", line)
        properties = line[2:].partition(" ")[2].partition("::")[0]
        assert all("=" in one for one in properties.split(","))
