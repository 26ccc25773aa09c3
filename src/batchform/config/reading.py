"""File -> Document: `quick` reads what nearly every configuration is written in, `builder` all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.config.document import Document
from batchform.config.source import Stop, decode, read
from batchform.errors import SourceText

if TYPE_CHECKING:
    from batchform.config.document import Hopeless


def load(path: str, hopeless: Hopeless = None) -> Document:
    """The document in the file at `path`, which names it in every place. Trouble is in its `problems`: never raises."""
    try:
        return _build(decode(read(path), path), hopeless)
    except Stop as stop:
        return Document(source=stop.source or SourceText(path, ""), problems=(stop.problem,))


def parse(data: bytes, file: str, hopeless: Hopeless = None) -> Document:
    """The document in `data`; `file` names it in every place. Trouble is in its `problems`: never raises."""
    try:
        return _build(decode(data, file), hopeless)
    except Stop as stop:
        return Document(source=stop.source or SourceText(file, ""), problems=(stop.problem,))


def _build(source: SourceText, hopeless: Hopeless) -> Document:
    from batchform.config import quick  # noqa: PLC0415  # with yaml, which takes 10 ms; not all commands read YAML

    document = quick.build(source, hopeless)
    if document is not None:
        return document
    from batchform.config import builder  # noqa: PLC0415  # only for what is out of the ordinary

    return builder.build(source, hopeless)
