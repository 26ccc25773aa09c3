"""Problems -> JSON, in the shape of `terraform validate -json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.errors import Severity
from batchform.render.documents.plan import FORMAT_VERSION, range_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.errors import Problem


def diagnostics_document(problems: Sequence[Problem]) -> dict[str, Any]:
    """All that is wrong with the configuration. It is valid as long as there are warnings only."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": len(problems) - errors,
        "diagnostics": [problem_document(problem) for problem in problems],
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    """One of the `diagnostics`. `snippet` is null: the source is at hand for whoever validates."""
    return {
        "severity": problem.severity.value,
        "code": problem.code,
        "summary": problem.summary,
        "detail": problem.detail,
        "hint": problem.hint,
        "range": range_document(problem.place),
        "related": [{"range": range_document(place), "note": note} for place, note in problem.related],
        "snippet": None,
    }
