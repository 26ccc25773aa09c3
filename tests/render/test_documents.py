"""A saved plan is read back unchanged or refused with a message; documents keep Terraform's meaning."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.errors import UsageError
from batchform.model import Service
from batchform.plan import Action, Change, Plan, Reason
from batchform.render.documents.plan import plan_document
from batchform.render.documents.report import report_document
from batchform.render.documents.saved import load_plan, plan_from_document
from batchform.render.documents.stream import event_document, planned_documents
from batchform.state.event_codec import KIND_OF
from batchform.state.events import Event, Forgotten, Intended, Rejected
from tests import strategies as bf

if TYPE_CHECKING:
    from batchform.apply import Report

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def document(made: Plan) -> dict[str, Any]:
    """The content of the file of a saved plan."""
    loaded: dict[str, Any] = json.loads(json.dumps(plan_document(made, version="1.2.3")))
    return loaded


def one_start() -> Plan:
    """A plan of one start."""
    change = Change(name="uk", batch_id="3f0c", action=Action.START, reason=Reason.NEW)
    return Plan(
        service=Service.PHONE,
        endpoint="https://api.example.test",
        lineage=None,
        serial=None,
        at=NOW,
        refreshed=False,
        targeted=False,
        changes=(change,),
        guards=(),
        notices=(),
    )


# --- There and back --------------------------------------------------------------------------------------------------


@given(bf.plans())
def test_saved_plan_comes_back_as_it_was(made: Plan) -> None:
    """A file neither loses nor changes a part of an approval."""
    assert plan_from_document(document(made)) == made
    assert load_plan(json.dumps(plan_document(made, version="1")).encode()) == made


@given(bf.plans(), st.text(), JSON)
def test_unknown_keys_are_ignored(made: Plan, key: str, value: Any) -> None:
    """A later minor version may have more keys."""
    saved = document(made)
    saved.setdefault(f"new {key}", value)
    for change in saved["resource_changes"]:
        change.setdefault(f"new {key}", value)
    assert plan_from_document(saved) == made


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "one", "11.0"])
def test_unknown_major_version_is_refused(version: str) -> None:
    """Its keys may have other meanings."""
    with pytest.raises(UsageError, match="another format"):
        plan_from_document(document(one_start()) | {"format_version": version})


def test_later_minor_version_is_read() -> None:
    """The known keys keep their meaning."""
    assert plan_from_document(document(one_start()) | {"format_version": "1.7"}) == one_start()


@given(JSON)
def test_anything_else_is_refused_with_a_message(value: Any) -> None:
    """Never with a traceback."""
    with pytest.raises(UsageError) as caught:
        plan_from_document(value)
    assert "Nothing was sent." in caught.value.detail


@given(bf.plans(), JSON, st.data())
def test_a_damaged_plan_is_refused_or_harmless(made: Plan, value: Any, data: st.DataObject) -> None:
    """Any other value in place of one: a message or a plan, no traceback."""
    saved = document(made)
    spot, key = data.draw(st.sampled_from(list(_spots(saved))))
    spot[key] = value
    with suppress(UsageError):
        assert isinstance(plan_from_document(saved), Plan)


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as a container and a key."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [spot for key, item in items for spot in [(value, key), *_spots(item)]]


def test_actions_that_do_not_match_are_refused() -> None:
    """A policy checks `change.actions`, so they must match the approved action."""
    saved = document(one_start())
    saved["resource_changes"][0]["change"]["actions"] = ["no-op"]
    with pytest.raises(UsageError, match="not a saved plan") as caught:
        plan_from_document(saved)
    assert "resource_changes[0].change.actions" in caught.value.detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"1" * 10_000,
        b"NaN",
        b"null",
        b'{"format_version": 1.0}',
        b'{"format_version": "1.0"}',
    ],
    ids=repr,
)
def test_bytes_that_are_no_plan_are_refused_with_a_message(data: bytes) -> None:
    """No depth and no size causes a traceback."""
    with pytest.raises(UsageError, match="not a saved plan"):
        load_plan(data)


def test_a_plan_over_the_size_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message gives the size and not the JSON that a cut would break."""
    data = json.dumps(document(one_start())).encode()
    monkeypatch.setattr("batchform.render.documents.saved.MAX_BYTES", len(data))
    assert load_plan(data) == one_start()
    monkeypatch.setattr("batchform.render.documents.saved.MAX_BYTES", len(data) - 1)
    with pytest.raises(UsageError, match="too large") as caught:
        load_plan(data)
    assert "Nothing was sent." in caught.value.detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("records", 10**30),
        ("records", -1),
        ("records", True),
        ("records", 1.0),
        ("submitted_at", "2026-11-23T09:00:00"),
        ("submitted_at", "0001-01-01T00:00:00+23:59"),
        ("submitted_at", 5),
        ("action", "destroy"),
        ("action_reason", None),
        ("name", None),
        ("range", []),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    """The message has its path."""
    saved = copy.deepcopy(document(one_start()))
    saved["resource_changes"][0][field] = value
    with pytest.raises(UsageError) as caught:
        plan_from_document(saved)
    assert f"resource_changes[0].{field}" in caught.value.detail


# --- What other tools count ------------------------------------------------------------------------------------------


@given(bf.plans())
def test_only_a_start_creates(made: Plan) -> None:
    """Existing policies count what spends money, and nothing else."""
    counted = [change["change"]["actions"] for change in document(made)["resource_changes"]]
    assert counted.count(["create"]) == len(made.having(Action.START))
    assert counted.count(["forget"]) == len(made.having(Action.FORGET))
    assert counted.count(["no-op"]) == len(made.changes) - counted.count(["create"]) - counted.count(["forget"])


@given(bf.plans())
def test_unknown_records_are_never_counted_as_none(made: Plan) -> None:
    """The upper bound counts them as 10,000."""
    numbers = document(made)["summary"]
    starts = made.having(Action.START)
    assert numbers["records_at_stake"] == sum(change.records or 0 for change in starts)
    assert numbers["records_at_most"] - numbers["records_at_stake"] == 10_000 * numbers["unknown_records"]
    assert numbers["unknown_records"] == sum(change.records is None for change in starts)


def test_plan_that_is_refused_says_so() -> None:
    """And a plan of all batches is complete."""
    saved = document(one_start())
    assert (saved["applyable"], saved["complete"], saved["errored"], saved["prior_state"]) == (True, True, False, None)


@given(bf.events())
def test_event_line_has_the_fields_of_the_journal(event: Event) -> None:
    """And a message of one printable line."""
    line = event_document(event, service=Service.PHONE)
    assert line["kind"] == KIND_OF[type(event.what)]
    assert (line["batch_id"], line["name"], line["seq"]) == (event.batch_id, event.name, event.seq)
    assert line["@message"].isprintable()
    assert line["hook"]["resource"]["addr"] == f"phone_batch.{event.name}"
    if isinstance(event.what, Intended):
        assert (line["type"], line["hook"]["action"]) == ("apply_start", "create")
    if isinstance(event.what, Forgotten):
        assert (line["type"], line["hook"]["action"]) == ("apply_complete", "forget")
    if isinstance(event.what, Rejected):
        assert (line["type"], line["@level"]) == ("apply_errored", "error")


@given(bf.plans())
def test_planned_lines_leave_out_batches_that_are_as_declared(made: Plan) -> None:
    """The text leaves them out, too."""
    lines = [line for line in planned_documents(made, at=NOW) if line["type"] == "planned_change"]
    assert len(lines) == len(made.changes) - len(made.having(Action.KEEP))
    assert all(line["@message"].isprintable() for line in lines)


@given(bf.reports())
def test_report_document_counts_every_outcome(report: Report) -> None:
    """Each result has a number, also when it is 0."""
    made = report_document(report)
    counts = {key: value for key, value in made["summary"].items() if "records" not in key}
    assert sum(counts.values()) == len(report.outcomes) == len(made["outcomes"])
    assert made["exit_code"] == int(report.exit)
