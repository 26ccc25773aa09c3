"""The comment under a pull request: text from outside has no effect in it, and it keeps the limit."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from batchform.model import Guard, GuardName, Service
from batchform.plan import Action, Change, GuardCheck, Notice, Obstacle, Plan, Reason
from batchform.render.gitlab import gitlab_report
from batchform.render.markdown import GITHUB_COMMENT, log_markdown, plan_markdown
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


OURS = re.compile(
    rf"<!-- batchform:plan {KEY} -->|</?sub>|</details>|<details><summary>[0-9,]+ (more warnings?|to verify|to adopt|"
    r"to forget|on hold|waiting|blocked|not approved)</summary>"
)


@given(made=plans(), name=hostile(), words=hostile())
@example(made=plan_of(change()), name="| x |", words="`|`")
def test_text_from_outside_has_no_effect_in_the_comment(made: Plan, name: str, words: str) -> None:
    """No mention, reference, link, HTML or command. The table has one row for each change, with all its cells."""
    stopped = change(name, Action.BLOCKED, Reason.STOPPED, server_reason=words, place=replace(PLACE, file=words))
    made = replace(made, changes=(*made.changes, stopped), notices=(*made.notices, Notice(name=name, text=words)))
    labels = {one.batch_id: {words: name} for one in made.changes[:1]}
    text = plan_markdown(made, key=KEY, labels=labels)
    seen = parsed(text)
    html = [content.strip() for kind, content in seen if kind in {"html_block", "html_inline"}]
    assert [one for one in html if not OURS.fullmatch(one)] == []
    kinds = [kind for kind, _ in seen]
    assert not {"link_open", "image", "em_open", "bullet_list_open", "ordered_list_open", "hr"} & set(kinds)
    rows = [one for one in made.changes if one.action is not Action.KEEP]
    assert kinds.count("tr_open") == len({(one.action, one in made.denied) for one in rows}) + len(rows)
    assert kinds.count("heading_open") == 1
    assert kinds.count("fence") == 0
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
    assert "|batch|records|deadline|note|line of `batchform.yaml`|" in text
    assert "|`uk`|9,800|2026-11-26|expires in 3 days|3|" in text


def test_no_changes_is_said_without_a_table() -> None:
    """The comment stays short."""
    text = plan_markdown(plan_of(change(action=Action.KEEP, reason=Reason.RUNNING)), key=KEY)
    assert "### batchform plan: no changes" in text
    assert "|--" not in text


def test_a_column_without_a_value_is_left_out() -> None:
    """An empty column tells nothing. A start of unknown size has one word, because the column holds numbers."""
    other = replace(PLACE, file="more.yaml")
    text = plan_markdown(plan_of(change("a"), change("b", place=other)), key=KEY)
    assert "|batch|records|declared in|\n|--|--:|--|\n" in text
    assert "|`a`|unknown|`batchform.yaml:3`|\n|`b`|unknown|`more.yaml:3`|" in text


def test_the_starts_come_first_and_the_rest_is_folded_with_its_number() -> None:
    """A reviewer approves the starts, so they need no click."""
    made = plan_of(
        change("a", Action.HOLD, Reason.HELD),
        change("b", Action.BLOCKED, Reason.EXPIRED),
        change("c", Action.ADOPT, Reason.RUNNING),
        change("d"),
        change("e", Action.HOLD, Reason.HELD),
    )
    text = plan_markdown(made, key=KEY)
    assert "**Merging starts these batches. This spends credits and cannot be undone.**" in text
    before, *folded = text.split("<details><summary>")
    assert "|`d`|" in before
    assert [one.split("</summary>")[0] for one in folded] == ["1 blocked", "1 to adopt", "2 on hold"]
    assert "cannot be undone" not in plan_markdown(plan_of(*made.changes[:3]), key=KEY)


def test_the_limits_say_how_much_of_them_is_used() -> None:
    """`ok` would not tell a reviewer how near the limit is."""
    check = GuardCheck(guard=Guard(name=GuardName.MAX_RECORDS, limit=100_000, place=PLACE), measured=9800)
    text = plan_markdown(plan_of(change(records=9800), guards=(check,)), key=KEY)
    assert "Limits: `max_records` 9,800 of 100,000." in text
    assert "counts as" not in text
    outside = replace(check, guard=replace(check.guard, place=None))
    text = plan_markdown(plan_of(change(records=9800), guards=(outside,)), key=KEY)
    assert "9,800 of 100,000 (set in `BATCHFORM_MAX_RECORDS`)." in text
    text = plan_markdown(plan_of(change(), guards=(replace(check, measured=10_000, unknown=1),)), key=KEY)
    assert "A batch of unknown size counts as 10,000 records." in text


def test_a_label_that_differs_has_totals() -> None:
    """The largest value comes first. A label with one value for all starts would repeat the sum."""
    made = plan_of(change("a", records=10), change("b", records=20), change("c", records=1))
    labels = {"a": {"region": "uk", "team": "crm"}, "b": {"region": "de", "team": "crm"}, "c": {"team": "crm"}}
    text = plan_markdown(made, key=KEY, labels=labels)
    by_region = "`de` 20 records in 1 batch; `uk` 10 records in 1 batch; none 1 record in 1 batch."
    assert f"\n\nBy `region`: {by_region}\n\n" in text
    assert "team" not in text


def test_a_thousand_starts_are_all_in_the_comment() -> None:
    """A reviewer sees each without a click."""
    starts = [change(f"uk-mobiles-2026-{number:04}", records=9_800) for number in range(1000)]
    text = plan_markdown(plan_of(*starts), key=KEY)
    assert text.count("|`uk-mobiles-2026-") == 1000
    assert "left out" not in text


@pytest.mark.parametrize("letter", ["x", "\u00e9", "クレ"])
def test_five_thousand_batches_fit_into_a_comment(letter: str) -> None:
    """Blocked rows stay. The comment counts the rows that are left out, and links to them."""
    names = [f"{letter * (90 // len(letter))}-{number}" for number in range(5000)]
    changes = [change(name, records=10_000) for name in names]
    changes[4321] = change(names[4321], Action.BLOCKED, Reason.STOPPED, server_reason="z" * 5000)
    notices = tuple(Notice(name=name, text="is at its 28-day limit") for name in names)
    made = plan_of(*changes, notices=notices)
    text = plan_markdown(made, key=KEY, link="https://ci.example/run/7")
    assert GITHUB_COMMENT - 2_000 < len(text.encode()) <= GITHUB_COMMENT
    kinds = [kind for kind, _ in parsed(text)]
    shown = kinds.count("tr_open") - 3
    assert f"**{4999 - shown:,} more starts left out.** See [the run](https://ci.example/run/7)." in text
    assert "|stopped|" in text
    assert re.search("[0-9,]+ more warnings</summary>", text)
    assert "start 4,999 batches, 49,990,000 records at stake; 1 blocked" in text


@settings(max_examples=50)
@given(made=plans(), words=hostile(), name=hostile())
def test_a_comment_keeps_a_small_limit(made: Plan, words: str, name: str) -> None:
    """Long texts cannot push it beyond the limit."""
    notices = tuple(Notice(name=words * 9, text=words * 40) for _ in range(20))
    labels = {one.batch_id: {f"{words * 9}{number}": f"{name}{at}" for number in range(30)}
              for at, one in enumerate(made.changes)}  # fmt: skip
    made = replace(made, notices=notices, guards=())
    assert len(plan_markdown(made, key=KEY, limit=4096, labels=labels).encode()) <= 4096


def test_a_summary_of_an_apply_keeps_the_totals_when_it_must_cut() -> None:
    """The totals and next steps come last."""
    text = "\n".join([*(f"  + batch {number} started" for number in range(9000)), "", "Apply complete! ```"])
    shown = log_markdown(text, title="exit 0", limit=10_000)
    assert len(shown.encode()) <= 10_000
    assert "Apply complete! ```\n````\n" in shown
    assert "lines left out" in shown


def test_a_long_table_of_a_report_is_folded_and_the_rest_is_not() -> None:
    """A reader sees the totals, the commit and the run without unfolding."""
    rows = "\n".join(f"  ! batch-{number} rejected" for number in range(41))
    text = f"{rows}\n\nApply incomplete. 0 started, 41 rejected.\n\nWhat to do next:"
    commit, link = "c0ffee" * 7, "https://ci.example/run/7"
    shown = log_markdown(text, title="t", head="<!-- m -->", lead="Apply incomplete.", commit=commit, link=link)
    assert shown.startswith(
        "<!-- m -->\n### t\n\n**Apply incomplete.**\n\n<details><summary>41 lines</summary>\n\n```text\n"
    )
    assert "</details>\n\n```text\nApply incomplete. 0 started" in shown
    assert shown.endswith(f"<sub>Made for commit {commit}, [run]({link}).</sub>\n")
    short = log_markdown("one\n\ntwo", title="t")
    assert short == "### t\n\n```text\none\n\ntwo\n```\n"
    assert (
        len(log_markdown(text * 300, title="t", lead="l" * 400, commit=commit, link=link, limit=4096).encode()) <= 4096
    )


def test_what_is_not_approved_is_visible() -> None:
    """The reviewer of a merge sees that it does not start what the pull request was about, and why."""
    waits: dict[str, Any] = {"action": Action.WAIT, "records": 9}
    larger = change("b", **waits, reason=Reason.TOO_LARGE, obstacle=Obstacle.TOO_LARGE, approved=5)
    new = change("c", **waits, reason=Reason.NOT_APPROVED, obstacle=Obstacle.NOT_APPROVED)
    text = plan_markdown(plan_of(change("a"), larger, new, change("d", **waits, reason=Reason.NOT_YET)), key=KEY)
    assert "**Not started:** 1 batch larger than approved, 1 batch not in the approved plan." in text
    assert "<details><summary>2 not approved</summary>" in text
    assert "9 records, 5 were approved" in text
    assert "<details><summary>1 waiting</summary>" in text


def test_a_comment_names_the_commit_and_the_run() -> None:
    """So a reader knows whether it is about the newest commit."""
    text = plan_markdown(plan_of(), key=KEY, commit="a" * 40, link="https://ci.example/run/7")
    assert f"Made for commit {'a' * 40}, [run](https://ci.example/run/7).</sub>" in text
    assert "Made for [run](" in plan_markdown(plan_of(), key=KEY, link="https://ci.example/run/7")


def test_the_report_for_gitlab_counts_what_spends() -> None:
    """Exactly the three keys; only a start is a creation."""
    made = plan_of(change(), change("b", Action.ADOPT, Reason.RUNNING), change("c", Action.FORGET, Reason.NOT_DECLARED))
    assert gitlab_report(made) == {"create": 1, "update": 0, "delete": 0}
