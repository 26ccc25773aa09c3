"""YAML -> plain values with their places, and every refusal on the way; with libyaml and with yaml's own parser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batchform.config import reader
from batchform.config.reader import MAX_DEPTH
from batchform.config.scalars import Plain

if TYPE_CHECKING:
    from batchform.config.document import Document, Steps
    from batchform.errors import Problem
    from batchform.source_text import Place


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with both parsers: a build of PyYAML without libyaml must read the same."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML has no libyaml")


def read(text: str) -> Document:
    """The document in `text`. Asserts that it has no problem."""
    found = reader.parse(text.encode(), "f.yaml")
    assert found.problems == ()
    return found


def problems(text: str) -> tuple[Problem, ...]:
    """What is wrong with `text`."""
    return reader.parse(text.encode(), "f.yaml").problems


def covered(text: str, place: Place) -> str:
    """The part of a single-line `text` that `place` covers."""
    assert (place.line, place.end_line) == (1, 1)
    return text[place.column - 1 : place.end_column - 1]


# --- values and places -----------------------------------------------------------------------------------------------


def test_values_are_plain() -> None:
    """Mappings, lists, text, numbers, booleans and None; quoted and block scalars are text."""
    text = "a: {b: [1, 1.5, true, ~, x]}\nc: '1'\nd: \"true\"\ne: |\n  1\nf: >-\n  x\n  y\ng: NO\n"
    root = read(text).root
    assert root == {"a": {"b": [1, 1.5, True, None, "x"]}, "c": "1", "d": "true", "e": "1\n", "f": "x y", "g": "NO"}
    assert isinstance(root, dict)
    assert type(root["g"]) is Plain
    assert type(root["c"]) is str


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), "{", "{"),
        (("aé",), "aé", "[1, {b: 'x'}]"[:1]),
        (("aé", 0), "1", "1"),
        (("aé", 1), "{", "{"),
        (("aé", 1, "b"), "b", "'x'"),
        (("c",), '"c"', "&n NO"),
        (("d",), "d", "*n"),
        (("e",), "e", ""),
    ],
)
def test_every_path_has_the_place_of_its_key_and_value(path: Steps, key: str, value: str) -> None:
    """The exact range in the text: the first character of a mapping or list, nothing for an empty value."""
    text = "{aé: [1, {b: 'x'}], \"c\": &n NO, d: *n, e: }"
    found = read(text)
    assert covered(text, found.key_place(path)) == key
    assert covered(text, found.value_place(path)) == value


def test_an_alias_has_its_own_place_and_its_inside_the_anchors() -> None:
    """The value is shared, and its inside is placed where it was written."""
    found = read("a: &x\n  b: 1\nc: *x\n")
    assert found.root == {"a": {"b": 1}, "c": {"b": 1}}
    assert str(found.value_place(("c",))) == "f.yaml:3:4"
    assert str(found.value_place(("c", "b"))) == "f.yaml:2:6"


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ("a: 1.50", "1.50"),
        ("a: -0", "-0"),
        ("a: true", "true"),
        ("a: ~", "~"),
        ("a:", ""),
        ("a: &n", ""),
        ("a: &n 007", "007"),
        ("a: 'it''s'", "it's"),
        ("b: &n 1.50\na: *n", "1.50"),
        ("b: &n [&m null]\nc: &n 2.0\na: *m", "null"),
    ],
)
def test_a_scalar_can_be_shown_as_it_was_written(entry: str, written: str) -> None:
    """Also through an alias, and without anchor and quotes."""
    assert read(entry).written(("a",)) == written


def test_an_alias_means_the_newest_anchor_of_its_name() -> None:
    """An anchor inside another of the same name begins later, although the outer one ends later."""
    assert read("a: &x [&x 1]\nb: *x\n").root == {"a": [1], "b": 1}


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n", "~\n"])
def test_a_file_without_content_is_no_problem_here(text: str) -> None:
    """The loader decides whether a file may be empty."""
    found = read(text)
    assert found.root is None
    assert found.value_place(()).file == "f.yaml"


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(st.characters(codec="utf-8", min_codepoint=32)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(YAML_VALUES, st.booleans())
def test_what_a_writer_wrote_is_read_back(value: object, flow: bool) -> None:  # noqa: FBT001  hypothesis hands it over
    """Any value dumped with quoted text is read back the same, in block and in flow style."""

    class Quoting(yaml.SafeDumper):
        """A writer that leaves no text to guess at."""

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    text = yaml.dump(value, Dumper=Quoting, default_flow_style=flow, width=10**6)
    assert read(text.replace("!!null ", "")).root == value


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: 1\n---\nb: 2\n", "BF109", "2:1"),
        ("a: 1\n...\nb: 2\n", "BF109", "3:1"),
        ("a: 1\n<<: {b: 1}\n", "BF114", "2:1"),
        ("a: !foo x\n", "BF115", "1:4"),
        ("a: &n !!str 1\n", "BF115", "1:7"),
        ("a: !!set {}\n", "BF115", "1:4"),
        ("!x a: 1\n", "BF115", "1:1"),
        ("a: *x\n", "BF116", "1:4"),
        ("a: &x {b: *x}\n", "BF117", "1:11"),
        ("a: &x [[*x]]\n", "BF117", "1:9"),
        ("{a: b}: c\n", "BF113", "1:1"),
        ("{{ name }}: c\n", "BF113", "1:1"),
        ("? [a]\n: c\n", "BF113", "1:3"),
        ("a: &x b\n*x : c\n", "BF113", "2:1"),
        ("a:\n  b: 1\n\tc: 2\n", "BF108", "3:1"),
        ("a:\n \tb: 1\n", "BF108", "2:2"),
    ],
)
def test_what_is_not_supported_is_refused_at_its_place(text: str, code: str, place: str) -> None:
    """One problem, with a hint."""
    (problem,) = problems(text)
    assert (problem.code, str(problem.place)) == (code, f"f.yaml:{place}")
    assert problem.hint


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("a: b: c\n", "1:5", "Quote a text that contains"),
        ("a: 'x\nb: 1\n", "1:4", "Close the quotes"),
        ("a: {b: 1\n", "1:4", "`}`"),
        ("a: [1\nb: 2\n", "2:2", "`]`"),
        ("a: @x\n", "1:4", "Quote the text"),
        ('a: "\\q"\n', None, "Write the backslash twice"),
        ("a: *\n", "1:4", "Quote the text"),
        ("a:\n  b: 1\n c: 2\n", "3:2", "same column"),
        ("a: 'x' y\n", "1:8", "around the whole text"),
    ],
)
def test_bad_yaml_says_what_to_write(text: str, place: str | None, hint: str) -> None:
    """The place is the error, or the beginning of what is not closed."""
    (problem,) = problems(text)
    assert problem.code == "BF107"
    assert hint in problem.hint
    assert place is None or str(problem.place) == f"f.yaml:{place}"


def test_duplicate_keys_name_both_places() -> None:
    """Every repetition is a problem of its own, also before a syntax error."""
    first, second = problems("a: 1\nb: {c: 1, c: [2], c: 3}\na: 4\n: :")[:2]
    assert [first.code, second.code] == ["BF112", "BF112"]
    found = problems("a: 1\nb: {c: 1, c: [2], c: 3}\na: 4\n'")
    assert {(str(p.place), str(p.related[0][0])) for p in found if p.code == "BF112"} == {
        ("f.yaml:2:11", "f.yaml:2:5"),
        ("f.yaml:2:19", "f.yaml:2:5"),
        ("f.yaml:3:1", "f.yaml:1:1"),
    }


def test_an_entry_that_is_not_kept_moves_no_other_place() -> None:
    """The places of a mapping with a duplicate and a merge key still belong to the right keys."""
    found = reader.parse(b"<<: {x: 1}\na: 1\na: {y: 2}\nb: 3\n", "f.yaml")
    assert found.root == {"a": 1, "b": 3}
    assert str(found.value_place(("b",))) == "f.yaml:4:4"


@pytest.mark.parametrize("key", ["no", "123", "0441", "2026-11-20", "true", "~", "1.5"])
def test_a_key_that_need_not_be_text_must_be_quoted(key: str) -> None:
    """The hint shows the quoted key, and the quoted key is read."""
    (problem,) = problems(f"{key}: x\n")
    assert (problem.code, problem.hint) == ("BF113", f'Write `"{key}"`.')
    assert read(f'"{key}": x\n').root == {key: "x"}


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "[a, "])
def test_deep_nesting_is_refused_at_the_cap(opening: str) -> None:
    """The composer of libyaml would crash the process."""
    (problem,) = problems(opening * 100_000)
    assert problem.code == "BF110"
    assert problem.place is not None
    assert problem.place.column == MAX_DEPTH * len(opening) + 1
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).root is not None


def test_aliases_count_with_their_depth() -> None:
    """Nesting through aliases counts like any other."""
    half = MAX_DEPTH // 2
    ladder = f"a: &a {'[' * half}{']' * half}\n"
    assert read(f"{ladder}b: {'[' * (half - 1)}*a{']' * (half - 1)}\n").root is not None
    (problem,) = problems(f"{ladder}b: {'[' * half}*a{']' * half}\n")
    assert problem.code == "BF110"
    (problem,) = problems(f"{ladder}b: &b [*a]\nc: {'[' * (half - 1)}*b{']' * (half - 1)}\n")
    assert problem.code == "BF110"


def test_an_alias_bomb_is_refused_before_it_is_anything() -> None:
    """Aliases count with everything they stand for: a few hundred bytes can expand to billions of values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 10)}]" for name in "bcdefghi"]
    began = time.process_time()
    (problem,) = problems("\n".join(lines))
    assert problem.code == "BF111"
    assert time.process_time() - began < 1


def test_every_cap_is_reached_by_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key or value counts as one, an anchor as eight, an alias as its value. The cap itself is allowed."""
    monkeypatch.setattr(reader, "MAX_NODES", 17)
    assert read("a: &x [1, 2]\nb: *x\n").root == {"a": [1, 2], "b": [1, 2]}
    assert [p.code for p in problems("a: &x [1, 2, 3]\nb: *x\n")] == ["BF111"]
    assert [p.code for p in problems(f"[{', '.join('1' * 17)}]")] == ["BF111"]
    assert [p.code for p in problems("[&a 1, &a 1]")] == ["BF111"]


def test_a_long_text_counts_each_time_an_alias_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged each time, so a few bytes could stand for gigabytes."""
    monkeypatch.setattr(reader, "MAX_NODES", 20)
    text = "x" * 64 * 9
    assert read(f"[&a {text}, *a]").root == [text, text]
    assert [p.code for p in problems(f"[&a {text}, *a, *a]")] == ["BF111"]


def test_mappings_and_lists_have_a_cap_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take the most memory. An alias creates none."""
    monkeypatch.setattr(reader, "MAX_CONTAINERS", 3)
    assert read("[&a {}, [], *a]").root == [{}, [], {}]
    (problem,) = problems("[{}, [], {}]")
    assert (problem.code, str(problem.place)) == ("BF111", "f.yaml:1:10")


@given(st.text(st.sampled_from("abc01 \n\t:-[]{}\"'#&*!|>%@~<?,.\\"), max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    """Any text gives a value or a problem, and the place of each problem is inside the text."""
    found = reader.parse(text.encode(), "f.yaml")
    assert found.root is None or found.value_place(()).line >= 1
    for problem in found.problems:
        assert problem.place is not None
        assert 1 <= problem.place.line <= text.count("\n") + 1
