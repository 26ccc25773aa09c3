"""The quick reader reads as the builder does, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from batchform.config import builder, quick
from batchform.config.file import File
from batchform.errors import SourceText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchform.config.document import Document, Steps

FIRST, SECOND = quick._LOOKS
ROOT: Final = Path(__file__).parents[2]


def paths(value: Any, path: Steps = ()) -> Iterator[Steps]:
    """The path of everything in the value."""
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from paths(inner, (*path, step))


def kinds(value: Any) -> Any:
    """The value with the type of everything in it: `1` is not `True`, and text is not `Plain`."""
    if isinstance(value, dict):
        return [(key, kinds(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [kinds(inner) for inner in value]
    return type(value), value


def hold_together(found: Document, text: str) -> None:
    """The builder reads the same in it, and complains of nothing."""
    whole = builder.build(SourceText("f.yaml", text), None)
    assert whole.problems == ()
    assert (kinds(found.root), found.nodes) == (kinds(whole.root), whole.nodes)
    for path in paths(found.root):
        assert found.key_place(path) == whole.key_place(path)
        assert found.value_place(path) == whole.value_place(path)
        if len(path) == 1 and isinstance(path[0], str):
            assert found.written(path) == whole.written(path)


WORDS: Final = ["a", "b", "<<", "~", "no", "null", "true", "1", "1.5", "0441", "12:30", '"1"', "'x y'", "", "x", "é"]
SCALARS: Final = st.sampled_from([*WORDS, "&a 1", "*a", "!t 1", "|\n  x", "2026-11-20T09:00:00Z"])
DECORATED: Final = st.sampled_from(["", "", "", "", "&a ", "!t "])


def flow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Mappings and lists, written on one line."""
    entry = st.builds("{}: {}".format, SCALARS.filter(lambda word: "\n" not in word), inner)
    body = st.lists(entry, max_size=4).map(", ".join).map("{{{}}}".format)
    items = st.lists(inner, max_size=4).map(", ".join).map("[{}]".format)
    return st.builds("{}{}".format, DECORATED, body | items)


FLOW: Final = st.recursive(SCALARS.filter(lambda word: "\n" not in word), flow, max_leaves=12)


@given(st.text(st.sampled_from("ab01 \n\t:-[]{}\"'#&*!|>%@~<?,."), max_size=40) | FLOW | st.lists(FLOW).map("\n".join))
@example("a: 1\n---\nb: 2\n")
@example("[" * 40 + "]" * 40)
@example("a: {b: {c: {d: [1, {e: 2}]}}}\n")
@example("")
def test_it_reads_as_the_builder_does_or_not_at_all(text: str) -> None:
    """Values, types, the count and every place, those that are kept and those that are found by reading again."""
    if (found := quick.build(SourceText("f.yaml", text), None)) is not None:
        hold_together(found, text)


def json_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists and objects."""
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)


JSON: Final = st.recursive(st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5), json_of, max_leaves=20)


@given(JSON)
def test_it_reads_what_is_in_the_ordinary(value: Any) -> None:
    """Whatever has neither aliases nor tags; a test that is never given an answer would show nothing."""
    text = json.dumps(value)
    found = quick.build(SourceText("f.yaml", text), None)
    if found is None:
        assert '"<<"' in text or len(builder.build(SourceText("f.yaml", text), None).problems)
    else:
        hold_together(found, text)


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/**/*.yaml")), ids=lambda file: "/".join(file.parts[-2:]))
def test_it_reads_the_examples(file: Path) -> None:
    """All that declare batches."""
    text = file.read_text(encoding="utf-8")
    if "batches:" not in text:
        pytest.skip("no configuration")
    found = quick.build(SourceText("f.yaml", text), None)
    assert (found is None) is ("&" in text)  # one shows how to use an anchor
    if found is not None:
        hold_together(found, text)


ODD: Final = (
    *("a: &x 1", "a: &x {}", "a: [&x 1]", "a: !t 1", "a: !t {}", "&x {}", "{a: *x}"),
    *("a: 1\na: 2", "<<: {}", "1: a", "~: 1", "{[]: 1}", "a: [", "%", "--- a\n--- b"),
)


@pytest.mark.parametrize("text", ODD)
def test_what_is_out_of_the_ordinary_is_left_alone(text: str) -> None:
    """It is the builder's, with all it has to say."""
    assert quick.build(SourceText("f.yaml", text), None) is None


def test_a_long_file_is_looked_at_twice_and_read_to_its_end() -> None:
    """As the builder does it: what is hopeless is left after the beginning."""
    looked: list[int] = []

    def hopeless(beginning: Document) -> bool:
        assert isinstance(beginning.root, list)
        looked.append(len(beginning.root))
        return False

    text = "[" + "x," * (2 * SECOND) + "]"
    found = quick.build(SourceText("f.yaml", text), hopeless)
    assert found is not None
    assert found.nodes == 2 * SECOND + 1
    assert looked == [FIRST, SECOND]
    assert quick.build(SourceText("f.yaml", text), lambda _: True) is None
    answers = iter([False, True])
    assert quick.build(SourceText("f.yaml", text), lambda _: next(answers)) is None


def test_who_complains_of_the_beginning_leaves_it_to_the_builder() -> None:
    """A complaint needs a place, and the beginning has none."""
    text = "batches:\n" + "".join(f"  b{number}: {{batch_id: 1}}\n" for number in range(FIRST))

    def complain(beginning: Document) -> bool:
        File(beginning).read()
        raise AssertionError("it was told a place")

    assert quick.build(SourceText("f.yaml", text), complain) is None


def test_yaml_has_its_fast_parser() -> None:
    """The figures in the README are those of libyaml; where it is missing, everything works, and takes longer."""
    assert hasattr(yaml, "CSafeLoader")
