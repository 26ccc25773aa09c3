"""YAML -> Document for the plain YAML that nearly every configuration is written in; what is left is `builder`'s.

Whoever declares ten thousand batches waits for this loop, so it knows no aliases, no tags and no complaints: at the
first thing out of the ordinary it gives up, and the whole document is read by `builder`, which says what it is. What it
does read it reads as `builder` would; the tests hold the two together.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import yaml

from batchform.config.document import MAX_DEPTH, MAX_NODES, Document
from batchform.config.scalars import SUSPECT, resolve

if TYPE_CHECKING:
    from typing import NoReturn

    from batchform.config.document import Hopeless, Value
    from batchform.errors import SourceText

_PLACED = 2
"""How many levels have their places kept: the file's own keys, and the names of the batches."""

_LOOKS = (20_000, 250_000)
"""After so many keys and values somebody looks whether to read on: soon, where it costs least, for it is in vain in all
but hostile files, and once more, for those that begin well. Ten thousand batches lie between the two."""


class _OutOfTheOrdinaryError(Exception):
    """Something here is for `builder`."""


def build(source: SourceText, hopeless: Hopeless) -> Document | None:
    """The document, None where there is anything in it that only `builder` reads or complains of."""
    try:
        return _build(source, hopeless)
    except (_OutOfTheOrdinaryError, yaml.YAMLError):
        return None


def _build(source: SourceText, hopeless: Hopeless) -> Document:  # noqa: PLR0915  # a call for each event would double its time
    scalar, alias, start = yaml.ScalarEvent, yaml.AliasEvent, yaml.DocumentStartEvent
    mapping, sequence = yaml.MappingStartEvent, yaml.SequenceStartEvent
    ends = frozenset({yaml.MappingEndEvent, yaml.SequenceEndEvent})
    next_event = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source.text).get_event

    top: list[Value] = []
    places: dict[int, array[int]] = {}
    here: Any = top  # the open mapping or list
    spans: list[int] | None = []  # its places, None where they are not kept
    in_mapping, key = False, None  # whether it is a mapping, and the key that waits for its value
    outer: list[tuple[Any, list[int] | None, bool]] = []
    nodes, looks = 0, iter(_LOOKS)
    limit = min(next(looks), MAX_NODES)
    while (event := next_event()) is not None:
        kind = event.__class__
        if kind is scalar:
            if event.anchor is not None or event.tag is not None:
                raise _OutOfTheOrdinaryError
            value = event.value
            if not event.style and (not value or value[0] in SUSPECT or value == "<<"):
                value = resolve(value)
            if spans is not None:
                spans += (event.start_mark.index, event.end_mark.index)
            if not in_mapping:
                here.append(value)
            elif key is not None:
                here[key] = value
                key = None
            elif type(value) is str and value not in here and value != "<<":
                key = value
            else:
                raise _OutOfTheOrdinaryError
        elif kind is mapping or kind is sequence:
            if event.anchor is not None or event.tag is not None or (in_mapping and key is None):
                raise _OutOfTheOrdinaryError
            container: Any = {} if kind is mapping else []
            if spans is not None:
                spans += (event.start_mark.index, event.end_mark.index)
            if in_mapping:
                here[key] = container
            else:
                here.append(container)
            outer.append((here, spans, in_mapping))
            if len(outer) > MAX_DEPTH:
                raise _OutOfTheOrdinaryError
            here, spans, in_mapping, key = container, [] if len(outer) <= _PLACED else None, kind is mapping, None
        elif kind in ends:
            if spans is not None:
                places[id(here)] = array("I", spans)
            here, spans, in_mapping = outer.pop()
            continue
        elif kind is alias or (kind is start and top):
            raise _OutOfTheOrdinaryError
        else:
            continue
        nodes += 1
        if nodes > limit:
            if limit == MAX_NODES or (hopeless is not None and hopeless(_beginning(source, top))):
                raise _OutOfTheOrdinaryError
            limit = next(looks, MAX_NODES)
    places[id(top)] = array("I", spans or (0, 0))
    return Document(source=source, nodes=nodes, _top=top, _spans=places, _whole=lambda: _wholly(source))


def _beginning(source: SourceText, top: list[Value]) -> Document:
    """What has been read so far. Who asks for a place in it has found something to complain of."""
    return Document(source=source, cut=True, _top=top, _whole=_give_up)


def _give_up() -> NoReturn:
    raise _OutOfTheOrdinaryError


def _wholly(source: SourceText) -> Document:
    from batchform.config import builder  # noqa: PLC0415  # only for what is out of the ordinary

    return builder.build(source, None)
