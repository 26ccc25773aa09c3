"""The items of results as lines of a file: JSON, or the cells of a table.

A table has one column for each field of any item. The fields of an object inside of an item have columns of their own,
such as `metadata.operator_name`; a list is one cell, as JSON.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOST_COLUMNS: Final = 500
"""The widest table. A spreadsheet of results has some 25 columns."""

_DEEPEST: Final = 5
"""Objects inside of objects that have columns of their own. What is deeper is one cell."""

_PLAIN_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_FORMULA: Final = re.compile("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_AFTER_SEPARATOR: Final = re.compile("([;\t|][\\s\"']*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")


class UnwritableError(ValueError):
    """The items do not fit the format. The text says why, and quotes nothing."""


def json_line(item: Mapping[str, Any]) -> str:
    """The item as one line of JSON, without a line end.

    Raises:
        UnwritableError: It is nested too deeply.
    """
    try:
        line = json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        line.encode()
    except UnicodeEncodeError:  # half of a character
        return json.dumps(item, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise UnwritableError("an item is nested too deeply") from None
    return line


def columns_of(items: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The columns of a table of these items, in the order of their first appearance.

    Raises:
        UnwritableError: There are too many, or an item has a field twice.
    """
    found: dict[str, None] = {}
    for item in items:
        for name, _ in _fields(item):
            found[name] = None
        if len(found) > MOST_COLUMNS:
            raise UnwritableError(f"the items have more than {MOST_COLUMNS} different fields")
    return tuple(found)


def cells_of(item: Mapping[str, Any], columns: Sequence[str]) -> list[str | None]:
    """The cells of an item, None for a field that it lacks or that is null. Raises as `columns_of` does."""
    found: dict[str, str | None] = {}
    for name, cell in _fields(item):
        if name in found:
            raise UnwritableError("an item has a field twice")
        found[name] = cell
    return [found.get(name) for name in columns]


def _fields(item: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, str | None]]:
    for key, value in item.items():
        name = before + key
        match value:
            case None:
                yield name, None
            case str():
                yield name, value.encode("utf-8", "replace").decode()
            case dict() if depth < _DEEPEST:
                yield from _fields(value, f"{name}.", depth + 1)
            case _:  # a number, true or false, or a list
                yield name, json_line(value)


def csv_line(cells: Iterable[str | None]) -> str:
    """A line of CSV, with its end. No cell can be a formula in a spreadsheet.

    Source: RFC 4180, and OWASP "CSV Injection".
    """
    line = ",".join("" if cell is None else f'"{_inert(cell)}"' for cell in cells)
    return (line or '""') + "\r\n"  # an empty line would be no row


def _inert(cell: str) -> str:
    """The cell, quotes doubled. An apostrophe is put before what a spreadsheet would calculate, also after a separator.

    A number stays as it is, so `+447700900000` is one.
    """
    if not _PLAIN_NUMBER.fullmatch(cell):
        cell = _AFTER_SEPARATOR.sub(r"\1'", cell)
        if _FORMULA.match(cell):
            cell = f"'{cell}"
    return cell.replace('"', '""').replace("\0", "")
