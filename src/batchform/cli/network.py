"""Where requests go, through what, and with which credentials: read from the environment, never from the YAML."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchform.api.credentials import DEFAULT_TOKEN_URL, AuthToken, ClientCredentials, parse_token_url
from batchform.api.route import choose_route
from batchform.errors import UsageError

if TYPE_CHECKING:
    from batchform.api.client import Client
    from batchform.api.credentials import Authorizer, Credentials
    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Route
    from batchform.api.trust import Trust

_VISIBLE = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that a client needs. `sources` names the variables that the credentials came from."""

    endpoint: Endpoint
    credentials: Credentials
    sources: str
    route: Route
    token_route: Route | None
    trust: Trust

    def client(self) -> Client:
        """A client for the service.

        Raises:
            UsageError: The credentials or the certificates cannot be used.
        """
        from batchform.api.client import Client  # noqa: PLC0415  # an offline plan does without the network library

        return Client(self.endpoint, self._authorizer(), proxy=self.route.proxy, trust=self.trust)

    def _authorizer(self) -> Authorizer | str:
        if isinstance(self.credentials, AuthToken):
            return self.credentials.token
        from batchform.api.oauth import AccessTokens  # noqa: PLC0415  # only with a client's id and secret

        proxy = None if self.token_route is None else self.token_route.proxy
        return AccessTokens(self.credentials, proxy=proxy, trust=self.trust)


def access(endpoint: Endpoint, proxy: str | None = None) -> Access:
    """How to reach `endpoint`. `proxy` is the value of `--proxy`, None if it was not given.

    Raises:
        UsageError: The credentials are missing or given twice, or the proxy is not usable.
    """
    from batchform.api.trust import choose_trust  # noqa: PLC0415  # an offline plan does without TLS

    credentials, sources = find_credentials()
    token_route = None
    if isinstance(credentials, ClientCredentials):
        token_route = choose_route(credentials.token_url.origin, os.environ, proxy)
    return Access(
        endpoint=endpoint,
        credentials=credentials,
        sources=sources,
        route=choose_route(endpoint, os.environ, proxy),
        token_route=token_route,
        trust=choose_trust(os.environ),
    )


def find_credentials() -> tuple[Credentials, str]:
    """The credentials, and the variables that they came from.

    Raises:
        UsageError: There are none, or two kinds, or a file cannot be read. The message never repeats a value.
    """
    token, token_from = _secret("BATCHFORM_AUTH_TOKEN")
    client_id, id_from = _secret("BATCHFORM_CLIENT_ID")
    client_secret, secret_from = _secret("BATCHFORM_CLIENT_SECRET")
    if token is not None and (id_from or secret_from):
        raise UsageError(
            "Two kinds of credentials are given",
            f"{token_from} is for a token, {id_from or secret_from} for OAuth2. Set one kind only. Nothing was sent.",
        )
    if token is not None:
        return AuthToken(token=token), token_from
    if client_id is None and client_secret is None:
        raise UsageError(
            "No credentials are given",
            "Set BATCHFORM_AUTH_TOKEN, or BATCHFORM_AUTH_TOKEN_FILE to a file that holds the token; or"
            " BATCHFORM_CLIENT_ID and BATCHFORM_CLIENT_SECRET for OAuth2. Nothing was sent. `batchform plan` needs"
            " none; `batchform demo` shows everything without any.",
        )
    for name, value in (("BATCHFORM_CLIENT_ID", client_id), ("BATCHFORM_CLIENT_SECRET", client_secret)):
        if value is None:
            raise UsageError("The OAuth2 credentials are incomplete", f"Set {name} as well. Nothing was sent.")
        if not _VISIBLE.fullmatch(value) or (name.endswith("ID") and ":" in value):
            raise UsageError(
                "The OAuth2 credentials are not usable",
                f"{name} holds a space, a line break or another character that it cannot have. Nothing was sent.",
            )
    assert client_id is not None
    assert client_secret is not None
    url = parse_token_url(os.environ.get("BATCHFORM_TOKEN_URL") or DEFAULT_TOKEN_URL)
    credentials = ClientCredentials(client_id=client_id, client_secret=client_secret, token_url=url)
    return credentials, f"{id_from} and {secret_from}"


def is_address(host: str) -> bool:
    """Whether a host is an address, which no name server has to be asked about."""
    from ipaddress import ip_address  # noqa: PLC0415  # only `batchform doctor` asks

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _secret(name: str) -> tuple[str | None, str]:
    """The value of a variable, or of the file that `NAME_FILE` names; and which of the two. None if neither is set.

    Raises:
        UsageError: Both are set, or the file cannot be read. The message never repeats a value.
    """
    direct, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if direct and file:
        raise UsageError(f"{name} is given twice", f"Set {name} or {name}_FILE, not both. Nothing was sent.")
    if direct:
        return direct, name
    if not file:
        return None, ""
    try:
        with Path(file).open("rb") as stream:
            return stream.read(8192).decode("ascii").strip(), f"{name}_FILE"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it holds no ASCII text"
        raise UsageError(
            "A file with credentials cannot be read", f"{name}_FILE{_place(file)}: {why}. Nothing was sent."
        ) from None


def _place(file: str) -> str:
    """The path, if it can be one: the secret itself may have been put there by mistake."""
    folder = os.path.dirname(file)  # noqa: PTH120  # the text as the user gave it
    return f" ({file})" if folder and os.path.isdir(folder) else ""  # noqa: PTH112  # the same
