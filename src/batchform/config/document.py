"""Plain values, and the place of every key and value in the file.

A mapping or list holds the places of its entries as offsets into the text, packed into one array. Lines and columns
are computed on demand. An alias shares the value of its anchor, so the inside of an aliased value is placed where it
was written.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchform.errors import Problem
    from batchform.source_text import Place, SourceText

Value: TypeAlias = "bool | int | float | str | Sequence | Mapping | None"
Steps: TypeAlias = "tuple[str | int, ...]"


class Mapping(dict[str, Value]):
    """A mapping as it was read. `spans` has four offsets an entry: start and end of the key and of the value."""

    __slots__ = ("_positions", "spans")

    def __init__(self) -> None:
        super().__init__()
        self.spans = array("I")
        self._positions: dict[str, int] | None = None

    def __repr__(self) -> str:
        """Say no more than the kind: jsonschema puts values into its messages, and this one can be large."""
        return "a mapping"

    def span(self, key: str) -> array[int]:
        """The four offsets of an entry."""
        if self._positions is None:
            self._positions = {known: position for position, known in enumerate(self)}
        at = 4 * self._positions[key]
        return self.spans[at : at + 4]


class Sequence(list[Value]):
    """A list as it was read. `spans` has two offsets an item."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        super().__init__()
        self.spans = array("I")

    def __repr__(self) -> str:
        """Say no more than the kind, as for a mapping."""
        return "a list"

    def span(self, position: int) -> array[int]:
        """The offsets of an item, twice: it is its own key."""
        return self.spans[2 * position : 2 * position + 2] * 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Document:
    """Plain values, their places, and the problems of the YAML itself.

    `root` is None for a file without content, and for one that could not be parsed to its end; the latter has problems.
    Aliased values are shared: treat every value as read-only. A path is the keys and list positions from the root.
    """

    source: SourceText
    problems: tuple[Problem, ...] = ()
    _top: Sequence = field(default_factory=Sequence)
    _aliased: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def root(self) -> Value:
        """The value of the whole document."""
        return self._top[0] if self._top else None

    @property
    def has_aliases(self) -> bool:
        """Whether an alias shares a mapping, a list or another value that is no text."""
        return bool(self._aliased)

    def key_place(self, path: Steps) -> Place:
        """The place of the key at the end of `path`; of the item, in a list."""
        return self.source.place(*self._span(path)[:2])

    def key_places(self, mapping: Mapping) -> Iterator[Place]:
        """The place of each key of a mapping, in order."""
        return map(self.source.place, mapping.spans[::4], mapping.spans[1::4])

    def value_place(self, path: Steps) -> Place:
        """The place of the value at `path`: a scalar or an alias itself, the beginning of a mapping or list."""
        return self.source.place(*self._span(path)[2:])

    def holder(self, path: Steps) -> Any:
        """The mapping or list that holds the value at `path`."""
        holder: Any = self._top
        for step in (0, *path)[: len(path)]:
            holder = holder[step]
        return holder

    def written(self, path: Steps) -> str:
        """The scalar at `path` as its author wrote it, resolved if it is an alias, without anchor and quotes."""
        value = self.holder(path)[(0, *path)[-1]]
        if isinstance(value, str):
            return str(value)
        start, end = self._span(path)[2:]
        start, end = self._aliased.get(start, (start, end))
        word = (self.source.text[start:end].split() or [""])[-1]
        return "" if word.startswith("&") else word

    def _span(self, path: Steps) -> array[int]:
        """Start and end of the key, start and end of the value."""
        span: array[int] = self.holder(path).span((0, *path)[-1]) if self._top else array("I", (0, 0, 0, 0))
        return span
