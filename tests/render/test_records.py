"""Items as lines: any item survives, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.render.records import MOST_COLUMNS, UnwritableError, cells_of, columns_of, csv_line, json_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.dictionaries(st.text(), VALUES, max_size=5)


@given(ITEMS)
def test_any_item_is_one_line_of_json(item: dict[str, Any]) -> None:
    """Keys in their order, and each value."""
    line = json_line(item)
    assert "\n" not in line
    assert "\r" not in line
    line.encode()
    assert list(json.loads(line).items()) == list(item.items())


def test_half_of_a_character_is_written_as_an_escape() -> None:
    """It cannot be UTF-8."""
    assert json_line({"a": "\ud800é"}) == '{"a":"\\ud800\\u00e9"}'
    assert cells_of({"a": "\ud800é"}, ["a"]) == ["?é"]


def test_a_deep_item_cannot_be_written() -> None:
    """No traceback."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnwritableError, match="nested too deeply"):
        json_line({"a": deep})
    while deep:
        deep = deep[0]  # freed one by one


def test_columns_are_those_of_all_items() -> None:
    """In the order of their first appearance. Objects have columns of their own, lists and what is deep do not."""
    items: list[dict[str, Any]] = [
        {"number": "1", "metadata": {"name": "a", "ported": None}},
        {"number": "2", "found": ["x", 1], "metadata": {"name": "b", "more": {"is": True}}, "n": 1.5},
        {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
    ]
    columns = columns_of(items)
    assert columns == (
        "number", "metadata.name", "metadata.ported", "found", "metadata.more.is", "n", "a.b.c.d.e"
    )  # fmt: skip
    assert cells_of(items[0], columns) == ["1", "a", None, None, None, None, None]
    assert cells_of(items[1], columns) == ["2", "b", None, '["x",1]', "true", "1.5", None]
    assert cells_of(items[2], columns)[-1] == '{"f":1}'


def test_a_table_has_limits() -> None:
    """Another field in each item would be a table of squares; two values for one cell would hide one."""
    with pytest.raises(UnwritableError, match="more than 500 different fields"):
        columns_of({str(number): 1} for number in range(MOST_COLUMNS + 1))
    with pytest.raises(UnwritableError, match="a field twice"):
        cells_of({"a.b": 1, "a": {"b": 2}}, ["a.b"])


@given(st.lists(st.none() | st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_a_line_of_csv_is_read_as_it_was(cells: list[str | None]) -> None:
    """But for the apostrophes."""
    (found,) = csv.reader(io.StringIO(csv_line(cells), newline=""))
    for cell, given_cell in zip(found, cells, strict=True):
        assert cell.replace("'", "") == (given_cell or "").replace("'", "")
        assert not cell.startswith(("=", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        (" =1", "' =1"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r=1"),
        ("\n1", "'\n1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1+1;", "a;'=1+1;"),
        ('a;"=1', 'a;""\'=1'),
        ("+447700900000", "+447700900000"),
        ("-1.5", "-1.5"),
        ("+44 7700 900000", "'+44 7700 900000"),
        ("a=1", "a=1"),
        ('say "x"', 'say ""x""'),
        ("a\0b", "ab"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(cell: str, written: str) -> None:
    """A number is none. In a country where a semicolon separates cells, what follows one may begin a cell."""
    assert csv_line([cell, None]) == f'"{written}",\r\n'
