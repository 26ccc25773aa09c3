"""The results of batches, as JSON. Never an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.fetch import Kind
from batchform.render.documents.plan import FORMAT_VERSION, address_of
from batchform.state.codec import encode_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.fetch import Fetched
    from batchform.model import Service
    from batchform.status import Snapshot


def results_document(look: Snapshot, found: Sequence[Fetched]) -> dict[str, Any]:
    """What became of the results of each batch."""
    return {
        "format_version": FORMAT_VERSION,
        "timestamp": encode_time(look.at),
        "configuration": {"service": look.service.value, "endpoint": look.endpoint},
        "batches": [_fetched(one, look.service) for one in found],
        "summary": {kind.value: sum(one.kind is kind for one in found) for kind in Kind},
    }


def _fetched(one: Fetched, service: Service) -> dict[str, Any]:
    change, known, problem = one.standing.change, one.results, one.problem
    return {
        "address": address_of(change.name, service),
        "name": change.name,
        "batch_id": change.batch_id,
        "status": change.status if known is None else known.status,
        "server_reason": change.server_reason if known is None else known.reason,
        "results": one.kind.value,
        "file": one.file or None,
        "items": None if known is None else known.count,
        "credits_charged": None if known is None else known.credits_charged,
        "statistics": None if known is None else dict(known.statistics),
        "problem": None
        if problem is None
        else {"status": problem.status, "title": problem.title, "detail": problem.detail},
    }
