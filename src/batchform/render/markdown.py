"""A plan, a report and an error as Markdown: the comment under a pull request, the summary of a CI step.

A reviewer decides about money by this comment, and parts of its text come from an unreviewed branch or the server. So
text from outside is shown as it is only if it consists of plain words. Anything else is put in a code span, in which
Markdown has no markup, HTML, mentions, references or links. The two characters that could end the span or the table
cell are shown as escapes.

The starts come first and are never folded. Each other action has a folded table. A comment beyond its limit loses rows
of the folded tables first, then starts, and it says how many are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from batchform.approval import too_large
from batchform.model import MAX_RECORDS, Service
from batchform.plan import Action
from batchform.render.escape import printable
from batchform.render.text.plan import stake_sentences
from batchform.render.words import (
    ACTIONS,
    OFFLINE,
    batches,
    blocked_by_guard,
    count,
    counts,
    place_of,
    set_in,
    size,
    stake,
    why,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.plan import Change, Plan

GITHUB_COMMENT: Final = 65_536
"""The longest comment on GitHub, in characters."""

GITLAB_COMMENT: Final = 1_000_000
"""The longest comment on GitLab, in characters."""

STEP_SUMMARY: Final = 1_000_000
"""Bytes. GitHub takes 1 MiB for all commands of a step together."""

_FEW: Final = 10
"""This many warnings, and values of one label, are shown at once."""

_LONG: Final = 40
"""A table of text with more lines is folded."""

_LONGEST: Final = 200
"""The most columns of any text from outside."""

_FOLDED: Final = (Action.BLOCKED, Action.VERIFY, Action.ADOPT, Action.FORGET, Action.WAIT, Action.HOLD)
"""The actions with a folded table, in this order."""

_HEADINGS: Final = ("batch", "status", "records", "deadline", "note")
_NUMBERS: Final = frozenset({"records"})


def plan_markdown(
    plan: Plan,
    *,
    key: str,
    limit: int = GITHUB_COMMENT,
    step: str = "Merging",
    labels: Mapping[str, Mapping[str, str]] | None = None,
    link: str = "",
    commit: str = "",
) -> str:
    """The plan as a comment. Ends in a newline and takes at most `limit` bytes as UTF-8.

    Args:
        plan: The plan.
        key: Identifies the plan among those of a pull request. Letters and digits; the same for the same question.
        limit: 4,096 or more.
        step: What starts the batches: `Merging`, or `Applying this plan`.
        labels: The labels of each batch_id.
        link: The web address of the run, which has the whole plan; empty if there is none.
        commit: The commit that was planned, empty if it is not known.
    """
    starts = plan.having(Action.START)
    parts = [
        f"{marker('plan', key)}\n### batchform plan: {verdict(plan)}",
        *_refused(plan),
        *([f"**{step} starts these batches. This spends credits and cannot be undone.**"] * bool(starts)),
        _stake(plan),
        *_not_approved(plan),
        *_first(_labels(starts, labels or {}), limit // 8),
    ]
    warnings = [_warning(notice.name, notice.text) for notice in plan.notices]
    few = _first(warnings[:_FEW], limit // 8)
    more = warnings[len(few) :]
    bottom, rest = _bottom(plan, commit, link), f"See {f'[the run]({link})' if link else '`batchform plan`'}."
    room = limit - _bytes("\n\n".join([*parts, *few, bottom])) - 8 * _LONGEST  # for the titles and counts of tables
    denied = plan.denied
    folded = [("not approved", denied)]
    folded += [
        (ACTIONS[action].counted, tuple(c for c in plan.having(action) if c not in denied)) for action in _FOLDED
    ]
    tables = [(f"{len(some):,} {title}", _table(plan, some)) for title, some in folded if some]
    if more:
        tables.append((count(len(more), "more warning"), ([], [f"{one}\n" for one in more])))
    sizes = [sum(_bytes(line) + 1 for line in [*head, *rows]) for _, (head, rows) in tables]
    for_starts = room - min(sum(sizes), room // 4)
    shown, taken = _fitting("start", *_table(plan, starts), for_starts, rest)
    room -= taken
    blocks = []
    for title, (head, rows) in tables:
        lines, taken = _fitting("row" if head else "warning", head, rows, room, rest)
        room -= taken
        blocks.append(f"<details><summary>{title}</summary>\n\n{lines}\n\n</details>")
    return "\n\n".join(block for block in [*parts, *few, shown, *blocks, bottom] if block) + "\n"


def marker(command: str, key: str) -> str:
    """The first line of a comment, by which a later run finds the comment to update."""
    return f"<!-- batchform:{command} {key} -->"


def log_markdown(
    text: str,
    *,
    title: str,
    head: str = "",
    lead: str = "",
    limit: int = STEP_SUMMARY,
    commit: str = "",
    link: str = "",
) -> str:
    """The output of a command as a comment or a summary of at most `limit` bytes. A long table in it is folded.

    Args:
        text: The output, without colour.
        title: One line without text from outside.
        head: The marker of a comment, empty for none.
        lead: A sentence above the output, without text from outside.
        limit: 4,096 or more.
        commit: The commit that the command ran for, empty if it is not known.
        link: The web address of the run, empty if there is none.
    """
    lines = text.strip("\n").split("\n")
    left_out = 0
    while lines and _bytes("\n".join(lines)) > limit - 1_536:
        half = len(lines) // 2 + 1
        left_out += half
        lines = lines[half:]  # the totals and the next steps come last
    table = lines.index("") if "" in lines else 0
    folded = []
    if table > _LONG:
        rows = "\n".join(_fenced(lines[:table]))
        folded = [f"<details><summary>{count(table, 'line')}</summary>\n\n{rows}\n\n</details>"]
        lines = lines[table + 1 :]
    blocks = [
        "\n".join([*([head] * bool(head)), f"### {title}"]),
        f"**{lead}**" if lead else "",
        f"{count(left_out, 'line')} left out; {f'[the run]({link})' if link else 'the log'} has them."
        if left_out
        else "",
        *folded,
        "\n".join(_fenced(lines)),
        f"<sub>{origin}</sub>" if (origin := _origin(commit, link)) else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


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
    r"(?![0-9a-fA-F]{7,})(?![A-Za-z]+-[0-9])[(]?[A-Za-z0-9]+"
    r"(?:[-'][A-Za-z0-9]+|[.,][0-9]+|(?<=[0-9]):[0-9]{2}(?![0-9]))*[)]?[,.;:!?]?",
    re.ASCII,
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


def _refused(plan: Plan) -> list[str]:
    """The guards that block it, and how to override them."""
    if plan.applyable:
        return []
    lines = []
    for check in plan.failed_guards:
        place = code(set_in(check.guard))
        limit = f"{check.measured:,} of at most {check.guard.limit:,} (set in {place})."
        lines.append(f"**Guard `{check.guard.name.value}`:** {limit}")
    return [*lines, blocked_by_guard(plan)]


def _stake(plan: Plan) -> str:
    """The records at stake, and how much of each limit they use."""
    used = [
        f"`{check.guard.name.value}` {check.measured:,} of {check.guard.limit:,}"
        + ("" if check.guard.place is not None else f" (set in {code(set_in(check.guard))})")
        for check in plan.guards
        if check not in plan.failed_guards
    ]
    unknown = f" A batch of unknown size counts as {size(MAX_RECORDS)}." if any(c.unknown for c in plan.guards) else ""
    return " ".join([*stake_sentences(plan), *([f"Limits: {', '.join(used)}.{unknown}"] if used else [])])


def _not_approved(plan: Plan) -> list[str]:
    """A sentence about the batches that an earlier plan does not allow to start."""
    larger = len(too_large(plan))
    others = len(plan.denied) - larger
    said = [f"{batches(larger)} larger than approved"] if larger else []
    said += [f"{batches(others)} not in the approved plan"] if others else []
    return [f"**Not started:** {', '.join(said)}."] if said else []


def _labels(starts: Sequence[Change], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each label that differs between the starts: its values with the most records at stake."""
    keys = sorted({key for change in starts for key in labels.get(change.batch_id, ())})
    lines = []
    for key in keys:
        values: dict[str, list[Change]] = {}
        for change in starts:
            values.setdefault(labels.get(change.batch_id, {}).get(key, ""), []).append(change)
        if len(values) == 1:
            continue
        ordered = sorted(values.items(), key=lambda item: -sum(change.records or 0 for change in item[1]))
        shown = [f"{code(value) or 'none'} {stake(some)} in {batches(len(some))}" for value, some in ordered[:_FEW]]
        more = [count(len(ordered) - _FEW, "more value")] if len(ordered) > _FEW else []
        lines.append(f"By {code(key)}: {'; '.join([*shown, *more])}.")
    return lines


def _warning(name: str | None, text: str) -> str:
    return f"**Warning:** {f'{code(name)} ' if name is not None else ''}{prose(text)}"


def _table(plan: Plan, changes: Sequence[Change]) -> tuple[list[str], list[str]]:
    """The two lines above a table, and its rows. A column that is empty in every row is left out."""
    files = {change.place.file for change in changes if change.place is not None}
    declared = f"line of {code(min(files))}" if len(files) == 1 else "declared in"
    rows = [_cells(plan, change, one_file=len(files) == 1) for change in changes]
    used = [at for at in range(len(_HEADINGS) + 1) if any(row[at] for row in rows)]
    headings = [*_HEADINGS, declared]
    head = [headings[at] for at in used]
    rule = ["--:" if heading in _NUMBERS else "--" for heading in head]
    return [_line(head), _line(rule)], [_line([row[at] for at in used]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return f"|{'|'.join(cells)}|"


def _cells(plan: Plan, change: Change, *, one_file: bool) -> list[str]:
    unknown = "unknown" if change.action is Action.START else ""
    phone = plan.service is Service.PHONE and change.action is not Action.ADOPT
    place = f"{change.place.line:,}" if one_file and change.place is not None else code(place_of(change.place))
    return [
        code(change.name) or "(no name)",
        word_of(change) if change.action is Action.BLOCKED else "",
        unknown if change.records is None else f"{change.records:,}",
        change.deadline.date().isoformat() if phone and change.deadline is not None else "",
        prose(why(change, plan)),
        place,
    ]


def _first(lines: Sequence[str], room: int) -> list[str]:
    """The first lines, as many as fit into `room` bytes."""
    return list(lines[: bisect_right(list(accumulate(_bytes(line) for line in lines)), room)])


def _fitting(noun: str, head: Sequence[str], rows: Sequence[str], room: int, rest: str) -> tuple[str, int]:
    """A table of the rows that fit into `room` bytes, a sentence that counts the others, and the bytes it takes."""
    ends = list(accumulate(_bytes(row) + 1 for row in rows))
    space = room - sum(_bytes(line) + 1 for line in head)
    fit = bisect_right(ends, space)
    lines = [*head, *rows[:fit]] if fit else []
    if fit < len(rows):
        more = f"more {noun}" if fit else noun
        lines += ["", f"**{count(len(rows) - fit, more)} left out.** {rest}"]
    text = "\n".join(lines).strip("\n")
    return text, _bytes(text) if rows else 0


def _fenced(lines: Sequence[str]) -> list[str]:
    """A code block with a fence longer than any inside it."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]


def _bottom(plan: Plan, commit: str, link: str) -> str:
    made = "The account was read." if plan.refreshed else OFFLINE
    state = "No state file yet." if plan.serial is None else f"State serial {plan.serial:,}."
    part = " Only the selected batches are in this plan." if plan.targeted else ""
    origin = _origin(commit, link)
    return f"<sub>{made} {state}{part} Times are UTC.{f' {origin}' if origin else ''}</sub>"


def _origin(commit: str, link: str) -> str:
    """The commit, to which GitHub and GitLab add a link, and the run."""
    said = [*([f"commit {commit}"] if commit else []), *([f"[run]({link})"] if link else [])]
    return f"Made for {', '.join(said)}." if said else ""


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
