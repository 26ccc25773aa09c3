"""The meaning of an answer to the results call. Pure.

An answer holds up to 10,000 items: people's phone numbers, email addresses or postal addresses. So it is never decoded
as a whole: `Text` decodes a piece of it at a time, and the first reading keeps no item. An answer is refused unless all
of it is right; only then `Results.items` reads the items again, one at a time.

No text of an item is in a value of this module but those that `items` yields. Problems never quote the body of an
answer, and runs of digits in texts for people are masked.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from batchform.api.contract import (
    Answer,
    Missing,
    NoAnswer,
    Refused,
    Throttled,
    is_encoded,
    is_readable,
    phrase_of,
    problem_of,
    said_in,
    status_of,
    success_of,
)
from batchform.api.decode import AMBIGUOUS, json_value, text_of
from batchform.api.piecewise import Text, TooLongError
from batchform.model import ServerProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchform.api.contract import Reply

ITEM_LISTS = frozenset({"phones", "emails", "addresses"})
"""The names of the list of items, one for each service. Source: CONTRACT "Results"."""

LARGEST = 10**9
"""The largest credible number of credits or of items with one confidence."""

_WANTED = ITEM_LISTS | {"error", "result", "batch_id", "status", "reason", "credits_charged", "statistics"}
_STATISTICS = 50  # the most that are kept
_REASON = 200  # characters
_DIGITS = re.compile(r"\d{1,10}", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z _-]{0,49}", re.ASCII)
_NUMBER = re.compile(r"[+(]{0,2}\d(?:[\s().+/-]{0,3}\d){5,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the server says about the results of one batch.

    Attributes:
        batch_id: The batch.
        status: Its status, as in `Reading`. Only for `completed` and `stopped` the rest is more than a beginning.
        reason: Why it has that status.
        credits_charged: 0 to 10^9. None for anything else: absent, null, negative, not whole, given twice. An answer
            about a batch that is still processing says 0.
        statistics: The number of items of each confidence, as far as the answer gives both.
        count: How many items the answer has. None if it has no list of them.
        body: The answer, for `items`. Empty if the items are not wanted.
    """

    batch_id: str
    status: str
    reason: str | None
    credits_charged: int | None
    statistics: Mapping[str, int]
    count: int | None
    body: bytes = field(default=b"", repr=False)

    def items(self) -> Iterator[dict[str, Any]]:
        """The items as the server gave them, one at a time. NaN and infinities are None, as in JSON."""
        if self.body:
            yield from (value for place, value in _walk(self.body, _ITEM) if len(place) == _IN_LIST)

    def without_items(self) -> Results:
        """The same, without the items."""
        return replace(self, body=b"")


ResultsMeaning: TypeAlias = Results | Missing | Throttled | Refused | NoAnswer


def results_meaning(reply: Reply, batch_id: str, *, items: bool) -> ResultsMeaning:
    """Interpret a reply to the results call.

    Args:
        reply: The reply.
        batch_id: The batch that was asked for.
        items: Whether the items are wanted. Then each must be an object without a duplicate key.

    Source: CONTRACT "Results", "Responses".
    """
    answer = success_of(reply, _problem)
    if not isinstance(answer, Answer):
        return answer
    if is_encoded(answer):
        return _wrong("The answer is compressed, although the request does not allow it")
    try:
        outer, found, count = _read(answer.body, _ITEM if items else _ANY)
    except _WrongError as error:
        return _wrong(str(error))
    except TooLongError:
        return _wrong("The answer has a value that is too long")
    except (ValueError, RecursionError):
        return _wrong("The answer is not complete JSON")
    if outer.get("error") is not None:
        said = said_in({"error": outer["error"]}, answer.status)
        return _wrong("The answer contains an error") if said is None else NoAnswer(problem=_masked(said))
    if found.get("batch_id") != batch_id:
        return _wrong("The answer names another batch")
    status = status_of(found)
    if status is None:
        return _wrong("The answer has no status")
    reason = text_of(found.get("reason"), _REASON)
    return Results(
        batch_id=batch_id,
        status=masked(status),
        reason=None if reason is None else masked(reason),
        credits_charged=whole_of(found.get("credits_charged")),
        statistics=_statistics(found.get("statistics")),
        count=count,
        body=answer.body if items else b"",
    )


def whole_of(value: object) -> int | None:
    """The whole number from 0 to 10^9, as a JSON number or in digits. None for anything else.

    The vendor's OpenAPI document has an integer, its reference pages have a string. Source: CONTRACT "Results".
    """
    if isinstance(value, str):
        value = int(value) if _DIGITS.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= LARGEST else None


def masked(text: str) -> str:
    """The text without runs of six digits or more, which could be a phone number."""
    return _NUMBER.sub("[number]", text)


def _statistics(value: object) -> dict[str, int]:
    """The statistics, a list of names and values or an object. A name that is given twice has no value.

    A name consists of letters, spaces, `_` and `-`, so it cannot be a phone number.
    """
    pairs: list[tuple[object, object]] = []
    if isinstance(value, list):
        pairs = [(each.get("name"), each.get("value")) for each in value if isinstance(each, dict)]
    elif isinstance(value, dict):
        pairs = list(value.items())
    found: dict[str, int | None] = {}
    for name, number in pairs:
        if isinstance(name, str) and _NAME.fullmatch(name):
            found[name] = None if name in found else whole_of(number)
    return {name: number for name, number in found.items() if number is not None and len(found) <= _STATISTICS}


def _problem(reply: Reply) -> ServerProblem:
    """The problem of a reply. Of a body, only the title and the detail of an error are quoted, masked."""
    if not isinstance(reply, Answer):
        return problem_of(reply)
    said = said_in(json_value(reply.body), reply.status) if is_readable(reply) else None
    return ServerProblem(status=reply.status, title=phrase_of(reply.status)) if said is None else _masked(said)


def _masked(problem: ServerProblem) -> ServerProblem:
    return replace(problem, title=masked(problem.title), detail=masked(problem.detail))


def _wrong(title: str) -> NoAnswer:
    return NoAnswer(problem=ServerProblem(status=200, title=title))


# --- One value at a time ---------------------------------------------------------------------------------------------

_Place: TypeAlias = tuple[str, ...]
"""The keys that lead to a value, in lower case."""

_RESULT: _Place = ("result",)
_IN_LIST = 3  # the length of the place of an item

_TWICE = "The answer has a key twice"


class _WrongError(Exception):
    """The answer cannot be used. The text says why, and quotes nothing."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _WrongError(_TWICE)  # no caller may guess which value counts
    return found


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


_ITEM = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=lambda _: None, strict=False)
"""Decodes an item that is wanted."""

_ANY = json.JSONDecoder(parse_int=len, parse_float=len, strict=False)
"""Decodes an item that is thrown away."""


def _read(body: bytes, decoder: json.JSONDecoder) -> tuple[dict[str, object], dict[str, object], int | None]:
    """Read all of the body. Returns the fields outside of the result, those in it, and the number of items.

    Raises:
        _WrongError, ValueError, RecursionError: It cannot be used.
    """
    outer: dict[str, object] = {}
    result: dict[str, object] = {}
    count: int | None = None
    for place, value in _walk(body, decoder):
        if len(place) == _IN_LIST:
            if decoder is _ITEM and not isinstance(value, dict):
                raise _WrongError("The answer has an item that is not an object")
            count = (count or 0) + 1
            continue
        fields = outer if len(place) == 1 else result
        key = place[-1]
        if key not in _WANTED:
            continue
        if key in fields and (place == _RESULT or key in ITEM_LISTS):
            raise _WrongError(_TWICE)
        fields[key] = AMBIGUOUS if key in fields else value
        if key in ITEM_LISTS and fields is result and isinstance(value, list):
            if count is not None:
                raise _WrongError("The answer has two lists of items")
            count = 0
    if not isinstance(outer.get("result"), dict) and outer.get("error") is None:
        raise _WrongError("The answer has no result")
    return outer, result, count


def _walk(body: bytes, decoder: json.JSONDecoder) -> Iterator[tuple[_Place, Any]]:
    """Each value of the body with its place. The result and the list of items come empty, then what they hold.

    Raises:
        ValueError, RecursionError: It is not one complete JSON object, or exceeds a limit of `piecewise`.
    """
    text = Text(body)
    for key in text.members():
        if (key,) != _RESULT or text.peek() != "{":
            yield (key,), text.value()
            continue
        yield _RESULT, {}
        for name in text.members():
            if name not in ITEM_LISTS or text.peek() != "[":
                yield (key, name), text.value()
                continue
            yield (key, name), []
            for value in text.entries(decoder):
                yield (key, name, ""), value
    text.end()
