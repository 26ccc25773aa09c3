"""Drift: one line for each batch of which the server says otherwise than the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.plan import Action, Reason, RecordsSource
from batchform.render.escape import printable
from batchform.render.layout import Line, pack, table
from batchform.render.style import Tone
from batchform.render.words import count, place_of, size, why, word_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.drift import Drift
    from batchform.plan import Change, Plan
    from batchform.render.style import Style

_ENDED = frozenset({Reason.STOPPED, Reason.STOPPED_AFTER_START, Reason.UNRECOGNISED})


def drift_lines(drift: Sequence[Drift], plan: Plan, style: Style) -> list[str]:
    """`  ~ name   start -> adopt   already processing, nothing is spent   batches.yaml:12`."""
    return table([_line(one, plan) for one in drift], style)


def refresh_text(drift: Sequence[Drift], plan: Plan, style: Style, *, saved_as: str) -> str:
    """What a refresh found.

    Args:
        drift: Where the account differed from what was known.
        plan: What would be done now.
        style: Colour or none.
        saved_as: The state file, when something new was written to it; else empty.
    """
    looked = count(len(plan.changes), "batch", "batches")
    sentences = [f"{style.bold('Refreshed:')} {looked} looked at, {_found(drift)}."]
    sentences.append(f"Recorded in {printable(saved_as)}." if saved_as else "The state holds it all already.")
    sentences.append("Nothing was started.")
    lines = drift_lines(drift, plan, style)
    return "\n".join([*lines, *([""] if lines else []), *pack(sentences)])


def _found(drift: Sequence[Drift]) -> str:
    if not drift:
        return "no drift"
    return f"{len(drift):,} {'differs' if len(drift) == 1 else 'differ'} from what was known"


def _line(one: Drift, plan: Plan) -> Line:
    change = one.change
    return Line(
        symbol="~",
        tone=Tone.YELLOW,
        name=printable(change.name),
        word="records" if one.is_size else f"{_word(one.before)} -> {_word(one.after)}",
        detail=_sizes(one) if one.is_size else _detail(one, plan),
        place=place_of(change.place),
        elastic=change.reason in _ENDED,
    )


def _word(change: Change | None) -> str:
    if change is None:
        return "nothing"
    if change.action is Action.KEEP:
        return printable(change.status or "keep", 20)
    return word_of(change)


def _detail(one: Drift, plan: Plan) -> str:
    if one.before is not None and one.before.action is Action.VERIFY:
        if one.after is None or one.after.action in {Action.KEEP, Action.FORGET}:
            return "the attempt in question is settled"
        if one.after.action is Action.START:
            return "the attempt in question had no effect"
    return why(one.change, plan.service, plan.at) or size(one.change.records)


def _sizes(one: Drift) -> str:
    before, after = one.before, one.after
    assert before is not None  # a size differs between two
    assert after is not None
    said = "declared" if before.records_source is RecordsSource.DECLARED else "known so far"
    return f"{size(before.records)} {said}, {size(after.records)} by the server"
