"""The token: what it may look like, and how it is kept out of everything that is stored or shown."""

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
    """Replaces a token by `[token]`, also where it was escaped for JSON, HTML or a URL.

    A token of fewer than 8 characters could be part of any word, so it is left alone where programs read (the headers
    and the body of a success) and replaced only in what people read.
    """

    def __init__(self, token: str) -> None:
        plain = json.dumps(token)[1:-1]
        spellings = {token, plain, plain.replace("/", "\\/"), html.escape(token), quote(token, safe="")}
        self._spellings = sorted(spellings, key=len, reverse=True)
        self._is_long = len(token) >= _LONG

    def __repr__(self) -> str:
        return "Redactor()"

    def prose(self, text: str) -> str:
        """A text for people, without the token."""
        for spelling in self._spellings:
            text = text.replace(spelling, REDACTED)
        return text

    def header(self, value: str) -> str:
        """A header's value, without the token."""
        return self.prose(value) if self._is_long else value

    def body(self, body: bytes, status: int) -> bytes:
        """The body of an answer with that HTTP status, without the token."""
        if self._is_long or status >= 400:
            for spelling in self._spellings:
                body = body.replace(spelling.encode(), REDACTED.encode())
        return body
