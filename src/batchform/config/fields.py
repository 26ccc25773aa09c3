"""What is wrong with a value, in the words of the domain: an error of the judge -> code, detail and hint.

`schemas/config-1.json` decides, and holds every pattern, limit and list of keys. The tables here only explain: they
read the broken rule from the schema, so a changed rule changes the words. For a rule that no table knows, the caller
shows the words of jsonschema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from batchform.config import advice
from batchform.config.problems import Code, how_to_quote, quote
from batchform.config.scalars import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchform.config.document import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A value that the schema refuses.

    `keyword` is the rule that the value breaks, `rules` are all rules for it. `written` is a scalar as its author wrote
    it. `accepts` tells whether the schema accepts a value under some rules: no hint suggests what would be refused.
    """

    keyword: str
    value: Any
    rules: Mapping[str, Any]
    written: str
    accepts: Callable[[object, Any], bool]


Told: TypeAlias = "tuple[Code, str, str]"
Explain: TypeAlias = "Callable[[Fault], Told | None]"

_COMPARED = 1000
"""Only so many characters of a text are searched for the one that is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Explains one kind of text: `noun` and `alphabet` are the words for it."""

    code: Code
    noun: str
    alphabet: str

    def __call__(self, fault: Fault) -> Told | None:
        """What is wrong with the text; None for a rule that is neither of type, length nor pattern."""
        if fault.keyword not in {"type", "minLength", "maxLength", "pattern"}:
            return None
        text = fault.value
        if isinstance(text, dict | list):
            hint = "Write one text, on the line of its key."
            return Code.WRONG_KIND, f"This must be a text, not {kind(text)}.", hint
        if type(text) is not str:
            text = fault.written
            if not text:
                hint = "Write a text, or leave the key out."
                hint = "Write it after the colon." if self.code is Code.BAD_BATCH_ID else hint
                return Code.WRONG_KIND, "This must be a text, not an empty value.", hint
            if fault.accepts(text, fault.rules):
                detail = f"Some YAML parsers take {quote(text)[1:-1]} for something other than text."
                return Code.UNQUOTED, detail, how_to_quote(text)
        wrong = _wrong(text, fault.rules)
        if wrong is None:
            return None
        return self.code, f"{quote(text)} cannot be {self.noun}: {wrong}.", self._hint(text, fault)

    def _hint(self, text: str, fault: Fault) -> str:
        if text != text.strip() and fault.accepts(text.strip(), fault.rules):
            return "Write it on one line, without `|` or `>` and without spaces around it."
        if "${" in text or "{{" in text or text.startswith("$"):
            return "Variables are not filled in: write the value itself."
        shortest, longest = fault.rules.get("minLength", 0), fault.rules.get("maxLength")
        if longest is None:
            return f"Write {self.alphabet}."
        return f"Write {shortest or 'up'} to {longest:,} characters: {self.alphabet}."


def _wrong(text: str, rules: Mapping[str, Any]) -> str | None:
    """What is wrong with a text: its length, a character, its beginning or its end. None if it is nothing of these."""
    if len(text) < rules.get("minLength", 0):
        return "it is empty" if not text else f"it has {len(text):,} characters"
    if len(text) > rules.get("maxLength", len(text)):
        return f"it has {len(text):,} characters"
    allows = re.compile(rules.get("pattern", "")).search
    if allows(text) or not allows("aaa"):
        return None
    for position, character in enumerate(text[:_COMPARED], start=1):
        if not allows(f"a{character}a"):
            shown = "a line break" if character == "\n" else quote(character)
            return f"it has {shown} at position {position}"
    if allows(f"a{text[1:]}"):
        return f"it begins with {quote(text[0])}"
    return f"it ends with {quote(text[-1])}"


def _number(fault: Fault) -> Told | None:
    """Explain a whole number within limits."""
    value, least, most = fault.value, fault.rules.get("minimum"), fault.rules.get("maximum")
    rule = "a whole number" if least is None else f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
    if fault.keyword == "type":
        rule = rule if least is None else f"a whole number ({rule})"
        hint = "Write the number, or leave the key out."
        if value is not None:
            hint = advice.number(value, str(value), lambda number: fault.accepts(number, fault.rules))
        return Code.WRONG_KIND, f"This must be {rule}, not {kind(value)}.", hint
    if fault.keyword == "minimum":
        return Code.BAD_NUMBER, f"This must be {rule}, not {value:,}.", "To set no number, leave the key out."
    if fault.keyword == "maximum":
        return Code.BAD_NUMBER, f"This must be {rule}, not {value:,}.", f"A batch holds {most:,} records at most."
    return None


def _hold(fault: Fault) -> Told | None:
    """Explain true and false."""
    if fault.keyword != "type":
        return None
    hint = "Write `true` or `false`, in lower case and without quotes."
    return Code.WRONG_KIND, f"This must be true or false, not {kind(fault.value)}.", hint


def _time(fault: Fault) -> Told | None:
    """Explain a time."""
    if fault.keyword == "type":
        hint = "Write it like `2026-11-20T09:00:00Z`."
        return Code.WRONG_KIND, f"This must be a time, not {kind(fault.value)}.", hint
    if fault.keyword != "pattern":
        return None
    text = fault.value
    detail = f"{quote(text)} is not a date with a time of day, seconds and a time zone."
    if fault.accepts(f"{text}Z", fault.rules):
        detail = f"{quote(text)} has no time zone, so its meaning would depend on the machine."
    return Code.BAD_TIME, detail, advice.time(text, lambda meant: fault.accepts(meant, fault.rules))


def moment(text: str) -> datetime | None:
    """The moment, in UTC, that a text which the schema accepts stands for; None if it is not in the calendar."""
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def not_in_calendar(text: str) -> Told:
    """Explain a time that the schema accepts and the calendar does not have."""
    return Code.BAD_TIME, f"{quote(text)} is not in the calendar.", "Check the day and the time."


def _mapping(fault: Fault) -> Told | None:
    """Explain a mapping."""
    if fault.keyword != "type":
        return None
    hint = "Write `key: value` lines, indented below it."
    if fault.value is None:
        hint = "Write `{}` for none, or leave the key out."
    return Code.WRONG_KIND, f"This must be a mapping, not {kind(fault.value)}.", hint


def _costs(fault: Fault) -> Told | None:
    """Explain the numbers for estimates."""
    if fault.keyword != "dependentRequired":
        return _mapping(fault)
    has, lacks = ("price_per_credit", "currency") if "currency" not in fault.value else ("currency", "price_per_credit")
    return Code.MISSING_KEY, f"`{has}` needs `{lacks}`.", f"Write `{lacks}:`, or leave both out."


def _currency(fault: Fault) -> Told | None:
    """Explain a currency."""
    hint = "Write three capital letters, such as `EUR`."
    if fault.keyword == "type":
        return Code.WRONG_KIND, f"This must be a text, not {kind(fault.value)}.", hint
    return Code.BAD_TEXT, f"{quote(fault.value)} is not a currency.", hint


def _decimal(fault: Fault) -> Told | None:
    """Explain a number that may have a fraction."""
    value, above, most = fault.value, fault.rules.get("exclusiveMinimum"), fault.rules.get("maximum")
    rule = f"a number above {above} and at most {most:,}"
    if fault.keyword == "type":
        return Code.WRONG_KIND, f"This must be {rule}, not {kind(value)}.", "Write it like `1` or `0.02`, unquoted."
    return Code.BAD_NUMBER, f"This must be {rule}, not {value:,}.", "To set no number, leave the key out."


def _batches(fault: Fault) -> Told | None:
    """Explain the batches by name."""
    if fault.keyword != "type" or not isinstance(fault.value, list):
        return _mapping(fault)
    hint = "Write a name in place of each dash, `uk-mobiles:`, and `batch_id:` below it, indented further."
    if all(isinstance(item, dict) and len(item) == 1 for item in fault.value):
        hint = "Remove the dashes before the names."
    return Code.WRONG_KIND, "Batches are written under their names, not as a list.", hint


def _batch(fault: Fault, name: str) -> Told | None:
    """Explain the body of the batch with this name."""
    if fault.keyword == "type" and fault.value is None:
        return missing_key(("batches", name, "batch_id"))
    told, keys = _mapping(fault), fault.rules.get("properties", {})
    if told is None:
        return None
    code, detail, hint = told
    if name in keys:
        hint = f"If `{name}` belongs to the batch above it, indent it further than the name of that batch."
    elif isinstance(fault.value, str) and fault.accepts(fault.value, keys.get("batch_id", False)):
        hint = f"Write `batch_id: {fault.value}` on a line of its own below the name, indented further."
    return code, detail, hint


def missing_key(path: Steps) -> Told:
    """Explain the required key at the end of `path`, which is missing."""
    match path:
        case ("batches", str(name), "batch_id"):
            detail = f"The batch {quote(name)} has no batch_id, which identifies it to the server."
            return Code.MISSING_KEY, detail, "Write `batch_id:` with the id the create call returned."
        case ("version",):
            return Code.MISSING_KEY, "A configuration needs its version.", "Write `version: 1` first."
        case _:
            return Code.MISSING_KEY, f"The key `{path[-1]}` is missing.", "`batchform schema config` describes it."


def _version(fault: Fault) -> Told | None:
    """Explain the version of the format."""
    known = fault.rules.get("const")
    if type(fault.value) is int and type(known) is int and fault.value > known:
        detail = f"This batchform reads version {known} of the format, not {fault.value}."
        return Code.BAD_VERSION, detail, f"Install a newer batchform, or write `version: {known}`."
    detail = f"The version of the format is the number {known}, not {kind(fault.value)}."
    return Code.BAD_VERSION, detail, f"Write `version: {known}`."


def _service(fault: Fault) -> Told | None:
    """Explain the name of a service."""
    value, known = fault.value, fault.rules.get("enum", ())
    if isinstance(value, dict | list):
        hint = "Write one text, on the line of its key."
        return Code.WRONG_KIND, f"This must be a text, not {kind(value)}.", hint
    detail = f"{quote(value) if isinstance(value, str) else kind(value)} is not a service that offers batches."
    near = advice.did_you_mean(value, known) if isinstance(value, str) else ""
    return Code.BAD_SERVICE, detail, near or f"Write one of: {', '.join(known)}."


def kind(value: object) -> str:
    """What `value` is, for a sentence: `a list`, `the text "9800"`, `an empty value`."""
    match value:
        case None:
            return "an empty value"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case Plain():
            return quote(value)[1:-1]
        case str():
            return f"the text {quote(value)}"
        case _:
            return str(value)


_NAME = Text(
    code=Code.BAD_NAME,
    noun="a name",
    alphabet="letters A to Z, digits, `.`, `_` and `-`, a letter or digit first",
)
_LABEL = Text(code=Code.BAD_TEXT, noun="a label", alphabet="any visible characters, on one line")
_KEYS: Mapping[str, Explain] = {
    "version": _version,
    "service": _service,
    "guards": _mapping,
    "max_starts": _number,
    "max_records": _number,
    "costs": _costs,
    "credits_per_record": _decimal,
    "price_per_credit": _decimal,
    "currency": _currency,
    "defaults": _mapping,
    "batches": _batches,
    "batch_id": Text(
        code=Code.BAD_BATCH_ID,
        noun="a batch_id",
        alphabet="letters A to Z, digits, `_` and `-`, as the create call returned it",
    ),
    "reference_id": Text(
        code=Code.BAD_REFERENCE_ID,
        noun="a reference_id",
        alphabet="letters A to Z, digits, `_ - / : . , ( )`, and spaces except at the ends",
    ),
    "description": Text(
        code=Code.BAD_TEXT,
        noun="a description",
        alphabet="any visible characters, in one paragraph (`description: >-` joins several lines)",
    ),
    "labels": _mapping,
    "records": _number,
    "submitted_at": _time,
    "not_before": _time,
    "hold": _hold,
}
"""What explains the value of each key."""


def explain(path: Steps, fault: Fault, *, is_name: bool) -> Told | None:
    """The explanation of a fault at `path`, of the value or of the name that ends it. None if no table knows it."""
    match path:
        case _ if is_name:
            return _NAME(fault)
        case () if fault.keyword == "type":
            detail = f"A configuration is a mapping with `version` and `batches`, not {kind(fault.value)}."
            return Code.WRONG_KIND, detail, "Write `version: 1` on the first line."
        case ("batches", str(name)):
            return _batch(fault, name)
        case (*_, "labels", _):
            return _LABEL(fault)
        case (*_, str(key)) if key in _KEYS:
            return _KEYS[key](fault)
    return None
