"""jsonschema decides: every rule of `schemas/config-1.json` is enforced, and few others."""

from __future__ import annotations

import json
import re
import sys
from copy import deepcopy
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from batchform.cli.main import main
from batchform.config import advice, judge, loader, reader, schema
from batchform.config.file import File
from batchform.config.judge import Judge
from batchform.config.scalars import Plain
from batchform.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchform.errors import Problem

SCHEMA = schema.load("config-1")
STOCK = Draft202012Validator(SCHEMA)

Rule = tuple[tuple[str, ...], str, object]
"""The path in the schema, the keyword, and its value."""


def problems(text: str) -> list[Problem]:
    """The problems of a file with this text."""
    file = File(reader.parse(text.encode(errors="surrogatepass"), "f.yaml"))
    file.read()
    return list(file.problems)


# --- the judge and a validator without any changes -------------------------------------------------------------------

TEXTS = (
    "",
    "a",
    "a b",
    "b" * 101,
    "phone",
    "1",
    "x\n",
    "é",
    "2026-11-20T09:00:00Z",
    "2026-02-30T09:00:00Z",
    "2026-11-20",
)
VALUES = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 1.0, 9800.5, 10_000, 10_001, [], ["a"], {}, *TEXTS),
        *(
            {"a": "b"},
            {"a": 1},
            {"a b": "c"},
            {"max_starts": 1},
            {"max_starts": -1},
            {"labels": {"a": "b"}},
            {"hold": 1},
        ),
    ]
)
BATCHES = st.dictionaries(st.sampled_from([*SCHEMA["$defs"]["batch"]["properties"], "other"]), VALUES, max_size=4)
FILES = st.fixed_dictionaries(
    {"version": st.sampled_from([1, 1, 1, 2, "1", None])},
    optional={
        "service": VALUES,
        "guards": VALUES,
        "defaults": VALUES | BATCHES,
        "batches": VALUES | st.dictionaries(st.sampled_from(["a", "b", "-"]), BATCHES | VALUES, max_size=2),
        "other": VALUES,
    },
)


def floats(value: object) -> bool:
    """Whether it contains a decimal number. To JSON Schema 1.0 is an integer, here it is not."""
    if isinstance(value, dict | list):
        return any(floats(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, float)


@given(FILES)
def test_it_refuses_what_an_unchanged_validator_refuses_and_little_more(value: dict[str, Any]) -> None:
    """Beyond the schema only what it cannot express: dates outside the calendar, and 1.0 for an integer."""
    found = problems(json.dumps(value))  # JSON is YAML with all text quoted
    if not STOCK.is_valid(value):
        assert found
    elif not floats(value):
        assert {problem.detail for problem in found} <= {'"2026-02-30T09:00:00Z" is not in the calendar.'}


WORDS = ("a", "NO", "0441", "1", "1.0", "~", "true", "'x'", '"1"', "2026-11-20T09:00:00Z", "{}", "[a]", "1e5", "phone")
UNQUOTED = st.sampled_from(WORDS)
KEYS = st.sampled_from([*SCHEMA["properties"], *SCHEMA["$defs"]["batch"]["properties"], "no", "max_starts"])


def flow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A mapping on one line."""
    return st.dictionaries(KEYS, inner, max_size=3).map(
        lambda found: f"{{{', '.join(f'{key}: {value}' for key, value in found.items())}}}"
    )


def plain(value: Any) -> Any:
    """The value in Python's own types."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Plain) else value


@given(flow(UNQUOTED | flow(UNQUOTED | flow(UNQUOTED))), st.booleans())
@example("{batches: {a: {batch_id: x, not_before: 2026-11-20T09:00:00Z}}}", True)
@example("{batches: {a: {batch_id: x, labels: {a: NO}}}}", True)
def test_what_only_the_reader_refuses_is_about_quoting(text: str, versioned: bool) -> None:  # noqa: FBT001  from hypothesis
    """If the plain values are valid, every problem is about the letters, not about the values."""
    text = f"{{version: 1, {text[1:]}" if versioned else text
    document = reader.parse(text.encode(), "f.yaml")
    found = problems(text)
    if not STOCK.is_valid(plain(document.root)):
        assert found
    elif not floats(document.root):
        assert {problem.code for problem in found} <= {"BF112", "BF113", "BF205"}


def test_a_shared_value_is_judged_once_and_wrong_once() -> None:
    """Many aliases of one mapping of labels cost no more than one."""
    text = "version: 1\nbatches:\n a: {batch_id: a, labels: &l {x: NO}}\n" + "".join(
        f" b{number}: {{batch_id: b{number}, labels: *l}}\n" for number in range(100)
    )
    errors = list(Judge(SCHEMA).errors(reader.parse(text.encode(), "f.yaml").root, shared=True))
    assert [list(error.path) for error in errors] == [["batches", "a", "labels", "x"]]
    assert [(problem.code, str(problem.place)) for problem in problems(text)] == [("BF205", "f.yaml:3:34")]


def test_a_wrong_value_that_aliases_share_harms_nothing_else() -> None:
    """The second use of a wrong body or of wrong labels is ignored."""
    text = (
        "version: 1\nguards: {max_records: 5}\ndefaults: &d {labels: &m [x]}\nbatches:\n"
        " a: &b {batch_id: a, records: no, labels: *m}\n b: *b\n c: &c [1]\n d: *c\n e: {batch_id: e, labels: *m}\n"
    )
    assert {problem.code for problem in problems(text)} == {"BF204"}


# --- a rule in the schema is a rule of the program -------------------------------------------------------------------


def stricter(where: tuple[str, ...], keyword: str, value: object) -> dict[str, Any]:
    """The schema with one more rule, or another value for one."""
    changed = deepcopy(SCHEMA)
    node = changed
    for step in where:
        node = node[step]
    node[keyword] = value
    return changed


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Rule], None]]:
    """A function that replaces the schemas by a folder with a changed copy."""

    def put(rule: Rule) -> None:
        folder = tmp_path / "schemas"
        folder.mkdir()
        (folder / "config-1.json").write_text(json.dumps(stricter(*rule)), encoding="utf-8")
        monkeypatch.setattr(schema, "_folder", lambda: folder)
        judge.judge.cache_clear()

    yield put
    judge.judge.cache_clear()


BATCH = ("$defs", "batch")
FILE = "version: 1\nbatches:\n  a: {batch_id: xyz, labels: {team: customers}, records: 9, hold: true}\n"


@pytest.mark.parametrize("words", [("validate",), ("plan",), ("apply", "--auto-approve")], ids=" ".join)
def test_a_rule_that_only_the_schema_has_stops_every_command(
    words: tuple[str, ...],
    change: Callable[[Rule], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its place and the new limit, before anything is sent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batchform.yaml").write_text(FILE, encoding="utf-8")
    change((("$defs", "label"), "maxLength", 5))
    monkeypatch.setattr(sys, "argv", ["batchform", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Error: batchform.yaml:3:37: Not a valid text [BF209]\n" in said
    assert "cannot be a label: it has 9 characters.\n  Hint: Write up to 5 characters" in said


@pytest.mark.parametrize(
    ("rule", "code", "column", "says"),
    [
        ((("$defs", "labels"), "minProperties", 2), "BF214", 30, "a mapping does not have enough properties"),
        ((("$defs", "labels"), "propertyNames", {"maxLength": 3}), "BF206", 31, "4 characters"),
        ((("$defs", "labels"), "propertyNames", {"const": "region"}), "BF214", 31, "'region' was expected"),
        ((("$defs", "labels"), "patternProperties", {"^t": {"enum": ["x"]}}), "BF214", 37, "is not one of"),
        ((("$defs", "label"), "pattern", "^x"), "BF214", 37, "'customers' does not match '^x'"),
        ((("$defs", "name"), "minLength", 2), "BF206", 3, "it has 1 characters"),
        ((BATCH, "required", ["batch_id", "reference_id"]), "BF203", 3, "`reference_id` is missing"),
        ((BATCH, "maxProperties", 2), "BF214", 6, "too many properties"),
        ((BATCH, "not", {"required": ["hold"]}), "BF214", 6, "should not be valid"),
        (
            (BATCH, "anyOf", [{"required": ["x"]}, {"properties": {"hold": {"const": False}}}]),
            "BF214",
            6,
            "not valid under",
        ),
        ((("$defs", "label"), "$ref", "#/$defs/hold"), "BF214", 37, "'customers' is not of type 'boolean'"),
        (((*BATCH, "properties", "batch_id"), "enum", ["abc"]), "BF214", 17, "'xyz' is not one of ['abc']"),
        (((*BATCH, "properties", "records"), "maximum", 5), "BF210", 58, "0 to 5, not 9"),
        (((*BATCH, "properties", "records"), "multipleOf", 2), "BF214", 58, "9 is not a multiple of 2"),
        (((*BATCH, "properties", "hold"), "const", False), "BF214", 67, "False was expected"),
        (((*BATCH, "properties"), "hold", False), "BF214", 67, "False schema does not allow True"),
        ((("properties", "batches"), "minProperties", 2), "BF214", 3, "does not have enough properties"),
        (((), "required", ["version", "service"]), "BF203", 1, "`service` is missing"),
        (((), "minProperties", 3), "BF214", 1, "does not have enough properties"),
        ((("properties", "version"), "const", 2), "BF212", 10, "`version: 2`"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_every_rule_is_enforced_at_its_place(
    rule: Rule, code: str, column: int, says: str, change: Callable[[Rule], None]
) -> None:
    """With an explanation, or for a rule without one with the message of jsonschema."""
    change(rule)
    (problem,) = problems(FILE)
    assert problem.place is not None
    assert (problem.code, problem.place.column) == (code, column)
    assert says in f"{problem.detail} {problem.hint}"


def test_a_missing_key_is_forgiven_only_where_the_misspelt_one_is_refused(change: Callable[[Rule], None]) -> None:
    """Otherwise a typing error would make the file valid."""
    text = "version: 1\nbatches:\n  a: {bacth_id: x}\n"
    assert [problem.code for problem in problems(text)] == ["BF202"]
    change((BATCH, "additionalProperties", True))
    assert [problem.code for problem in problems(text)] == ["BF203"]


# --- advice ----------------------------------------------------------------------------------------------------------

FIELDS = ("batch_id", "reference_id", "description", "records", "submitted_at", "not_before", "hold", "labels")
NUMBERS = st.from_regex(r"-?[0-9]{1,6}([,_' .][0-9]{1,4}){0,2}(e[0-9])?", fullmatch=True)
TIMES = st.from_regex(
    r"(2026|0001|9999)-(0?[1-9]|1[0-3])-(0?[1-9]|[23][0-9])([Tt ](0?[0-9]|2[0-9]):[0-6]0(:[0-6]0(\.[0-9]{1,7})?)?"
    r" ?([Zz]|[+-](1[0-9]|2[0-9]):?00)?)?",
    fullmatch=True,
)
SCALARS = st.one_of(UNQUOTED, NUMBERS, TIMES, st.text("a1Z0._-+: ,$é", min_size=1, max_size=9))


@given(st.sampled_from(FIELDS), SCALARS, st.sampled_from(["", "'", '"']))
@example("not_before", "2026-12-01T24:00:00Z", "")
@example("records", "10,001", "'")
@example("records", "0123", '"')
@example("batch_id", "+447700900123", "")
@example("submitted_at", "0001-01-01 00:00:00+14:00", "")
def test_what_a_hint_says_to_write_is_new_and_accepted(key: str, value: str, quotes: str) -> None:
    """No hint repeats the author's text, and none suggests a value that is refused."""
    own_id = "" if key == "batch_id" else "    batch_id: x\n"
    head = f"version: 1\nbatches:\n  a:\n{own_id}    {key}: "
    for problem in problems(f"{head}{quotes}{value}{quotes}\n"):
        # Hints that begin otherwise, or name a line `key: value`, suggest no value.
        suggested = re.match(r"Write `(?![a-z_]+:)([^`]+)`(?: or `([^`]+)`)?", problem.hint)
        for one in filter(None, suggested.groups() if suggested else ()):
            assert one != f"{quotes}{value}{quotes}"
            assert problems(f"{head}{one}\n") == []


def test_the_hour_24_is_refused_with_an_example() -> None:
    """Python accepts it since 3.14, the schema does not."""
    (problem,) = problems("{version: 1, batches: {a: {batch_id: x, not_before: 2026-12-01T24:00:00Z}}}")
    assert problem.hint == "Write it like `2026-11-20T09:00:00Z` or `2026-11-20T09:00:00+01:00`."


def test_the_hint_does_not_depend_on_what_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Python 3.14, where `datetime.fromisoformat` accepts the hour 24."""

    class Lenient(datetime):
        """Reads every hour."""

        @classmethod
        def fromisoformat(cls, text: str) -> Any:
            return super().fromisoformat(text.replace("T24", "T00"))

    monkeypatch.setattr(advice, "datetime", Lenient)
    assert "24:00" not in advice.time("2026-12-01T24:00:00Z", lambda text: "T24" not in text)


def test_a_config_error_carries_what_the_judge_found(tmp_path: Path) -> None:
    """The loader raises it."""
    (tmp_path / "f.yaml").write_text("version: 1\nbatches: {a: {batch_id: 1}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        loader.load([tmp_path / "f.yaml"])
    assert [problem.code for problem in caught.value.problems] == ["BF205"]
