"""Encode events as JSON values and decode them, for the journal and for JSON outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.errors import StateError
from batchform.state import events
from batchform.state.codec import decode_fields, encode_fields, fields_of
from batchform.state.events import Event, What

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names are part of the file format: renaming a class must not rename its events.
_KINDS: Mapping[str, type[What]] = {
    "intended": events.Intended,
    "not_attempted": events.NotAttempted,
    "started": events.Started,
    "already_started": events.AlreadyStarted,
    "unknown": events.Unknown,
    "released": events.Released,
    "rejected": events.Rejected,
    "seen": events.Seen,
    "charged": events.Charged,
    "declared": events.Declared,
    "forgotten": events.Forgotten,
    "removed": events.Removed,
}
KIND_OF: Mapping[type[What], str] = {cls: kind for kind, cls in _KINDS.items()}
"""The name of each kind of event in the journal and in JSON outputs."""

_EVENT = fields_of(Event, frozenset({"what"}))
_WHAT = {cls: fields_of(cls) for cls in _KINDS.values()}


def encode_event(event: Event) -> dict[str, Any]:
    """Return a flat JSON object: the event's own fields, its `kind`, and the fields of that kind."""
    return {
        **encode_fields(event, _EVENT),
        "kind": KIND_OF[type(event.what)],
        **encode_fields(event.what, _WHAT[type(event.what)]),
    }


def decode_event(data: Any, where: str) -> Event:
    """Return the event. Raises StateError naming `where` if the value is not an event."""
    common = decode_fields(data, _EVENT, where)
    kind = data.get("kind")
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise StateError("The state is damaged", f"{where} has an unknown `kind`.")
    return Event(**common, what=cls(**decode_fields(data, _WHAT[cls], where)))
