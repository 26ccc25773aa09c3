"""What programs read: plain values for JSON, each with a schema in `schemas/`, and a saved plan back again.

Terraform's names are kept where the meaning is the same, so that policies and report converters written for its plans
count only what spends money here: a START is `["create"]`, a FORGET `["forget"]`, all else `["no-op"]`. Readers ignore
keys they do not know and refuse a major version they do not know. Nothing here is coloured or cut, and nothing is
escaped but by JSON itself: the texts meant for people (`@message`) aside, values are as they came.
"""

from __future__ import annotations

from batchform.render.documents.account import account_document, state_document
from batchform.render.documents.diagnostics import diagnostics_document
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import load_plan, plan_from_document
from batchform.render.documents.stream import (
    apply_summary_document,
    change_summary_document,
    diagnostic_document,
    event_document,
    outcome_document,
    planned_change_document,
    version_document,
)

__all__ = [
    "account_document",
    "apply_summary_document",
    "change_summary_document",
    "diagnostic_document",
    "diagnostics_document",
    "event_document",
    "load_plan",
    "outcome_document",
    "plan_document",
    "plan_from_document",
    "planned_change_document",
    "state_document",
    "version_document",
]
