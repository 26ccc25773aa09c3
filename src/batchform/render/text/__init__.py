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
    from batchform.render.text.account import account_text, end_text
    from batchform.render.text.event import event_text
    from batchform.render.text.plan import notices_text, plan_text
    from batchform.render.text.problems import error_text, problems_text
    from batchform.render.text.state import entry_text, state_list_text

__all__ = [
    "account_text",
    "end_text",
    "entry_text",
    "error_text",
    "event_text",
    "notices_text",
    "plan_text",
    "problems_text",
    "state_list_text",
]

_HOME = {
    "account_text": "account",
    "end_text": "account",
    "entry_text": "state",
    "error_text": "problems",
    "event_text": "event",
    "notices_text": "plan",
    "plan_text": "plan",
    "problems_text": "problems",
    "state_list_text": "state",
}


def __getattr__(name: str) -> Any:
    """What is called `name`, from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
