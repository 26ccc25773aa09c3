"""The server's rules: what every request is answered and what it changes. Pure, so that any history can be replayed.

A `World` is one account on one server. `handle` takes a request and the time and returns a `Decision`: the response,
how it travels, and what the world did. It is a mutable object and not a chain of values because a server has one truth
at a time; whoever shares it between threads holds one lock around `handle` (`server` does).

Judging and acting are apart: the rules first work out an `_Outcome` (the answer and the lives it would change) without
changing anything, then it is committed, or not, where a scripted fault says that the world does not act. No clock, no
socket and no randomness: time is an argument in UTC epoch seconds, "random" lag is drawn from a hash of the seed.

Where the vendor says nothing, this server is strict in what it accepts and plain in what it does; such choices are
marked (I) for inferred, as CONTRACT does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from batchform.simulator.batches import (
    RECORDS_KEYS,
    RECORDS_PER_SECOND,
    Batch,
    Life,
    Status,
    born,
    brief,
    options,
    progress,
    results,
    shown,
)
from batchform.simulator.faults import (
    Answer,
    Drop,
    Fault,
    Hang,
    Normal,
    NotHttp,
    RateHeaders,
    Reset,
    Response,
    Wire,
    json_response,
    rate_headers,
    refusal,
    spoil,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START_LIMIT: Final = 28 * 86_400.0
"""Seconds after its submission in which a batch can be started. Source: CONTRACT "The other five operations"."""

MOST_RECORDS: Final = 10_000
"""Records one batch can hold. Source: CONTRACT "The other five operations", create."""

WHOLE: Final = Normal()
"""The wire of an answer that nothing spoils."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_REFERENCE: Final = re.compile(r"[A-Za-z0-9_\-/:.,() ]{1,256}", re.ASCII)
_ISO_DURATION: Final = re.compile(r"PT(?=\d)(?:(\d{1,2})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?", re.ASCII)
_MEDIA_RANGES: Final = frozenset({"*/*", "application/*", "application/json"})


class TokenFlaw(StrEnum):
    """Why a token that exists is answered 403. Source: CONTRACT "The call the project exists for"."""

    OTHER_PRODUCT = "other_product"
    DISABLED = "disabled"
    DOMAIN = "domain"
    ADDRESS = "address"


_FLAWS: Final = {
    TokenFlaw.OTHER_PRODUCT: "The authentication token is valid, but it belongs to another product.",
    TokenFlaw.DISABLED: "The authentication token has been disabled.",
    TokenFlaw.DOMAIN: "The calling domain is not allowed.",
    TokenFlaw.ADDRESS: "The calling IP address is not allowed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleStart:
    """Someone else starts a batch: just before the `at_request`-th request (from 1), or before the first `before`.

    `before` is an operation on this very batch, or list.
    """

    batch_id: str
    at_request: int | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came in. `path` is the raw request target."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that name in any case, None when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the world made of one request.

    `did` says it in words: "started", "read", "refused: already started", "throttled", "fault: drop (acted: started)".
    `accepted` is whether this request started a batch, whatever its sender gets to hear; `credits_charged` what that
    cost. `remaining` is what is left of the rate window after it. `operation` and `batch_id` are None where there is
    none.
    """

    response: Response
    did: str
    wire: Wire = WHOLE
    operation: str | None = None
    batch_id: str | None = None
    accepted: bool = False
    credits_charged: int = 0
    remaining: int = 0

    @property
    def status_sent(self) -> int | None:
        """The HTTP status the sender can read, None when no status line is sent."""
        return None if isinstance(self.wire, Drop | Reset | Hang | NotHttp) else self.response.status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """What a method and a path ask for."""

    operation: str | None = None
    service: str = ""
    batch_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rate:
    """The rate window after a request. `reset` is in UTC epoch seconds, rounded up."""

    throttled: bool
    remaining: int
    reset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request with its circumstances. `elsewhere` are the batches that someone else started just before it."""

    request: Request
    route: _Route
    now: float
    elsewhere: tuple[str, ...]
    rate: _Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """An answer, and what would change if the world acts: lives to replace, and the one that would be started."""

    response: Response
    did: str
    life: Life | None = None
    stale: tuple[Life, ...] = ()
    starts: bool = False


@dataclass(kw_only=True)
class World:
    """One account on one server. Change the public fields before it begins, or not at all.

    `token` None lets any token in; `refused_tokens` are answered 403. `credits` is the balance, None for no end of it.
    The account may send `rate_limit` requests per `rate_window` seconds, windows aligned to the epoch; other
    integrations take `other_traffic` of them, spread evenly. `speed` multiplies `RECORDS_PER_SECOND`; 0 never ends.
    `lag` is how many reads show a start late, for every batch, or with `lag_up_to` a number from 0 to that drawn per
    batch from `seed`. `skew` is how many seconds this server's clock is ahead. `new_id` makes batch ids, None takes
    ids derived from `seed`.
    """

    batches: tuple[Batch, ...] = ()
    faults: tuple[Fault, ...] = ()
    console_starts: tuple[ConsoleStart, ...] = ()
    token: str | None = None
    refused_tokens: Mapping[str, TokenFlaw] = field(default_factory=dict)
    credits: int | None = None
    rate_limit: int = 150
    rate_window: float = 60.0
    send_rate_headers: bool = True
    other_traffic: int = 0
    speed: float = 1.0
    lag: int = 0
    lag_up_to: int | None = None
    seed: int = 0
    skew: float = 0.0
    new_id: Callable[[], str] | None = None

    _lives: dict[str, Life] = field(default_factory=dict, init=False, repr=False)
    _accepted: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _console_started: list[str] = field(default_factory=list, init=False, repr=False)
    _charged: int = field(default=0, init=False, repr=False)
    _requests: int = field(default=0, init=False, repr=False)
    _fault_uses: Counter[int] = field(default_factory=Counter, init=False, repr=False)
    _window: int | None = field(default=None, init=False, repr=False)
    _used: int = field(default=0, init=False, repr=False)
    _now: float | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if len({batch.batch_id for batch in self.batches}) != len(self.batches):
            raise ValueError("two batches have the same batch_id")

    # --- what tests and the log ask ---------------------------------------------------------------------------------

    @property
    def accepted(self) -> Counter[str]:
        """How many start requests were accepted per batch: never more than one. Console starts are not among them."""
        return Counter(self._accepted)

    @property
    def console_started(self) -> tuple[str, ...]:
        """The batches that someone else started, in order."""
        return tuple(self._console_started)

    @property
    def credits_charged(self) -> int:
        """The credits of every start so far, whoever made it: one per record, charged by the accepted start (I)."""
        return self._charged

    @property
    def requests(self) -> int:
        """How many requests came in, throttled ones too."""
        return self._requests

    def status_of(self, batch_id: str) -> Status:
        """The true status at the latest time the world has seen, whatever lag or faults show of it."""
        return progress(self._lives[batch_id], self._now or 0.0, self._per_second).status

    @property
    def _per_second(self) -> float:
        """Records processed per second."""
        return RECORDS_PER_SECOND * self.speed

    # --- time -------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Fix the moment that ages count from; later calls change nothing. The first request does it too.

        Args:
            now: UTC epoch seconds by the caller's clock.
        """
        if self._now is None:
            self._now = now + self.skew
            self._lives = {batch.batch_id: born(batch, self._now) for batch in self.batches}

    # --- one request ------------------------------------------------------------------------------------------------

    def handle(self, request: Request, now: float) -> Decision:
        """What the world makes of one request. Its time never runs backwards, whatever the caller's clock does.

        Args:
            request: as it came in.
            now: UTC epoch seconds by the caller's clock.
        """
        self.begin(now)
        now = self._now = max(self._now or 0.0, now + self.skew)
        self._requests += 1
        route = _route(request.method, request.path)
        elsewhere = self._started_elsewhere(route, now)
        asked = _Asked(request=request, route=route, now=now, elsewhere=elsewhere, rate=self._take(now))
        if asked.rate.throttled:
            return self._decided(asked, _refused(request, 429, "The account is temporarily throttled.", "throttled"))
        outcome = self._judge(request, route, now)
        fault = self._next_fault(route)
        if fault is None or fault.acts:
            self._commit(outcome)
        return self._decided(asked, outcome, fault)

    def malformed(self, now: float) -> Decision:
        """The answer to bytes that are no HTTP request. It takes nothing from the rate window."""
        self.begin(now)
        now = self._now = max(self._now or 0.0, now + self.skew)
        rate = self._take(now, taken=0)
        response = refusal(400, "The request is not valid HTTP.", "")
        headers = self._headers(response.status, rate, now)
        response = replace(response, headers=(*response.headers, *headers))
        return Decision(response=response, did="malformed request", remaining=rate.remaining)

    def _decided(self, asked: _Asked, outcome: _Outcome, fault: Fault | None = None) -> Decision:
        """The decision that tells of an outcome, spoilt by the fault if there is one."""
        request, route, rate = asked.request, asked.route, asked.rate
        wire: Wire = WHOLE
        response, did = outcome.response, outcome.did
        shown_rate = RateHeaders.RIGHT
        if fault is not None:
            response, wire = spoil(fault.effect, response, _path(request))
            did = f"fault: {fault} ({f'acted: {did}' if fault.acts else 'not acted'})"
            shown_rate = fault.effect.rate_headers if isinstance(fault.effect, Answer) else shown_rate
        headers = [*response.headers, *self._headers(response.status, rate, asked.now, shown_rate)]
        reference = request.header("reference-id")
        if reference is not None and _REFERENCE.fullmatch(reference):
            headers.append(("Reference-Id", reference))
        accepted = outcome.starts and (fault is None or fault.acts)
        return Decision(
            response=replace(response, headers=tuple(headers)),
            wire=wire,
            did="; ".join([*(f"started elsewhere: {batch_id}" for batch_id in asked.elsewhere), did]),
            operation=route.operation,
            batch_id=route.batch_id,
            accepted=accepted,
            credits_charged=outcome.life.batch.records if accepted and outcome.life else 0,
            remaining=rate.remaining,
        )

    def _headers(
        self, status: int, rate: _Rate, now: float, kind: RateHeaders = RateHeaders.RIGHT
    ) -> tuple[tuple[str, str], ...]:
        """The headers that every answer has."""
        date = (("Date", formatdate(now, usegmt=True)),)
        if not self.send_rate_headers:
            return date
        left = 0 if status == 429 else rate.remaining
        return date + rate_headers(kind, limit=self.rate_limit, remaining=left, reset=rate.reset)

    def _take(self, now: float, *, taken: int = 1) -> _Rate:
        """The rate window after so many more requests (1 or 0).

        A throttled request takes nothing. Other integrations' requests are spread evenly over the window, the first at
        its beginning.
        """
        window = math.floor(now / self.rate_window)
        if window != self._window:
            self._window, self._used = window, 0
        others = 0
        if self.other_traffic:
            elapsed = now - window * self.rate_window
            others = min(self.other_traffic, math.floor(self.other_traffic * elapsed / self.rate_window) + 1)
        remaining = max(0, self.rate_limit - self._used - others)
        reset = math.ceil((window + 1) * self.rate_window)
        if remaining == 0:
            return _Rate(throttled=True, remaining=0, reset=reset)
        self._used += taken
        return _Rate(throttled=False, remaining=remaining - taken, reset=reset)

    def _next_fault(self, route: _Route) -> Fault | None:
        """The fault that this request runs into, used up by one; None when none is left for it."""
        for number, fault in enumerate(self.faults):
            left = fault.times is None or self._fault_uses[number] < fault.times
            if left and fault.fits(route.operation, route.batch_id):
                self._fault_uses[number] += 1
                return fault
        return None

    def _started_elsewhere(self, route: _Route, now: float) -> tuple[str, ...]:
        """Perform the console starts that are due; the batches they started. A batch that cannot be started is not."""
        due = [start for start in self.console_starts if self._due(start, route)]
        started = []
        for start in due:
            life = self._lives.get(start.batch_id)
            if life is not None and life.started is None and now - life.submitted <= START_LIMIT:
                self._lives[start.batch_id] = self._launched(life, now)
                self._console_started.append(start.batch_id)
                self._charged += life.batch.records
                started.append(start.batch_id)
        return tuple(started)

    def _due(self, start: ConsoleStart, route: _Route) -> bool:
        """Whether someone else starts the batch just before this request."""
        if start.at_request is not None and self._requests == start.at_request:
            return True
        return start.before is not None and start.before == route.operation and route.batch_id in (None, start.batch_id)

    def _launched(self, life: Life, now: float) -> Life:
        """The life, started at that time."""
        return replace(life, started=now, stale_reads=self._stale_reads(life.batch))

    def _stale_reads(self, batch: Batch) -> int:
        """How many reads after its start still say `submitted`."""
        if batch.lag is not None:
            return batch.lag
        if self.lag_up_to is None:
            return self.lag
        drawn = hashlib.sha256(f"{self.seed}:lag:{batch.batch_id}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") % (self.lag_up_to + 1)

    def _commit(self, outcome: _Outcome) -> None:
        """Let the outcome come true."""
        for life in outcome.stale:
            self._lives[life.batch.batch_id] = life
        if outcome.life is not None:
            self._lives[outcome.life.batch.batch_id] = outcome.life
            if outcome.starts:
                self._accepted[outcome.life.batch.batch_id] += 1
                self._charged += outcome.life.batch.records

    # --- the rules --------------------------------------------------------------------------------------------------

    def _judge(self, request: Request, route: _Route, now: float) -> _Outcome:
        """The outcome by the rules, before any fault. Nothing changes."""
        refused = self._admission(request, route)
        if refused is not None:
            return refused
        if route.operation == "create":
            return self._create(request, route, now)
        if route.operation == "list":
            return self._list(route, now)
        if route.batch_id is None or not _ID.fullmatch(route.batch_id):
            return _refused(request, 400, "The batch_id path parameter is invalid.", "refused: invalid batch_id")
        life = self._lives.get(route.batch_id)
        if life is None or life.batch.service != route.service:
            return _refused(request, 404, "The batch was not found.", "refused: no such batch")
        match route.operation:
            case "start":
                return self._start(request, life, now)
            case "stop":
                return self._stop(request, life, now)
            case "results":
                return self._results(request, life, now)
            case _:
                return self._status(request, life, now)

    def _admission(self, request: Request, route: _Route) -> _Outcome | None:
        """The refusal that comes before any batch is looked at, None when the request may pass.

        Source: CONTRACT "The call the project exists for"; the order is inferred (I).
        """
        if route.operation is None:
            return _refused(request, 404, "The resource was not found. Check the URL.", "refused: unknown path")
        token = _token(request)
        if not token:
            return _refused(request, 400, "No authentication token was provided.", "refused: no token")
        if token in self.refused_tokens:
            flaw = self.refused_tokens[token]
            return _refused(request, 403, _FLAWS[flaw], f"refused: token ({flaw})")
        if self.token is not None and token != self.token:
            return _refused(request, 401, "The authentication token is incorrect.", "refused: wrong token")
        reference = request.header("reference-id")
        if reference is not None and not _REFERENCE.fullmatch(reference):
            return _refused(request, 400, "The Reference-Id header is invalid.", "refused: bad Reference-Id")
        if (request.header("add-metadata") or "false").lower() not in ("true", "false"):
            return _refused(request, 400, "The Add-Metadata header is invalid.", "refused: bad Add-Metadata")
        if not _accepts_json(request.header("accept")):
            return _refused(request, 406, "The Accept header is invalid.", "refused: bad Accept")
        media = request.header("content-type")
        if request.method == "POST" and media is not None and _media_type(media) != "application/json":
            return _refused(request, 415, "The Content-Type header is invalid.", "refused: bad Content-Type")
        if route.operation != "create" and request.body and _parsed(request.body) is None:
            return _refused(request, 400, "The request body is malformed.", "refused: malformed body")
        return None

    def _create(self, request: Request, route: _Route, now: float) -> _Outcome:
        """A new batch, or why not."""
        if not request.body.strip():
            return _refused(request, 400, "The request body is empty.", "refused: empty body")
        payload = _parsed(request.body)
        key = RECORDS_KEYS[route.service]
        if not isinstance(payload, dict) or not isinstance(payload.get("defaults") or {}, dict):
            return _refused(request, 400, "The request body is malformed.", "refused: malformed body")
        config: dict[str, Any] = payload.get("defaults") or {}
        records = payload.get(key)
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            return _refused(request, 400, f"The request body is malformed: {key}.", "refused: malformed body")
        if not 1 <= len(records) <= MOST_RECORDS:
            return _refused(request, 400, f"{key} must hold 1 to {MOST_RECORDS} records.", "refused: number of records")
        reference = config.get("batch_reference_id")
        if reference is not None and not (isinstance(reference, str) and _REFERENCE.fullmatch(reference)):
            return _refused(request, 400, "batch_reference_id is invalid.", "refused: bad batch_reference_id")
        longest = config.get("max_processing_time")
        seconds = None if longest is None else _iso_seconds(longest)
        if longest is not None and seconds is None:
            return _refused(request, 400, "max_processing_time is invalid.", "refused: bad max_processing_time")
        batch = Batch(
            batch_id=self._fresh_id(),
            records=len(records),
            service=route.service,
            batch_reference_id=reference,
            max_processing_time=seconds,
        )
        inputs = tuple(str(next(iter(record.values()), "")) for record in records)
        life = Life(batch=batch, submitted=now, inputs=inputs, config=config)
        return _done(brief(life, Status.SUBMITTED), "created", life=life)

    def _fresh_id(self) -> str:
        """An id for a new batch."""
        if self.new_id is not None:
            fresh = self.new_id()
        else:
            drawn = hashlib.sha256(f"{self.seed}:id:{len(self._lives)}".encode()).digest()
            fresh = str(uuid.UUID(bytes=drawn[:16], version=4))
        if fresh in self._lives:
            raise ValueError(f"new_id gave {fresh!r} twice")
        return fresh

    def _list(self, route: _Route, now: float) -> _Outcome:
        """Every batch of the service, oldest entry first."""
        lives = [life for life in self._lives.values() if life.batch.service == route.service]
        stale = tuple(life.read() for life in lives if life.stale_reads)
        return _done({"batches": [shown(life, now, self._per_second) for life in lives]}, "read", stale=stale)

    def _status(self, request: Request, life: Life, now: float) -> _Outcome:
        """One batch's status, and its configuration when metadata is asked for."""
        stale = (life.read(),)
        extra = {"metadata": {"batch_config": options(life)}} if _wants_metadata(request) else {}
        return _done(shown(life, now, self._per_second), "read", stale=stale, extra=extra)

    def _start(self, request: Request, life: Life, now: float) -> _Outcome:
        """The start, or why not. A batch that was ever started is never accepted again."""
        if life.started is not None:
            return _refused(request, 400, "The batch has already been started.", "refused: already started")
        if now - life.submitted > START_LIMIT:
            return _refused(request, 400, "The batch is older than 28 days.", "refused: older than 28 days")
        if self.credits is not None and self.credits - self._charged < life.batch.records:
            return _refused(request, 403, "There are insufficient credits.", "refused: insufficient credits")
        launched = self._launched(life, now)
        return _done(brief(life, Status.PROCESSING), "started", life=launched, starts=True)

    def _stop(self, request: Request, life: Life, now: float) -> _Outcome:
        """The stop; only a batch in processing can be stopped (I)."""
        status = progress(life, now, self._per_second).status
        if status is not Status.PROCESSING:
            return _refused(request, 400, "The batch is not being processed.", f"refused: {status}")
        stopped = replace(life, stopped=now)
        return _done(brief(life, Status.STOPPED), "stopped", life=stopped)

    def _results(self, request: Request, life: Life, now: float) -> _Outcome:
        """What came of each record so far."""
        return _done(results(life, now, self._per_second, metadata=_wants_metadata(request)), "read")


# --- reading a request -----------------------------------------------------------------------------------------------


def _path(request: Request) -> str:
    """The path without its query."""
    return request.path.partition("?")[0]


def _route(method: str, path: str) -> _Route:
    """What is asked for. A method that a path does not know is an unknown path: 405 is not documented (I)."""
    match [unquote(segment) for segment in path.partition("?")[0].split("/")]:
        case ["", service, "bulk", "v1", "batches", *rest] if service in RECORDS_KEYS:
            match method, rest:
                case "GET", []:
                    return _Route(operation="list", service=service)
                case "POST", []:
                    return _Route(operation="create", service=service)
                case "GET", [batch_id] if batch_id:
                    return _Route(operation="status", service=service, batch_id=batch_id)
                case "GET", [batch_id, "results"] if batch_id:
                    return _Route(operation="results", service=service, batch_id=batch_id)
                case "POST", [batch_id, "start" | "stop" as operation] if batch_id:
                    return _Route(operation=operation, service=service, batch_id=batch_id)
    return _Route()


def _token(request: Request) -> str | None:
    """The token, from any of the three declared places. Source: CONTRACT "Headers"."""
    token = request.header("auth-token") or request.header("x-app-key")
    if token is None:
        scheme, _, credential = (request.header("authorization") or "").partition(" ")
        token = credential.strip() if scheme.lower() == "bearer" else None
    return token


def _media_type(value: str) -> str:
    """A media type without its parameters."""
    return value.partition(";")[0].strip().lower()


def _accepts_json(accept: str | None) -> bool:
    """Whether an Accept header lets JSON through; a missing one does."""
    return accept is None or any(_media_type(media) in _MEDIA_RANGES for media in accept.split(","))


def _wants_metadata(request: Request) -> bool:
    """Whether the answer shall carry metadata."""
    return (request.header("add-metadata") or "").lower() == "true"


def _parsed(body: bytes) -> object | None:
    """The JSON value of a body, None when it is none (JSON null is no body either)."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _iso_seconds(value: object) -> int | None:
    """Seconds of an ISO 8601 duration from PT1M to PT24H, None for anything else."""
    found = _ISO_DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    return total if 60 <= total <= 86_400 else None


# --- writing an answer -----------------------------------------------------------------------------------------------


def _refused(request: Request, status: int, detail: str, did: str) -> _Outcome:
    """A documented refusal."""
    return _Outcome(response=refusal(status, detail, _path(request)), did=did)


def _done(
    result: Mapping[str, Any],
    did: str,
    *,
    life: Life | None = None,
    stale: tuple[Life, ...] = (),
    starts: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> _Outcome:
    """A success."""
    payload = {"result": result, **(extra or {})}
    return _Outcome(response=json_response(200, payload), did=did, life=life, stale=stale, starts=starts)
