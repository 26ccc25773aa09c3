"""The meaning of an answer to the results call. Pure.

An answer holds up to 10,000 items: people's phone numbers, email addresses or postal addresses. So it is never decoded
as a whole: `_Text` decodes one value of it at a time, and the first reading keeps none. An answer is refused unless all
of it is right; only then `Results.items` reads the items again, one at a time.

No text of an item is in a value of this module but those that `items` yields. Problems never quote the body of an
answer, and runs of digits in texts for people are masked.
"""

from __future__ import annotations

import codecs
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
    phrase_of,
    problem_of,
    said_in,
    status_of,
    success_of,
)
from batchform.api.decode import AMBIGUOUS, JSON, json_value, text_of
from batchform.model import ServerProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchform.api.contract import Reply

ITEM_LISTS = frozenset({"phones", "emails", "addresses"})
"""The names of the list of items, one for each service. Source: CONTRACT "Results"."""

LARGEST = 10**9
"""The largest credible number of credits or of items with one confidence."""

VALUE_LENGTH = 1 << 18
"""The longest item and the longest other value, in characters."""

_STEP = 1 << 16  # bytes that are decoded at once
_STATISTICS = 50  # the most that are kept
_REASON = 200  # characters
_BLANK = re.compile(r"[ \t\n\r]*")
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
    said = None if is_encoded(reply) else said_in(json_value(reply.body), reply.status)
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

_NO_JSON = "The answer is not complete JSON"
_TWICE = "The answer has a key twice"
_LONG = "The answer has a value that is too long"


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
        _WrongError: It cannot be used.
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
        _WrongError: It is not one complete JSON object.
    """
    text = _Text(body)
    for key in text.members():
        if (key,) != _RESULT or text.peek() != "{":
            yield (key,), text.value(JSON)
            continue
        yield _RESULT, {}
        for name in text.members():
            if name not in ITEM_LISTS or text.peek() != "[":
                yield (key, name), text.value(JSON)
                continue
            yield (key, name), []
            for value in text.elements(decoder):
                yield (key, name, ""), value
    if text.peek():
        raise _WrongError(_NO_JSON)


class _Text:
    """The text of a body, read value by value. It holds one piece of it, or one value."""

    def __init__(self, body: bytes) -> None:
        self._body, self._next = memoryview(body), 0
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._piece, self._at = "", 0

    def peek(self) -> str:
        """The next character that is not blank, empty at the end."""
        while True:
            match = _BLANK.match(self._piece, self._at)
            assert match is not None  # it matches the empty text
            self._at = match.end()
            if self._at < len(self._piece) or not self._more(_STEP):
                return self._piece[self._at : self._at + 1]

    def take(self, characters: str) -> str:
        """Read one of these characters."""
        found = self.peek()
        if not found or found not in characters:
            raise _WrongError(_NO_JSON)
        self._at += 1
        return found

    def value(self, decoder: json.JSONDecoder) -> Any:
        """Read a value."""
        self.peek()
        step = _STEP
        while True:
            try:
                value, end = decoder.raw_decode(self._piece, self._at)
            except RecursionError:
                raise _WrongError(_NO_JSON) from None
            except ValueError:
                end = len(self._piece)
            else:
                if end < len(self._piece) or self._next == len(self._body):  # a number may go on in the next piece
                    self._at = end
                    return value
            if end - self._at > VALUE_LENGTH:
                raise _WrongError(_LONG)
            if not self._more(step):
                raise _WrongError(_NO_JSON)
            step *= 2

    def members(self) -> Iterator[str]:
        """Read an object: yields each key, in lower case. The caller reads its value before the next one."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            if self.peek() != '"':
                raise _WrongError(_NO_JSON)
            key = str(self.value(JSON))
            self.take(":")
            yield key.lower()
            if self.take(",}") == "}":
                return

    def elements(self, decoder: json.JSONDecoder) -> Iterator[Any]:
        """Read a list: yields each element."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value(decoder)
            if self.take(",]") == "]":
                return

    def _more(self, step: int) -> bool:
        """Decode up to `step` bytes more. False at the end of the body."""
        if self._next == len(self._body):
            return False
        part = self._body[self._next : self._next + step]
        self._next += len(part)
        try:
            text = self._utf8.decode(part, final=self._next == len(self._body))
        except UnicodeDecodeError:
            raise _WrongError(_NO_JSON) from None
        self._piece, self._at = self._piece[self._at :] + text, 0
        return True
