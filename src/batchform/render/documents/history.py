"""The history of a state, as JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from batchform.render.documents.plan import FORMAT_VERSION
from batchform.state.codec import encode_time
from batchform.state.known import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.state.known import State

_NUMBERS: Final = tuple(field.name for field in fields(Run) if field.default == 0)


def history_document(state: State, runs: Sequence[Run]) -> dict[str, Any]:
    """The given runs, oldest first. The summary counts all runs of the state."""
    return {
        "format_version": FORMAT_VERSION,
        "configuration": {"service": state.service.value, "endpoint": state.endpoint},
        "lineage": state.lineage,
        "runs": [_run(run) for run in runs],
        "summary": {"runs": len(state.runs)} | {name: _total(state, name) for name in _NUMBERS},
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "at": encode_time(run.at),
        "command": run.command or None,
        "who": run.who or None,
        "job": run.job or None,
        "commit": run.commit or None,
        "overrides": list(run.overrides),
    } | {name: getattr(run, name) for name in _NUMBERS}


def _total(state: State, name: str) -> int:
    return sum(getattr(run, name) for run in state.runs)
