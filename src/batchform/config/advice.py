"""Hints that depend on what the author wrote: the value that was probably meant.

Guesses are only shown, never acted on. Nothing is suggested that would be refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LONGEST_TYPO = 40
"""Only so many characters of an unknown word are compared: the known words are shorter, and comparing takes time."""

_MEANT = {
    "id": "batch_id",
    "uuid": "batch_id",
    "guid": "batch_id",
    "ref": "reference_id",
    "reference": "reference_id",
    "comment": "description",
    "tags": "labels",
    "size": "records",
    "count": "records",
    "start_after": "not_before",
    "start_at": "not_before",
    "skip": "hold",
    "disabled": "hold",
}
"""Words of other tools, and the word here."""

_ENDPOINT = "Set BATCHFORM_ENDPOINT in the environment. A file cannot set where the token is sent."
_BY_ENVIRONMENT = "Set BATCHFORM_AUTH_TOKEN in the environment. Replace a token that was committed to git."
_NEVER_HERE = {
    "endpoint": _ENDPOINT,
    "url": _ENDPOINT,
    "token": _BY_ENVIRONMENT,
    "auth_token": _BY_ENVIRONMENT,
    "api_key": _BY_ENVIRONMENT,
}
"""Keys that no configuration may have, so that no pull request can send the token elsewhere; what to set instead."""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words nearest to an unknown one, best first, at most two."""
    known = list(known)
    plain = word[:LONGEST_TYPO].lower().replace("-", "_").replace(" ", "_")
    if _MEANT.get(plain) in known:
        return [_MEANT[plain]]
    from difflib import get_close_matches  # noqa: PLC0415  # only for a mistake

    return get_close_matches(plain, known, n=2)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question that names the nearest known words; empty if none is near."""
    near = nearest(word, known)
    return f"Did you mean {' or '.join(f'`{found}`' for found in near)}?" if near else ""


def unknown_key(key: str, here: Iterable[str], elsewhere: Mapping[str, Iterable[str]], *, is_mapping: bool) -> str:
    """The hint for an unknown key.

    Args:
        key: The key.
        here: The keys that are known in this mapping.
        elsewhere: The keys that are known in other mappings, by the words for these.
        is_mapping: Whether its value is a mapping, like that of a batch.
    """
    if hint := _NEVER_HERE.get(key.lower()):
        return hint
    for place, keys in elsewhere.items():
        if key in keys:
            return f"`{key}` belongs {place}."
    here = list(here)
    if hint := did_you_mean(key, here):
        return hint
    if is_mapping and "batches" in here:
        return "If this is a batch, indent it below `batches:`."
    return f"Known here: {', '.join(here)}."


_DIGITS = re.compile(r"0|[1-9][0-9]{0,17}")
_GROUPED = re.compile(r"([0-9]{1,3}(?:[,_' ][0-9]{3})+|[0-9]{1,15})(?:\.0+)?")


def number(value: object, written: str, accepts: Callable[[int], bool]) -> str:
    """The hint for what should be a whole number: the digits, where there is no doubt about them."""
    if type(value) is str and _DIGITS.fullmatch(value) and accepts(int(value)):
        return "Write it without quotes."
    if match := _GROUPED.fullmatch(written):
        digits = re.sub(r"[^0-9]", "", match[1])
        if _DIGITS.fullmatch(digits) and accepts(int(digits)):
            return f"Write `{digits}`."
    if not re.search("[0-9]", written):
        return "Write a number in plain digits, or leave the key out."
    return "Write plain digits, without separators or units."


_TIME_LIKE = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:[Tt ] ?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?P<seconds>:[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r" ?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


def time(written: str, accepts: Callable[[str], bool]) -> str:
    """The hint for what should be a time: the same time as the schema and the calendar accept it, or an example."""
    example = "Write it like `2026-11-20T09:00:00Z` or `2026-11-20T09:00:00+01:00`."
    match = _TIME_LIKE.fullmatch(written)
    if match is None:
        return example
    zone = (match["zone"] or "Z").upper()
    date = f"{match['year']}-{match['month']:0>2}-{match['day']:0>2}"
    meant = f"{date}T{match['hour'] or '00':0>2}:{match['minute'] or '00'}{match['seconds'] or ':00'}{zone}"
    try:
        datetime.fromisoformat(meant).astimezone(UTC)
    except (ValueError, OverflowError):
        return example
    if not accepts(meant):  # Python reads more than the schema, such as the hour 24 since 3.14
        return example
    if match["hour"] is None:
        return f"Write `{meant}` for the start of that day in UTC."
    return (
        f"Write `{meant}`."
        if match["zone"]
        else f"Write `{meant}` for UTC, or an offset such as `+01:00` in place of the Z."
    )
