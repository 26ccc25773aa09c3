"""`apply --json`: one JSON object a line, while it happens.

The order: `version`; a `planned_change` for each change and one `change_summary` with operation `plan`; the events as
they are recorded; an `outcome` a batch; last a `change_summary` with operation `apply` and the exit code. Each line has
Terraform's `@level`, `@message`, `@module`, `@timestamp` and `type`, so that a reader made for its stream can follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from batchform.apply import Result
from batchform.errors import Problem, Severity
from batchform.plan import Action
from batchform.render.documents.diagnostics import problem_document
from batchform.render.documents.plan import FORMAT_VERSION, actions_of, address_of, change_document, summary
from batchform.render.documents.report import end_document, outcome_fields, report_summary
from batchform.render.escape import printable
from batchform.render.outcomes import closing_words, event_words
from batchform.render.words import why, word_of
from batchform.state.codec import encode_time
from batchform.state.event_codec import encode_event
from batchform.state.events import (
    AlreadyStarted,
    Declared,
    Forgotten,
    Intended,
    NotAttempted,
    Rejected,
    Released,
    Removed,
    Seen,
    Started,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from batchform.apply import Outcome, Report
    from batchform.model import Service
    from batchform.plan import Change, Notice, Plan
    from batchform.state.events import Event, What

MODULE: Final = "batchform"

_TYPES: Mapping[type[What], str] = {
    Intended: "apply_start",
    Started: "apply_complete",
    AlreadyStarted: "apply_complete",
    Forgotten: "apply_complete",
    Unknown: "apply_progress",
    Released: "apply_progress",
    Declared: "apply_progress",
    Removed: "apply_progress",
    NotAttempted: "apply_errored",
    Rejected: "apply_errored",
    Seen: "refresh_complete",
}

_RESULT_LEVELS: Mapping[Result, str] = {
    Result.REJECTED: "error",
    Result.BLOCKED: "error",
    Result.UNKNOWN: "error",
    Result.NOT_ATTEMPTED: "warn",
}

_LEVELS: Mapping[type[What], str] = {Unknown: "warn", NotAttempted: "warn", Rejected: "error"}


def version_document(version: str, *, at: datetime) -> dict[str, Any]:
    """The first line."""
    return _line("version", f"batchform {version}", at) | {"batchform": version, "ui": FORMAT_VERSION}


def planned_documents(plan: Plan, *, at: datetime) -> Iterator[dict[str, Any]]:
    """A line for each batch that something is to be said about, for each warning, and the totals last."""
    for change in plan.changes:
        if change.action is not Action.KEEP:
            yield planned_change_document(change, plan.service, at=at)
    for notice in plan.notices:
        yield diagnostic_document(notice, at=at)
    yield change_summary_document(plan, at=at)


def planned_change_document(change: Change, service: Service, *, at: datetime) -> dict[str, Any]:
    """What is going to be done with one batch."""
    words = why(change, service, at)
    message = f"{printable(change.name)}: {'plan to ' if change.is_change else ''}{word_of(change)}"
    document = change_document(change, service)
    hook = {"resource": _resource(change.name, service), "action": document["change"]["actions"][0]}
    return {
        **_line("planned_change", f"{message} ({words})" if words else message, at),
        "change": hook,
        **{key: document[key] for key in ("batch_id", "name", "action", "action_reason", "records", "deadline")},
    }


def change_summary_document(plan: Plan, *, at: datetime) -> dict[str, Any]:
    """How much is going to be done."""
    numbers = summary(plan)
    message = (
        f"Plan: {numbers['start']:,} to start, {numbers['adopt']:,} to adopt, {numbers['verify']:,} to verify,"
        f" {numbers['forget']:,} to forget, {numbers['blocked']:,} blocked."
    )
    return {
        **_line("change_summary", message, at),
        "changes": _changes("plan", add=numbers["start"], forget=numbers["forget"]),
        "summary": numbers,
    }


def event_document(event: Event, *, service: Service) -> dict[str, Any]:
    """What has just happened to one batch: Terraform's `hook`, and flat what the journal holds of it."""
    kind = type(event.what)
    action = Action.FORGET if kind is Forgotten else Action.START
    if kind in {Seen, Declared, Removed}:
        action = Action.KEEP
    message = f"{printable(event.name)}: {event_words(event.what)[1]}"
    return {
        **_line(_TYPES[kind], message, event.at, level=_LEVELS.get(kind, "info")),
        "hook": {
            "resource": _resource(event.name, service),
            "action": actions_of(action)[0],
            "id_key": "batch_id",
            "id_value": event.batch_id,
        },
        **encode_event(event),
    }


def diagnostic_document(about: Problem | Notice, *, at: datetime) -> dict[str, Any]:
    """A problem or a warning."""
    if isinstance(about, Problem):
        diagnostic = problem_document(about)
    else:
        detail = f"{about.name} {about.text}" if about.name is not None else about.text
        diagnostic = {"severity": "warning", "summary": detail, "detail": "", "range": None, "name": about.name}
    level = "warn" if diagnostic["severity"] == Severity.WARNING else "error"
    head = "Warning" if level == "warn" else "Error"
    message = f"{head}: {printable(diagnostic['summary'])}"
    return {**_line("diagnostic", message, at, level=level), "diagnostic": diagnostic}


def report_documents(account: Report, *, at: datetime) -> Iterator[dict[str, Any]]:
    """A line for each batch that was touched, and the totals with the exit code last."""
    for outcome in account.outcomes:
        yield outcome_document(outcome, at=at)
    yield apply_summary_document(account, at=at)


def outcome_document(outcome: Outcome, *, at: datetime) -> dict[str, Any]:
    """What came of one batch."""
    message = f"{printable(outcome.change.name)}: {outcome.result.value.replace('_', ' ')}"
    return {
        **_line("outcome", message, at, level=_RESULT_LEVELS.get(outcome.result, "info")),
        **outcome_fields(outcome),
    }


def apply_summary_document(account: Report, *, at: datetime) -> dict[str, Any]:
    """The last line: the totals and the exit code."""
    numbers = report_summary(account)
    return {
        **_line("change_summary", closing_words(account), at, level="info" if account.complete else "error"),
        "changes": _changes("apply", add=numbers["started"], forget=numbers["forgotten"]),
        "summary": numbers,
        "complete": account.complete,
        "exit_code": int(account.exit),
        "end": end_document(account.end),
    }


def _changes(operation: str, *, add: int, forget: int) -> dict[str, Any]:
    return {"add": add, "change": 0, "import": 0, "remove": 0, "forget": forget, "operation": operation}


def _line(kind: str, message: str, at: datetime, *, level: str = "info") -> dict[str, Any]:
    return {
        "@level": level,
        "@message": message,
        "@module": MODULE,
        "@timestamp": encode_time(at),
        "type": kind,
    }


def _resource(name: str, service: Service) -> dict[str, Any]:
    return {
        "addr": address_of(name, service),
        "module": "",
        "resource": address_of(name, service),
        "implied_provider": MODULE,
        "resource_type": f"{service.value}_batch",
        "resource_name": name,
        "resource_key": None,
    }
