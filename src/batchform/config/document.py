"""Plain values, and the place every key and value came from.

Places are cheap because there are so many: four offsets per entry, packed into one array per mapping or list, turned
into lines and columns when somebody asks. The arrays belong to the mapping or list itself, not to a path, so what an
alias stands for is found where it was written. `builder` keeps all of them; `quick` those of the top two levels, and
where others are asked for, which is where something is wrong, the document is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Mapping

    from batchform.errors import Place, Problem, SourceText

MAX_DEPTH = 32
"""How deep mappings and lists may nest, aliases included."""

MAX_NODES = 4_000_000
"""How many keys and values one file may hold, aliases counted with all they stand for: twice 100,000 full batches."""

LOOK_AFTER = 100_000
"""After so many keys and values somebody may look whether it is worth reading on."""

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Steps: TypeAlias = "tuple[str | int, ...]"

Hopeless: TypeAlias = "Callable[[Document], bool] | None"
"""Judges the beginning of a large document: whether so much is wrong with it that the rest need not be read."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Document:
    """Plain values, where each came from, and what is wrong with the YAML itself.

    `root` is None for a file without content, and for one that could not be read to its end; the latter has problems.
    `nodes` counts keys and values, an alias with all it stands for. `cut` tells that reading ended before the end,
    because what it held was hopeless; then the last mappings and lists may lack something.
    Aliased values are shared: treat every value as read-only. A path is the keys and list positions from the root.
    """

    source: SourceText
    problems: tuple[Problem, ...] = ()
    nodes: int = 0
    cut: bool = False
    _top: list[Value] = field(default_factory=list)
    _spans: dict[int, array[int]] = field(default_factory=dict)
    _whole: Callable[[], Document] | None = None
    _aliased: dict[int, tuple[int, int]] = field(default_factory=dict)
    _order: dict[int, dict[str, int]] = field(default_factory=dict)
    _read_again: list[Document] = field(default_factory=list)

    @property
    def root(self) -> Value:
        """The value of the whole document."""
        return self._top[0] if self._top else None

    def key_place(self, path: Steps) -> Place:
        """Where the key at the end of `path` stands; for a list's item, where the item does."""
        return self.source.place(*self._span(path)[:2])

    def key_places(self, path: Steps) -> Iterator[Place]:
        """Where each key of the mapping at `path` stands, in order."""
        container, step = self._find(path)
        spans = self._spans[id(container[step])]
        return map(self.source.place, spans[::4], spans[1::4])

    def value_place(self, path: Steps) -> Place:
        """Where the value at `path` stands: a scalar or an alias itself, the beginning of a mapping or list."""
        return self.source.place(*self._span(path)[2:])

    def written(self, path: Steps) -> str:
        """The scalar at `path` as its author wrote it, looked up behind an alias and without an anchor or quotes."""
        container, step = self._find(path)
        value = container[step]
        if isinstance(value, str):
            return str(value)
        start, end = self._span(path)[2:]
        start, end = self._aliased.get(start, (start, end))
        word = (self.source.text[start:end].split() or [""])[-1]
        return "" if word.startswith("&") else word

    def _find(self, path: Steps) -> tuple[Any, Any]:
        """The mapping or list that holds the value at `path`, and its key or position there."""
        container: Any = self._top
        step: str | int = 0
        for following in path:
            container = container[step]
            step = following
        return container, step

    def _span(self, path: Steps) -> array[int]:
        """Start and end of the key, start and end of the value."""
        container, step = self._find(path)
        spans = self._spans.get(id(container))
        if spans is None:
            return self._with_all_places()._span(path)  # noqa: SLF001  # another document, of the same class
        if isinstance(container, list):
            return spans[2 * step : 2 * step + 2] * 2
        order = self._order.get(id(container))
        if order is None:
            order = self._order[id(container)] = order_of(container)
        return spans[4 * order[step] : 4 * order[step] + 4]

    def _with_all_places(self) -> Document:
        """The same document with the place of everything in it, read again when somebody asks for the first time."""
        if not self._read_again:
            assert self._whole is not None
            self._read_again.append(self._whole())
        return self._read_again[0]


def order_of(mapping: Mapping[str, Value]) -> dict[str, int]:
    """The position of each key."""
    return {key: position for position, key in enumerate(mapping)}
