"""jsonschema as the judge of every configuration.

`schemas/config-1.json` decides what is valid. This module makes jsonschema fast and precise enough to be used on every
load: `$ref`s are written out and annotations dropped when the schema is loaded, the validator of each subschema is made
once, and a value that aliases share is judged once. Errors come one by one, each with the path of its key or value.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from batchform.config import schema
from batchform.config.scalars import Plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "config-1"
"""The schema of a configuration file."""

_ANNOTATIONS = frozenset({"$comment", "$defs", "$id", "$schema", "default", "description", "examples", "title"})
_BY_NAME = frozenset({"dependentSchemas", "patternProperties", "properties"})
"""Keywords that hold subschemas by a name that is no keyword."""

_VALUES = frozenset({"const", "enum"})
"""Keywords that hold values, not schemas."""

_LOCAL = "#/$defs/"

_STOCK: Any = Draft202012Validator.VALIDATORS


@cache
def judge() -> Judge:
    """The judge of configuration files, made once."""
    return Judge(schema.load(NAME))


class Judge:
    """A validator for one schema."""

    def __init__(self, loaded: dict[str, Any]) -> None:
        self.schema: dict[str, Any] = _written_out(loaded, loaded.get("$defs", {}))
        keywords = {
            "additionalProperties": self._additional_properties,
            "pattern": _pattern,
            "properties": self._properties,
            "propertyNames": self._property_names,
            "required": _required,
            "type": _type,
        }
        # 9800.0 is an integer to JSON Schema. Here the author has to write 9800.
        types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
        make: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema declares no types for it
            Draft202012Validator, keywords, type_checker=types
        )
        self._top = make(self.schema)
        self._validators: dict[int, Any] = {}
        self._judged: set[tuple[int, int]] | None = None

    def errors(self, value: object, *, shared: bool) -> Iterator[ValidationError]:
        """Every error in `value`, one by one. The path of a missing, unknown or wrong key ends with the key itself.

        What several aliases share is judged where it comes first; `shared` tells that there can be such values.
        """
        self._judged = set() if shared else None
        yield from self._top.iter_errors(value)

    def accepts(self, value: object, subschema: Any) -> bool:
        """Whether a subschema of this schema accepts the value."""
        return next(self._validator(subschema).iter_errors(value), None) is None

    def _validator(self, subschema: Any) -> Any:
        """The validator of a subschema, which is part of `schema` and so keeps its id."""
        found = self._validators.get(id(subschema))
        if found is None:
            found = self._validators[id(subschema)] = self._top.evolve(schema=subschema)
        return found

    def _below(self, value: object, subschema: Any, step: str) -> Iterator[ValidationError]:
        """As jsonschema's `descend`, but with validators that are made once and without judging a value twice."""
        if self._judged is not None and isinstance(value, dict | list):
            key = (id(value), id(subschema))
            if key in self._judged:
                return
            self._judged.add(key)
        for error in self._validator(subschema).iter_errors(value):
            error.path.appendleft(step)
            yield error

    def _properties(self, _: Any, subschemas: Any, value: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            for key, subschema in subschemas.items():
                if key in value:
                    yield from self._below(value[key], subschema, key)

    def _additional_properties(self, _: Any, subschema: Any, value: Any, around: Any) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            known, patterns = around.get("properties", {}), around.get("patternProperties", ())
            for key in value:
                if key in known or any(re.search(pattern, key) for pattern in patterns):
                    continue
                if subschema is False:
                    yield ValidationError(f"{key!r} was unexpected", path=(key,))
                else:
                    yield from self._below(value[key], subschema, key)

    def _property_names(self, _: Any, subschema: Any, value: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, dict):
            for key in value:
                yield from self._below(key, subschema, key)


def _required(_: Any, keys: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for key in keys:
            if key not in value:
                yield ValidationError(f"{key!r} is a required property", path=(key,))


_EXACT = {"array": list, "boolean": bool, "integer": int, "object": dict, "string": str}
"""The types whose values most files have. A subclass or another type goes the long way."""


def _type(validator: Any, types: Any, value: Any, around: Any) -> Iterable[ValidationError]:
    """As in jsonschema, but an unquoted scalar that some YAML parsers take for something else is no text.

    A date-time may be one: a parser that does not take it for text takes it for a time.
    """
    if isinstance(types, str) and type(value) is _EXACT.get(types):
        return ()
    if type(value) is Plain and around.get("format") != "date-time":
        return (ValidationError(f"{value!r} is not quoted"),)
    return _STOCK["type"](validator, types, value, around) or ()


_compiled = cache(re.compile)


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterable[ValidationError]:
    """As in jsonschema, with expressions that are compiled once."""
    if not isinstance(value, str) or _compiled(pattern).search(value):
        return ()
    return (ValidationError(f"{value!r} does not match {pattern!r}"),)


def _written_out(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema with each local `$ref` replaced by what it refers to, and without annotations."""
    if not isinstance(node, dict):
        return [_written_out(item, definitions) for item in node] if isinstance(node, list) else node
    rules: dict[str, Any] = {}
    for key, value in node.items():
        if key in _BY_NAME:
            rules[key] = {name: _written_out(one, definitions) for name, one in value.items()}
        elif key not in _ANNOTATIONS:
            rules[key] = value if key in _VALUES else _written_out(value, definitions)
    if not rules.get("$ref", "").startswith(_LOCAL):
        return rules
    target = _written_out(definitions[rules.pop("$ref").removeprefix(_LOCAL)], definitions)
    return {**rules, "allOf": [*rules.get("allOf", ()), target]} if rules else target
