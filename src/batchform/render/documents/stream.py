"""The lines of `apply --json`: one JSON object for each step of the run.

The order: `version`; a `planned_change` for each change and one `change_summary` with operation `plan`; the events as
they are recorded; an `outcome` for each batch; last a `change_summary` with operation `apply` and the exit code. Each
line has Terraform's `@level`, `@message`, `@module`, `@timestamp` and `type`, so programs that read its stream can read
this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from batchform.plan import Action
from batchform.render.documents.plan import FORMAT_VERSION, actions_of, address_of, change_document, summary
from batchform.render.documents.report import end_document, outcome_fields, report_summary
from batchform.render.documents.status import status_document
from batchform.render.escape import printable
from batchform.render.outcomes import RESULTS, closing_words, event_words
from batchform.render.words import plan_totals, why, word_of
from batchform.state.codec import encode_time
from batchform.state.event_codec import encode_event
from batchform.state.events import (
    AlreadyStarted,
    Charged,
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
    from batchform.status import Snapshot

_MODULE: Final = "batchform"

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
    Charged: "refresh_complete",
}

_LEVELS: Mapping[type[What], str] = {Unknown: "warn", NotAttempted: "warn", Rejected: "error"}


def version_document(version: str, *, at: datetime) -> dict[str, Any]:
    """The first line."""
    return _line("version", f"batchform {version}", at) | {"batchform": version, "ui": FORMAT_VERSION}


def planned_documents(plan: Plan, *, at: datetime) -> Iterator[dict[str, Any]]:
    """A line for each change but KEEP, a line for each warning, and the totals last."""
    for change in plan.changes:
        if change.action is not Action.KEEP:
            yield _planned_change(change, plan, at=at)
    for notice in plan.notices:
        yield _warning(notice, at=at)
    yield _plan_summary(plan, at=at)


def _planned_change(change: Change, plan: Plan, *, at: datetime) -> dict[str, Any]:
    """One change of the plan."""
    words = why(change, plan)
    message = f"{printable(change.name)}: {'plan to ' if change.is_change else ''}{word_of(change)}"
    document = change_document(change, plan.service)
    hook = {"resource": _resource(change.name, plan.service), "action": document["change"]["actions"][0]}
    return {
        **_line("planned_change", f"{message} ({words})" if words else message, at),
        "change": hook,
        **{key: document[key] for key in ("batch_id", "name", "action", "action_reason", "records", "deadline")},
    }


def _plan_summary(plan: Plan, *, at: datetime) -> dict[str, Any]:
    """The totals of the plan."""
    numbers = summary(plan)
    return {
        **_line("change_summary", plan_totals(plan), at),
        "changes": _changes("plan", add=numbers["start"], forget=numbers["forget"]),
        "summary": numbers,
    }


def event_document(event: Event, *, service: Service) -> dict[str, Any]:
    """One event: Terraform's `hook`, and the fields of the journal beside it."""
    kind = type(event.what)
    action = Action.FORGET if kind is Forgotten else Action.START
    if kind in {Seen, Charged, Declared, Removed}:
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


def _warning(notice: Notice, *, at: datetime) -> dict[str, Any]:
    """A warning of the plan."""
    text = f"{notice.name} {notice.text}" if notice.name is not None else notice.text
    diagnostic = {"severity": "warning", "summary": text, "detail": "", "range": None, "name": notice.name}
    return {**_line("diagnostic", f"Warning: {printable(text)}", at, level="warn"), "diagnostic": diagnostic}


def report_documents(report: Report, *, at: datetime) -> Iterator[dict[str, Any]]:
    """A line for each outcome, and the totals with the exit code last."""
    for outcome in report.outcomes:
        yield _outcome(outcome, at=at)
    yield _report_summary(report, at=at)


def _outcome(outcome: Outcome, *, at: datetime) -> dict[str, Any]:
    """One outcome."""
    shown = RESULTS[outcome.result]
    return {
        **_line("outcome", f"{printable(outcome.change.name)}: {shown.word}", at, level=shown.level),
        **outcome_fields(outcome),
    }


def _report_summary(report: Report, *, at: datetime) -> dict[str, Any]:
    """The last line: the totals and the exit code."""
    numbers = report_summary(report)
    return {
        **_line("change_summary", closing_words(report), at, level="info" if report.complete else "error"),
        "changes": _changes("apply", add=numbers["started"], forget=numbers["forgotten"]),
        "summary": numbers,
        "complete": report.complete,
        "exit_code": int(report.exit),
        "end": end_document(report),
    }


def waited_document(look: Snapshot, *, exit_code: int) -> dict[str, Any]:
    """The last line of `apply --wait --json`: the progress of the batches and the exit code when the wait ends."""
    document = status_document(look)
    del document["format_version"], document["timestamp"]
    counts = ", ".join(f"{number:,} {stage}" for stage, number in document["summary"].items() if number)
    level = "info" if exit_code == 0 else "error"
    line = _line("wait_complete", f"Waited: {counts or 'nothing is declared'}.", look.at, level=level)
    return {**line, **document, "exit_code": int(exit_code)}


def _changes(operation: str, *, add: int, forget: int) -> dict[str, Any]:
    return {"add": add, "change": 0, "import": 0, "remove": 0, "forget": forget, "operation": operation}


def _line(kind: str, message: str, at: datetime, *, level: str = "info") -> dict[str, Any]:
    return {
        "@level": level,
        "@message": message,
        "@module": _MODULE,
        "@timestamp": encode_time(at),
        "type": kind,
    }


def _resource(name: str, service: Service) -> dict[str, Any]:
    return {
        "addr": address_of(name, service),
        "module": "",
        "resource": address_of(name, service),
        "implied_provider": _MODULE,
        "resource_type": f"{service.value}_batch",
        "resource_name": name,
        "resource_key": None,
    }
