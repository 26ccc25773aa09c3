"""The schemas are valid and fully described. They have exactly the keys that are printed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from batchform.doctor import Check
from batchform.model import Service
from batchform.render.documents.diagnostics import diagnostics_document
from batchform.render.documents.doctor import doctor_document
from batchform.render.documents.lock import file_lock_document, free_document, lock_text, store_lock_document
from batchform.render.documents.plan import plan_document
from batchform.render.documents.report import report_document
from batchform.render.documents.state import state_document
from batchform.render.documents.stream import (
    event_document,
    planned_documents,
    report_documents,
    version_document,
)
from batchform.state.journal import Header
from tests import strategies as bf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchform.apply import Report
    from batchform.errors import Problem
    from batchform.plan import Plan
    from batchform.state.events import Event
    from batchform.state.known import State

SCHEMAS = Path(__file__).parents[2] / "schemas"
NAMES = (
    "plan-1",
    "state-1",
    "events-1",
    "diagnostics-1",
    "refresh-1",
    "status-1",
    "history-1",
    "history-by-1",
    "doctor-1",
    "results-1",
    "lock-1",
)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def schema(name: str) -> dict[str, Any]:
    """The schema in its file."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@cache
def strict(name: str, part: str = "") -> Draft202012Validator:
    """The schema, or one of its definitions, refusing every key that it does not describe."""
    loaded = _closed(schema(name), "")
    if part:
        loaded = {"$defs": loaded["$defs"], "$ref": f"#/$defs/{part}"}
    return Draft202012Validator(loaded)


def _closed(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_closed(item, "") for item in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _closed(item, name) for name, item in value.items()}
    # The lines of the stream are described on top of what all lines share, so only the whole can be closed.
    if value.get("type") == "object" and "properties" in value and not key.endswith("_line"):
        closed["unevaluatedProperties"] = False
    return closed


def through_json(document: Any) -> Any:
    """The value that a reader of the JSON gets."""
    return json.loads(json.dumps(document, allow_nan=False))


def objects(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema, and where it is."""
    if isinstance(value, dict):
        for name, item in value.get("properties", {}).items() if isinstance(value.get("properties"), dict) else ():
            yield f"{where}.{name}", item
        for name, item in value.items():
            if name != "if":
                yield from objects(item, f"{where}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from objects(item, f"{where}[{number}]")


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_and_described(name: str) -> None:
    """It is a 2020-12 schema with its own address, and each property has a description."""
    loaded = schema(name)
    Draft202012Validator.check_schema(loaded)
    assert loaded["$id"] == f"https://batchform.dev/schemas/{name}.json"
    assert loaded["title"]
    assert loaded["description"]
    assert [where for where, item in objects(loaded) if not item.get("description")] == []


@given(bf.plans())
def test_plan_document_fits_its_schema(made: Plan) -> None:
    """Any plan."""
    strict("plan-1").validate(through_json(plan_document(made, version="1.2.3")))


@given(bf.states())
def test_state_document_fits_its_schema(state: State) -> None:
    """Any state. The document is the content of the file."""
    strict("state-1").validate(through_json(state_document(state)))


@given(bf.events())
def test_event_line_fits_its_schema(event: Event) -> None:
    """Each event is one line of the stream."""
    for service in Service:
        document = event_document(event, service=service)
        strict("events-1").validate(through_json(document))


@given(bf.plans())
def test_planned_lines_fit_their_schema(made: Plan) -> None:
    """One for each change, the warnings, and the totals last."""
    lines = [through_json(line) for line in planned_documents(made, at=NOW)]
    for line in lines:
        strict("events-1").validate(line)
    assert [line["type"] for line in lines[-1:]] == ["change_summary"]


@given(bf.reports())
def test_report_lines_fit_their_schema(report: Report) -> None:
    """One for each outcome, and the totals with the exit code last."""
    lines = [through_json(line) for line in report_documents(report, at=NOW)]
    for line in lines:
        strict("events-1").validate(line)
    assert len(lines) == len(report.outcomes) + 1
    assert lines[-1]["exit_code"] == int(report.exit)


@given(bf.reports())
def test_report_document_fits_its_schema(report: Report) -> None:
    """The whole report in one document."""
    strict("events-1", "account").validate(through_json(report_document(report)))


@given(bf.problems())
def test_diagnostics_fit_their_schema(problem: Problem) -> None:
    """In the document of `validate`."""
    strict("diagnostics-1").validate(through_json(diagnostics_document([problem])))


@given(st.lists(st.builds(Check, name=st.from_regex("[a-z_]{1,20}", fullmatch=True))))
def test_doctor_document_fits_its_schema(checks: list[Check]) -> None:
    """Any number of checks."""
    strict("doctor-1").validate(through_json(doctor_document(checks)))


@pytest.mark.parametrize("written", [None, NOW, NOW + timedelta(seconds=5)])
@pytest.mark.parametrize(
    "holder", [{}, {"Operation": "apply", "Who": "ci@host", "Created": "now", "Info": "https://j"}]
)
def test_a_lock_fits_its_schema(written: datetime | None, holder: dict[str, str]) -> None:
    """Of a file and in a store, held and free. A clock of the store that is ahead counts as no time."""
    header = Header(
        lineage="l", serial=1, service=Service.PHONE, endpoint="https://api", run="run-1", lease=60.0, holder=holder
    )
    documents = [free_document(), file_lock_document("ci@host"), store_lock_document(header, written, NOW)]
    for document in documents:
        strict("lock-1").validate(through_json(document))
    assert lock_text(documents[1]) == "Held: ci@host."
    text = lock_text(documents[2])
    assert text.startswith("Held by run run-1: ")
    assert ("quiet for 0 of 60 s" in text) == (written is not None)
    assert ("since now" in text) == bool(holder)


def test_the_first_line_fits_its_schema() -> None:
    """It names the version."""
    strict("events-1").validate(through_json(version_document("1.2.3", at=NOW)))


def test_strict_schemas_refuse_what_is_not_described() -> None:
    """Without this the tests above could not fail."""
    document = version_document("1.2.3", at=NOW) | {"surprise": 1}
    assert not strict("events-1").is_valid(through_json(document))
    assert Draft202012Validator(schema("events-1")).is_valid(through_json(document))
