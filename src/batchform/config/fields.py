"""One value of the YAML -> one field of the model, or why not, in the words of the domain.

These readers, with the loader's walk over them, are what decides. `schemas/config-1.json` says the same to editors and
to other programs, and the tests hold the two together on every kind of value. Validating with the schema here as well
would take longer than all the rest (0.7 s for 10,000 batches) and say it in the words of JSON Schema.

A reader returns the field's value or raises `Unfit`; it knows neither the path nor the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from batchform.config import advice
from batchform.config.advice import did_you_mean
from batchform.config.problems import Code, quote
from batchform.config.scalars import Plain
from batchform.config.source import UNSEEN
from batchform.model import MAX_RECORDS, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1
"""The version of the configuration format."""


class Unfit(Exception):  # noqa: N818  not an error: what is wrong with one value, for the loader to put a place to
    """The value is not what the key stands for."""

    def __init__(self, code: Code, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint


class UnquotedText(Exception):  # noqa: N818  the same
    """Text belongs here, and the author wrote something unquoted that need not be text."""


def read_text(value: object) -> str:
    """`value`, which must be text that no YAML reader takes for something else."""
    if type(value) is str:
        return value
    if value is None or isinstance(value, Plain | bool | int | float):
        raise UnquotedText
    raise Unfit(Code.WRONG_KIND, f"This must be a text, not {kind(value)}.", "Write one text, on the line of its key.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The rule for one kind of text: `noun` and `alphabet` as people say it, `pattern` for the whole of it."""

    code: Code
    noun: str
    pattern: re.Pattern[str]
    alphabet: str
    wrong: re.Pattern[str]
    shortest: int = 1
    longest: int

    def read(self, value: object) -> str:
        """`value`, if it keeps the rule."""
        if type(value) is str and self.pattern.fullmatch(value):
            return value  # nearly every text there is
        text = read_text(value)
        hint = f"Write {'up to' if self.shortest == 0 else '1 to'} {self.longest:,} characters: {self.alphabet}."
        if self.pattern.fullmatch(text.strip()):
            hint = "Write it on one line, without `|` or `>` and without blanks around it."
        elif "${" in text or "{{" in text or text.startswith("$"):
            hint = "Nothing is filled in here: write the value itself."
        raise Unfit(self.code, f"{quote(text)} cannot be {self.noun}: {self._fault(text)}.", hint)

    def _fault(self, text: str) -> str:
        if len(text) < self.shortest:
            return "it is empty"
        if len(text) > self.longest:
            return f"it has {len(text):,} characters"
        if wrong := self.wrong.search(text):
            where = f"at position {wrong.start() + 1}"
            return f"it has a line break {where}" if wrong[0] == "\n" else f"it has {quote(wrong[0])} {where}"
        begins_well = not self.pattern.fullmatch(f"x{text[1:]}")
        return f"it ends with {quote(text[-1])}" if begins_well else f"it begins with {quote(text[0])}"


NAME = Text(
    code=Code.BAD_NAME,
    noun="a name",
    pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    wrong=re.compile(r"[^A-Za-z0-9._-]"),
    longest=100,
    alphabet="letters A to Z, digits, `.`, `_` and `-`, a letter or digit first",
)
BATCH_ID = Text(
    code=Code.BAD_BATCH_ID,
    noun="a batch_id",
    pattern=re.compile(r"[A-Za-z0-9_-]{1,128}"),
    wrong=re.compile(r"[^A-Za-z0-9_-]"),
    longest=128,
    alphabet="letters A to Z, digits, `_` and `-`, as the create call returned it",
)
REFERENCE_ID = Text(
    code=Code.BAD_REFERENCE_ID,
    noun="a reference_id",
    pattern=re.compile(r"(?! )[A-Za-z0-9_/:.,() -]{1,256}(?<! )"),
    wrong=re.compile(r"[^A-Za-z0-9_/:.,() -]"),
    longest=256,
    alphabet="letters A to Z, digits, `_ - / : . , ( )` and, between others, spaces",
)
LABEL = Text(
    code=Code.BAD_TEXT,
    noun="a label",
    pattern=re.compile(f"[^{UNSEEN}]{{0,200}}"),
    wrong=re.compile(f"[{UNSEEN}]"),
    shortest=0,
    longest=200,
    alphabet="anything that can be seen, on one line",
)
DESCRIPTION = Text(
    code=Code.BAD_TEXT,
    noun="a description",
    pattern=re.compile(f"[^{UNSEEN}]{{0,1000}}"),
    wrong=re.compile(f"[{UNSEEN}]"),
    shortest=0,
    longest=1000,
    alphabet="anything that can be seen, in one paragraph (`description: >-` folds several lines into one)",
)


def read_records(value: object) -> int:
    """A number of records, 0 to 10,000."""
    return _whole(value, MAX_RECORDS)


def read_limit(value: object) -> int:
    """The limit of a guard: 0 or more."""
    return _whole(value, None)


def _whole(value: object, most: int | None) -> int:
    rule = "0 or more" if most is None else f"0 to {most:,}"
    if type(value) is not int:
        hint = "Write the number, or leave the key out." if value is None else advice.number(value, str(value))
        raise Unfit(Code.WRONG_KIND, f"This must be a whole number ({rule}), not {kind(value)}.", hint)
    if value < 0 or (most is not None and value > most):
        hint = "To set no number, leave the key out." if value < 0 else "A batch holds 10,000 records at most."
        raise Unfit(Code.BAD_NUMBER, f"This must be {rule}, not {value:,}.", hint)
    return value


def read_hold(value: object) -> bool:
    """True or false."""
    if type(value) is bool:
        return value
    hint = "Write `true` or `false`, in lower case and without quotes."
    raise Unfit(Code.WRONG_KIND, f"This must be true or false, not {kind(value)}.", hint)


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)


def read_time(value: object) -> datetime:
    """A moment, in UTC, from RFC 3339 text with a time zone; it needs no quotes."""
    if not isinstance(value, str):
        raise Unfit(
            Code.WRONG_KIND, f"This must be a time, not {kind(value)}.", "Write it like `2026-11-20T09:00:00Z`."
        )
    match = _TIME.fullmatch(value)
    if match is None:
        detail = f"{quote(value)} is not a date with a time of day, seconds and a time zone."
        raise Unfit(Code.BAD_TIME, detail, advice.time(value))
    if match[1] is None:
        detail = f"{quote(value)} has no time zone, so it means another moment on every machine."
        raise Unfit(Code.BAD_TIME, detail, advice.time(value))
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit(Code.BAD_TIME, f"{quote(value)} is not in the calendar.", "Check the day and the time.") from None


def read_mapping(value: object) -> dict[str, Any]:
    """A mapping, whatever it holds."""
    if isinstance(value, dict):
        return value
    hint = (
        "Write `{}` for none, or leave the key out."
        if value is None
        else "Write `key: value` lines, indented below it."
    )
    raise Unfit(Code.WRONG_KIND, f"This must be a mapping, not {kind(value)}.", hint)


def read_batches(value: object) -> dict[str, Any]:
    """The batches by name."""
    if isinstance(value, list):
        hint = "Write a name in place of each dash, `uk-mobiles:`, and `batch_id:` below it, indented further."
        if all(isinstance(item, dict) and len(item) == 1 for item in value):
            hint = "Write the names without the dashes before them."
        raise Unfit(Code.WRONG_KIND, "Batches are written under their names, not as a list.", hint)
    return read_mapping(value)


def read_version(value: object) -> int:
    """The version of the format."""
    if type(value) is int and value == VERSION:
        return value
    if type(value) is int and value > VERSION:
        hint = "Install a newer batchform, or write `version: 1`."
        raise Unfit(Code.BAD_VERSION, f"This batchform reads version 1 of the format, not {value}.", hint)
    raise Unfit(
        Code.BAD_VERSION, f"The version of the format is the number 1, not {kind(value)}.", "Write `version: 1`."
    )


def read_service(value: object) -> Service:
    """One of the services that offer batches."""
    if isinstance(value, dict | list):
        read_text(value)
    try:
        return Service(str(value))
    except ValueError:
        detail = f"{quote(value) if isinstance(value, str) else kind(value)} is not a service that offers batches."
        near = did_you_mean(value, Service) if isinstance(value, str) else ""
        raise Unfit(Code.BAD_SERVICE, detail, near or f"Write one of: {', '.join(Service)}.") from None


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


Readers: TypeAlias = "Mapping[str, Callable[[object], Any]]"

BATCH: Readers = {
    "batch_id": BATCH_ID.read,
    "reference_id": REFERENCE_ID.read,
    "description": DESCRIPTION.read,
    "labels": read_mapping,
    "records": read_records,
    "submitted_at": read_time,
    "not_before": read_time,
    "hold": read_hold,
}
DEFAULTS: Readers = {key: BATCH[key] for key in ("description", "labels", "not_before", "hold")}
GUARDS: Readers = dict.fromkeys(GuardName, read_limit)
FILE: Readers = {
    "version": read_version,
    "service": read_service,
    "guards": read_mapping,
    "defaults": read_mapping,
    "batches": read_batches,
}
