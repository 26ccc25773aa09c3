"""How far the declared batches are, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.render.documents.plan import FORMAT_VERSION, address_of
from batchform.state.codec import encode_time
from batchform.status import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from batchform.status import Snapshot, Standing


def status_document(look: Snapshot, *, only: Sequence[Standing] | None = None) -> dict[str, Any]:
    """Where the batches stand; `only` these, None for all. The summary always counts all."""
    return {
        "format_version": FORMAT_VERSION,
        "timestamp": encode_time(look.at),
        "configuration": {"service": look.service.value, "endpoint": look.endpoint},
        "refreshed": look.refreshed,
        "batches": [_standing(one, look) for one in (look.standings if only is None else only)],
        "summary": {stage.value: len(look.having(stage)) for stage in Stage},
    }


def waited_document(look: Snapshot, *, exit_code: int) -> dict[str, Any]:
    """The last line of `apply --wait --json`: where the batches stand when the wait ends, and its own exit code."""
    document = status_document(look)
    document.pop("format_version")
    counts = ", ".join(f"{number:,} {stage}" for stage, number in document["summary"].items() if number)
    return {
        "@level": "info" if exit_code == 0 else "error",
        "@message": f"Waited: {counts or 'nothing is declared'}.",
        "@module": "batchform",
        "@timestamp": document.pop("timestamp"),
        "type": "wait_complete",
        **document,
        "exit_code": int(exit_code),
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
        "submitted_at": _time(change.submitted_at),
        "started_at": _time(one.started_at),
        "ended_at": _time(one.ended_at),
        "seen_at": _time(one.seen_at),
        "deadline": _time(change.deadline),
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else encode_time(value)
