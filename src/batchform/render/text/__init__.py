"""What people read. Every function returns whole lines without the last newline, and nothing when there is nothing.

No line is wider than 100 columns (colour aside), none is the first to need colour to be understood, and what came from
a file or the server is always escaped. The prefixes `Plan: `, `No changes. `, `Apply complete! `, `Apply incomplete. `,
`Error: ` and `Warning: ` stay for ever.

Modules are imported when they are asked for: an offline plan does without the engine and its account.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchform.render.text.drift import drift_lines, refresh_text
    from batchform.render.text.event import event_text
    from batchform.render.text.history import history_text
    from batchform.render.text.plan import notices_text, plan_text
    from batchform.render.text.problems import error_text, problems_text
    from batchform.render.text.report import end_text, report_text
    from batchform.render.text.state import entry_text, state_list_text
    from batchform.render.text.status import changed_lines, frame, log_words, status_text
    from batchform.render.text.why import why_text

__all__ = [
    "changed_lines",
    "drift_lines",
    "end_text",
    "entry_text",
    "error_text",
    "event_text",
    "frame",
    "history_text",
    "log_words",
    "notices_text",
    "plan_text",
    "problems_text",
    "refresh_text",
    "report_text",
    "state_list_text",
    "status_text",
    "why_text",
]

_HOME = {
    "report_text": "report",
    "changed_lines": "status",
    "drift_lines": "drift",
    "end_text": "report",
    "entry_text": "state",
    "error_text": "problems",
    "event_text": "event",
    "frame": "status",
    "history_text": "history",
    "log_words": "status",
    "notices_text": "plan",
    "plan_text": "plan",
    "problems_text": "problems",
    "refresh_text": "drift",
    "state_list_text": "state",
    "status_text": "status",
    "why_text": "why",
}


def __getattr__(name: str) -> Any:
    """What is called `name`, from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
