"""Who holds a state, as JSON and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchform.render.documents.plan import FORMAT_VERSION

if TYPE_CHECKING:
    from datetime import datetime

    from batchform.state.journal import Header


def free_document() -> dict[str, Any]:
    """No run holds it."""
    return {"format_version": FORMAT_VERSION, "locked": False}


def file_lock_document(holder: str) -> dict[str, Any]:
    """A run holds a state file. `holder` is the text of the lock file."""
    return {"format_version": FORMAT_VERSION, "locked": True, "holder": holder}


def store_lock_document(header: Header, written: datetime | None, now: datetime) -> dict[str, Any]:
    """A run holds a state in a store. `written` is when its journal was written last, None if not known."""
    quiet = None if written is None else max((now - written).total_seconds(), 0.0)
    return {
        "format_version": FORMAT_VERSION,
        "locked": True,
        "run": header.run,
        "holder": f"{header.holder.get('Operation', 'a run')} by {header.holder.get('Who', 'an unknown holder')}",
        "job": header.holder.get("Info", ""),
        "since": header.holder.get("Created", ""),
        "quiet_seconds": quiet,
        "lease_seconds": header.lease,
    }


def lock_text(document: dict[str, Any]) -> str:
    """The document of a lock that is held, as one sentence."""
    if "run" not in document:
        return f"Held: {document['holder']}."
    quiet = document["quiet_seconds"]
    parts = [
        f"Held by run {document['run']}: {document['holder']}",
        document["job"],
        f"since {document['since']}" if document["since"] else "",
        "" if quiet is None else f"quiet for {quiet:.0f} of {document['lease_seconds']:.0f} s, by the store's clock",
    ]
    return ", ".join(part for part in parts if part) + "."
