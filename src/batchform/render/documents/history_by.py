"""What was spent, by month, label and so on, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchform.render.documents.plan import FORMAT_VERSION

if TYPE_CHECKING:
    from batchform.history import Spending


def history_by_document(spending: Spending) -> dict[str, Any]:
    """Each group has its values under the names of the keys, then its sums."""
    return {
        "format_version": FORMAT_VERSION,
        "by": list(spending.by),
        "groups": [dict(zip(spending.by, group.values, strict=True)) | asdict(group.sums) for group in spending.groups],
        "total": asdict(spending.total),
    }
