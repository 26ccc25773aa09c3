"""The requests to the server and the meaning of its answers. Pure: no clock, socket, thread or randomness.

There are three groups of frozen values:

- A `Request` is one of the four calls that batchform makes, without the token, which only the client has.
- A `Reply` is what the client received. The client distinguishes only "nothing was sent", "something may have been
  sent" and "a complete answer".
- A meaning is the interpretation of a `Reply`. There is one function for each call. Each is total: any status, headers
  and bytes have a meaning. If an answer is ambiguous, its meaning is the one that leads to another status read.

No code branches on a text for people. Source: CONTRACT "Errors", eight situations share status 400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import NoneType
from typing import TYPE_CHECKING, TypeAlias

from batchform.api.decode import count_of, date_of, http_date_of, json_value, number_of, text_of
from batchform.api.piecewise import json_part
from batchform.model import BEYOND_START, RUNNING, Reading, ServerProblem, Source, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from batchform.api.piecewise import Wanted
    from batchform.model import Service

SINGLE_DEADLINE = 20.0
"""Seconds for a start or a status read. The server times out after 15. Source: CONTRACT "Limits"."""

LIST_DEADLINE = 60.0
"""Seconds for the list and the results call, which have no paging."""

SINGLE_BYTES = 1 << 20
"""The largest answer to a start or a status read, in bytes."""

LIST_BYTES = 64 << 20
"""The largest answer to the list call, in bytes."""

RESULTS_BYTES = 48 << 20
"""The largest answer to the results call, in bytes: 5,000 for each of 10,000 records. The client holds it twice."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REFERENCE = re.compile(r"[A-Za-z0-9_\-/:.,() ]{1,256}")
_READ = (("Accept", "application/json"), ("Cache-Control", "no-cache"))
_HTML_TITLE = re.compile(r"<title[^>]{0,200}>(.{1,400}?)</title", re.IGNORECASE | re.DOTALL)
_KNOWN = frozenset(status.value for status in Status)
_REFUSALS = frozenset({401, 403, 406, 415})
_MISSING = frozenset({400, 404})
_TITLE_LIMIT = 200
_DETAIL_LIMIT = 500


# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. `deadline` is the number of seconds from the beginning of connecting to the last byte of the answer.

    `path` starts with a slash. `headers` do not include the credentials. A 200 of more than `max_bytes`, or another
    answer of more than `SINGLE_BYTES`, is `Broken`.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    deadline: float
    max_bytes: int = SINGLE_BYTES
    reference_id: str | None = None
    body: bytes = field(default=b"", repr=False)


def start_request(service: Service, batch_id: str, reference_id: str | None = None) -> Request:
    """The call that spends credits. It has no body, so it has no Content-Type.

    Raises:
        ValueError: `batch_id` or `reference_id` has characters that are not allowed.

    Source: CONTRACT "Start", "Headers".
    """
    return Request(
        method="POST",
        path=f"{_prefix(service)}/{_segment(batch_id)}/start",
        headers=(("Accept", "application/json"), ("Content-Length", "0"), *_reference(reference_id)),
        deadline=SINGLE_DEADLINE,
        reference_id=reference_id,
    )


def status_request(service: Service, batch_id: str) -> Request:
    """The call that reads one batch. Raises ValueError as `start_request` does. Source: CONTRACT "Operations"."""
    return Request(
        method="GET",
        path=f"{_prefix(service)}/{_segment(batch_id)}",
        headers=_READ,
        deadline=SINGLE_DEADLINE,
    )


def list_request(service: Service) -> Request:
    """The call that lists batches: no paging, no filter. Source: CONTRACT "Operations"."""
    return Request(
        method="GET",
        path=_prefix(service),
        headers=_READ,
        deadline=LIST_DEADLINE,
        max_bytes=LIST_BYTES,
    )


def results_request(service: Service, batch_id: str, *, metadata: bool = False) -> Request:
    """The call that reads the results of one batch. Raises ValueError as `start_request` does.

    Source: CONTRACT "Operations", "Results".
    """
    return Request(
        method="GET",
        path=f"{_prefix(service)}/{_segment(batch_id)}/results",
        headers=(*_READ, *([("Add-Metadata", "true")] if metadata else [])),
        deadline=LIST_DEADLINE,
        max_bytes=RESULTS_BYTES,
    )


def traced(request: Request, reference_id: str) -> Request:
    """The request with this Reference-Id. Raises ValueError for an id that is not legal."""
    return replace(request, headers=(*request.headers, *_reference(reference_id)), reference_id=reference_id)


def _prefix(service: Service) -> str:
    return f"/{service.value}/bulk/v1/batches"


def _segment(batch_id: str) -> str:
    if not _ID.fullmatch(batch_id):
        raise ValueError(f"not a batch_id: {batch_id[:150]!r}")  # safety: the path of a start must not be changed
    return batch_id


def _reference(reference_id: str | None) -> tuple[tuple[str, str], ...]:
    if reference_id is None:
        return ()
    if not _REFERENCE.fullmatch(reference_id):
        raise ValueError(f"not a Reference-Id: {reference_id[:300]!r}")
    return (("Reference-Id", reference_id),)


# --- replies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Provably no byte of the request was sent, so it may be repeated. Both a reply and a meaning.

    `is_final` means that every later call would end in the same way, for example with a refused client secret.
    """

    cause: str
    is_final: bool = False
    sent_at: float = 0.0
    received_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Something may have been sent, and no complete answer was received: reset, deadline, half a body, too large.

    `foreign` is the Reference-Id of a complete answer that belongs to another request, or empty. `too_large` means that
    the answer has more bytes than the request allows.
    """

    cause: str
    foreign: str = ""
    too_large: bool = False
    sent_at: float = 0.0
    received_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP answer with any status. Header names are in lower case, in the order received.

    `sent_at` and `received_at` are seconds on the client's monotonic clock: just before the first byte of the request
    was sent, and just after the last byte of the answer was received. `framed` means that the answer announced its
    length. Otherwise it ended with the connection, and a truncated answer looks the same. `renewed` means, for a 401,
    that the next call will have another access token, so this answer says nothing about later calls.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    framed: bool = True
    renewed: bool = False
    sent_at: float = 0.0
    received_at: float = 0.0


Reply: TypeAlias = NotSent | Broken | Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RateHeaders:
    """The rate headers of an answer: two numbers of requests, and two times in epoch seconds of the server's clock.

    Source: CONTRACT "Limits". Any of them may be missing.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_epoch: int | None = None
    date_epoch: int | None = None


def rate_of(answer: Answer) -> RateHeaders:
    """Return the rate headers and the date of an answer. A missing, contradictory or malformed header becomes None."""
    found: dict[str, str | None] = {}
    for name, value in answer.headers:
        found[name] = value if found.get(name, value) == value else None
    date = http_date_of(found.get("date"))
    return RateHeaders(
        limit=number_of(found.get("x-rate-limit-limit")),
        remaining=number_of(found.get("x-rate-limit-remaining")),
        reset_epoch=number_of(found.get("x-rate-limit-reset")),
        date_epoch=None if date is None else int(date.timestamp()),
    )


def foreign_id(headers: Collection[tuple[str, str]], reference_id: str | None) -> str:
    """The Reference-Id of an answer that belongs to another request, else empty. Header names are in lower case.

    An answer without the header is ours, and so is one whose header contains our id. Source: CONTRACT "Headers".
    """
    found = [value for name, value in headers if name == "reference-id" and value.strip()]
    if reference_id is None or not found or any(reference_id in value for value in found):
        return ""
    return found[0].strip()


# --- meanings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The server accepted this start: a clean 200. `status` is `processing` or `completed`."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """A clean 429: the call had no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """401, 403, 406, 415 or no access token: every later call would fail in the same way. Source: CONTRACT "Start"."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """The server may have accepted the start. `problem.status` is None if there was no complete answer."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The server reported the status of this batch."""

    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A complete 400 or 404. It can mean a wrong id, another token or another region."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The status is still unknown. `problem` describes the reply."""

    problem: ServerProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The batches in a list answer, by batch_id. It can confirm a start but never disprove one."""

    readings: Mapping[str, Reading]


StartMeaning: TypeAlias = NotSent | Accepted | Throttled | Refused | Doubtful
ReadMeaning: TypeAlias = Read | Missing | Throttled | Refused | NoAnswer
ListMeaning: TypeAlias = Listing | Throttled | Refused | NoAnswer


def start_meaning(reply: Reply, batch_id: str) -> StartMeaning:
    """Interpret a reply to a start. Every reply that is not clearly another meaning is `Doubtful`.

    Source: CONTRACT "Start", "Responses".
    """
    if isinstance(reply, NotSent):
        return reply
    if isinstance(reply, Broken):
        return Doubtful(problem=problem_of(reply))  # safety: read the status before any repeat
    if reply.status == 200:
        result = _result(reply)
        if isinstance(result, str):
            return Doubtful(problem=_odd(reply, result))
        if result.get("batch_id") != batch_id:
            return Doubtful(problem=_odd(reply, "The answer names another batch"))  # safety: not our start
        status = status_of(result)
        if status not in RUNNING:
            return Doubtful(
                problem=_odd(reply, "The answer does not say that the batch is processing")
            )  # safety: not started
        return Accepted(status=status)
    if reply.status == 429 and _is_plain_failure(reply):  # safety: a 429 with a result may have had an effect
        return Throttled()
    # safety: the access token had ended (a 401 that is `renewed`): the status is read before this start is repeated
    if reply.status in _REFUSALS and not reply.renewed and _is_plain_failure(reply):
        return Refused(problem=problem_of(reply))
    return Doubtful(problem=problem_of(reply))  # safety: after a 400, too: this call may have started the batch


def read_meaning(reply: Reply, batch_id: str) -> ReadMeaning:
    """Interpret a reply to a status read. Source: CONTRACT "Operations", "Responses"."""
    answer = success_of(reply)
    if not isinstance(answer, Answer):
        return answer
    result = _result(answer)
    if isinstance(result, str):
        return NoAnswer(problem=_odd(answer, result))
    if result.get("batch_id") != batch_id:
        return NoAnswer(problem=_odd(answer, "The answer names another batch"))  # safety: it must not release this one
    reading = _reading(result, batch_id, Source.READ)
    if reading.status is None:
        return NoAnswer(problem=_odd(answer, "The answer has no status"))  # safety: a missing status is not `submitted`
    if reading.status == Status.SUBMITTED and _is_stored(answer):  # safety: it may be older than the start
        return NoAnswer(problem=_odd(answer, "The answer comes from a cache"))
    return Read(reading=reading)


def list_meaning(reply: Reply, wanted: Collection[str] | None = None) -> ListMeaning:
    """Interpret a reply to the list call, for the `wanted` batches or, with None, for all.

    A `result` without `batches`, or with null, is an empty list. Entries without a valid id are skipped. If an id is
    listed twice, the entry with the later stage is kept.

    Source: CONTRACT "Operations", "Responses".
    """
    answer = success_of(reply)
    if isinstance(answer, Missing):
        return NoAnswer(problem=answer.problem)
    if not isinstance(answer, Answer):
        return answer
    readings: dict[str, Reading] = {}

    def add(entry: object) -> None:
        if not isinstance(entry, dict):
            return
        batch_id = entry.get("batch_id")
        if not isinstance(batch_id, str) or (wanted is not None and batch_id not in wanted):
            return  # the account may have many other batches
        if not _ID.fullmatch(batch_id):
            return
        reading = _reading(entry, batch_id, Source.LIST)
        known = readings.get(batch_id)
        if known is None or _progress(reading) > _progress(known):  # safety: the entry that shows a start wins
            readings[batch_id] = reading

    result = _result(answer, {"error": None, "result": {"batches": add}})
    if isinstance(result, str):
        return NoAnswer(problem=_odd(answer, result))
    if not isinstance(result.get("batches"), (list, NoneType)):
        return NoAnswer(problem=_odd(answer, "The answer has no list of batches"))
    return Listing(readings=readings)


def success_of(
    reply: Reply, describe: Callable[[Reply], ServerProblem] | None = None
) -> Answer | Missing | Throttled | Refused | NoAnswer:
    """The answer to a read if its status is 200, else the meaning of the reply.

    `describe` returns the problem of a reply, by default `problem_of`.
    """
    describe = problem_of if describe is None else describe
    if isinstance(reply, NotSent) and reply.is_final:
        return Refused(problem=describe(reply))
    if not isinstance(reply, Answer):
        return NoAnswer(problem=describe(reply))
    if reply.status == 429:
        return Throttled()
    if reply.status in _REFUSALS and not reply.renewed:
        return Refused(problem=describe(reply))
    if reply.status in _MISSING and _is_plain_failure(reply):
        return Missing(problem=describe(reply))
    if reply.status != 200:
        return NoAnswer(problem=describe(reply))
    return reply


def _result(answer: Answer, wanted: Wanted = None) -> dict[str, object] | str:
    """The `wanted` part of the `result` of a 200, or why the answer cannot be used. Source: CONTRACT "Responses"."""
    if is_encoded(answer):
        return "The answer is compressed, although the request does not allow it"
    document = json_value(answer.body) if wanted is None else json_part(answer.body, wanted)
    if not isinstance(document, dict):
        return "The answer is not a JSON object"
    if document.get("error") is not None:
        return "The answer contains an error"  # safety: a 200 with an error is not a success
    result = document.get("result")
    if not isinstance(result, dict):
        return "The answer has no result"
    return result


def is_encoded(answer: Answer) -> bool:
    """Whether the body is compressed. It is never decompressed: a few bytes could become gigabytes."""
    return any(
        name.lower() == "content-encoding" and value.strip().lower() not in {"", "identity"}
        for name, value in answer.headers
    )


def _is_stored(answer: Answer) -> bool:
    """Whether a cache has stored the answer for some time. Source: RFC 9111, 5.1; CONTRACT "Headers"."""
    return any(name.lower() == "age" and number_of(value) != 0 for name, value in answer.headers)


def is_readable(failure: Answer) -> bool:
    """Whether the body of a failure may be decoded: decoded at once, a larger one could take gigabytes."""
    return len(failure.body) <= SINGLE_BYTES and not is_encoded(failure)


def _is_plain_failure(answer: Answer) -> bool:
    """Whether a failure is complete and has no result. Empty bodies and HTML pages are plain failures."""
    if not is_readable(answer):
        return False  # safety: it may have a result
    document = json_value(answer.body)
    if isinstance(document, dict):
        return document.get("result") is None
    return answer.framed and b'"result"' not in answer.body.lower()  # safety: it may be truncated


def status_of(result: Mapping[str, object]) -> str | None:
    """The status. A known one is normalised (spaces, letter case), any other one is returned unchanged."""
    said = result.get("status")
    if isinstance(said, str) and said in _KNOWN:
        return said
    word = text_of(said, _TITLE_LIMIT)
    if word is None or not word.strip():
        return None
    folded = word.strip().lower()
    return folded if folded in _KNOWN else word


def _reading(result: Mapping[str, object], batch_id: str, source: Source) -> Reading:
    return Reading(
        batch_id=batch_id,
        source=source,
        status=status_of(result),
        reason=text_of(result.get("reason"), _TITLE_LIMIT),
        batch_reference_id=text_of(result.get("batch_reference_id"), 256),
        records=count_of(result.get("records")),
        records_processed=count_of(result.get("records_processed")),
        date_submitted=date_of(result.get("date_submitted")),
        date_started=date_of(result.get("date_started")),
        date_ended=date_of(result.get("date_ended")),
    )


def _progress(reading: Reading) -> int:
    """The order of a status in the life of a batch. An unrecognised one blocks a start, so it follows `submitted`."""
    match reading.status:
        case None:
            return 0
        case Status.SUBMITTED.value:
            return 1
        case Status.COMPLETED.value:
            return 4
        case word:
            return 3 if word in BEYOND_START else 2


# --- problems --------------------------------------------------------------------------------------------------------


def problem_of(reply: Reply) -> ServerProblem:
    """Describe a reply that was not a success, for people. The client has redacted the token.

    Accepts an `error` that is an object or a string, the error members at the top level, an empty body, an HTML page
    and anything else. Source: CONTRACT "Errors".
    """
    if isinstance(reply, NotSent):
        return ServerProblem(status=None, title="Not sent", detail=reply.cause[: 2 * _DETAIL_LIMIT])
    if isinstance(reply, Broken):
        return ServerProblem(status=None, title="No complete answer", detail=reply.cause[:_DETAIL_LIMIT])
    document = json_value(reply.body) if is_readable(reply) else None
    said = said_in(document, reply.status)
    if said is not None:
        return said
    return _odd(reply, phrase_of(reply.status))


def said_in(document: object, status: int) -> ServerProblem | None:
    """The problem that a JSON document describes, None if it describes none."""
    error = document.get("error") if isinstance(document, dict) else document
    if isinstance(document, dict) and not isinstance(error, (dict, str)):
        error = document
    if isinstance(error, dict):
        title = text_of(error.get("title"), _TITLE_LIMIT)
        detail = text_of(error.get("detail"), _DETAIL_LIMIT)
        if title or detail:
            return ServerProblem(status=status, title=title or phrase_of(status), detail=detail or "")
    elif isinstance(error, str) and error:
        return ServerProblem(status=status, title=text_of(error, _TITLE_LIMIT) or phrase_of(status))
    return None


def _odd(answer: Answer, title: str) -> ServerProblem:
    """A problem with the page's title or the first bytes of the body as its detail."""
    if is_encoded(answer):
        return ServerProblem(status=answer.status, title=title, detail="(compressed)")
    start = answer.body[:4096].decode("utf-8", "replace")
    page = _HTML_TITLE.search(start)
    said = " ".join(page.group(1).split()) if page else ""
    if page and title in said:
        said = "(an HTML page)"  # its title repeats ours
    elif page:
        said = f"HTML page: {said}"
    detail = said or start.strip()
    return ServerProblem(status=answer.status, title=title, detail=detail[:_DETAIL_LIMIT])


def phrase_of(status: int) -> str:
    """The usual words for an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"
