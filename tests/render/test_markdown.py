"""The comment under a pull request: text from outside has no effect in it, and it keeps the limit."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from batchform.model import Guard, GuardName, Service
from batchform.plan import Action, Change, GuardCheck, Notice, Plan, Reason
from batchform.render.gitlab import gitlab_report
from batchform.render.markdown import GITHUB_COMMENT, plan_markdown, report_markdown
from batchform.source_text import Place
from tests.strategies import plans, texts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLACE = Place(file="batchform.yaml", line=3, column=3, end_line=3, end_column=9)
KEY = "0123abcd"

HOSTILE = (
    "@everyone", "see #123", "GH-7", "!42", "octo/repo#1", "https://evil.example/?q=1", "www.evil.example",
    "a@b.example", "<img src=x onerror=alert(1)>", "</details>", "-->", "<!-- batchform:plan 0123abcd -->", "a | b",
    "`code`", "```", "~~~", "[text](https://evil.example)", "![x](y)", "**bold**", "_it_", "# head", "- item", "1. one",
    "> quote", "\\", "\\|", "|---|", "$`x`$", "$$x$$", ":smile:", "&lt;b&gt;", "deadbeefcafe", "\n\n# x", "ABC-12",
    "::error::x", "##[error]x", "a\nb", "\u202e", "~label", "%milestone", "[[wiki]]", "^[note]", "[^1]", "|", "`",
    "``|",
)  # fmt: skip


def hostile() -> st.SearchStrategy[str]:
    """Texts that try to leave their code span or cell."""
    return st.lists(st.sampled_from(HOSTILE) | texts(), min_size=1, max_size=4).map(" ".join)


def change(name: str = "uk", action: Action = Action.START, reason: Reason = Reason.NEW, **more: object) -> Change:
    """One change."""
    fields = {"name": name, "batch_id": name, "action": action, "reason": reason, "place": PLACE, **more}
    return Change(**fields)  # type: ignore[arg-type]  # as the tests name them


def plan_of(*changes: Change, **more: object) -> Plan:
    """A plan of these changes."""
    empty = Plan(
        service=Service.PHONE,
        endpoint="https://api.experianaperture.io",
        lineage=None,
        serial=None,
        at=NOW,
        refreshed=False,
        targeted=False,
        changes=changes,
        guards=(),
        notices=(),
    )
    return replace(empty, **more)  # type: ignore[arg-type]  # the same


def parsed(text: str) -> list[tuple[str, str]]:
    """Type and text of each token from a CommonMark parser with tables, links and HTML."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [
        (one.type, one.content) for token in tokens for one in (token, *(token.children or [])) if one.type != "inline"
    ]


def bare(text: str) -> str:
    """The text outside code, in which services search for mentions, references and links."""
    return " ".join(content for kind, content in parsed(text) if kind == "text")


OURS = {
    f"<!-- batchform:plan {KEY} -->\n",
    "<details><summary>The plan as text</summary>\n",
    "</details>",
    "<sub>",
    "</sub>",
}


@settings(max_examples=1000)
@given(made=plans(), name=hostile(), words=hostile())
@example(made=plan_of(change()), name="| x |", words="`|`")
def test_text_from_outside_has_no_effect_in_the_comment(made: Plan, name: str, words: str) -> None:
    """No mention, reference, link, HTML or command. The table has one row for each change, with all its cells."""
    stopped = change(name, Action.BLOCKED, Reason.STOPPED, server_reason=words, place=replace(PLACE, file=words))
    made = replace(made, changes=(*made.changes, stopped), notices=(*made.notices, Notice(name=name, text=words)))
    text = plan_markdown(made, key=KEY)
    seen = parsed(text)
    html = {content.strip() for kind, content in seen if kind in {"html_block", "html_inline"}}
    assert html <= {one.strip() for one in OURS}
    kinds = [kind for kind, _ in seen]
    assert not {"link_open", "image", "em_open", "bullet_list_open", "ordered_list_open", "hr"} & set(kinds)
    rows = [one for one in made.changes if one.action is not Action.KEEP]
    assert kinds.count("tr_open") == 1 + len(rows)
    assert kinds.count("td_open") == 7 * len(rows)
    assert kinds.count("heading_open") == 1
    assert kinds.count("fence") == 1
    outside = bare(text)
    assert not re.search(r"[@#!~$&][A-Za-z0-9(`]|://|www\.|[A-Za-z]+-[0-9]|\b[0-9a-f]{7,40}\b|:[a-z]+:", outside), (
        outside
    )
    assert not [line for line in text.splitlines() if re.match(r"\s*::|.*##\[", line)]


@settings(max_examples=50)
@given(words=texts(), serial=st.integers(0, 9))
def test_the_verdict_is_one_line_after_the_marker(words: str, serial: int) -> None:
    """The first line is the marker for later runs, the second has the records at stake."""
    made = plan_of(change(words, records=9800), change("b", Action.BLOCKED, Reason.EXPIRED), serial=serial)
    first, second, *_ = plan_markdown(made, key=KEY).splitlines()
    assert first == f"<!-- batchform:plan {KEY} -->"
    assert second == "### batchform plan: start 1 batch, 9,800 records at stake; 1 blocked"


def test_a_guard_that_blocks_it_is_in_the_verdict() -> None:
    """The reviewer sees that apply would refuse, why, and where the limit is set."""
    check = GuardCheck(guard=Guard(name=GuardName.MAX_STARTS, limit=1, place=PLACE), measured=2)
    text = plan_markdown(plan_of(change("a"), change("b"), guards=(check,)), key=KEY)
    assert (
        "start 2 batches, 2 batches of unknown size (up to 10,000 records each) at stake (**blocked by a guard**)"
        in text
    )
    assert "**Guard `max_starts`:** 2 of at most 1 (set in `batchform.yaml:3`)" in text


def test_a_row_has_records_deadline_and_place() -> None:
    """The facts that a reviewer needs."""
    deadline = NOW + timedelta(days=3)
    text = plan_markdown(plan_of(change(records=9800, deadline=deadline)), key=KEY)
    assert "| `+` | `uk` | start | 9,800 | 2026-11-26 | expires in 3 days | `batchform.yaml:3` |" in text


def test_no_changes_is_said_without_a_table() -> None:
    """The comment stays short."""
    text = plan_markdown(plan_of(change(action=Action.KEEP, reason=Reason.RUNNING)), key=KEY)
    assert "### batchform plan: no changes" in text
    assert "|---|" not in text


@pytest.mark.parametrize("letter", ["x", "\u00e9", "クレ"])
def test_five_thousand_batches_fit_into_a_comment(letter: str) -> None:
    """Details are left out first, rows last. Left out rows are counted, and blocked rows stay."""
    names = [f"{letter * (90 // len(letter))}-{number}" for number in range(5000)]
    changes = [change(name, records=10_000) for name in names]
    changes[4321] = change(names[4321], Action.BLOCKED, Reason.STOPPED, server_reason="z" * 5000)
    notices = tuple(Notice(name=name, text="is at its 28-day limit") for name in names)
    made = plan_of(*changes, notices=notices)
    text = plan_markdown(made, key=KEY)
    assert len(text.encode()) <= GITHUB_COMMENT
    assert len(text.encode()) > GITHUB_COMMENT - 1000, "there was room for more"
    kinds = [kind for kind, _ in parsed(text)]
    shown = kinds.count("tr_open") - 1
    assert f"{5000 - shown:,} rows left out: {5000 - shown:,} to start." in text
    assert "| stopped |" in text
    assert "4,990 more warnings" in text
    assert "start 4,999 batches, 49,990,000 records at stake; 1 blocked" in text


def test_a_summary_of_an_apply_keeps_the_totals_when_it_must_cut() -> None:
    """The totals and next steps come last."""
    text = "\n".join([*(f"  + batch {number} started" for number in range(9000)), "", "Apply complete! ```"])
    shown = report_markdown(text, title="exit 0", limit=10_000)
    assert len(shown.encode()) <= 10_000
    assert "Apply complete! ```\n````\n" in shown
    assert "lines left out" in shown


def test_the_report_for_gitlab_counts_what_spends() -> None:
    """Exactly the three keys; only a start is a creation."""
    made = plan_of(change(), change("b", Action.ADOPT, Reason.RUNNING), change("c", Action.FORGET, Reason.NOT_DECLARED))
    assert gitlab_report(made) == {"create": 1, "update": 0, "delete": 0}
