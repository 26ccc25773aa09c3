"""The progress of the declared batches, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.render.documents.plan import FORMAT_VERSION, address_of, time_document
from batchform.state.codec import encode_time
from batchform.status import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.status import Snapshot, Standing


def status_document(look: Snapshot, *, only: Sequence[Standing] | None = None) -> dict[str, Any]:
    """The progress of the batches, or of `only` some of them. The summary counts all."""
    return {
        "format_version": FORMAT_VERSION,
        "timestamp": encode_time(look.at),
        "configuration": {"service": look.service.value, "endpoint": look.endpoint},
        "refreshed": look.refreshed,
        "batches": [_standing(one, look) for one in (look.standings if only is None else only)],
        "summary": {stage.value: len(look.having(stage)) for stage in Stage},
    }


def _standing(one: Standing, look: Snapshot) -> dict[str, Any]:
    change = one.change
    return {
        "address": address_of(change.name, look.service),
        "name": change.name,
        "batch_id": change.batch_id,
        "stage": one.stage.value,
        "status": change.status,
        "server_reason": change.server_reason,
        "action": change.action.value,
        "action_reason": change.reason.value,
        "observed": one.observed,
        "records": change.records,
        "records_source": change.records_source.value,
        "records_processed": one.processed,
        "percent": None if one.share is None else int(one.share * 100),
        "submitted_at": time_document(change.submitted_at),
        "started_at": time_document(one.started_at),
        "ended_at": time_document(one.ended_at),
        "seen_at": time_document(one.seen_at),
        "deadline": time_document(change.deadline),
    }
