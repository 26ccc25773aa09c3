"""World files: plain values make a world, or an error names the path. The schema agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from batchform.simulator import Batch, ConsoleStart, Fault, OAuth, Status, World, WorldError, from_values
from batchform.simulator.faults import (
    Answer,
    Body,
    Drip,
    Drop,
    HalfBody,
    Hang,
    Items,
    ListSpoil,
    NotHttp,
    OddCredits,
    OddStatus,
    RateHeaders,
    Reset,
    SpoiltList,
    WrongBatchId,
)
from batchform.simulator.world import TokenFlaw

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "world-1.json").read_text(encoding="utf-8"))

EVERYTHING = ROOT / "tests" / "simulator" / "world-everything.yaml"


def test_everything_a_world_file_can_say() -> None:
    """Each key sets its property."""
    world = from_values(yaml.safe_load(EVERYTHING.read_text(encoding="utf-8")))
    assert world == World(
        token="let-me-in",
        refused_tokens={
            "old": TokenFlaw.DISABLED,
            "ours": TokenFlaw.OTHER_PRODUCT,
            "there": TokenFlaw.DOMAIN,
            "here": TokenFlaw.ADDRESS,
        },
        oauth=OAuth(client_id="client-1", client_secret="open-sesame", lifetime=3.0),
        credits=50_000,
        credits_per_record=1.5,
        credits_as_text=True,
        rate_limit=20,
        rate_window=10.0,
        other_traffic=5,
        speed=10.0,
        lag_up_to=3,
        seed=7,
        skew=600.0,
        batches=(
            Batch(batch_id="b1", records=9800, age=28 * 86_400 - 29.5, batch_reference_id="crm-4711", lag=2),
            Batch(
                batch_id="b2", status=Status.PROCESSING, records=100, records_processed=40, max_processing_time=1500.0
            ),
            Batch(batch_id="b3", status=Status.STOPPED, reason="cancelled", age=3600.0),
            Batch(batch_id="b4", status=Status.COMPLETED, service="email", credits=12),
            Batch(batch_id="b5"),
        ),
        console_starts=(ConsoleStart(batch_id="b1", at_request=3), ConsoleStart(batch_id="b5", before="start")),
        faults=(
            Fault(operation="start", batch_id="b1", effect=Answer(status=503, body=Body.HTML), times=2, act=True),
            Fault(operation="start", effect=Answer(status=429, rate_headers=RateHeaders.PAST)),
            Fault(effect=Answer(status=307, location="https://example.com/", body=Body.EMPTY)),
            Fault(effect=Answer(status=500, text="no", reference_id="gw-1")),
            Fault(operation="token", effect=Answer(status=500)),
            Fault(effect=Drop()),
            Fault(effect=Drop(), act=True),
            Fault(effect=Reset(), times=None),
            Fault(effect=Hang()),
            Fault(effect=Drip(interval=250.0, whole=True)),
            Fault(effect=HalfBody(), act=False),
            Fault(effect=NotHttp()),
            Fault(effect=WrongBatchId(batch_id="b9")),
            Fault(operation="status", effect=OddStatus(value="paused")),
            Fault(operation="status", effect=OddStatus(value=None)),
            Fault(operation="results", effect=OddCredits(value=12.5)),
            Fault(operation="results", effect=OddCredits(value=None)),
            Fault(operation="results", effect=Items(count=1_000_000)),
            Fault(operation="list", effect=SpoiltList(how=ListSpoil.TRUNCATED, batch_ids=("b1", "b2"))),
            Fault(operation="list", effect=SpoiltList(how=ListSpoil.NULL_BATCHES)),
        ),
    )


@pytest.mark.parametrize("values", [None, {}, {"version": 1}, {"batches": {}}], ids=str)
def test_an_empty_world(values: object) -> None:
    """It has the documented limit and no batches."""
    assert from_values(values) == World()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0),
        (1.5, 1.5),
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("3h", 10_800),
        ("27d", 2_332_800),
        ("1d1h1m1.5s", 90_061.5),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    """A duration is a number of seconds, or days, hours, minutes and seconds in this order."""
    assert from_values({"batches": {"b": {"age": written}}}).batches[0].age == seconds


WRONG: dict[str, object] = {
    "": ["not", "a", "mapping"],
    "version": {"version": 2},
    "tokn": {"tokn": "x"},
    "token": {"token": "two words"},
    "refused_tokens.x": {"refused_tokens": {"x": "expired"}},
    "credits": {"credits": -1},
    "credits_per_record": {"credits_per_record": -0.5},
    "credits_as_text": {"credits_as_text": "yes"},
    "batches.b1.credits": {"batches": {"b1": {"credits": 1.5}}},
    "faults[1].value": {"faults": [{"fault": "drop"}, {"fault": "odd_credits", "value": [1]}]},
    "faults[0].count": {"faults": [{"fault": "items", "count": -1}]},
    "rate": {"rate": 5},
    "rate.limit": {"rate": {"limit": 0}},
    "rate.window": {"rate": {"window": "0s"}},
    "rate.headers": {"rate": {"headers": "no"}},
    "rate.per": {"rate": {"per": 1}},
    "other_traffic": {"other_traffic": 1.5},
    "speed": {"speed": -1},
    "lag": {"lag": True},
    "lag.up_to": {"lag": {}},
    "lag.most": {"lag": {"up_to": 1, "most": 2}},
    "seed": {"seed": "7"},
    "ahead": {"ahead": "10 minutes"},
    "behind": {"behind": "-5m"},
    "batches": {"batches": ["b1"]},
    "batches.b.1": {"batches": {"b.1": {}}},
    "batches.b1": {"batches": {"b1": 7}},
    "batches.b1.records": {"batches": {"b1": {"records": 10_001}}},
    "batches.b1.service": {"batches": {"b1": {"service": "fax"}}},
    "batches.b1.age": {"batches": {"b1": {"age": "36501d"}}},
    "batches.b1.status": {"batches": {"b1": {"status": "paused"}}},
    "batches.b1.records_processed": {"batches": {"b1": {"records_processed": 1, "records": 5}}},
    "batches.b1.reason": {"batches": {"b1": {"reason": "x", "status": "completed"}}},
    "batches.b1.batch_reference_id": {"batches": {"b1": {"batch_reference_id": "no;no"}}},
    "batches.b1.max_processing_time": {"batches": {"b1": {"max_processing_time": "PT5M"}}},
    "batches.b1.colour": {"batches": {"b1": {"colour": "red"}}},
    "console_starts": {"console_starts": {}},
    "console_starts[0]": {"batches": {"b1": {}}, "console_starts": [{"batch": "b1"}]},
    "console_starts[0].batch": {"console_starts": [{"at_request": 1}]},
    "console_starts[0].before": {"batches": {"b1": {}}, "console_starts": [{"batch": "b1", "before": "create"}]},
    "faults[0]": {"faults": ["drop"]},
    "faults[0].fault": {"faults": [{"operation": "start"}]},
    "faults[1].fault": {"faults": [{"fault": "drop"}, {"fault": "explode"}]},
    "faults[0].operation": {"faults": [{"fault": "drop", "operation": "restart"}]},
    "faults[0].batch": {"faults": [{"fault": "drop", "batch": "b*"}]},
    "faults[0].times": {"faults": [{"fault": "drop", "times": 0}]},
    "faults[0].act": {"faults": [{"fault": "drop", "act": "yes"}]},
    "faults[0].status": {"faults": [{"fault": "answer"}]},
    "faults[0].body": {"faults": [{"fault": "answer", "status": 500, "body": "xml"}]},
    "faults[0].location": {"faults": [{"fault": "answer", "status": 302, "location": "a\r\nb"}]},
    "faults[0].rate_headers": {"faults": [{"fault": "answer", "status": 429, "rate_headers": "odd"}]},
    "faults[0].interval": {"faults": [{"fault": "drip", "interval": 0}]},
    "faults[0].how": {"faults": [{"fault": "list"}]},
    "faults[0].batch_ids[1]": {"faults": [{"fault": "list", "how": "foreign", "batch_ids": ["x", "y z"]}]},
    "faults[0].value": {"faults": [{"fault": "drop", "value": "x"}]},
}


@pytest.mark.parametrize(("path", "values"), WRONG.items(), ids=WRONG.keys())
def test_what_is_wrong_is_named_by_its_path(path: str, values: object) -> None:
    """The schema, which editors use, refuses it too, except what a schema cannot express."""
    with pytest.raises(WorldError) as caught:
        from_values(values)
    assert caught.value.path == path
    assert str(caught.value) == (f"{path}: {caught.value.message}" if path else caught.value.message)
    if path != "batches.b1.age":
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(values)


WRONG_TOGETHER: dict[str, tuple[str, object]] = {
    "times and forever": ("faults[0]", {"faults": [{"fault": "drop", "times": 2, "forever": True}]}),
    "two moments": (
        "console_starts[0]",
        {"batches": {"b1": {}}, "console_starts": [{"batch": "b1", "at_request": 1, "before": "start"}]},
    ),
    "number for a text": ("token", {"token": 12345}),
    "no such batch": ("console_starts[0].batch", {"console_starts": [{"batch": "b1", "at_request": 1}]}),
    "number for a key": ("batches", {"batches": {1: {}}}),
    "not finite": ("speed", {"speed": float("inf")}),
    "too many processed": (
        "batches.b.records_processed",
        {"batches": {"b": {"status": "stopped", "records": 5, "records_processed": 5}}},
    ),
}


@pytest.mark.parametrize(("path", "values"), WRONG_TOGETHER.values(), ids=WRONG_TOGETHER.keys())
def test_what_is_wrong_together(path: str, values: object) -> None:
    """The values are valid separately."""
    with pytest.raises(WorldError) as caught:
        from_values(values)
    assert caught.value.path == path


def test_the_schema_is_one() -> None:
    """It is valid in its dialect."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "https://batchform.dev/schemas/world-1.json"


@pytest.mark.parametrize(
    "path",
    [*(ROOT / "examples").rglob("world*.yaml"), *(ROOT / "tests").rglob("world*.yaml")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_world_of_the_project_is_valid(path: Path) -> None:
    """They are valid for the schema and for the simulator. One of them uses every key."""
    values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    from_values(values)
