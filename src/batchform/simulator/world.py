"""The server's rules: what each request is answered and what it changes. Pure, so that any history can be replayed.

A `World` is one account on one server. `handle` takes a request and the time and returns a `Decision`: the response,
how it is sent, and what the world did. `World` is mutable because a server has one current state. Threads that share it
must hold one lock around `handle`, as `server` does.

Deciding and acting are separate. The rules first return an `_Outcome` (the answer and the changes) and change nothing.
`_commit` then applies it, unless a fault says that the world does not act. There is no clock, socket or randomness: the
time is an argument in UTC epoch seconds, and a "random" lag is derived from a hash of the seed.

Where the vendor documents nothing, the server accepts little and does what is simplest. Such choices are marked (I) for
inferred, as in CONTRACT.md.
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
from batchform.simulator.tokens import PATH as TOKEN_PATH
from batchform.simulator.tokens import OAuth, grant

if TYPE_CHECKING:
    from collections.abc import Mapping

START_LIMIT: Final = 28 * 86_400.0
"""Seconds after its submission in which a batch can be started. Source: CONTRACT "28 days"."""

MOST_RECORDS: Final = 10_000
"""The most records in one batch. Source: CONTRACT "Operations"."""

BATCH_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
REFERENCE: Final = re.compile(r"[A-Za-z0-9_\-/:.,() ]{1,256}", re.ASCII)
_WHOLE: Final[Wire] = Normal()
_ISO_DURATION: Final = re.compile(r"PT(?=\d)(?:(\d{1,2})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?", re.ASCII)
_MEDIA_RANGES: Final = frozenset({"*/*", "application/*", "application/json"})


class TokenFlaw(StrEnum):
    """Why a token that exists is answered 403. Source: CONTRACT "Start"."""

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
    """A start by someone else: just before request number `at_request` (from 1), or before the first `before`.

    `before` is `list`, or an operation on this very batch.
    """

    batch_id: str
    at_request: int | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as received. `path` is the raw request target."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header with this name in any letter case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the world made of one request.

    `did` describes it: "started", "read", "refused: already started", "throttled", "fault: drop (acted: started)".
    `accepted` is whether this request started a batch, whatever its sender receives; `credits_charged` is the price.
    `remaining` is what is left of the rate window afterwards. `operation` and `batch_id` are None if the request names
    none.
    """

    response: Response
    did: str
    wire: Wire = _WHOLE
    operation: str | None = None
    batch_id: str | None = None
    accepted: bool = False
    credits_charged: int = 0
    remaining: int = 0

    @property
    def status_sent(self) -> int | None:
        """The HTTP status that the sender can read, None if no status line is sent."""
        return None if isinstance(self.wire, Drop | Reset | Hang | NotHttp) else self.response.status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """The operation that a method and a path name."""

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
class _Outcome:
    """An answer, and what changes if the world acts. `life` replaces a batch; `starts` says that this started it."""

    response: Response
    did: str
    life: Life | None = None
    stale: tuple[Life, ...] = ()
    starts: bool = False
    token: tuple[str, float] | None = None


@dataclass(kw_only=True)
class World:
    """One account on one server. Change the settings before the first request, or not at all.

    `token` None accepts any token; `refused_tokens` are answered 403. `oauth` names the client whose access tokens are
    accepted until they end; `granted` holds them with their ends. `credits` is the balance, None means unlimited.
    The account may send `rate_limit` requests per `rate_window` seconds, in windows aligned to the epoch; other
    integrations use `other_traffic` of them, spread evenly. `speed` is a factor on the processing speed; at 0 no batch
    ends. `lag` is how many reads show a start late, for every batch; with `lag_up_to` the number is drawn from `seed`
    for each batch, from 0 to that limit. `skew` is how many seconds this server's clock is ahead.

    `accepted` counts the accepted start requests per batch, never more than one. `console_started` are the batches that
    someone else started, in order. `credits_charged` adds up the price of all these starts: `credits_per_record` for
    each record, or the batch's own `credits`, charged by the accepted start (I). With `credits_as_text` results show it
    in digits, as one of the vendor's two documents has it. `requests` counts all requests, throttled ones too.
    """

    batches: tuple[Batch, ...] = ()
    faults: tuple[Fault, ...] = ()
    console_starts: tuple[ConsoleStart, ...] = ()
    token: str | None = None
    refused_tokens: Mapping[str, TokenFlaw] = field(default_factory=dict)
    oauth: OAuth | None = None
    credits: int | None = None
    credits_per_record: float = 1.0
    credits_as_text: bool = False
    rate_limit: int = 150
    rate_window: float = 60.0
    send_rate_headers: bool = True
    other_traffic: int = 0
    speed: float = 1.0
    lag: int = 0
    lag_up_to: int | None = None
    seed: int = 0
    skew: float = 0.0

    accepted: Counter[str] = field(default_factory=Counter, init=False)
    console_started: list[str] = field(default_factory=list, init=False)
    credits_charged: int = field(default=0, init=False)
    requests: int = field(default=0, init=False)
    granted: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _lives: dict[str, Life] = field(default_factory=dict, init=False, repr=False)
    _fault_uses: Counter[int] = field(default_factory=Counter, init=False, repr=False)
    _window: int | None = field(default=None, init=False, repr=False)
    _used: int = field(default=0, init=False, repr=False)
    _now: float | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if len({batch.batch_id for batch in self.batches}) != len(self.batches):
            raise ValueError("two batches have the same batch_id")

    def begin(self, now: float) -> None:
        """Set the moment from which ages count, in UTC epoch seconds. The first call counts; `handle` makes it too."""
        if self._now is None:
            self._now = now + self.skew
            self._lives = {batch.batch_id: born(batch, self._now) for batch in self.batches}

    def _tick(self, now: float) -> float:
        """The server's time. It never runs backwards, whatever the caller's clock does."""
        self.begin(now)
        self._now = max(self._now or 0.0, now + self.skew)
        return self._now

    # --- one request ------------------------------------------------------------------------------------------------

    def handle(self, request: Request, now: float) -> Decision:
        """Decide on one request and act. `now` is UTC epoch seconds by the caller's clock."""
        now = self._tick(now)
        self.requests += 1
        route = _route(request.method, request.path)
        elsewhere = self._start_elsewhere(route, now)
        counted = route.operation != "token"  # the token endpoint is another server
        rate = self._take(now, taken=int(counted))
        fault = None
        if rate.throttled and counted:
            outcome = _refused(request, 429, "The account is temporarily throttled.", "throttled")
        else:
            outcome = self._judge(request, route, now)
            fault = self._next_fault(route)
        reference = request.header("reference-id")
        acts = fault is None or fault.acts
        if acts:
            self._commit(outcome)
        response, wire, did, kind = (
            outcome.response,
            _WHOLE,
            outcome.did,
            RateHeaders.RIGHT if counted else RateHeaders.MISSING,
        )
        if fault is not None:
            response, wire = spoil(fault.effect, response, _path(request))
            did = f"fault: {fault} ({f'acted: {did}' if acts else 'not acted'})"
            if isinstance(fault.effect, Answer):
                kind, reference = fault.effect.rate_headers, fault.effect.reference_id or reference
        accepted = outcome.starts and acts
        return Decision(
            response=self._headed(response, rate, now, kind, reference),
            wire=wire,
            did="; ".join([*(f"started elsewhere: {batch_id}" for batch_id in elsewhere), did]),
            operation=route.operation,
            batch_id=route.batch_id,
            accepted=accepted,
            credits_charged=self._price(outcome.life) if accepted and outcome.life else 0,
            remaining=rate.remaining,
        )

    def malformed(self, now: float) -> Decision:
        """Return the answer to bytes that are not an HTTP request. It uses nothing of the rate window."""
        now = self._tick(now)
        rate = self._take(now, taken=0)
        response = self._headed(refusal(400, "The request is not valid HTTP.", ""), rate, now)
        return Decision(response=response, did="malformed request", remaining=rate.remaining)

    def _headed(
        self,
        response: Response,
        rate: _Rate,
        now: float,
        kind: RateHeaders = RateHeaders.RIGHT,
        reference: str | None = None,
    ) -> Response:
        """The response with the headers that every answer has, and the request's Reference-Id if it is valid."""
        headers = [*response.headers, ("Date", formatdate(now, usegmt=True))]
        if self.send_rate_headers:
            left = 0 if response.status == 429 else rate.remaining
            headers += rate_headers(kind, limit=self.rate_limit, remaining=left, reset=rate.reset)
        if reference is not None and REFERENCE.fullmatch(reference):
            headers.append(("Reference-Id", reference))
        return replace(response, headers=tuple(headers))

    def _take(self, now: float, *, taken: int = 1) -> _Rate:
        """The rate window after this many more requests (1 or 0). A throttled request uses nothing.

        The requests of other integrations are spread evenly over the window, the first one at its beginning.
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
        """Use up and return the fault for this request, None if no fault fits it."""
        for number, fault in enumerate(self.faults):
            left = fault.times is None or self._fault_uses[number] < fault.times
            if left and fault.fits(route.operation, route.batch_id):
                self._fault_uses[number] += 1
                return fault
        return None

    def _start_elsewhere(self, route: _Route, now: float) -> list[str]:
        """Perform the console starts that are due and return their batches. A batch that cannot be started is not."""
        started = []
        for start in self.console_starts:
            named = start.before is not None and start.before == route.operation
            if self.requests == start.at_request or (named and route.batch_id in (None, start.batch_id)):
                life = self._lives.get(start.batch_id)
                if life is not None and life.started is None and now - life.submitted <= START_LIMIT:
                    self._lives[start.batch_id] = self._launched(life, now)
                    self.credits_charged += self._price(life)
                    self.console_started.append(start.batch_id)
                    started.append(start.batch_id)
        return started

    def _launched(self, life: Life, now: float) -> Life:
        """The batch, started at this time. The next `lag` reads still say `submitted`."""
        lag = self.lag if life.batch.lag is None else life.batch.lag
        if life.batch.lag is None and self.lag_up_to is not None:
            drawn = hashlib.sha256(f"{self.seed}:lag:{life.batch.batch_id}".encode()).digest()
            lag = int.from_bytes(drawn[:8], "big") % (self.lag_up_to + 1)
        return replace(life, started=now, stale_reads=lag)

    def _commit(self, outcome: _Outcome) -> None:
        """Apply the outcome."""
        for life in outcome.stale:
            self._lives[life.batch.batch_id] = life
        if outcome.token is not None:
            token, ends = outcome.token
            self.granted[token] = ends
        if outcome.life is not None:
            self._lives[outcome.life.batch.batch_id] = outcome.life
            if outcome.starts:
                self.accepted[outcome.life.batch.batch_id] += 1
                self.credits_charged += self._price(outcome.life)

    # --- the rules --------------------------------------------------------------------------------------------------

    def _judge(self, request: Request, route: _Route, now: float) -> _Outcome:
        """The outcome by the rules, before any fault. Changes nothing."""
        if route.operation == "token":
            return self._grant(request, now)
        refused = self._admission(request, route, now)
        if refused is not None:
            return refused
        if route.operation == "create":
            return self._create(request, route, now)
        if route.operation == "list":
            return self._list(route, now)
        if route.batch_id is None or not BATCH_ID.fullmatch(route.batch_id):
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
                extra = {"metadata": {"batch_config": options(life)}} if _wants_metadata(request) else {}
                return _done(shown(life, now, self.speed), "read", stale=(life.read(),), extra=extra)

    def _grant(self, request: Request, now: float) -> _Outcome:
        """An access token, or why not."""
        given = grant(
            self.oauth,
            authorization=request.header("authorization"),
            media=_media_type(request.header("content-type") or ""),
            body=request.body,
            now=now,
            name=f"{self.seed}:access:{len(self.granted)}",
        )
        token = (given.token, given.ends) if given.token else None
        return _Outcome(response=given.response, did=given.did, token=token)

    def _admission(self, request: Request, route: _Route, now: float) -> _Outcome | None:
        """The refusal that comes before the batch is looked up, None if the request passes.

        Source: CONTRACT "Start". The order is inferred (I).
        """
        if route.operation is None:
            return _refused(request, 404, "The resource was not found. Check the URL.", "refused: unknown path")
        token = _token(request)
        if not token:
            return _refused(request, 400, "No authentication token was provided.", "refused: no token")
        if token in self.refused_tokens:
            flaw = self.refused_tokens[token]
            return _refused(request, 403, _FLAWS[flaw], f"refused: token ({flaw})")
        is_access_token = self.oauth is not None and request.header("authorization") is not None
        if is_access_token and now >= self.granted.get(token, -math.inf):
            return _refused(request, 401, "The access token is incorrect or has ended.", "refused: access token")
        if not is_access_token and self.token is not None and token != self.token:
            return _refused(request, 401, "The authentication token is incorrect.", "refused: wrong token")
        reference = request.header("reference-id")
        if reference is not None and not REFERENCE.fullmatch(reference):
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
        """A new batch, or a refusal."""
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
        if reference is not None and not (isinstance(reference, str) and REFERENCE.fullmatch(reference)):
            return _refused(request, 400, "batch_reference_id is invalid.", "refused: bad batch_reference_id")
        longest = config.get("max_processing_time")
        seconds = None if longest is None else _iso_seconds(longest)
        if longest is not None and seconds is None:
            return _refused(request, 400, "max_processing_time is invalid.", "refused: bad max_processing_time")
        drawn = hashlib.sha256(f"{self.seed}:id:{len(self._lives)}".encode()).digest()
        batch = Batch(
            batch_id=str(uuid.UUID(bytes=drawn[:16], version=4)),
            records=len(records),
            service=route.service,
            batch_reference_id=reference,
            max_processing_time=seconds,
        )
        inputs = tuple(str(next(iter(record.values()), "")) for record in records)
        life = Life(batch=batch, submitted=now, inputs=inputs, config=config)
        return _done(brief(life, Status.SUBMITTED), "created", life=life)

    def _list(self, route: _Route, now: float) -> _Outcome:
        """All batches of the service, in the order of their creation."""
        lives = [life for life in self._lives.values() if life.batch.service == route.service]
        stale = tuple(life.read() for life in lives if life.stale_reads)
        return _done({"batches": [shown(life, now, self.speed) for life in lives]}, "read", stale=stale)

    def _results(self, request: Request, life: Life, now: float) -> _Outcome:
        """The results of a batch."""
        per_record = self.credits_per_record
        found = results(life, now, self.speed, metadata=_wants_metadata(request), per_record=per_record)
        charged = {"credits_charged": str(found["credits_charged"])} if self.credits_as_text else {}
        return _done(found | charged, "read")

    def _price(self, life: Life) -> int:
        """The credits that the start of a batch charges."""
        return life.batch.cost(life.batch.records, self.credits_per_record)

    def _start(self, request: Request, life: Life, now: float) -> _Outcome:
        """A start, or a refusal. A batch that was ever started is never accepted again."""
        if life.started is not None:
            return _refused(request, 400, "The batch has already been started.", "refused: already started")
        if now - life.submitted > START_LIMIT:
            return _refused(request, 400, "The batch is older than 28 days.", "refused: older than 28 days")
        if self.credits is not None and self.credits - self.credits_charged < self._price(life):
            return _refused(request, 403, "There are insufficient credits.", "refused: insufficient credits")
        return _done(brief(life, Status.PROCESSING), "started", life=self._launched(life, now), starts=True)

    def _stop(self, request: Request, life: Life, now: float) -> _Outcome:
        """A stop, or a refusal. Only a batch in processing can be stopped (I)."""
        status = progress(life, now, self.speed).status
        if status is not Status.PROCESSING:
            return _refused(request, 400, "The batch is not being processed.", f"refused: {status}")
        return _done(brief(life, Status.STOPPED), "stopped", life=replace(life, stopped=now))


# --- reading a request -----------------------------------------------------------------------------------------------


def _path(request: Request) -> str:
    """The path without its query."""
    return request.path.partition("?")[0]


def _route(method: str, path: str) -> _Route:
    """The operation. A method that a path does not have counts as an unknown path: 405 is not documented (I)."""
    if method == "POST" and TOKEN_PATH.fullmatch(path):
        return _Route(operation="token")
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
    """Whether an Accept header allows JSON. A missing one does."""
    return accept is None or any(_media_type(media) in _MEDIA_RANGES for media in accept.split(","))


def _wants_metadata(request: Request) -> bool:
    """Whether the request asks for metadata."""
    return (request.header("add-metadata") or "").lower() == "true"


def _parsed(body: bytes) -> object | None:
    """The JSON value of a body, None if it is not JSON or is the literal null."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _iso_seconds(value: object) -> int | None:
    """The seconds of an ISO 8601 duration from PT1M to PT24H, None for anything else."""
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
