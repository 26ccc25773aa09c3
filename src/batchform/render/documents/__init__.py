"""What programs read: plain values for JSON, each with a schema in `schemas/`, and a saved plan back again.

Terraform's names are kept where the meaning is the same, so that policies and report converters written for its plans
count only what spends money here: a START is `["create"]`, a FORGET `["forget"]`, all else `["no-op"]`. Readers ignore
keys they do not know and refuse a major version they do not know. Nothing here is coloured or cut, and nothing is
escaped but by JSON itself: the texts meant for people (`@message`) aside, values are as they came.

Modules are imported when they are asked for: an offline plan does without the engine and its account.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchform.render.documents.diagnostics import diagnostics_document
    from batchform.render.documents.history import history_document
    from batchform.render.documents.plan import plan_document, refresh_document
    from batchform.render.documents.report import entry_document, report_document, state_document
    from batchform.render.documents.saved import load_plan, plan_from_document
    from batchform.render.documents.status import status_document, waited_document
    from batchform.render.documents.stream import (
        apply_summary_document,
        change_summary_document,
        diagnostic_document,
        event_document,
        outcome_document,
        planned_change_document,
        planned_documents,
        report_documents,
        version_document,
    )

__all__ = [
    "apply_summary_document",
    "change_summary_document",
    "diagnostic_document",
    "diagnostics_document",
    "entry_document",
    "event_document",
    "history_document",
    "load_plan",
    "outcome_document",
    "plan_document",
    "plan_from_document",
    "planned_change_document",
    "planned_documents",
    "refresh_document",
    "report_document",
    "report_documents",
    "state_document",
    "status_document",
    "version_document",
    "waited_document",
]

_HOME = {
    "report_document": "report",
    "report_documents": "stream",
    "apply_summary_document": "stream",
    "change_summary_document": "stream",
    "diagnostic_document": "stream",
    "diagnostics_document": "diagnostics",
    "entry_document": "report",
    "event_document": "stream",
    "history_document": "history",
    "load_plan": "saved",
    "outcome_document": "stream",
    "plan_document": "plan",
    "plan_from_document": "saved",
    "planned_change_document": "stream",
    "planned_documents": "stream",
    "refresh_document": "plan",
    "state_document": "report",
    "status_document": "status",
    "version_document": "stream",
    "waited_document": "status",
}


def __getattr__(name: str) -> Any:
    """What is called `name`, from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
