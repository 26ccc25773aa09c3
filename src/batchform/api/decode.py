"""Untrusted bytes into plain values: JSON, dates, counts and texts.

Whatever comes over the wire passes through here before anything looks at it. Two promises hold for every function: it
never raises, and what it returns can be written as UTF-8. The shape follows from both: `None` stands for "missing,
null or nonsense", which the contract treats alike (no field of any response is required).
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
"""How the vendor writes its dates: a form that Python reads by itself, and five times as fast."""
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_COUNT_LIMIT = 10**12


class _Ambiguous:
    """Stands where a JSON object names one key twice: it is no string, no number, no object and not null."""


AMBIGUOUS = _Ambiguous()


def json_value(body: bytes) -> object | None:
    """The JSON value in `body`, None when there is none (or the literal null).

    Keys are folded to lower case, since the server has been seen to capitalise them. A key that stands twice in one
    object gets a value that no reader takes for an answer. NaN, infinities and absurdly long numbers become None.

    Source: CONTRACT "Errors".
    """
    try:
        value: object = _JSON.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value


def _folded(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = dict(pairs)
    letters = "".join(found)
    if len(found) == len(pairs) and letters.isascii() and letters.islower():
        return found  # nearly every object there is
    found = {}
    for key, value in pairs:
        folded = key.lower()
        found[folded] = AMBIGUOUS if folded in found else value  # safety: two claims under one name are no claim
    return found


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= 20 else None


_JSON = json.JSONDecoder(object_pairs_hook=_folded, parse_int=_integer, parse_constant=lambda _: None, strict=False)


def text_of(value: object, limit: int) -> str | None:
    """The string cut to `limit` characters, without lone surrogates; None for anything but a non-empty string."""
    if not isinstance(value, str) or not value:
        return None
    if value.isascii():
        return value[:limit]
    return value[:limit].encode("utf-8", "replace").decode("utf-8")


def count_of(value: object) -> int | None:
    """The number of records, None for anything but a plain whole number from 0 to 10^12."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _COUNT_LIMIT else None


def date_of(value: object) -> datetime | None:
    """The instant in UTC that `2025-09-10T01:02:03.004005Z` names, None for anything else.

    Offsets and further fractional digits are understood (what is finer than a microsecond is dropped); without a zone
    the date is taken as UTC.
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


@lru_cache(maxsize=8)  # a thousand answers of one second carry the same date
def http_date_of(value: str | None) -> datetime | None:
    """The instant in UTC that an HTTP Date header names (whole seconds), None for anything else.

    Source: RFC 9110, section 5.6.7: the one form that servers generate.
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
    """The number a header holds, None unless it is 1 to 15 plain digits."""
    if value is None:
        return None
    match = _DIGITS.fullmatch(value.strip(" \t"))
    return int(match.group()) if match else None
