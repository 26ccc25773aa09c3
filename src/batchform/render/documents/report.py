"""The report of a run, as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batchform.apply import Result
from batchform.engine import ForeignAnswers, Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.render.documents.plan import FORMAT_VERSION
from batchform.render.outcomes import end_text

if TYPE_CHECKING:
    from batchform.apply import Outcome, Report
    from batchform.model import ServerProblem


def report_document(report: Report) -> dict[str, Any]:
    """The report: each outcome, why the run ended early if it did, and the exit code."""
    return {
        "format_version": FORMAT_VERSION,
        "complete": report.complete,
        "exit_code": int(report.exit),
        "end": end_document(report),
        "outcomes": [outcome_fields(outcome) for outcome in report.outcomes],
        "summary": report_summary(report),
    }


def report_summary(report: Report) -> dict[str, int]:
    """The number of batches with each result, and the records of the started ones."""
    started = report.having(Result.STARTED)
    return {
        **{result.value: len(report.having(result)) for result in Result},
        "records_started": sum(o.change.records for o in started if o.change.records is not None),
        "unknown_records": sum(o.change.records is None for o in started),
    }


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """The outcome of one batch."""
    return {
        "name": outcome.change.name,
        "batch_id": outcome.change.batch_id,
        "action": outcome.change.action.value,
        "action_reason": outcome.change.reason.value,
        "records": outcome.change.records,
        "result": outcome.result.value,
        "evidence": outcome.evidence.value if outcome.evidence is not None else None,
        "cause": outcome.cause.value if outcome.cause is not None else None,
        "problem": _problem(outcome.problem),
        "recorded": outcome.recorded,
    }


def end_document(report: Report) -> dict[str, Any] | None:
    """Why the run ended early, null if it did not."""
    end = report.end
    if end is None:
        return None
    kind = re.sub("(?<!^)(?=[A-Z])", "_", type(end).__name__).lower()
    fields: dict[str, Any] = {}
    match end:
        case Stopped():
            fields = {"problem": _problem(end.problem)}
        case ServiceDown():
            fields = {"batches": end.batches}
        case Starved():
            fields = {"windows": end.windows}
        case ForeignAnswers():
            fields = {"reference_id": end.reference_id}
        case Interrupted():
            fields = {"signal": end.signum}
        case Unrecordable():
            fields = {}
    return {"kind": kind, "message": end_text(end, accepted=report.accepted), **fields}


def _problem(problem: ServerProblem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {"status": problem.status, "title": problem.title, "detail": problem.detail}
