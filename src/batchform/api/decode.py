"""Decode untrusted bytes into plain values: JSON, dates, counts and texts.

Everything received from the server is decoded here first. No function raises, and every result can be encoded as UTF-8.
None means missing, null or malformed: the contract treats them alike, because no field of any response is required.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,30}))?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{6}Z", re.ASCII)
"""The vendor's usual date format. Python parses it directly, five times as fast."""
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_COUNT_LIMIT = 10**12


class _Ambiguous:
    """The value of a duplicate key of a JSON object. It is not a string, number, object or null."""


AMBIGUOUS = _Ambiguous()


def json_value(body: bytes) -> object | None:
    """The JSON value in `body`, None if it is not JSON or is the literal null.

    Keys are converted to lower case, because the server sometimes capitalises them. A duplicate key gets a value that
    no caller accepts. NaN, infinities and very long numbers become None.

    Source: CONTRACT "Errors".
    """
    try:
        value: object = JSON.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value


def _folded(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if not pairs:
        return {}
    found: dict[str, object] = dict(pairs)
    letters = "".join(found)
    if len(found) == len(pairs) and letters.isascii() and letters.islower():
        return found  # nearly every object
    found = {}
    for key, value in pairs:
        folded = key.lower()
        found[folded] = AMBIGUOUS if folded in found else value  # safety: a duplicate key proves nothing
    return found


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= 20 else None


JSON = json.JSONDecoder(object_pairs_hook=_folded, parse_int=_integer, parse_constant=lambda _: None, strict=False)
"""Decodes a value as `json_value` does."""


def text_of(value: object, limit: int) -> str | None:
    """The string without lone surrogates, cut to `limit` characters. None for anything but a non-empty string."""
    if not isinstance(value, str) or not value:
        return None
    if value.isascii():
        return value[:limit]
    return value[:limit].encode("utf-8", "replace").decode("utf-8")


def count_of(value: object) -> int | None:
    """The number of records, None for anything but a whole number from 0 to 10^12."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _COUNT_LIMIT else None


def date_of(value: object) -> datetime | None:
    """The time in UTC for a text such as `2025-09-10T01:02:03.004005Z`, None for anything else.

    Offsets are accepted, and more than six fractional digits, which are truncated. Without a time zone the time is UTC.
    """
    if not isinstance(value, str):
        return None
    if _USUAL.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, zone_hours, zone_minutes = match.groups()[6:]
    try:
        zone: timezone = UTC
        if sign is not None:
            distance = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            zone = timezone(-distance if sign == "-" else distance)
        micro = int((fraction or "0")[:6].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, micro, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=8)  # many answers have the same date
def http_date_of(value: str | None) -> datetime | None:
    """The time in UTC of an HTTP Date header (whole seconds), None for anything else.

    Source: RFC 9110, section 5.6.7, the form that servers must generate.
    """
    match = _HTTP_DATE.fullmatch(value.strip(" \t")) if value is not None else None
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None


def number_of(value: str | None) -> int | None:
    """The number in a header, None unless it has 1 to 15 digits and nothing else."""
    if value is None:
        return None
    match = _DIGITS.fullmatch(value.strip(" \t"))
    return int(match.group()) if match else None
