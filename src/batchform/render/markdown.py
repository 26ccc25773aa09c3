"""A plan and a report as Markdown: the comment under a pull request, the summary of a CI step.

A reviewer decides about money by this comment, and parts of its text come from an unreviewed branch or the server. So
text from outside is shown as it is only if it consists of plain words. Anything else is put in a code span, in which
Markdown has no markup, HTML, mentions, references or links. The two characters that could end the span or the table
cell are shown as escapes.

The comment keeps a limit. The details are left out first, then most warnings, then rows of the table. It says how many
are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from batchform.model import Service
from batchform.plan import Action
from batchform.render.escape import printable
from batchform.render.style import Style
from batchform.render.text.plan import plan_text
from batchform.render.words import (
    ACTIONS,
    OFFLINE,
    batches,
    blocked_by_guard,
    count,
    counts,
    listed,
    place_of,
    set_in,
    size,
    stake,
    why,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.plan import Change, Plan

GITHUB_COMMENT: Final = 65_536
"""The longest comment on GitHub, in characters."""

GITLAB_COMMENT: Final = 1_000_000
"""The longest comment on GitLab, in characters."""

STEP_SUMMARY: Final = 1_000_000
"""Bytes. GitHub takes 1 MiB for all commands of a step together."""

_PLAIN: Final = Style(color=False)
_FEW: Final = 10
"""This many warnings are kept in a comment that is too long."""

_LONGEST: Final = 200
"""The most columns of any text from outside."""

_IMPORTANCE: Final = (
    Action.BLOCKED,
    Action.VERIFY,
    Action.START,
    Action.ADOPT,
    Action.FORGET,
    Action.WAIT,
    Action.HOLD,
)
"""The actions whose rows are kept first in a comment that is too long."""

_HEAD: Final = ("| | batch | action | records | deadline | | declared in |", "|---|---|---|---:|---|---|---|")


def plan_markdown(plan: Plan, *, key: str, limit: int = GITHUB_COMMENT) -> str:
    """The plan as a comment. Ends in a newline and takes at most `limit` bytes as UTF-8.

    Args:
        plan: The plan.
        key: Identifies the plan among those of a pull request. Letters and digits; the same for the same question.
        limit: 4,096 or more.
    """
    top = "\n".join([f"<!-- batchform:plan {key} -->", f"### batchform plan: {verdict(plan)}", *_refused(plan)])
    warnings = [_warning(notice.name, notice.text) for notice in plan.notices]
    rows = [change for change in plan.changes if change.action is not Action.KEEP]
    bottom = _bottom(plan)
    full = _join(top, warnings, _table(plan, rows), _details(plan), bottom)
    if _bytes(full) <= limit:
        return full
    more = len(warnings) - _FEW
    if more > 0:
        warnings = [*warnings[:_FEW], f"**Warning:** {count(more, 'more warning')}; `batchform plan` shows them."]
    room = (
        limit - _bytes(_join(top, warnings, ["", *_HEAD], [], bottom)) - _LONGEST
    )  # for the line that counts the rest
    shown, left_out = _fitting(plan, rows, room)
    return _join(top, warnings, _table(plan, shown, left_out), [], bottom)


def report_markdown(text: str, *, title: str, limit: int = STEP_SUMMARY) -> str:
    """The output of an apply, as a summary of at most `limit` bytes.

    Args:
        text: The report as text, without colour.
        title: One line without text from outside.
        limit: 4,096 or more.
    """
    lines = text.strip("\n").split("\n")
    left_out = 0
    while lines and _bytes("\n".join(lines)) > limit - 1_024:
        half = len(lines) // 2 + 1
        left_out += half
        lines = lines[half:]  # the totals and the next steps come last
    head = [f"{count(left_out, 'line')} left out; the log has them.", ""] if left_out else []
    return "\n".join([f"### batchform apply: {title}", "", *head, *_fenced(lines)]) + "\n"


def verdict(plan: Plan) -> str:
    """The plan in one line: the starts, the records at stake, and whether a guard blocks it."""
    starts = plan.having(Action.START)
    parts = [f"start {batches(len(starts))}, {stake(starts)} at stake"] if starts else []
    parts += counts(plan, Action.VERIFY, Action.ADOPT, Action.FORGET)
    parts = [*(parts or ["no changes"]), *counts(plan, Action.BLOCKED)]
    return "; ".join(parts) + ("" if plan.applyable else " (**blocked by a guard**)")


# --- Text from outside -----------------------------------------------------------------------------------------------

# A word without a meaning in Markdown, and no mention, reference or link. Seven hexadecimal digits may be a commit,
# letters-hyphen-digits an issue, a dot between letters a host.
_WORD: Final = re.compile(
    r"(?![0-9a-fA-F]{7,})(?![A-Za-z]+-[0-9])[(]?[A-Za-z0-9]+(?:[-'][A-Za-z0-9]+|[.,][0-9]+)*[)]?[,.;:!?]?", re.ASCII
)
_ENDS_A_SPAN: Final = str.maketrans({"`": r"\x60", "|": r"\x7c"})


def code(text: str) -> str:
    """Any text as a code span that fits into a table cell; empty for a blank text."""
    shown = printable(text.strip(), _LONGEST).translate(_ENDS_A_SPAN)
    return f"`{shown}`" if shown.strip() else ""


def prose(text: str) -> str:
    """A sentence with words from outside: plain words stay as they are, others become code spans."""
    return " ".join(word if _WORD.fullmatch(word) else code(word) for word in printable(text, _LONGEST).split())


# --- The parts -------------------------------------------------------------------------------------------------------


def _join(top: str, warnings: Sequence[str], table: Sequence[str], details: Sequence[str], bottom: str) -> str:
    blocks = [top, "\n\n".join(warnings), "\n".join(table), "\n".join(details), bottom]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _refused(plan: Plan) -> list[str]:
    """The guards that block it, and how to override them."""
    if plan.applyable:
        return []
    lines = []
    for check in plan.failed_guards:
        place = code(set_in(check.guard))
        limit = f"{check.measured:,} of at most {check.guard.limit:,} (set in {place})."
        lines += ["", f"**Guard `{check.guard.name.value}`:** {limit}"]
    return [*lines, "", blocked_by_guard(plan)]


def _warning(name: str | None, text: str) -> str:
    return f"**Warning:** {f'{code(name)} ' if name is not None else ''}{prose(text)}"


def _table(plan: Plan, rows: Sequence[Change], left_out: Sequence[Change] = ()) -> list[str]:
    lines = [*_HEAD, *(_row(plan, change) for change in rows)] if rows else []
    if left_out:
        kinds = Counter(change.action for change in left_out)
        shown = listed([f"{kinds[action]:,} {ACTIONS[action].counted}" for action in _IMPORTANCE if kinds[action]])
        lines += ["", f"{count(len(left_out), 'row')} left out: {shown}. `batchform plan` shows all."]
    return lines


def _row(plan: Plan, change: Change) -> str:
    records = "" if change.records is None and change.action is not Action.START else size(change.records)
    shown = plan.service is Service.PHONE and change.deadline is not None
    deadline = change.deadline.date().isoformat() if shown and change.deadline is not None else ""
    cells = [
        code(ACTIONS[change.action].symbol),
        code(change.name),
        word_of(change),
        records.removesuffix(" records").removesuffix(" record"),
        deadline,
        prose(why(change, plan)),
        code(place_of(change.place)),
    ]
    return f"| {' | '.join(cells)} |"


def _fitting(plan: Plan, rows: Sequence[Change], room: int) -> tuple[list[Change], list[Change]]:
    """The most important rows that fit into `room` bytes, and the others, both in the order of the plan."""
    kept = set()
    for at in sorted(range(len(rows)), key=lambda at: _IMPORTANCE.index(rows[at].action)):
        room -= _bytes(_row(plan, rows[at])) + 1
        if room < 0:
            break
        kept.add(at)
    return [row for at, row in enumerate(rows) if at in kept], [row for at, row in enumerate(rows) if at not in kept]


def _details(plan: Plan) -> list[str]:
    text = plan_text(plan, _PLAIN).split("\n")
    return ["<details><summary>The plan as text</summary>", "", *_fenced(text), "", "</details>"]


def _fenced(lines: Sequence[str]) -> list[str]:
    """A code block with a fence longer than any inside it."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]


def _bottom(plan: Plan) -> str:
    made = "The account was read." if plan.refreshed else OFFLINE
    state = "No state file yet." if plan.serial is None else f"State serial {plan.serial:,}."
    part = " Only the selected batches are in this plan." if plan.targeted else ""
    return f"<sub>{made} {state}{part} Times are UTC.</sub>"


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
