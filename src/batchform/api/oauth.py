"""Fetches access tokens with a client's id and secret, and renews them before they end.

One fetch at a time, for all threads. A failed fetch is a request that was not sent: it costs nothing and may be
repeated, unless the token endpoint refused the client, which ends every later call the same way.

The lifetime is the server's own word (`expires_in`), counted from just before the token was asked for, on a clock that
only grows. The time of day on this machine plays no part.

Source: CONTRACT "OAuth2"; RFC 6749, 4.4 and 5.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batchform.api.client import Client
from batchform.api.contract import Answer, NotSent, Request, problem_of
from batchform.api.credentials import Fixed
from batchform.api.decode import json_value, text_of
from batchform.api.trust import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.api.client import Log
    from batchform.api.contract import Reply
    from batchform.api.credentials import ClientCredentials
    from batchform.api.route import Proxy
    from batchform.api.trust import Trust

MARGIN: Final = 60.0
"""Seconds before its end when a token is renewed; of a short life at most a fifth."""

UNSTATED_LIFE: Final = 300.0
"""Seconds that a token is used if the answer does not say how long it lives."""

LONGEST_LIFE: Final = 86_400.0
"""Seconds after which a token is renewed, whatever its answer says."""

WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries of one fetch, within the deadline of the request that needs the token."""

PAUSE: Final = 1.0
"""Seconds after a failed fetch in which there is no other: calls in between fail with the same cause."""

_DEADLINE: Final = 15.0
_REFUSALS: Final = frozenset({400, 401, 403})
_KEPT: Final = 16  # old tokens that are still redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """An access token. `ends` is monotonic seconds, a margin before the end that the server named."""

    value: str = field(repr=False)
    ends: float


class AccessTokens:
    """Gives each request `Authorization: Bearer`, with a token that has not ended.

    Raises:
        UsageError: The certificates cannot be used.
    """

    def __init__(
        self,
        credentials: ClientCredentials,
        *,
        proxy: Proxy | None = None,
        trust: Trust = SYSTEM,
        clock: Callable[[], float] = time.monotonic,
        waits: tuple[float, ...] = WAITS,
        log: Log | None = None,
    ) -> None:
        basic = credentials.basic
        self._fixed_secrets = (credentials.client_secret, basic)
        self.secrets: tuple[str, ...] = self._fixed_secrets
        self._url = credentials.token_url
        fixed = Fixed("Authorization", f"Basic {basic}", self._fixed_secrets)
        self._client = Client(self._url.origin, fixed, proxy=proxy, trust=trust, log=log)
        self._clock, self._waits = clock, waits
        self._over = threading.Event()
        self._fetching = threading.Lock()
        self._guard = threading.Lock()  # holds what follows together
        self._token: _Token | None = None
        self._failure: NotSent | None = None
        self._failed_at = 0.0
        self._refused_in_a_row = 0

    def __repr__(self) -> str:
        return f"AccessTokens({self._url})"

    def header(self, ends: float) -> tuple[str, str] | NotSent:
        """The header with a token that has not ended, fetched first if there is none; or why there is none."""
        found = self._known()
        if found is None:
            if not self._fetching.acquire(timeout=max(ends - time.monotonic(), 0.0)):
                return NotSent(cause=f"the token endpoint {self._url} did not answer in time")
            try:
                found = self._known() or self._fetch(ends)
            finally:
                self._fetching.release()
        return found if isinstance(found, NotSent) else ("Authorization", f"Bearer {found.value}")

    def answered(self, value: str, status: int) -> bool:
        """Whether a 401 may be gone with the next header: the first time, or if that token is no longer in use."""
        with self._guard:
            if status != 401:
                self._refused_in_a_row = 0
                return False
            if self._token is not None and value == f"Bearer {self._token.value}":
                self._token = None
                self._refused_in_a_row += 1
                return self._refused_in_a_row == 1
            return self._refused_in_a_row <= 1

    def cut(self) -> None:
        """Shut every connection to the token endpoint."""
        self._over.set()
        self._client.cut()

    def close(self) -> None:
        """Fetch nothing more."""
        self._over.set()
        self._client.close()

    def _known(self) -> _Token | NotSent | None:
        """The token, or the failure that is too young to try again; None if a token has to be fetched."""
        with self._guard:
            now = self._clock()
            if self._token is not None and now < self._token.ends:
                return self._token
            if self._failure is not None and (self._failure.is_final or now < self._failed_at + PAUSE):
                return self._failure
            return None

    def _fetch(self, ends: float) -> _Token | NotSent:
        """A new token, after as many tries as the deadline allows; or why there is none."""
        token = self._try(ends)
        for wait in self._waits:
            if not isinstance(token, NotSent) or token.is_final or time.monotonic() + wait >= ends:
                break
            if self._over.wait(wait):
                break
            token = self._try(ends)
        with self._guard:
            if isinstance(token, NotSent):
                self._failure, self._failed_at = token, self._clock()
            else:
                self._failure, self._token = None, token
                old = self.secrets[len(self._fixed_secrets) :]
                self.secrets = (*self._fixed_secrets, *(*old, token.value)[-_KEPT:])
        return token

    def _try(self, ends: float) -> _Token | NotSent:
        began = self._clock()
        reply = self._client.send(
            Request(
                method="POST",
                path=self._url.path,
                headers=(("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")),
                body=b"grant_type=client_credentials&scope=clientid",
                deadline=min(_DEADLINE, ends - time.monotonic()),
            )
        )
        return self._read(reply, began)

    def _read(self, reply: Reply, began: float) -> _Token | NotSent:
        """The token in an answer of the token endpoint."""
        if not isinstance(reply, Answer):
            return NotSent(cause=f"No access token. {reply.cause.rstrip('.')}.")
        document = json_value(reply.body)
        found = document if isinstance(document, dict) else {}
        if reply.status != 200:
            return self._refused(reply, found)
        value, kind = found.get("access_token"), found.get("token_type")
        usable = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isascii() and value.isprintable()
        if not isinstance(value, str) or not usable or " " in value or not _is_bearer(kind):
            return NotSent(
                cause=f"No access token: the token endpoint {self._url} gave an answer without a Bearer token."
            )
        life = _life(found.get("expires_in"))
        return _Token(value=value, ends=began + life - min(MARGIN, life / 5))

    def _refused(self, answer: Answer, found: dict[str, object]) -> NotSent:
        """Why the token endpoint gave no token. Its errors have a form of their own (RFC 6749, 5.2)."""
        problem = problem_of(answer)
        code, description = text_of(found.get("error"), 100), text_of(found.get("error_description"), 300)
        said = f"{problem.status} {code or problem.title}"
        if description or (not code and problem.detail):
            said += f" ({(description or problem.detail).rstrip('.')})"
        cause = f"No access token: the token endpoint {self._url} answered {said}."
        if answer.status not in _REFUSALS:
            return NotSent(cause=cause)
        if answer.status == 403:
            return NotSent(cause=f"{cause} Check that the address that requests leave from is allowed.", is_final=True)
        return NotSent(cause=f"{cause} Check BATCHFORM_CLIENT_ID and BATCHFORM_CLIENT_SECRET.", is_final=True)


_LONGEST = 16_384


def _is_bearer(kind: object) -> bool:
    return kind is None or (isinstance(kind, str) and kind.lower() == "bearer")


def _life(stated: object) -> float:
    """Seconds. What makes no sense counts as not stated."""
    if isinstance(stated, str) and stated.isascii() and stated.isdigit():
        stated = int(stated[:9])
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not stated > 0:
        return UNSTATED_LIFE
    return min(float(stated), LONGEST_LIFE)
