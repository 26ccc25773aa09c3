"""A plan as GitLab's Terraform report: three numbers that a merge request shows.

Only a START counts, as a creation, because only a START spends. Nothing is ever updated or deleted on the server.
Source: docs.gitlab.com, "artifacts:reports:terraform".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.plan import Action

if TYPE_CHECKING:
    from batchform.plan import Plan


def gitlab_report(plan: Plan) -> dict[str, int]:
    """Exactly the three keys that GitLab reads."""
    return {"create": len(plan.having(Action.START)), "update": 0, "delete": 0}
