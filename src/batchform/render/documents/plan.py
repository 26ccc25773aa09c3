"""Plan -> JSON. `saved` reads every field that this module writes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from batchform.model import MAX_RECORDS
from batchform.plan import Action
from batchform.state.codec import encode_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from batchform.charges import Charges
    from batchform.drift import Drift
    from batchform.estimate import Rate
    from batchform.model import Service
    from batchform.plan import Change, GuardCheck, Plan
    from batchform.source_text import Place

FORMAT_VERSION: Final = "1.0"

PLAN_VERSION: Final = "1.2"
"""The format of a plan. Before 1.1, it had no `records_counted` and did not approve sizes; before 1.2, no `held`."""


def plan_document(plan: Plan, *, version: str, drift: Sequence[Drift] = ()) -> dict[str, Any]:
    """The plan as JSON values. `version` is batchform's own, `drift` where the account differs from the state."""
    prior = None if plan.serial is None else {"lineage": plan.lineage, "serial": plan.serial}
    return {
        "format_version": PLAN_VERSION,
        "batchform_version": version,
        "timestamp": encode_time(plan.at),
        "applyable": plan.applyable,
        "complete": not plan.targeted,
        "errored": False,
        "prior_state": prior,
        "configuration": {"service": plan.service.value, "endpoint": plan.endpoint},
        "refreshed": plan.refreshed,
        "targeted": plan.targeted,
        "resource_changes": [change_document(change, plan.service) for change in plan.changes],
        "resource_drift": [drift_document(one, plan.service) for one in drift],
        "checks": [_check(check) for check in plan.guards],
        "warnings": [{"name": notice.name, "text": notice.text} for notice in plan.notices],
        "summary": summary(plan),
        **({} if plan.rate is None else {"estimate": _estimate(plan, plan.rate)}),
    }


def refresh_document(
    plan: Plan, drift: Sequence[Drift], *, version: str, changed: bool, charges: Charges | None = None
) -> dict[str, Any]:
    """The result of a refresh. `changed`: something new was written to the state."""
    return {
        "format_version": FORMAT_VERSION,
        "batchform_version": version,
        "timestamp": encode_time(plan.at),
        "configuration": {"service": plan.service.value, "endpoint": plan.endpoint},
        "targeted": plan.targeted,
        "state_changed": changed,
        "has_drift": bool(drift),
        "resource_drift": [drift_document(one, plan.service) for one in drift],
        "warnings": [{"name": notice.name, "text": notice.text} for notice in plan.notices],
        "summary": summary(plan),
        **({} if charges is None else {"charges": asdict(charges)}),
    }


def actions_of(action: Action) -> list[str]:
    """Terraform's words for the action. Only a START creates, because only a START spends."""
    if action is Action.START:
        return ["create"]
    return ["forget"] if action is Action.FORGET else ["no-op"]


def address_of(name: str, service: Service) -> str:
    """The address of the batch in Terraform's form."""
    return f"{service.value}_batch.{name}"


def time_document(time: datetime | None) -> str | None:
    """A time as JSON has it, null for none."""
    return None if time is None else encode_time(time)


def _estimate(plan: Plan, rate: Rate) -> dict[str, Any]:
    """What the starts of known size will probably cost. No part of the approval."""
    records = sum(change.records or 0 for change in plan.having(Action.START))
    about = round(records * rate.per_record)
    return {
        "records": records,
        "credits": about,
        "credits_at_least": round(records * rate.least),
        "credits_at_most": round(records * rate.most),
        "learnt_from": rate.learnt,
        "price": None if rate.price is None else round(about * rate.price, 2),
        "currency": rate.currency or None,
    }


def _address(change: Change, service: Service) -> dict[str, Any]:
    """The batch, in Terraform's shape."""
    return {
        "address": address_of(change.name, service),
        "mode": "managed",
        "type": f"{service.value}_batch",
        "name": change.name,
        "batch_id": change.batch_id,
    }


def change_document(change: Change, service: Service) -> dict[str, Any]:
    """One of the `resource_changes`."""
    before = {"name": change.name, "batch_id": change.batch_id, "status": change.status, "records": change.records}
    after = before | {"status": "processing"} if change.action is Action.START else before
    return {
        **_address(change, service),
        "change": {
            "actions": actions_of(change.action),
            "before": None if change.action is Action.START else before,
            "after": None if change.action is Action.FORGET else after,
        },
        "action": change.action.value,
        "action_reason": change.reason.value,
        "status": change.status,
        "server_reason": change.server_reason,
        "records": change.records,
        "records_source": change.records_source.value,
        "records_counted": change.counted,
        "records_approved": change.approved,
        "held": change.held,
        "submitted_at": time_document(change.submitted_at),
        "deadline": time_document(change.deadline),
        "not_before": time_document(change.not_before),
        "reference_id": change.reference_id,
        "range": range_document(change.place),
    }


def drift_document(drift: Drift, service: Service) -> dict[str, Any]:
    """One of the `resource_drift`: the decision from the state alone, and the decision now."""
    change = drift.change
    return {
        **_address(change, service),
        "change": {"actions": ["update"], "before": _side(drift.before), "after": _side(drift.after)},
    }


def _side(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "action": change.action.value,
        "action_reason": change.reason.value,
        "status": change.status,
        "records": change.records,
        "records_source": change.records_source.value,
    }


def range_document(place: Place | None) -> dict[str, Any] | None:
    """A place in Terraform's shape. Lines and columns count from 1, columns in characters; the end is exclusive."""
    if place is None:
        return None
    return {
        "filename": place.file,
        "start": {"line": place.line, "column": place.column},
        "end": {"line": place.end_line, "column": place.end_column},
    }


def summary(plan: Plan) -> dict[str, Any]:
    """The numbers of the plan, for gates and dashboards."""
    starts = plan.having(Action.START)
    unknown = sum(change.records is None for change in starts)
    known = sum(change.records for change in starts if change.records is not None)
    return {
        **{action.value: len(plan.having(action)) for action in Action},
        "has_changes": plan.has_changes,
        "records_at_stake": known,
        "unknown_records": unknown,
        "records_at_most": known + unknown * MAX_RECORDS,
    }


def _check(check: GuardCheck) -> dict[str, Any]:
    return {
        "address": {"kind": "guard", "name": check.guard.name.value, "to_display": f"guards.{check.guard.name.value}"},
        "status": "pass" if check.holds else "fail",
        "limit": check.guard.limit,
        "measured": check.measured,
        "unknown": check.unknown,
        "overridden": check.overridden,
        "range": range_document(check.guard.place),
    }
