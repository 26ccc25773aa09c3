"""The JSON Schemas: where they are and what they hold.

They are what editors and other programs read. `config-1` also decides what a valid configuration is (see `judge`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchform.errors import UsageError


def names() -> tuple[str, ...]:
    """The names of all schemas, sorted: `config-1` and so on."""
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


def _folder() -> Path:
    """The folder of the schemas: inside the package when installed, at the root of a checkout."""
    inside = Path(__file__).parents[1] / "schemas"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "schemas"
