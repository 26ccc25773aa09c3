"""Secrets: what a token may look like, and how secrets are kept out of everything that is stored or shown."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote

from batchform.errors import UsageError

REDACTED = "[token]"

_TOKEN = re.compile(r"[!-~]{1,4096}")
_LONG = 8


def check_token(token: str) -> str:
    """The token, unchanged.

    Raises:
        UsageError: It is empty or holds anything but visible ASCII characters. The message never repeats it.
    """
    if _TOKEN.fullmatch(token):
        return token
    why = "It is empty." if not token else "It holds a space, a line break or a character outside visible ASCII."
    raise UsageError("The token is not usable", f"{why} Nothing was sent.")


class Redactor:
    """Replaces secrets by `[token]`, also where they were escaped for JSON, HTML or a URL.

    A secret of fewer than 8 characters could be part of any word, so it is left alone where programs read (the headers
    and the body of a success) and replaced only in what people read.
    """

    def __init__(self, *secrets: str) -> None:
        spellings = {spelling: len(secret) >= _LONG for secret in secrets for spelling in _spellings(secret)}
        self._all = sorted(spellings, key=len, reverse=True)
        self._long = [spelling for spelling in self._all if spellings[spelling]]

    def __repr__(self) -> str:
        return "Redactor()"

    def prose(self, text: str) -> str:
        """A text for people, without the secrets."""
        return _without(text, self._all)

    def header(self, value: str) -> str:
        """A header's value, without the secrets."""
        return _without(value, self._long)

    def body(self, body: bytes, status: int) -> bytes:
        """The body of an answer with that HTTP status, without the secrets."""
        for spelling in self._all if status >= 400 else self._long:
            body = body.replace(spelling.encode(), REDACTED.encode())
        return body


def _spellings(secret: str) -> set[str]:
    plain = json.dumps(secret)[1:-1]
    return {secret, plain, plain.replace("/", "\\/"), html.escape(secret), quote(secret, safe="")}


def _without(text: str, spellings: list[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    return text
