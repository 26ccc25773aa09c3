"""What a saved plan allows: (fresh plan, approved plan) -> a plan that starts no more than was approved. Pure.

An approval can only deny. Apply always makes a plan of its own, and this module leaves out of it what no reviewer has
seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from batchform.errors import RefusedError
from batchform.model import MAX_RECORDS
from batchform.plan import Action, Notice, Obstacle, Reason
from batchform.planner import guard_checks

if TYPE_CHECKING:
    from batchform.plan import Change, Plan
    from batchform.state.known import State


def check_approval(approved: Plan, here: State | Plan) -> None:
    """Refuse an approval that was given for another service, endpoint or state.

    A plan that was made before there was a state is for any state of its service and endpoint: the first apply makes
    the state, and a second one finds nothing more to start.

    Raises:
        RefusedError: It was.
    """
    for what, theirs, ours in (
        ("service", approved.service.value, here.service.value),
        ("endpoint", approved.endpoint, here.endpoint),
        ("state file", approved.lineage, here.lineage),
    ):
        if theirs != ours and theirs is not None:  # safety: the reviewer approved starts somewhere else
            here_is = f"this one is for {ours}" if ours is not None else "here is no state yet"
            raise RefusedError(
                f"The plan was made for another {what}",
                f"The plan was made for {theirs}, {here_is}. Nothing was sent. Make a new plan here.",
            )


def approve(fresh: Plan, approved: Plan) -> Plan:
    """The fresh plan, less every start that the approved one did not offer, or offered with fewer records.

    An approval can only deny: it never adds a start to the fresh plan. So an old approval repeats nothing, and a forged
    one starts nothing. Guards are checked on the starts that remain.

    Raises:
        RefusedError: The approval is for another service, endpoint or state.
    """
    check_approval(approved, fresh)
    offers = _offers(approved)
    changes = tuple(
        _approved(change, offers.get(change.batch_id), sized=approved.sized)
        if change.action is Action.START
        else change
        for change in fresh.changes
    )
    overridden = {check.guard.name for check in fresh.guards if check.overridden}
    guards = guard_checks(tuple(check.guard for check in fresh.guards), changes, overridden)
    notices = fresh.notices if approved.sized else (_UNSIZED, *fresh.notices)
    return replace(fresh, changes=changes, guards=guards, notices=notices)


def narrow(fresh: Plan, approved: Plan) -> Plan:
    """The fresh plan as an approval that allows no more than the approved one does.

    As `approve`. Besides, what the fresh plan would verify becomes an offer only if the approved plan offers it, and
    only for as many records. An apply verifies by its own plan, so this leaves no attempt without a verification.

    Raises:
        RefusedError: The approval is for another service, endpoint or state.
    """
    offers = _offers(approved)
    made = approve(fresh, approved)
    changes = tuple(
        _narrowed(change, offers.get(change.batch_id), sized=approved.sized)
        if change.action is Action.VERIFY and change.may_start
        else change
        for change in made.changes
    )
    return replace(made, changes=changes)


def too_large(made: Plan) -> tuple[Change, ...]:
    """The starts that are left out because they are larger than approved."""
    return tuple(change for change in made.having(Action.WAIT) if change.obstacle is Obstacle.TOO_LARGE)


def _offers(approved: Plan) -> dict[str, Change]:
    """What a saved plan allows to start, and the starts that it left out because of their size, by batch_id.

    A batch that is undeclared or on hold is verified, but not offered: that can have changed by the time of the apply.
    """
    offered = (*(change for change in approved.changes if change.may_start), *too_large(approved))
    return {change.batch_id: change for change in offered if change.place is not None}


_UNSIZED: Final = Notice(
    text=f"The saved plan has an old format without sizes: it approves up to {MAX_RECORDS:,} records for each start."
    " Make a new plan to approve the numbers that it shows."
)


def _approved(start: Change, offer: Change | None, *, sized: bool) -> Change:
    """The start if the approved plan offers it, else a change that starts nothing."""
    if offer is None:  # safety: no reviewer has seen it
        return _not_approved(start)
    shown = MAX_RECORDS if offer.records is None or not sized else offer.records
    most = MAX_RECORDS if not sized else offer.most
    left_out = offer.obstacle is Obstacle.TOO_LARGE
    if left_out:
        shown = most = offer.approved or 0
    now = MAX_RECORDS if start.records is None else start.records
    if now <= shown and start.most <= most:
        return _not_approved(start) if left_out else start  # safety: the reviewer saw a plan that does not start it
    # safety: the reviewer approved fewer records than it would spend
    approved = shown if now > shown else most
    return replace(start, action=Action.WAIT, reason=Reason.TOO_LARGE, obstacle=Obstacle.TOO_LARGE, approved=approved)


def _narrowed(verified: Change, offer: Change | None, *, sized: bool) -> Change:
    """A VERIFY as an offer of no more records than the approved plan offers, else a change that offers nothing."""
    if offer is None or offer.obstacle is Obstacle.TOO_LARGE:  # safety: a VERIFY of a saved plan approves a start
        return _not_approved(verified)
    if not sized:
        return verified
    records = _smaller(verified.records, offer.records)
    source = verified.records_source if records == verified.records else offer.records_source
    counted = _smaller(verified.counted, offer.counted)
    return replace(verified, records=records, records_source=source, counted=counted)


def _smaller(one: int | None, other: int | None) -> int | None:
    """The smaller of two numbers. None is unknown, and larger than any number."""
    known = [number for number in (one, other) if number is not None]
    return min(known, default=None)


def _not_approved(change: Change) -> Change:
    return replace(change, action=Action.WAIT, reason=Reason.NOT_APPROVED, obstacle=Obstacle.NOT_APPROVED)
