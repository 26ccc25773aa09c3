"""Events to JSON values and back, as they stand in the journal and in JSON outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from batchform.errors import StateError
from batchform.state.codec import decode_fields, encode_fields, fields_of
from batchform.state.events import Event, What

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Mapping[str, type[What]] = {
    "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_"): cls for cls in get_args(What)
}
KIND_OF: Mapping[type[What], str] = {cls: kind for kind, cls in _KINDS.items()}
"""The name of each kind of event, as it stands in the journal and in JSON outputs."""

_EVENT = fields_of(Event, frozenset({"what"}))
_WHAT = {cls: fields_of(cls) for cls in _KINDS.values()}


def encode_event(event: Event) -> dict[str, Any]:
    """A flat JSON object: the event's own fields, its `kind`, and the fields of that kind."""
    return {
        **encode_fields(event, _EVENT),
        "kind": KIND_OF[type(event.what)],
        **encode_fields(event.what, _WHAT[type(event.what)]),
    }


def decode_event(data: Any, where: str) -> Event:
    """The event. Raises StateError naming `where` for anything that is not one."""
    common = decode_fields(data, _EVENT, where)
    kind = data.get("kind")
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise StateError("The state is damaged", f"{where} is of an unknown kind.")
    return Event(**common, what=cls(**decode_fields(data, _WHAT[cls], where)))
