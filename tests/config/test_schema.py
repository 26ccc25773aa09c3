"""The schemas themselves, and where `config-1` and the program must agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from batchform.config import fields, loader, reader, schema
from batchform.errors import UsageError
from batchform.model import MAX_RECORDS, Batch, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = [path for path in sorted(Path("examples").glob("*/*.yaml")) if "/config-1.json" in path.read_text()]
SCHEMA = schema.load("config-1")
VALIDATOR = Draft202012Validator(SCHEMA)


def properties(node: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property the schema defines, at any depth, with references followed once."""
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items():
            target = SCHEMA["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
            yield name, {**target, **value}
        for value in node.values():
            yield from properties(value)


def test_the_schema_is_a_schema() -> None:
    """By the rules of its draft, with an `$id` of the same name."""
    VALIDATOR.check_schema(SCHEMA)
    assert SCHEMA["$id"].endswith("/config-1.json")
    assert "config-1" in schema.names()
    assert json.loads(schema.text("config-1")) == SCHEMA


def test_an_unknown_schema_is_a_usage_error() -> None:
    """It names those there are, and no path leads out of the folder."""
    for name in ("config-9", "../pyproject", ""):
        with pytest.raises(UsageError) as caught:
            schema.text(name)
        assert "config-1" in caught.value.detail


def test_every_property_explains_itself() -> None:
    """Editors show title, description and examples while one types."""
    for name, node in properties(SCHEMA):
        assert {"title", "description", "examples"} <= node.keys(), name
        for example in node["examples"]:
            assert VALIDATOR.evolve(schema={**node, "$defs": SCHEMA["$defs"]}).is_valid(example), name


def test_the_schema_the_model_and_the_explanations_know_the_same_keys() -> None:
    """A key without a field would be lost, and one without an explanation would be explained by jsonschema."""
    top, batch = SCHEMA["properties"], SCHEMA["$defs"]["batch"]["properties"]
    assert {*batch, "name", "place"} == set(Batch.__dataclass_fields__)
    assert top["defaults"]["properties"].keys() < batch.keys()
    assert set(top["guards"]["properties"]) == set(GuardName)
    assert top["service"]["enum"] == list(Service)
    assert batch["records"]["maximum"] == MAX_RECORDS
    assert {name for name, _ in properties(SCHEMA)} == fields._KEYS.keys()


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_every_example_is_valid_by_the_schema(path: Path) -> None:
    """And its first line leads an editor to the schema."""
    assert list(VALIDATOR.iter_errors(reader.load(str(path)).root)) == []
    link = path.read_text(encoding="utf-8").partition("$schema=")[2].partition("\n")[0]
    assert (path.parent / link).resolve().samefile("schemas/config-1.json")


@pytest.mark.parametrize("folder", ["examples/quickstart", "examples/several-files"])
def test_every_example_folder_loads(folder: str) -> None:
    """Without a warning, and it has a README that says what it shows."""
    config = loader.load([folder])
    assert config.batches
    assert config.warnings == ()
    assert (Path(folder) / "README.md").is_file()
