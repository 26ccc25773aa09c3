"""The token endpoint's rules: OAuth2 client credentials. Pure: time is an argument, tokens follow from the seed.

Source: CONTRACT "OAuth2"; the errors are those of RFC 6749, 5.2 (I).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from batchform.simulator.faults import Response, json_response

PATH: Final = re.compile(r"/oauth2/[A-Za-z0-9_-]{1,128}/v1/token", re.ASCII)
"""The path of the token endpoint. Its last but two part names the vendor's authorization server; any will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """The one client that gets access tokens, and how many seconds they live."""

    client_id: str
    client_secret: str = field(repr=False)
    lifetime: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An answer of the token endpoint. `token` is empty if none was granted; `ends` is in UTC epoch seconds."""

    response: Response
    did: str
    token: str = ""
    ends: float = 0.0


def grant(oauth: OAuth | None, *, authorization: str | None, media: str, body: bytes, now: float, name: str) -> Grant:
    """What the token endpoint answers.

    Args:
        oauth: The client, None if there is none.
        authorization: The header of that name.
        media: The media type of the body, without parameters.
        body: The form.
        now: UTC epoch seconds.
        name: What the token follows from.
    """
    if oauth is None or _pair(authorization) != f"{oauth.client_id}:{oauth.client_secret}":
        return _refused(401, "invalid_client", "The client id or secret is invalid.")
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    if media != "application/x-www-form-urlencoded" or form.get("grant_type") != "client_credentials":
        return _refused(400, "unsupported_grant_type", "The grant type is not supported.")
    if form.get("scope") != "clientid":
        return _refused(400, "invalid_scope", "The scope is not known.")
    token = f"sim.{hashlib.sha256(name.encode()).hexdigest()[:40]}.sig"
    given: dict[str, Any] = {
        "token_type": "Bearer",
        "expires_in": max(1, int(oauth.lifetime)),
        "access_token": token,
        "scope": "clientid",
    }
    return Grant(response=json_response(200, given), did="token granted", token=token, ends=now + oauth.lifetime)


def _pair(authorization: str | None) -> str | None:
    """The id and secret in a Basic header, None if there are none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def _refused(status: int, error: str, description: str) -> Grant:
    return Grant(
        response=json_response(status, {"error": error, "error_description": description}), did=f"refused: {error}"
    )
