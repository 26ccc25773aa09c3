"""How a request proves who sends it: the token itself, or access tokens that are fetched with a client's id and secret.

The values here know no network. `api.oauth` fetches; `api.client` sends.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from batchform.api.endpoint import Endpoint, parse_endpoint
from batchform.api.secret import check_token
from batchform.errors import UsageError

if TYPE_CHECKING:
    from batchform.api.contract import NotSent

DEFAULT_TOKEN_URL = "https://sso.experianaperture.io/oauth2/aust0wkxjeKyT3HRO4x7/v1/token"  # noqa: S105  # an address
"""Source: CONTRACT "OAuth2"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthToken:
    """The token that never ends. Source: CONTRACT "Headers"."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUrl:
    """The token endpoint: an origin and a path."""

    origin: Endpoint
    path: str

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """A client's id and secret, and where they buy access tokens. Source: CONTRACT "OAuth2"."""

    client_id: str
    client_secret: str = field(repr=False)
    token_url: TokenUrl

    @property
    def basic(self) -> str:
        """The id and secret as the token endpoint takes them: as they are, in Base64."""
        return b64encode(f"{self.client_id}:{self.client_secret}".encode("ascii")).decode("ascii")


Credentials: TypeAlias = AuthToken | ClientCredentials


class Authorizer(Protocol):
    """Gives each request the header that authorizes it. Safe to share between threads."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear anywhere."""

    def header(self, ends: float) -> tuple[str, str] | NotSent:
        """The name and value of the header, before `ends` (monotonic seconds); or why there is none."""

    def answered(self, value: str, status: int) -> bool:
        """Take note of an answer to a request with this header; whether a 401 may be gone with the next header."""

    def cut(self) -> None:
        """Shut every connection at once."""

    def close(self) -> None:
        """Send nothing more."""


class Fixed:
    """An authorizer whose header never changes."""

    def __init__(self, name: str, value: str, secrets: tuple[str, ...]) -> None:
        self._header = (name, value)
        self.secrets = secrets

    def header(self, ends: float) -> tuple[str, str]:  # noqa: ARG002  # it costs no time
        """The header."""
        return self._header

    def answered(self, value: str, status: int) -> bool:  # noqa: ARG002  # nothing changes
        """Whether another header will do better: never."""
        return False

    def cut(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


def fixed_token(token: str) -> Fixed:
    """The authorizer for a token in `Auth-Token`.

    Raises:
        UsageError: It cannot be a token.
    """
    return Fixed("Auth-Token", check_token(token), (token,))


def parse_token_url(text: str) -> TokenUrl:
    """The token endpoint that `text` names.

    Raises:
        UsageError: It is not an https URL with a path, nor an http one on a loopback address.
    """
    scheme, mark, rest = text.strip().partition("://")
    host, slash, path = rest.partition("/")
    if not mark or not slash or not re.fullmatch(r"[!-~]+", path) or set(path) & set("?#"):
        raise UsageError(
            "The token endpoint is not usable",
            "BATCHFORM_TOKEN_URL must be a URL with a path and without a query, such as https://sso.example/v1/token."
            " Nothing was sent.",
        )
    try:
        origin = parse_endpoint(f"{scheme}://{host}")
    except UsageError as error:
        raise UsageError("The token endpoint is not usable", f"BATCHFORM_TOKEN_URL: {error.detail}") from None
    return TokenUrl(origin=origin, path=f"/{path}")
