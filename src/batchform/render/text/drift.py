"""Drift: one line for each batch whose status on the server differs from the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.plan import Action, RecordsSource
from batchform.render.escape import printable
from batchform.render.layout import Line, pack, table
from batchform.render.style import Tone
from batchform.render.words import batches, count, place_of, quoted, size, why, word_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.charges import Charges
    from batchform.drift import Drift
    from batchform.plan import Change, Plan
    from batchform.render.style import Style


def drift_lines(drift: Sequence[Drift], plan: Plan, style: Style) -> list[str]:
    """`  ~ name   start -> adopt   already processing, nothing is spent   batches.yaml:12`."""
    return table([_line(one, plan) for one in drift], style)


def refresh_text(
    drift: Sequence[Drift], plan: Plan, style: Style, *, saved_as: str, charges: Charges | None = None
) -> str:
    """What a refresh found.

    Args:
        drift: Where the account differs from the state.
        plan: The plan after the refresh.
        style: Colour or none.
        saved_as: The state file, empty if nothing new was written to it.
        charges: The charges that were read, None if none were to be read.
    """
    sentences = [f"{style.bold('Refreshed:')} {batches(len(plan.changes))}, {_found(drift)}."]
    sentences.append(f"Recorded in {printable(saved_as)}." if saved_as else "The state was up to date.")
    sentences.append("Nothing was started.")
    lines = drift_lines(drift, plan, style)
    more = pack(charges_sentences(charges), style.columns) if charges is not None else []
    return "\n".join([*lines, *([""] if lines else []), *pack(sentences, style.columns), *more])


def charges_sentences(charges: Charges) -> list[str]:
    """The charges that were read, and those that are not final or not known."""
    if not (charges.read or charges.unanswered):
        return ["Charges: there is none to read."]
    known = charges.read - charges.unknown
    parts = [
        f"Charges: {count(charges.credits, 'credit')} for {batches(known)}.",
        f"{count(charges.open, 'charge')} can still change." if charges.open else "",
        f"The answers about {batches(charges.unknown)} had no usable number of credits." if charges.unknown else "",
        f"There was no answer with a charge for {batches(charges.unanswered)}." if charges.unanswered else "",
        f"Left for the next `batchform refresh --credits`: {batches(charges.left)}." if charges.left else "",
    ]
    return [part for part in parts if part]


def _found(drift: Sequence[Drift]) -> str:
    return f"{count(len(drift), 'differs', 'differ')} from the state" if drift else "no drift"


def _line(one: Drift, plan: Plan) -> Line:
    change = one.change
    return Line(
        symbol="~",
        tone=Tone.YELLOW,
        name=printable(change.name),
        word="records" if one.is_size else f"{_word(one.before)} -> {_word(one.after)}",
        detail=_sizes(one) if one.is_size else _detail(one, plan),
        place=place_of(change.place),
        elastic=bool(quoted(change)),
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
            return "the unknown attempt is verified"
        if one.after.action is Action.START:
            return "the unknown attempt had no effect"
    return why(one.change, plan) or size(one.change.records)


def _sizes(one: Drift) -> str:
    before, after = one.before, one.after
    assert before is not None  # a size differs between two
    assert after is not None
    said = "declared" if before.records_source is RecordsSource.DECLARED else "in the state"
    return f"{size(before.records)} {said}, {size(after.records)} on the server"
