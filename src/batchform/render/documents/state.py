"""The state, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batchform.state.codec import encode_state

if TYPE_CHECKING:
    from batchform.state.known import State


def state_document(state: State) -> dict[str, Any]:
    """The state, exactly as its file holds it: one shape, one schema."""
    document: dict[str, Any] = json.loads(encode_state(state))
    return document
