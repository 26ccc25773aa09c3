"""Where requests go, through which proxy, and with which credentials. All of it comes from the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchform.cli import environment
from batchform.cli.files import read_plain
from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.api.client import Client, Log
    from batchform.api.credentials import Authorizer, ClientCredentials, Credentials
    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Route
    from batchform.api.trust import Trust

_VISIBLE = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a run needs to reach the server, and its id. `sources` names the variables of the credentials."""

    run: str
    endpoint: Endpoint
    credentials: Credentials
    sources: str
    route: Route
    token_route: Route | None
    trust: Trust

    def client(self, *, may_start: Callable[[], bool] = lambda: True, log: Log | None = None) -> Client:
        """A client for the service. It asks `may_start` right before it sends a start, and logs each request.

        Raises:
            UsageError: The credentials or the certificates cannot be used.
        """
        from batchform.api.client import Client  # noqa: PLC0415  # only for commands that use the network

        return Client(
            self.endpoint,
            self._authorizer(log),
            proxy=self.route.proxy,
            trust=self.trust,
            may_start=may_start,
            log=log,
        )

    def _authorizer(self, log: Log | None) -> Authorizer | str:
        from batchform.api.credentials import AuthToken  # noqa: PLC0415  # only for commands that use the network

        if isinstance(self.credentials, AuthToken):
            return self.credentials.token
        from batchform.api.oauth import AccessTokens  # noqa: PLC0415  # only with a client's id and secret

        proxy = None if self.token_route is None else self.token_route.proxy
        return AccessTokens(self.credentials, proxy=proxy, trust=self.trust, log=log)


def access(proxy: str | None) -> Access:
    """The access of a new run. `proxy` is the value of `--proxy`, None if it was not given.

    Raises:
        UsageError: The endpoint or the proxy is not valid, or there are no credentials or two kinds of them.
    """
    from batchform.api.credentials import ClientCredentials  # noqa: PLC0415  # only for commands that use the network
    from batchform.api.route import choose_route  # noqa: PLC0415  # the same
    from batchform.api.trust import choose_trust  # noqa: PLC0415  # the same

    endpoint = environment.endpoint()
    credentials, sources = find_credentials()
    token_route = None
    if isinstance(credentials, ClientCredentials):
        token_route = choose_route(credentials.token_url.origin, os.environ, proxy)
    return Access(
        run=environment.new_run(),
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
    from batchform.api.credentials import AuthToken  # noqa: PLC0415  # only for commands that use the network

    token, token_from = _secret("BATCHFORM_AUTH_TOKEN")
    client_id, id_from = _secret("BATCHFORM_CLIENT_ID")
    client_secret, secret_from = _secret("BATCHFORM_CLIENT_SECRET")
    if token is not None and (id_from or secret_from):
        raise UsageError(
            "Two kinds of credentials are given",
            f"`{token_from}` is for a token, `{id_from or secret_from}` for OAuth2. Set only one of them. Nothing was"
            " sent.",
        )
    if token is not None:
        return AuthToken(token=token), token_from
    if client_id is None and client_secret is None:
        raise UsageError(
            "No credentials are given",
            "Set `BATCHFORM_AUTH_TOKEN`, or `BATCHFORM_AUTH_TOKEN_FILE` to a file that contains the token; for OAuth2,"
            " `BATCHFORM_CLIENT_ID` and `BATCHFORM_CLIENT_SECRET`. Nothing was sent. `batchform plan` and `batchform"
            " demo` need none.",
        )
    return _client(client_id, client_secret), f"{id_from} and {secret_from}"


def _client(client_id: str | None, client_secret: str | None) -> ClientCredentials:
    from batchform.api.credentials import (  # noqa: PLC0415  # only with a client's id and secret
        DEFAULT_TOKEN_URL,
        ClientCredentials,
        parse_token_url,
    )

    if client_id is None or client_secret is None:
        missing = "BATCHFORM_CLIENT_ID" if client_id is None else "BATCHFORM_CLIENT_SECRET"
        raise UsageError("The OAuth2 credentials are incomplete", f"Set `{missing}` as well. Nothing was sent.")
    for name, value in (("BATCHFORM_CLIENT_ID", client_id), ("BATCHFORM_CLIENT_SECRET", client_secret)):
        if not _VISIBLE.fullmatch(value) or (value == client_id and ":" in value):
            raise UsageError(
                "The OAuth2 credentials are not valid",
                f"`{name}` is empty, or contains a character that it cannot have, such as a space. Nothing was sent.",
            )
    url = parse_token_url(os.environ.get("BATCHFORM_TOKEN_URL") or DEFAULT_TOKEN_URL)
    return ClientCredentials(client_id=client_id, client_secret=client_secret, token_url=url)


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
        return read_plain(Path(file), 8192).decode("ascii").strip(), f"{name}_FILE"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a file with ASCII text"
        # The secret itself may be in the variable by mistake, so only the path of something that exists is shown.
        shown = f" ({file})" if "\0" not in file and os.path.lexists(file) else ""
        raise UsageError(
            "A file with credentials cannot be read",
            f"`{name}_FILE`{shown}: {why}. It has to be the path of a file that contains the value. Nothing was sent.",
        ) from None
