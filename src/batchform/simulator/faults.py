"""An answer, and every way to spoil it: what a client must survive, as values.

A `Fault` says when (operation, batch, how often), whether the world acts on the request all the same, and an effect. An
effect either changes what is answered (`Answer`, `WrongBatchId`, `OddStatus`, `SpoiltList`) or how it travels (the
wires: `Drop`, `Reset`, `Hang`, `Drip`, `HalfBody`, `NotHttp`). The two are apart from acting on purpose: the expensive
cases are the ones where the server has acted and the answer says otherwise. Nothing here touches a socket; `server`
performs the wires.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias, assert_never

TITLES: Final = {
    200: "Success",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""The documented titles. Source: CONTRACT "The call the project exists for" and "The other five operations"."""

HUGE: Final = 10 * 1024 * 1024
"""Bytes of padding in a `huge` body."""

FOREIGN_ID: Final = "ffffffff-ffff-4fff-bfff-ffffffffffff"
"""A batch id that is nobody's, where a fault needs one and none was given."""

_JSON: Final = ("Content-Type", "application/json")


class Body(StrEnum):
    """The bodies a scripted answer can carry. Source: CONTRACT "Errors as they really look"."""

    DOCUMENTED = "documented"
    EMPTY = "empty"
    HTML = "html"
    CAPITALISED = "capitalised"
    HUGE = "huge"
    GARBAGE = "garbage"
    STRING = "string"
    UNWRAPPED = "unwrapped"


class RateHeaders(StrEnum):
    """What the three rate headers of a scripted answer say. Source: CONTRACT "Limits and money"."""

    RIGHT = "right"
    PAST = "past"
    FAR = "far"
    MISSING = "missing"
    GARBAGE = "garbage"


class ListSpoil(StrEnum):
    """The ways a list answer can mislead. Source: CONTRACT "The other five operations", the list is a hint."""

    TRUNCATED = "truncated"
    NULL_BATCHES = "null_batches"
    UNORDERED = "unordered"
    NULL_FIELDS = "null_fields"
    FOREIGN = "foreign"
    UNKNOWN_STATUS = "unknown_status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is answered. `Content-Length` and `Connection` belong to the wire and are not among the headers."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that name in any case, None when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def json_response(status: int, payload: object) -> Response:
    """A response that carries a JSON document."""
    return Response(status=status, headers=(_JSON,), body=json.dumps(payload).encode())


def problem(status: int, detail: str, instance: str) -> dict[str, str]:
    """The documented error object. `instance` is the path that was asked for."""
    title = TITLES.get(status, "Error")
    return {"type": "https://docs.experianaperture.io/", "title": title, "detail": detail, "instance": instance}


def refusal(status: int, detail: str, instance: str) -> Response:
    """The documented error answer."""
    return json_response(status, {"error": problem(status, detail, instance)})


# --- how an answer travels -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Normal:
    """The whole answer, at once."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed in good order without a byte of answer."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is torn down (RST) without a byte of answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing comes until the client leaves or the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """One byte every `interval` seconds: of the body, or with `whole` of the status line and headers too."""

    interval: float = 1.0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class HalfBody:
    """The head promises the whole body, half of it comes, then the connection is closed."""


@dataclass(frozen=True, slots=True)
class NotHttp:
    """Bytes that are no HTTP answer, then the connection is closed."""


Wire: TypeAlias = Normal | Drop | Reset | Hang | Drip | HalfBody | NotHttp


# --- what is answered ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Any status with any body; `text` replaces `body`, `location` makes it a redirect.

    A 200 with the `documented` body is the "success" that carries an error and no result.
    """

    status: int
    body: Body = Body.DOCUMENTED
    text: str | None = None
    location: str | None = None
    rate_headers: RateHeaders = RateHeaders.RIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongBatchId:
    """The right answer with another batch's id in it."""

    batch_id: str = FOREIGN_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class OddStatus:
    """The right answer with this in the place of the batch's status; None is JSON null."""

    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiltList:
    """A list answer that misleads. `batch_ids` are those left out (truncated) or added (foreign)."""

    how: ListSpoil
    batch_ids: tuple[str, ...] = ()


Effect: TypeAlias = Answer | WrongBatchId | OddStatus | SpoiltList | Drop | Reset | Hang | Drip | HalfBody | NotHttp

ACTS_BY_DEFAULT: Final = (WrongBatchId, OddStatus, SpoiltList, Drip, HalfBody)
"""The effects that spoil the answer of a request that was carried out, unless the fault says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One scripted fault. The first one in the world's order that fits a request and is not used up is performed.

    `operation` and `batch_id` may be `*` for any; list and create concern no batch, so only `*` fits them. `times` is
    how many requests it spoils, None means for ever. `act` says whether the world carries the request out; None means
    what `ACTS_BY_DEFAULT` says of the effect. When it does not act, the answer still reads as if it had.
    """

    effect: Effect
    operation: str = "*"
    batch_id: str = "*"
    times: int | None = 1
    act: bool | None = None

    @property
    def acts(self) -> bool:
        """Whether the world carries the request out."""
        return isinstance(self.effect, ACTS_BY_DEFAULT) if self.act is None else self.act

    def fits(self, operation: str | None, batch_id: str | None) -> bool:
        """Whether this fault concerns such a request. A request for no known operation is never spoilt."""
        if operation is None or self.operation not in ("*", operation):
            return False
        return self.batch_id in ("*", batch_id)

    def __str__(self) -> str:
        """What the log says of it."""
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
    SpoiltList: "list",
    Drop: "drop",
    Reset: "reset",
    Hang: "hang",
    Drip: "drip",
    HalfBody: "half_body",
    NotHttp: "not_http",
}
"""The word for each effect in a world file and in the log."""


def spoil(effect: Effect, honest: Response, instance: str) -> tuple[Response, Wire]:
    """What is sent instead of the honest response, and how. `instance` is the path that was asked for."""
    match effect:
        case Answer():
            return _scripted(effect, instance), Normal()
        case WrongBatchId(batch_id=batch_id):
            return _rewritten(honest, {"batch_id": batch_id}), Normal()
        case OddStatus(value=value):
            return _rewritten(honest, {"status": value}), Normal()
        case SpoiltList():
            return _spoilt_list(effect, honest), Normal()
        case Drop() | Reset() | Hang() | Drip() | HalfBody() | NotHttp():
            return honest, effect
        case _:
            assert_never(effect)


def _scripted(answer: Answer, instance: str) -> Response:
    """The response an `Answer` asks for."""
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
    """The response with members of its `result` replaced; an error answer stays as it is."""
    payload = json.loads(honest.body)
    result = payload.get("result", {})
    result |= {key: value for key, value in changes.items() if key in result}
    return replace(honest, body=json.dumps(payload).encode())


def _spoilt_list(spoilt: SpoiltList, honest: Response) -> Response:
    """The list response with its `batches` made to mislead; any other answer stays as it is."""
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
    """The three rate headers. `reset` is in UTC epoch seconds. Source: CONTRACT "Limits and money"."""
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
