"""The simulator's token endpoint: who gets access tokens, how long they live, and what may go wrong."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from batchform.simulator import OAuth, Request, World, from_values
from tests.simulator.calls import BATCHES, NOW

PATH = "/oauth2/aust0wkxjeKyT3HRO4x7/v1/token"
FORM = b"grant_type=client_credentials&scope=clientid"


def world(**more: Any) -> World:
    """A world with one client."""
    made = World(oauth=OAuth(client_id="client-1", client_secret="open:sesame", lifetime=3.0), token="t0ken", **more)
    made.begin(NOW)
    return made


def ask(pair: str | None = "client-1:open:sesame", body: bytes = FORM, **headers: str) -> Request:
    """A request for an access token."""
    named = {
        "Content-Type": "application/x-www-form-urlencoded",
        **{key.replace("_", "-"): headers[key] for key in headers},
    }
    if pair is not None:
        named["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Request(method="POST", path=PATH, headers=tuple(named.items()), body=body)


def listing(bearer: str) -> Request:
    """A list call with an access token."""
    return Request(method="GET", path=BATCHES, headers=(("Authorization", f"Bearer {bearer}"),))


def granted(made: World, now: float = NOW) -> str:
    """An access token."""
    decision = made.handle(ask(), now)
    assert decision.response.status == 200, decision
    token: str = json.loads(decision.response.body)["access_token"]
    return token


def test_an_access_token_opens_until_it_ends() -> None:
    """Then it is answered 401, and the next one opens."""
    made = world()
    token = granted(made)
    statuses = [made.handle(listing(token), NOW + after).response.status for after in (0, 2.9, 3.0)]
    assert statuses == [200, 200, 401]
    second = granted(made, NOW + 3)
    assert second != token
    assert made.handle(listing(second), NOW + 3).response.status == 200
    assert made.granted == {token: NOW + 3, second: NOW + 6}


def test_the_answer_is_the_documented_one() -> None:
    """Source: CONTRACT "OAuth2". The endpoint is another server: it takes nothing from the account's limit."""
    made = world()
    before = made.handle(listing(granted(made)), NOW)
    decision = made.handle(ask(), NOW)
    document = json.loads(decision.response.body)
    assert {key: document[key] for key in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 3,
        "scope": "clientid",
    }
    assert (decision.operation, decision.did) == ("token", "token granted")
    assert decision.remaining == before.remaining
    assert not any(name.startswith("X-Rate") for name, _ in decision.response.headers)


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        (ask("client-1:wrong"), 401, "invalid_client"),
        (ask("other:open:sesame"), 401, "invalid_client"),
        (ask(None), 401, "invalid_client"),
        (ask(None, Authorization="Basic !!!"), 401, "invalid_client"),
        (ask(body=b"grant_type=password&scope=clientid"), 400, "unsupported_grant_type"),
        (ask(Content_Type="application/json"), 400, "unsupported_grant_type"),
        (ask(body=b"grant_type=client_credentials"), 400, "invalid_scope"),
    ],
)
def test_who_gets_none(asked: Request, status: int, error: str) -> None:
    """Wrong secrets, and what the documentation does not name."""
    made = world()
    decision = made.handle(asked, NOW)
    assert decision.response.status == status
    assert json.loads(decision.response.body)["error"] == error
    assert made.granted == {}


@pytest.mark.parametrize("bearer", ["t0ken", "sim.guess.sig", ""])
def test_other_bearers_stay_out(bearer: str) -> None:
    """Neither the token that never ends nor a guess is an access token."""
    assert world().handle(listing(bearer), NOW).response.status in {400, 401}


def test_the_token_that_never_ends_still_opens() -> None:
    """In its own header."""
    request = Request(method="GET", path=BATCHES, headers=(("Auth-Token", "t0ken"),))
    assert world().handle(request, NOW).response.status == 200


def test_the_endpoint_may_fail_as_scripted() -> None:
    """500, then 429, then as it should; what did not act granted nothing."""
    made = from_values(
        {
            "oauth": {"client_id": "client-1", "client_secret": "open:sesame"},
            "faults": [{"operation": "token", "fault": "answer", "status": status} for status in (500, 429)],
        }
    )
    assert [made.handle(ask(), NOW).response.status for _ in range(3)] == [500, 429, 200]
    assert len(made.granted) == 1


def test_a_world_without_a_client_grants_nothing() -> None:
    """And its requests are judged as before."""
    made = World()
    assert made.handle(ask(), NOW).response.status == 401
    assert made.handle(listing("anything"), NOW).response.status == 200
