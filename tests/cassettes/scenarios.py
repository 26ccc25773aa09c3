"""What is recorded, as data: one scenario for each row and letter of the start call's table, and some reads.

A scenario says what is asked, of which world, and what the simulator must have made of it for the recording to be what
it claims. What our own client never sends (a wrong header, a body, no token) is built here on purpose: `request` takes
any headers, and `tampered` changes what leaves over the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from batchform.api.contract import (
    Accepted,
    Doubtful,
    Listing,
    Missing,
    NoAnswer,
    Read,
    Refused,
    Request,
    Throttled,
    list_request,
    results_request,
    start_request,
    status_request,
)
from batchform.api.results import Results
from batchform.model import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH: Final = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"
"""The batch all of them are about. Of whichever batch a recording was made, this stands in the cassette."""

TOKEN: Final = "token-of-the-simulator-58d1"
BASE: Final = {"token": TOKEN, "rate": {"limit": 150}, "batches": {BATCH: {"records": 9800, "age": "2d"}}}
REFUSED_TOKENS: Final = {
    "token-of-another-product": "other_product",
    "token-that-is-disabled": "disabled",
    "token-of-another-domain": "domain",
    "token-of-another-address": "address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampered:
    """What is changed on its way out, after the client: the token left out, or a body sent along."""

    without_token: bool = False
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One cassette. `row` is its place in the table: a status and a letter, empty where the status stands alone.

    `needs` says what the real service must have for it (empty: nothing, None: it cannot be had on purpose), `did` what
    the simulator's log says of the request, `meaning` what the client makes of the answer.
    """

    name: str
    row: tuple[int, str]
    did: str
    meaning: type
    request: Request = field(default_factory=lambda: start_request(Service.PHONE, BATCH, "cassette-1"))
    world: Mapping[str, Any] = field(default_factory=dict)
    token: str = TOKEN
    tampered: Tampered = field(default_factory=Tampered)
    needs: str | None = None


def start(**changes: Any) -> Request:
    """A start with some headers changed; underscores stand for hyphens."""
    request = start_request(Service.PHONE, BATCH, "cassette-1")
    headers = dict(request.headers) | {name.replace("_", "-"): value for name, value in changes.items()}
    return replace(request, headers=tuple(headers.items()))


def batch(**changes: Any) -> dict[str, Any]:
    """A world whose batch differs."""
    return {"batches": {BATCH: {"records": 9800, "age": "2d", **changes}}}


def fault(status: int, **more: Any) -> dict[str, Any]:
    """A world that answers this to the first request."""
    return {"faults": [{"fault": "answer", "status": status, **more}]}


STARTED: Final = "a batch that was started; SPENDS ITS CREDITS if it was not"
READ: Final = status_request(Service.PHONE, BATCH)
LIST: Final = list_request(Service.PHONE)

START: Final = (
    Scenario(
        name="start-200",
        row=(200, ""),
        did="started",
        meaning=Accepted,
        needs="a batch that was not started; SPENDS ITS CREDITS",
    ),
    Scenario(
        name="start-400-a-invalid-batch-id",
        row=(400, "a"),
        did="refused: invalid batch_id",
        meaning=Doubtful,
        request=replace(start(), path="/phone/bulk/v1/batches/no.batch.id/start"),
        needs="",
    ),
    Scenario(
        name="start-400-b-already-started",
        row=(400, "b"),
        did="refused: already started",
        meaning=Doubtful,
        world=batch(status="processing"),
        needs=STARTED,
    ),
    Scenario(
        name="start-400-c-older-than-28-days",
        row=(400, "c"),
        did="refused: older than 28 days",
        meaning=Doubtful,
        world=batch(age="29d"),
        needs="a batch that is older than 28 days; SPENDS ITS CREDITS if the service takes it after all",
    ),
    Scenario(
        name="start-400-d-no-token",
        row=(400, "d"),
        did="refused: no token",
        meaning=Doubtful,
        tampered=Tampered(without_token=True),
        needs="",
    ),
    Scenario(
        name="start-400-e-malformed-body",
        row=(400, "e"),
        did="refused: malformed body",
        meaning=Doubtful,
        request=start(Content_Type="application/json", Content_Length="2"),
        tampered=Tampered(body=b"{["),
        needs="",
    ),
    Scenario(
        name="start-400-f-empty-body",
        row=(400, "f"),
        did="fault: answer 400 documented (not acted)",
        meaning=Doubtful,
        world=fault(400),
    ),
    Scenario(
        name="start-400-g-invalid-reference-id",
        row=(400, "g"),
        did="refused: bad Reference-Id",
        meaning=Doubtful,
        request=start(Reference_Id="no|reference"),
        needs="",
    ),
    Scenario(
        name="start-400-h-invalid-add-metadata",
        row=(400, "h"),
        did="refused: bad Add-Metadata",
        meaning=Doubtful,
        request=start(Add_Metadata="perhaps"),
        needs="",
    ),
    Scenario(
        name="start-401",
        row=(401, ""),
        did="refused: wrong token",
        meaning=Refused,
        token="token-that-never-was",
        needs="",
    ),
    Scenario(
        name="start-403-a-other-product",
        row=(403, "a"),
        did="refused: token (other_product)",
        meaning=Refused,
        world={"refused_tokens": REFUSED_TOKENS},
        token="token-of-another-product",
    ),
    Scenario(
        name="start-403-a-insufficient-credits",
        row=(403, "a"),
        did="refused: insufficient credits",
        meaning=Refused,
        world={"credits": 5},
    ),
    Scenario(
        name="start-403-b-token-disabled",
        row=(403, "b"),
        did="refused: token (disabled)",
        meaning=Refused,
        world={"refused_tokens": REFUSED_TOKENS},
        token="token-that-is-disabled",
    ),
    Scenario(
        name="start-403-c-domain-not-allowed",
        row=(403, "c"),
        did="refused: token (domain)",
        meaning=Refused,
        world={"refused_tokens": REFUSED_TOKENS},
        token="token-of-another-domain",
    ),
    Scenario(
        name="start-403-d-address-not-allowed",
        row=(403, "d"),
        did="refused: token (address)",
        meaning=Refused,
        world={"refused_tokens": REFUSED_TOKENS},
        token="token-of-another-address",
    ),
    Scenario(
        name="start-404",
        row=(404, ""),
        did="refused: no such batch",
        meaning=Doubtful,
        world={"batches": {}},
        needs="",
    ),
    Scenario(
        name="start-406",
        row=(406, ""),
        did="refused: bad Accept",
        meaning=Refused,
        request=start(Accept="text/plain"),
        needs="",
    ),
    Scenario(
        name="start-408",
        row=(408, ""),
        did="fault: answer 408 documented (not acted)",
        meaning=Doubtful,
        world=fault(408),
    ),
    Scenario(
        name="start-415",
        row=(415, ""),
        did="refused: bad Content-Type",
        meaning=Refused,
        request=start(Content_Type="text/plain"),
        needs="",
    ),
    Scenario(
        name="start-429",
        row=(429, ""),
        did="throttled",
        meaning=Throttled,
        world={"other_traffic": 300},
    ),
    Scenario(
        name="start-500",
        row=(500, ""),
        did="fault: answer 500 documented (not acted)",
        meaning=Doubtful,
        world=fault(500),
    ),
    Scenario(
        name="start-503",
        row=(503, ""),
        did="fault: answer 503 html (not acted)",
        meaning=Doubtful,
        world=fault(503, body="html"),
    ),
)

STATUS: Final = (
    Scenario(
        name="status-submitted",
        row=(200, ""),
        did="read",
        meaning=Read,
        request=READ,
        needs="a batch that was not started",
    ),
    Scenario(
        name="status-processing",
        row=(200, ""),
        did="read",
        meaning=Read,
        request=READ,
        world=batch(status="processing", records_processed=1200),
        needs="a batch in processing",
    ),
    Scenario(
        name="status-completed",
        row=(200, ""),
        did="read",
        meaning=Read,
        request=READ,
        world=batch(status="completed"),
        needs="a completed batch",
    ),
    Scenario(
        name="status-stopped",
        row=(200, ""),
        did="read",
        meaning=Read,
        request=READ,
        world=batch(status="stopped"),
        needs="a stopped batch",
    ),
    Scenario(
        name="status-404",
        row=(404, ""),
        did="refused: no such batch",
        meaning=Missing,
        request=READ,
        world={"batches": {}},
        needs="",
    ),
    Scenario(
        name="status-401",
        row=(401, ""),
        did="refused: wrong token",
        meaning=Refused,
        request=READ,
        token="token-that-never-was",
        needs="",
    ),
)

LISTS: Final = (
    Scenario(
        name="list-several",
        row=(200, ""),
        did="read",
        meaning=Listing,
        request=LIST,
        world={
            "batches": {
                BATCH: {"records": 9800, "age": "2d", "batch_reference_id": "crm-4711"},
                "0d1e0002-processing": {
                    "status": "processing",
                    "records": 4200,
                    "records_processed": 1200,
                    "age": "5d",
                },
                "0d1e0003-completed": {"status": "completed", "records": 10000, "age": "9d"},
                "0d1e0004-stopped": {"status": "stopped", "records": 1500, "age": "12d"},
            }
        },
    ),
    Scenario(name="list-empty", row=(200, ""), did="read", meaning=Listing, request=LIST, world={"batches": {}}),
)

FEW: Final[dict[str, Any]] = {"status": "completed", "records": 2}


def results(name: str, request: Request | None = None, **world: Any) -> Scenario:
    """The results of a batch with two records."""
    asked = results_request(Service.PHONE, BATCH) if request is None else request
    return Scenario(name=f"results-{name}", row=(200, ""), did="read", meaning=Results, request=asked, world=world)


RESULTS: Final = (
    results("completed", **batch(**FEW)),
    results("completed-metadata", results_request(Service.PHONE, BATCH, metadata=True), **batch(**FEW)),
    results("completed-text", credits_as_text=True, **batch(**FEW)),
    results("email", results_request(Service.EMAIL, BATCH), **batch(service="email", **FEW)),
    results("address", results_request(Service.ADDRESS, BATCH), **batch(service="address", **FEW)),
    results("stopped", **batch(status="stopped", records=2)),
    results("processing", speed=0, **batch(status="processing", records=2)),
    Scenario(
        name="results-404",
        row=(404, ""),
        did="refused: no such batch",
        meaning=Missing,
        request=results_request(Service.PHONE, BATCH),
        world={"batches": {}},
        needs="",
    ),
    Scenario(
        name="results-500",
        row=(500, ""),
        did="fault: answer 500 documented (not acted)",
        meaning=NoAnswer,
        request=results_request(Service.PHONE, BATCH),
        world=fault(500),
    ),
)

ALL: Final = START + STATUS + LISTS + RESULTS
