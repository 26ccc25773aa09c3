"""The answers compared with the vendor's OpenAPI document, if `BATCHFORM_OPENAPI` names it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from batchform.simulator import Batch, Decision, Request, Status, World
from tests.simulator.calls import NOW, TOKEN, request

DOCUMENT = os.environ.get("BATCHFORM_OPENAPI")
pytestmark = pytest.mark.skipif(not DOCUMENT, reason="BATCHFORM_OPENAPI does not name the vendor's document")


def dialect(value: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` becomes a type."""
    if isinstance(value, list):
        return [dialect(item) for item in value]
    if not isinstance(value, dict):
        return value
    there = {key: dialect(item) for key, item in value.items() if key != "nullable"}
    if value.get("nullable") is True and "type" in there:
        there["type"] = [there["type"], "null"]
    return there


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The vendor's document."""
    assert DOCUMENT
    found: dict[str, Any] = json.loads(Path(DOCUMENT).read_text(encoding="utf-8"))
    return found


def check(document: dict[str, Any], name: str, value: object) -> None:
    """Validate a value against this component."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": dialect(document["components"])}
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


def there(service: str = "phone") -> World:
    """A world with a batch in every status."""
    batches = (
        Batch(batch_id="submitted", records=3, service=service, batch_reference_id="mine"),
        Batch(batch_id="processing", records=100, records_processed=50, service=service, status=Status.PROCESSING),
        Batch(batch_id="completed", records=3, age=60.0, service=service, status=Status.COMPLETED),
        Batch(batch_id="stopped", records=100, age=60.0, service=service, status=Status.STOPPED, reason="r"),
    )
    return World(token=TOKEN, batches=batches, speed=0.0)


def payload(decision: Decision) -> Any:
    """The JSON of a decision's response."""
    return json.loads(decision.response.body)


STATUSES = ["submitted", "processing", "completed", "stopped"]
CREATION = {"phones": [{"number": "441206250380"}], "defaults": {"country_iso": "GBR", "max_processing_time": "PT25M"}}


@pytest.mark.parametrize("service", ["phone", "email", "address"])
@pytest.mark.parametrize("status", STATUSES)
def test_status(document: dict[str, Any], service: str, status: str) -> None:
    """In every status, with and without metadata."""
    for metadata in ("true", "false"):
        asked = request("GET", f"/{service}/bulk/v1/batches/{status}", Add_Metadata=metadata)
        value = payload(there(service).handle(asked, NOW))
        check(document, "BulkPhoneV1GetBatchStatusResponse", value)
        assert datetime.fromisoformat(value["result"]["date_submitted"]).tzinfo == UTC


@pytest.mark.parametrize("service", ["phone", "email", "address"])
def test_list_start_and_stop(document: dict[str, Any], service: str) -> None:
    """The three services share these shapes."""
    world, prefix = there(service), f"/{service}/bulk/v1/batches"
    value = payload(world.handle(request("GET", prefix), NOW))
    check(document, "BulkPhoneV1GetBatchesResponse", value)
    assert [batch["status"] for batch in value["result"]["batches"]] == STATUSES
    for operation, name in (("start", "BulkPhoneV1StartBatchResponse"), ("stop", "BulkPhoneV1StopBatchResponse")):
        value = payload(world.handle(request(path=f"{prefix}/submitted/{operation}"), NOW))
        assert "result" in value
        check(document, name, value)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("metadata", ["true", "false"])
def test_results(document: dict[str, Any], status: str, metadata: str) -> None:
    """For phone only: the document has no records of the other services."""
    asked = request("GET", f"/phone/bulk/v1/batches/{status}/results", Add_Metadata=metadata)
    check(document, "BulkPhoneV1GetBatchResultsResponse", payload(there().handle(asked, NOW)))


def test_create(document: dict[str, Any]) -> None:
    """A valid request, its answer, and the resulting status metadata."""
    check(document, "BulkPhoneV1CreateBatchRequest", CREATION)
    world = there()
    value = payload(world.handle(request(path="/phone/bulk/v1/batches", body=CREATION), NOW))
    check(document, "BulkPhoneV1CreateBatchResponse", value)
    path = f"/phone/bulk/v1/batches/{value['result']['batch_id']}"
    shown = payload(world.handle(request("GET", path, Add_Metadata="true"), NOW))
    check(document, "BulkPhoneV1GetBatchStatusResponse", shown)
    assert shown["metadata"]["batch_config"] == CREATION["defaults"]


def test_the_vendors_example_requests_are_accepted(document: dict[str, Any]) -> None:
    """Every refusal is checked."""
    content = document["paths"]["/phone/bulk/v1/batches"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        decision = there().handle(request(path="/phone/bulk/v1/batches", body=example["value"]), NOW)
        assert decision.response.status == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(token=None), 400),
        (request(token="wrong"), 401),
        (request("GET", "/phone/bulk/v1/batches/unknown"), 404),
        (request("GET", "/phone/bulk/v1/batches", Accept="text/html"), 406),
    ],
)
def test_errors(document: dict[str, Any], asked: Request, status: int) -> None:
    """A refusal is valid for every response, because `error` replaces `result`."""
    decision = there().handle(asked, NOW)
    assert decision.response.status == status
    for name in document["components"]["schemas"]:
        if name.endswith("Response"):
            check(document, name, payload(decision))


@pytest.mark.parametrize(("example", "status"), [("Incomplete", "processing"), ("Completed", "completed")])
def test_status_shows_the_fields_of_the_vendors_examples(document: dict[str, Any], example: str, status: str) -> None:
    """The fields are exactly those of the example."""
    assert shown_fields(status) == example_fields(document, example)


def test_a_stopped_batch_shows_the_fields_of_the_vendors_example(document: dict[str, Any]) -> None:
    """This includes the reason."""
    assert shown_fields("stopped") == example_fields(document, "Stopped")


def shown_fields(status: str) -> set[str]:
    """The fields of the simulator's status read."""
    value = payload(there().handle(request("GET", f"/phone/bulk/v1/batches/{status}"), NOW))
    return set(value["result"])


def example_fields(document: dict[str, Any], example: str) -> set[str]:
    """The fields of the vendor's example of a status read."""
    answer = document["paths"]["/phone/bulk/v1/batches/{batch_id}"]["get"]["responses"]["200"]
    return set(answer["content"]["application/json"]["examples"][example]["value"]["result"])
