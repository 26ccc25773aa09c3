"""YAML -> Document: the one reader, with the place of everything and every refusal on the way.

The tree is built from the parser's events, in one loop with a stack of its own. The composer of libyaml recurses in C
and crashes the process on deep nesting, and it resolves the surprises of YAML 1.1 (`NO`, `0441`, `12:30`) before the
author's letters can be checked. Every cap is checked while events arrive, so the cost of hostile input is bounded. An
alias counts with everything it stands for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from batchform.config.document import Document, Mapping, Sequence
from batchform.config.problems import MAX_PROBLEMS, Code, how_to_quote, quote, too_many
from batchform.config.scalars import SUSPECT, resolve
from batchform.config.source import Stop, decode, read
from batchform.config.syntax import describe, nested_too_deeply, second_document
from batchform.source_text import SourceText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchform.config.document import Value
    from batchform.errors import Problem
    from batchform.source_text import Place

MAX_DEPTH = 32
"""How deep mappings and lists may nest, aliases included."""

MAX_CONTAINERS = 250_000
"""The most mappings and lists in one file: 100,000 batches with labels have 200,002."""

MAX_NODES = 1_500_000
"""The most keys and values in one file: with 16 MiB, about 70,000 batches with every field fit in.

An alias counts with everything it stands for, an anchor as `_ANCHOR`, and each `_LONG` characters of an aliased text
as one: so many times the text is judged.
"""

_ANCHOR = 8
_LONG = 64


def load(path: str) -> Document:
    """The document in the file at `path`. Never raises: what is wrong is in its `problems`."""
    try:
        return _build(decode(read(path), path))
    except Stop as stop:
        return Document(source=stop.source or SourceText(path, ""), problems=(stop.problem,))


def parse(data: bytes, file: str) -> Document:
    """The document in `data`; `file` names it in every place. Never raises, like `load`."""
    try:
        return _build(decode(data, file))
    except Stop as stop:
        return Document(source=stop.source or SourceText(file, ""), problems=(stop.problem,))


def _build(source: SourceText) -> Document:
    """The document in `source`, by libyaml, or by the parser in Python where libyaml is missing."""
    import yaml  # noqa: PLC0415  # takes 10 ms, and not all commands read YAML

    builder = _Builder(source)
    actions: dict[type[yaml.Event], Callable[[Any], None]] = {
        yaml.ScalarEvent: builder.scalar,
        yaml.MappingStartEvent: builder.mapping,
        yaml.MappingEndEvent: builder.close,
        yaml.SequenceStartEvent: builder.sequence,
        yaml.SequenceEndEvent: builder.close,
        yaml.AliasEvent: builder.alias,
        yaml.DocumentStartEvent: builder.start,
        yaml.DocumentEndEvent: lambda _: None,
        yaml.StreamStartEvent: lambda _: None,
        yaml.StreamEndEvent: lambda _: None,
    }
    next_event: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source.text).get_event
    try:
        while (event := next_event()) is not None:
            actions[event.__class__](event)
    except yaml.YAMLError as error:
        if (before := nested_too_deeply(error)) is not None:
            return Document(source=source, problems=_build(SourceText(source.file, source.text[:before])).problems)
        return builder.broken(describe(error, source))
    except Stop as stop:
        return builder.broken(stop.problem)
    return builder.done()


@dataclass(slots=True)
class _Anchor:
    """What an alias stands for: the value, where it stands, and what it takes of the caps once it is complete."""

    value: Value
    span: tuple[int, int]
    nodes: int = 1
    height: int = 0
    complete: bool = True


@dataclass(slots=True)
class _Open:
    """A mapping or list that is not closed yet. `key` waits for its value; `nodes` were counted before it."""

    container: Any
    is_mapping: bool
    nodes: int
    anchor: _Anchor | None = None
    key: str | None = None
    height: int = 1
    duplicates: list[tuple[str, tuple[int, int]]] = field(default_factory=list)


_TAG = re.compile(r"![^\s,\[\]{}]*")
_IGNORED = "the key of an entry that is not kept; compared by identity"


class _Builder:
    """The state of the loop over the events; one method for each kind of event."""

    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._problems: list[Problem] = []
        self._left = MAX_PROBLEMS
        self._nodes = 0
        self._containers = 0
        self._anchors: dict[str, _Anchor] = {}
        self._aliased: dict[int, tuple[int, int]] = {}
        self._top = Sequence()
        self._open = _Open(self._top, is_mapping=False, nodes=0)
        self._outer: list[_Open] = []

    def done(self) -> Document:
        return Document(source=self._source, problems=tuple(self._problems), _top=self._top, _aliased=self._aliased)

    def broken(self, problem: Problem) -> Document:
        for unfinished in (*self._outer, self._open):
            if unfinished.duplicates:
                self._report_duplicates(unfinished)
        return Document(source=self._source, problems=(*self._problems, problem))

    def start(self, event: Any) -> None:
        if self._top:
            raise Stop(second_document(self._source, *_span(event)))

    def scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._count(0, (start, end))
        text, here = event.value, self._open
        value = text if event.style or (text and text[0] not in SUSPECT) else resolve(text)
        key = here.key
        if not here.is_mapping:
            here.container.append(value)
        elif key is None:
            here.key = key = self._key(text, value, (start, end), is_plain=not event.style)
        else:
            here.key = None
            if key is not _IGNORED:
                here.container[key] = value
        if key is not _IGNORED:
            keep = here.container.spans.append
            keep(start)
            keep(end)
        if event.anchor is not None:
            self._count(_ANCHOR, (start, end))
            self._anchors[event.anchor] = _Anchor(value, (start, end), nodes=1 + len(text) // _LONG)
        if event.tag is not None:
            self._tag(event)

    def mapping(self, event: Any) -> None:
        self._enter(Mapping(), event, is_mapping=True)

    def sequence(self, event: Any) -> None:
        self._enter(Sequence(), event, is_mapping=False)

    def close(self, _: Any) -> None:
        closed = self._open
        self._open = self._outer.pop()
        if closed.height >= self._open.height:
            self._open.height = closed.height + 1
        if closed.duplicates:
            self._report_duplicates(closed)
        if closed.anchor is not None:
            closed.anchor.nodes = self._nodes - closed.nodes
            closed.anchor.height = closed.height
            closed.anchor.complete = True

    def alias(self, event: Any) -> None:
        span = _span(event)
        name = event.anchor
        anchor = self._anchors.get(name)
        if anchor is None:
            hint = f"Write `&{name}` before the value it means, further up, or quote the text if no alias is meant."
            self._stop(Code.UNKNOWN_ALIAS, f"No anchor `&{name}` comes before this alias.", hint, span)
        if not anchor.complete:
            detail = f"`*{name}` is inside the value that `&{name}` marks, so the value would never end."
            self._stop(Code.RECURSIVE_ALIAS, detail, "Write the value out.", span)
        here = self._open
        if here.is_mapping and here.key is None:
            self._stop(Code.KEY_NOT_TEXT, "A key cannot be an alias.", "Write the key out.", span)
        self._count(anchor.nodes, span)
        self._check_depth(anchor.height, span)
        here.height = max(here.height, anchor.height + 1)
        if not isinstance(anchor.value, str):
            self._aliased[span[0]] = anchor.span
        self._put(anchor.value, span)

    def _enter(self, container: Mapping | Sequence, event: Any, *, is_mapping: bool) -> None:
        span = _span(event)
        if self._open.is_mapping and self._open.key is None:
            detail = "A key is a text, not a mapping or a list."
            hint = "Quote a text that begins with `{` or `[`."
            if "{{" in self._source.text[max(span[0] - 1, 0) : span[0] + 2]:
                hint = "`{{` looks like a template: render it first. If it is meant as text, quote it."
            self._stop(Code.KEY_NOT_TEXT, detail, hint, span)
        if event.tag is not None:
            self._tag(event)
        if event.anchor is not None:
            self._count(_ANCHOR, span)
        entered = _Open(container, is_mapping, self._nodes)
        self._count(1, span)
        self._containers += 1
        if self._containers > MAX_CONTAINERS:
            detail = f"This file holds more than {MAX_CONTAINERS:,} mappings and lists."
            self._stop(Code.TOO_MANY, detail, "Split the file.", span)
        if event.anchor is not None:
            entered.anchor = self._anchors[event.anchor] = _Anchor(container, span, complete=False)
        self._put(container, span)
        self._outer.append(self._open)
        self._open = entered
        self._check_depth(0, span)

    def _put(self, value: Value, span: tuple[int, int]) -> None:
        """Add the value to the open list, or under the key that waits for it."""
        here = self._open
        if not here.is_mapping:
            here.container.append(value)
            here.container.spans.extend(span)
        elif here.key is not _IGNORED:
            here.container[here.key] = value
            here.container.spans.extend(span)
        here.key = None

    def _key(self, text: str, value: Value, span: tuple[int, int], *, is_plain: bool) -> str:
        """The key of an entry, or `_IGNORED` for one that is not kept. `value` is what `text` stands for as a value."""
        if is_plain and text == "<<":
            detail = "`<<` copies keys from elsewhere, so a batch could not be read where it is declared."
            self._spend(span)
            self._report(Code.MERGE_KEY, detail, "Use `defaults` for what the batches of this file share.", span)
            return _IGNORED
        if type(value) is not str:
            detail = (
                f"Some YAML parsers take {quote(text)[1:-1]} for something other than text."
                if text
                else "The key is empty."
            )
            self._spend(span)
            self._report(Code.KEY_NOT_TEXT, detail, how_to_quote(text), span)
        if text not in self._open.container:
            return text
        self._spend(span)
        self._open.duplicates.append((text, span))
        return _IGNORED

    def _report_duplicates(self, mapping: _Open) -> None:
        for key, span in mapping.duplicates:
            first = self._source.place(*mapping.container.span(key)[:2])
            detail = f"{quote(key)} is in this mapping twice, and YAML parsers would keep only one of them."
            self._report(Code.DUPLICATE_KEY, detail, "Remove one of them.", span, related=[(first, "the first one")])

    def _tag(self, event: Any) -> None:
        written = _TAG.search(self._source.text, event.start_mark.index)
        assert written  # an anchor can stand before it, nothing else
        self._spend(written.span())
        detail = f"{quote(written[0])} would change the type of the value that follows it."
        self._report(Code.TAG, detail, "Remove it. To make the value a text, quote it.", written.span())

    def _count(self, nodes: int, span: tuple[int, int]) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            detail = f"With aliases expanded, this file holds more than {MAX_NODES:,} keys and values."
            self._stop(Code.TOO_MANY, detail, "Use fewer aliases, or split the file.", span)

    def _check_depth(self, height: int, span: tuple[int, int]) -> None:
        if len(self._outer) + height > MAX_DEPTH:
            detail = f"Mappings and lists nest more than {MAX_DEPTH} deep here."
            self._stop(Code.TOO_DEEP, detail, "A configuration needs 4 levels.", span)

    def _spend(self, span: tuple[int, int]) -> None:
        """Make room for one more problem, about `span`, or stop."""
        self._left -= 1
        if self._left < 0:
            raise Stop(too_many(self._source.place(*span)))

    def _report(
        self, code: Code, detail: str, hint: str, span: tuple[int, int], related: Iterable[tuple[Place, str]] = ()
    ) -> None:
        place = self._source.place(*span)
        self._problems.append(code.problem(detail, hint=hint, place=place, related=related))

    def _stop(self, code: Code, detail: str, hint: str, span: tuple[int, int]) -> NoReturn:
        raise Stop(code.problem(detail, hint=hint, place=self._source.place(*span)))


def _span(event: Any) -> tuple[int, int]:
    """Where the event begins and ends, as offsets into the text."""
    return event.start_mark.index, event.end_mark.index
