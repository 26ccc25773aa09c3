"""The schema says to editors what the loader says to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.config import fields, loader, reading, schema
from batchform.config.fields import BATCH_ID, DESCRIPTION, LABEL, NAME, REFERENCE_ID, Text
from batchform.config.file import File
from batchform.errors import ConfigError, UsageError
from batchform.model import GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = [path for path in sorted(Path("examples").glob("*/*.yaml")) if "/config-1.json" in path.read_text()]
VALIDATOR = schema.validator("config-1")
SCHEMA = schema.load("config-1")


def properties(node: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property the schema defines, at any depth, with references followed once."""
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items():
            target = SCHEMA["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
            yield name, {**target, **value}
        for value in node.values():
            yield from properties(value)


def test_the_schema_is_a_schema() -> None:
    """By the rules of its own draft, and under the name it is found by."""
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


def test_the_schema_and_the_tables_know_the_same_keys() -> None:
    """At each level, and the same services and guards."""
    top = SCHEMA["properties"]
    assert top.keys() == fields.FILE.keys()
    assert SCHEMA["$defs"]["batch"]["properties"].keys() == fields.BATCH.keys()
    assert top["defaults"]["properties"].keys() == fields.DEFAULTS.keys()
    assert set(top["guards"]["properties"]) == set(GuardName)
    assert top["service"]["enum"] == list(Service)


@pytest.mark.parametrize(
    ("rule", "definition"),
    [
        (NAME, SCHEMA["$defs"]["name"]),
        (BATCH_ID, SCHEMA["$defs"]["batch"]["properties"]["batch_id"]),
        (REFERENCE_ID, SCHEMA["$defs"]["batch"]["properties"]["reference_id"]),
        (LABEL, SCHEMA["$defs"]["label"]),
        (DESCRIPTION, SCHEMA["$defs"]["description"]),
    ],
    ids=["name", "batch_id", "reference_id", "label", "description"],
)
@given(data=st.data())
def test_a_text_fits_the_schema_just_when_it_fits_the_rule(
    rule: Text, definition: dict[str, Any], data: st.DataObject
) -> None:
    """Character by character, at the lengths where it turns, and with the line break that `$` lets through."""
    text = data.draw(
        st.one_of(
            st.text(max_size=5),
            st.text("aZ0._- /:,()\n\0\u202e\xa0é", max_size=6),
            st.integers(rule.longest - 1, rule.longest + 1).map(lambda length: "a" * length),
            st.sampled_from(["a\n", "a\r", "", " ", "\ud800"]),
        )
    )
    assert VALIDATOR.evolve(schema=definition).is_valid(text) == bool(rule.pattern.fullmatch(text))


VALUES = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 10_000, 10_001, "", "a", "a b", "phone", "1", [], ["a"], {}),
        *(
            {"a": "b"},
            {"a": 1},
            {"a b": "c"},
            {"max_starts": 1},
            {"max_starts": -1},
            {"labels": {"a": "b"}},
            {"hold": 1},
        ),
        *("2026-11-20T09:00:00Z", "2026-11-20T09:00:00.25+01:00", "2026-11-20T09:00:00", "2026-11-20"),
    ]
)
BATCHES = st.dictionaries(st.sampled_from([*fields.BATCH, "batch_id", "other"]), VALUES, max_size=4)
FILES = st.fixed_dictionaries(
    {"version": st.sampled_from([1, 1, 1, 2, "1", None])},
    optional={
        "service": VALUES,
        "guards": VALUES,
        "defaults": VALUES,
        "batches": VALUES | st.dictionaries(st.sampled_from(["a", "b", "-"]), BATCHES | VALUES, max_size=2),
        "other": VALUES,
    },
)


def judged_by_the_loader(value: object) -> bool:
    """Whether the loader finds the shape of a file with this content right; ids may repeat."""
    file = File(reading.parse(json.dumps(value).encode(), "f.yaml"))  # JSON is YAML with all text quoted
    file.read()
    return not file.problems


@given(FILES)
def test_the_schema_and_the_loader_agree(value: dict[str, Any]) -> None:
    """On every kind of value at every key: what one refuses the other refuses too."""
    assert VALIDATOR.is_valid(value) == judged_by_the_loader(value)


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_every_example_is_valid_by_the_schema(path: Path) -> None:
    """And its first line leads an editor to the schema."""
    assert list(VALIDATOR.iter_errors(reading.load(str(path)).root)) == []
    link = path.read_text(encoding="utf-8").partition("$schema=")[2].partition("\n")[0]
    assert (path.parent / link).resolve().samefile("schemas/config-1.json")


@pytest.mark.parametrize("folder", ["examples/quickstart", "examples/several-files"])
def test_every_example_folder_loads(folder: str) -> None:
    """Without a warning, and it has a README that says what it shows."""
    config = loader.load([folder])
    assert config.batches
    assert config.warnings == ()
    assert (Path(folder) / "README.md").is_file()


def test_what_only_the_schema_objects_to_is_told_once_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables and the schema agree; should they ever not, an editor underlines nothing that a run leaves out."""
    stricter = json.loads(json.dumps(SCHEMA))
    stricter["$defs"]["batch"]["properties"]["records"]["maximum"] = 5
    monkeypatch.setattr(schema, "load", lambda _: stricter)
    file = tmp_path / "batchform.yaml"
    file.write_text("version: 1\nservice: fax\nbatches:\n  a: {batch_id: b, records: 9}\n")
    with pytest.raises(ConfigError) as caught:
        loader.load([file])
    assert [(problem.code, problem.place and problem.place.line) for problem in caught.value.problems] == [
        ("BF213", 2),
        ("BF214", 4),
    ]
