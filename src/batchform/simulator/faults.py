"""Answers, and the faults that spoil them, as values.

A `Fault` says when it occurs (operation, batch, how often), whether the world still acts on the request, and its
effect. An effect changes either the answer (`Answer`, `WrongBatchId`, `OddStatus`, `OddCredits`, `Items`,
`SpoiltList`) or how it is sent (the wires: `Drop`, `Reset`, `Hang`, `Drip`, `HalfBody`, `NotHttp`). Acting is
independent of the effect, because the expensive cases are those where the server has acted and the answer says
otherwise. No socket is used in this module: `server` implements the wires.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeAlias, assert_never

HUGE: Final = 10 * 1024 * 1024
"""Bytes of padding in a `huge` body."""

FOREIGN_ID: Final = "ffffffff-ffff-4fff-bfff-ffffffffffff"
"""The batch id for a fault that needs one and was given none."""

_ITEM_LISTS: Final = frozenset({"phones", "emails", "addresses"})

_JSON: Final = ("Content-Type", "application/json")


class Body(StrEnum):
    """The bodies of a scripted answer. Source: CONTRACT "Errors"."""

    DOCUMENTED = "documented"
    EMPTY = "empty"
    HTML = "html"
    CAPITALISED = "capitalised"
    HUGE = "huge"
    GARBAGE = "garbage"
    STRING = "string"
    UNWRAPPED = "unwrapped"


class RateHeaders(StrEnum):
    """The rate headers of a scripted answer. Source: CONTRACT "Limits"."""

    RIGHT = "right"
    PAST = "past"
    FAR = "far"
    MISSING = "missing"
    GARBAGE = "garbage"


class ListSpoil(StrEnum):
    """The ways in which a list answer can mislead. Source: CONTRACT "Operations"."""

    TRUNCATED = "truncated"
    NULL_BATCHES = "null_batches"
    UNORDERED = "unordered"
    NULL_FIELDS = "null_fields"
    FOREIGN = "foreign"
    UNKNOWN_STATUS = "unknown_status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer. `server` adds the headers `Content-Length` and `Connection`."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header with this name in any letter case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def json_response(status: int, payload: object) -> Response:
    """A response with a JSON body."""
    return Response(status=status, headers=(_JSON,), body=json.dumps(payload).encode())


def phrase(status: int) -> str:
    """The standard words for an HTTP status, which are the vendor's documented titles too."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def problem(status: int, detail: str, instance: str) -> dict[str, str]:
    """The documented error object. `instance` is the requested path. Source: CONTRACT "Errors"."""
    link = "https://docs.experianaperture.io/"
    return {"type": link, "title": phrase(status), "detail": detail, "instance": instance}


def refusal(status: int, detail: str, instance: str) -> Response:
    """The documented error answer."""
    return json_response(status, {"error": problem(status, detail, instance)})


# --- how an answer is sent -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Normal:
    """The whole answer, at once."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed (FIN) without a byte of answer."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST) without a byte of answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is sent until the client closes the connection or the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """One byte every `interval` seconds: the body only, or with `whole` also the status line and headers."""

    interval: float = 1.0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class HalfBody:
    """The headers announce the whole body, half of it is sent, then the connection is closed."""


@dataclass(frozen=True, slots=True)
class NotHttp:
    """Bytes that are not HTTP are sent, then the connection is closed."""


Wire: TypeAlias = Normal | Drop | Reset | Hang | Drip | HalfBody | NotHttp


# --- the answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Any status with any body. `text` replaces `body`; `location` makes it a redirect.

    `reference_id` is returned instead of the request's own.

    A 200 with the `documented` body is a "success" with an error and no result.
    """

    status: int
    body: Body = Body.DOCUMENTED
    text: str | None = None
    location: str | None = None
    rate_headers: RateHeaders = RateHeaders.RIGHT
    reference_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongBatchId:
    """The right answer with the id of another batch."""

    batch_id: str = FOREIGN_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class OddStatus:
    """The right answer with `value` as the batch's status. None is JSON null."""

    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OddCredits:
    """The right results with `value` as the credits charged. None is JSON null; NaN is not JSON."""

    value: str | float | bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The right results with `count` items: the first ones, then the last one again and again."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiltList:
    """A list answer that misleads. `batch_ids` are the batches left out (truncated) or added (foreign)."""

    how: ListSpoil
    batch_ids: tuple[str, ...] = ()


Effect: TypeAlias = (
    Answer
    | WrongBatchId
    | OddStatus
    | OddCredits
    | Items
    | SpoiltList
    | Drop
    | Reset
    | Hang
    | Drip
    | HalfBody
    | NotHttp
)

ACTS_BY_DEFAULT: Final = (WrongBatchId, OddStatus, OddCredits, Items, SpoiltList, Drip, HalfBody)
"""The effects with which the world acts on the request, unless the fault says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One scripted fault. The first fault of the world that fits a request and is not used up occurs.

    `operation` and `batch_id` may be `*` for any. A list or create request names no batch, so only `*` fits it. `times`
    is the number of requests with this fault; None means unlimited. `act` is whether the world acts on the request;
    None means as in `ACTS_BY_DEFAULT`. When the world does not act, the answer still reads as if it had.
    """

    effect: Effect
    operation: str = "*"
    batch_id: str = "*"
    times: int | None = 1
    act: bool | None = None

    @property
    def acts(self) -> bool:
        """Whether the world acts on the request."""
        return isinstance(self.effect, ACTS_BY_DEFAULT) if self.act is None else self.act

    def fits(self, operation: str | None, batch_id: str | None) -> bool:
        """Whether this fault fits such a request. No fault fits a request for an unknown operation."""
        if operation is None or self.operation not in ("*", operation):
            return False
        return self.batch_id in ("*", batch_id)

    def __str__(self) -> str:
        """The fault as the log shows it."""
        match self.effect:
            case Answer(status=status, body=body, text=text):
                return f"answer {status} {body if text is None else 'text'}"
            case SpoiltList(how=how):
                return f"list {how}"
            case effect:
                return KINDS[type(effect)]


KINDS: Final[dict[type, str]] = {
    Answer: "answer",
    WrongBatchId: "wrong_batch_id",
    OddStatus: "odd_status",
    OddCredits: "odd_credits",
    Items: "items",
    SpoiltList: "list",
    Drop: "drop",
    Reset: "reset",
    Hang: "hang",
    Drip: "drip",
    HalfBody: "half_body",
    NotHttp: "not_http",
}
"""The name of each effect in a world file and in the log."""


def spoil(effect: Effect, honest: Response, instance: str) -> tuple[Response, Wire]:
    """What is sent instead of the honest response, and how. `instance` is the requested path."""
    match effect:
        case Answer():
            return _scripted(effect, instance), Normal()
        case WrongBatchId(batch_id=batch_id):
            return _rewritten(honest, {"batch_id": batch_id}), Normal()
        case OddStatus(value=value):
            return _rewritten(honest, {"status": value}), Normal()
        case OddCredits(value=value):
            return _rewritten(honest, {"credits_charged": value}), Normal()
        case Items(count=count):
            return _with_items(honest, count), Normal()
        case SpoiltList():
            return _spoilt_list(effect, honest), Normal()
        case Drop() | Reset() | Hang() | Drip() | HalfBody() | NotHttp():
            return honest, effect
        case _:
            assert_never(effect)


def _scripted(answer: Answer, instance: str) -> Response:
    """The response for an `Answer`."""
    extra = (("Location", answer.location),) if answer.location is not None else ()
    media, body = _body(answer, problem(answer.status, "A scripted fault of the simulator.", instance))
    return Response(status=answer.status, headers=(*media, *extra), body=body)


def _body(answer: Answer, error: dict[str, str]) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The media type header, if any, and the bytes of a scripted body."""
    if answer.text is not None:
        return (("Content-Type", "text/plain; charset=utf-8"),), answer.text.encode()
    match answer.body:
        case Body.DOCUMENTED:
            return (_JSON,), json.dumps({"error": error}).encode()
        case Body.EMPTY:
            return (), b""
        case Body.HTML:
            title = f"{answer.status} {error['title']}"
            page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
            return (("Content-Type", "text/html"),), page.encode()
        case Body.CAPITALISED:
            return (_JSON,), json.dumps({"error": {key.capitalize(): text for key, text in error.items()}}).encode()
        case Body.HUGE:
            return (_JSON,), json.dumps({"error": error | {"detail": "x" * HUGE}}).encode()
        case Body.GARBAGE:
            return (_JSON,), b'\x00\xff\xfe{"result": [\x9c\xed\xa0\x80' + bytes(range(256))
        case Body.STRING:
            return (_JSON,), json.dumps({"error": error["detail"]}).encode()
        case Body.UNWRAPPED:
            return (("Content-Type", "application/problem+json"),), json.dumps(error).encode()
        case _:
            assert_never(answer.body)


def _rewritten(honest: Response, changes: dict[str, Any]) -> Response:
    """The response with members of its `result` replaced. An error answer is not changed."""
    payload = json.loads(honest.body)
    result = payload.get("result", {})
    result |= {key: value for key, value in changes.items() if key in result}
    return replace(honest, body=json.dumps(payload).encode())


def _with_items(honest: Response, count: int) -> Response:
    """The results with this many items. Any other answer, and one without items, is not changed."""
    result = json.loads(honest.body).get("result") or {}
    for key in _ITEM_LISTS & result.keys():
        items = [json.dumps(item) for item in result[key][:count]]
        if items:
            before, after = json.dumps({"result": result | {key: []}}).split(f'"{key}": []')
            text = ", ".join([*items, *[items[-1]] * (count - len(items))])
            return replace(honest, body=f'{before}"{key}": [{text}]{after}'.encode())
    return honest


def _spoilt_list(spoilt: SpoiltList, honest: Response) -> Response:
    """The list response with misleading `batches`. Any other answer is not changed."""
    result = json.loads(honest.body).get("result") or {}
    batches: list[dict[str, Any]] | None = result.get("batches")
    if batches is None:
        return honest
    match spoilt.how:
        case ListSpoil.TRUNCATED:
            batches = [batch for batch in batches if batch["batch_id"] not in spoilt.batch_ids]
        case ListSpoil.NULL_BATCHES:
            batches = None
        case ListSpoil.UNORDERED:
            batches = batches[::-1]
        case ListSpoil.NULL_FIELDS:
            batches = [dict.fromkeys(batch) | {"batch_id": batch["batch_id"]} for batch in batches]
        case ListSpoil.FOREIGN:
            batches = [*(_foreign(batch_id) for batch_id in spoilt.batch_ids or (FOREIGN_ID,)), *batches]
        case ListSpoil.UNKNOWN_STATUS:
            batches = [batch | {"status": "paused"} for batch in batches]
        case _:
            assert_never(spoilt.how)
    return _rewritten(honest, {"batches": batches})


def _foreign(batch_id: str) -> dict[str, Any]:
    """A list entry for a batch of another integration."""
    date = "2025-09-10T01:02:03.004005Z"
    return {
        "batch_id": batch_id,
        "status": "completed",
        "records": 1,
        "records_processed": 1,
        "date_submitted": date,
        "date_ended": date,
    }


def rate_headers(kind: RateHeaders, *, limit: int, remaining: int, reset: int) -> tuple[tuple[str, str], ...]:
    """The three rate headers. `reset` is in UTC epoch seconds. Source: CONTRACT "Limits"."""
    shown: tuple[str, str, str]
    match kind:
        case RateHeaders.RIGHT:
            shown = (str(limit), str(remaining), str(reset))
        case RateHeaders.PAST:
            shown = (str(limit), str(remaining), str(reset - 3600))
        case RateHeaders.FAR:
            shown = (str(limit), str(remaining), str(reset + 86_400))
        case RateHeaders.MISSING:
            return ()
        case RateHeaders.GARBAGE:
            shown = ("many", "-1", "soon")
        case _:
            assert_never(kind)
    names = ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset")
    return tuple(zip(names, shown, strict=True))
