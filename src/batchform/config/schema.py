"""The JSON Schemas: where they are, what they say, and a validator for each.

They are the promise made to editors and other programs, and the judge of what a configuration may look like. The
loader's tables know the same rules in words that help. They may say "surely valid" by themselves, which the tests hold
them to; as soon as they find something wrong, jsonschema is heard too, so that nothing an editor underlines is missed.
It is imported only then: it takes as long as everything else together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import Draft202012Validator


def names() -> tuple[str, ...]:
    """The schemas there are, sorted: `config-1` and so on."""
    return tuple(sorted(path.stem for path in _folder().glob("*.json")))


def text(name: str) -> str:
    """The schema `name` as it stands in its file.

    Raises:
        UsageError: there is no such schema.
    """
    if name not in names():
        raise UsageError("There is no such schema", f"There are: {', '.join(names())}.")
    return (_folder() / f"{name}.json").read_text(encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    """The schema `name` as plain values. Raises as `text` does."""
    schema: dict[str, Any] = json.loads(text(name))
    return schema


def validator(name: str) -> Draft202012Validator:
    """What judges a document by the schema `name`. Raises as `text` does."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  72 ms that no command but a few has to wait for

    return Draft202012Validator(load(name))


def complaints(name: str, value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What the schema `name` has against a value: the path, and the fault in jsonschema's words."""
    for error in validator(name).iter_errors(value):
        yield tuple(error.absolute_path), error.message


def _folder() -> Path:
    """The folder of the schemas: inside the package when installed, at the root of a checkout."""
    inside = Path(__file__).parents[1] / "schemas"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "schemas"
