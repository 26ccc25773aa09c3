"""What `batchform doctor` found, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.render.documents.plan import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.doctor import Check


def doctor_document(checks: Sequence[Check]) -> dict[str, Any]:
    """The checks, in their order."""
    return {
        "format_version": FORMAT_VERSION,
        "checks": [
            {"name": check.name, "status": check.grade.value, "summary": check.summary, "detail": check.detail}
            for check in checks
        ],
    }
