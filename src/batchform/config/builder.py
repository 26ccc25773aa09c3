"""YAML -> Document, with the place of everything and every refusal on the way.

The tree is built from the parser's events, in one loop with a stack of its own: libyaml's composer recurses in C and
crashes the process on deep nesting, and it resolves YAML 1.1's surprises (`NO`, `0441`, `12:30`) before anyone can ask
what the author wrote. Every cap is checked while events arrive, so hostile input is refused before it costs anything;
an alias counts with all it stands for.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from batchform.config.document import LOOK_AFTER, MAX_DEPTH, MAX_NODES, Document, order_of
from batchform.config.problems import MAX_PROBLEMS, Code, how_to_quote, quote, too_many
from batchform.config.scalars import resolve
from batchform.config.source import Stop
from batchform.config.syntax import describe, second_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from yaml import Event

    from batchform.config.document import Hopeless, Value
    from batchform.errors import Place, Problem, SourceText


class _Cut(Exception):  # noqa: N818  not an error: it ends the reading of a document that is hopeless
    def __init__(self, document: Document) -> None:
        self.document = document


def build(source: SourceText, hopeless: Hopeless) -> Document:
    """The document in `source`, from the events of libyaml, or of yaml's own parser where libyaml is missing."""
    builder = _Builder(source, hopeless)
    actions: dict[type[Event], Callable[[Any], None]] = {
        yaml.ScalarEvent: builder.scalar,
        yaml.MappingStartEvent: builder.mapping,
        yaml.MappingEndEvent: builder.close,
        yaml.SequenceStartEvent: builder.sequence,
        yaml.SequenceEndEvent: builder.close,
        yaml.AliasEvent: builder.alias,
        yaml.DocumentStartEvent: builder.start,
    }
    parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source.text)
    try:
        while (event := parser.get_event()) is not None:
            if action := actions.get(event.__class__):
                action(event)
    except yaml.YAMLError as error:
        return builder.broken(describe(error, source))
    except Stop as stop:
        return builder.broken(stop.problem)
    except _Cut as cut:
        return cut.document
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
    """A mapping or list whose end has not come yet. `key` waits for its value; `nodes` were counted before it."""

    container: Any
    is_mapping: bool
    nodes: int
    anchor: _Anchor | None = None
    key: str | None = None
    height: int = 1
    spans: list[int] = field(default_factory=list)
    duplicates: list[tuple[str, tuple[int, int]]] = field(default_factory=list)


_TAG = re.compile(r"![^\s,\[\]{}]*")
_IGNORED = "the key of an entry that is not kept; told by identity"


class _Builder:
    """The state of the loop over the events; one method for each kind of event."""

    def __init__(self, source: SourceText, hopeless: Hopeless) -> None:
        self._source = source
        self._hopeless = hopeless
        self._limit = MAX_NODES if hopeless is None else min(LOOK_AFTER, MAX_NODES)
        self._problems: list[Problem] = []
        self._left = MAX_PROBLEMS
        self._nodes = 0
        self._anchors: dict[str, _Anchor] = {}
        self._aliased: dict[int, tuple[int, int]] = {}
        self._spans: dict[int, array[int]] = {}
        self._top: list[Value] = []
        self._open = _Open(self._top, is_mapping=False, nodes=0)
        self._outer: list[_Open] = []

    def done(self, *, cut: bool = False) -> Document:
        for unfinished in (*self._outer, self._open):
            self._spans[id(unfinished.container)] = array("I", unfinished.spans or (0, 0))
        return Document(
            source=self._source,
            problems=tuple(self._problems),
            nodes=self._nodes,
            cut=cut,
            _top=self._top,
            _spans=self._spans,
            _aliased=self._aliased,
        )

    def broken(self, problem: Problem) -> Document:
        for unfinished in (*self._outer, self._open):
            if unfinished.duplicates:
                self._report_duplicates(unfinished)
        return Document(source=self._source, problems=(*self._problems, problem))

    def start(self, event: Any) -> None:
        if self._top:
            raise Stop(second_document(self._source, *_span(event)))

    def scalar(self, event: Any) -> None:
        span = (event.start_mark.index, event.end_mark.index)
        self._nodes += 1
        if self._nodes > self._limit:
            self._reached(span)
        text, quoted = event.value, event.style
        here = self._open
        if here.is_mapping and here.key is None:
            here.key = self._key(text, span) if quoted else self._plain_key(text, span)
            if here.key is not _IGNORED:
                here.spans += span
        else:
            self._put(text if quoted else resolve(text), span)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(text if quoted else resolve(text), span)
        if event.tag is not None:
            self._tag(event)

    def mapping(self, event: Any) -> None:
        self._enter({}, event, is_mapping=True)

    def sequence(self, event: Any) -> None:
        self._enter([], event, is_mapping=False)

    def close(self, _: Any) -> None:
        ended = self._open
        if ended.duplicates:
            self._report_duplicates(ended)
        self._spans[id(ended.container)] = array("I", ended.spans)
        if anchor := ended.anchor:
            anchor.nodes, anchor.height, anchor.complete = self._nodes - ended.nodes, ended.height, True
        self._open = self._outer.pop()
        self._open.height = max(self._open.height, ended.height + 1)

    def alias(self, event: Any) -> None:
        span = _span(event)
        name = event.anchor
        anchor = self._anchors.get(name)
        if anchor is None:
            detail = f"`*{name}` stands for what `&{name}` marks, and nothing before it is marked so."
            self._stop(
                Code.UNKNOWN_ALIAS, detail, "Mark the value first, or quote the text if no alias is meant.", span
            )
        if not anchor.complete:
            detail = f"`*{name}` stands inside the very value that `&{name}` marks: it would have no end."
            self._stop(Code.RECURSIVE_ALIAS, detail, "Write out what is meant.", span)
        here = self._open
        if here.is_mapping and here.key is None:
            self._stop(Code.KEY_NOT_TEXT, "A key cannot be an alias.", "Write the key out.", span)
        self._count(anchor.nodes, span)
        self._check_depth(anchor.height, span)
        here.height = max(here.height, anchor.height + 1)
        self._aliased[span[0]] = anchor.span
        self._put(anchor.value, span)

    def _enter(self, container: Any, event: Any, *, is_mapping: bool) -> None:
        span = _span(event)
        if self._open.is_mapping and self._open.key is None:
            detail = "A key is a text, not a mapping or a list."
            hint = "Quote a text that begins with `{` or `[`."
            if "{{" in self._source.text[max(span[0] - 1, 0) : span[0] + 2]:
                hint = "`{{` looks like a template: render it first. If it is meant as text, quote it."
            self._stop(Code.KEY_NOT_TEXT, detail, hint, span)
        if event.tag is not None:
            self._tag(event)
        entered = _Open(container, is_mapping, self._nodes)
        self._count(1, span)
        if event.anchor is not None:
            entered.anchor = self._anchors[event.anchor] = _Anchor(container, span, complete=False)
        self._put(container, span)
        self._outer.append(self._open)
        self._open = entered
        self._check_depth(0, span)

    def _put(self, value: Value, span: tuple[int, int]) -> None:
        """Keep the value where it belongs: in the open list, or under the key that waits for it."""
        here = self._open
        if not here.is_mapping:
            here.container.append(value)
            here.spans += span
        elif here.key is not _IGNORED:
            here.container[here.key] = value
            here.spans += span
        here.key = None

    def _plain_key(self, text: str, span: tuple[int, int]) -> str:
        """The key to keep an entry under whose key is not quoted."""
        if text == "<<":
            detail = "`<<` takes keys from elsewhere, so that what a batch says cannot be read where it stands."
            self._spend(span)
            self._report(Code.MERGE_KEY, detail, "Use `defaults` for what the batches of this file share.", span)
            return _IGNORED
        if type(resolve(text)) is not str:
            detail = (
                f"Some YAML readers take {quote(text)[1:-1]} for something other than text."
                if text
                else "The key is empty."
            )
            self._spend(span)
            self._report(Code.KEY_NOT_TEXT, detail, how_to_quote(text), span)
        return self._key(text, span)

    def _key(self, text: str, span: tuple[int, int]) -> str:
        """The key to keep an entry under whose key is `text`."""
        if text not in self._open.container:
            return text
        self._spend(span)
        self._open.duplicates.append((text, span))
        return _IGNORED

    def _report_duplicates(self, mapping: _Open) -> None:
        order = order_of(mapping.container)
        for key, span in mapping.duplicates:
            first = self._source.place(*mapping.spans[4 * order[key] : 4 * order[key] + 2])
            detail = f"{quote(key)} stands twice in one mapping, and only one of the two could count."
            self._report(Code.DUPLICATE_KEY, detail, "Remove one of them.", span, related=[(first, "the first one")])

    def _tag(self, event: Any) -> None:
        written = _TAG.search(self._source.text, event.start_mark.index)
        assert written  # an anchor can stand before it, nothing else
        self._spend(written.span())
        detail = f"{quote(written[0])} would make something else of the value that follows it."
        self._report(Code.TAG, detail, "Remove it; quote the value if text is meant.", written.span())

    def _reached(self, span: tuple[int, int]) -> None:
        """Have somebody look at what has been read so far, once; from then on the limit is the cap."""
        if self._hopeless is not None:
            hopeless, self._hopeless, self._limit = self._hopeless, None, MAX_NODES
            if hopeless(beginning := self.done(cut=True)):
                raise _Cut(beginning)
        self._count(0, span)

    def _count(self, nodes: int, span: tuple[int, int]) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            detail = f"With aliases written out this file holds more than {MAX_NODES:,} keys and values."
            self._stop(Code.TOO_MANY, detail, "Use fewer aliases, or split it into several files.", span)

    def _check_depth(self, height: int, span: tuple[int, int]) -> None:
        if len(self._outer) + height > MAX_DEPTH:
            detail = f"Mappings and lists nest more than {MAX_DEPTH} deep here."
            self._stop(Code.TOO_DEEP, detail, "A configuration needs 4 levels.", span)

    def _spend(self, span: tuple[int, int]) -> None:
        """Make room for one more problem, of what stands at `span`, or stop."""
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
