"""Secrets: what a token may look like, and how secrets are kept out of everything that is stored or shown."""

from __future__ import annotations

import html
import re

from batchform.errors import UsageError

REDACTED = "[token]"

_TOKEN = re.compile(r"[!-~]{1,4096}")
_LONG = 8


def check_token(token: str) -> str:
    """Return the token unchanged.

    Raises:
        UsageError: It is empty or has characters other than visible ASCII. The message never repeats it.
    """
    if _TOKEN.fullmatch(token):
        return token
    why = "It is empty." if not token else "It contains a space, a line break or a character that is not visible ASCII."
    raise UsageError("The token is not usable", f"{why} Nothing was sent.")


class Redactor:
    """Replaces secrets with `[token]`, also if any of their characters are escaped for JSON, HTML or a URL.

    A secret of fewer than 8 characters could be part of any word. It is kept where programs read (the headers and the
    body of a success) and replaced only in texts for people.
    """

    def __init__(self, *secrets: str) -> None:
        ordered = sorted(filter(None, set(secrets)), key=len, reverse=True)
        self._all = [re.compile(_pattern(secret)) for secret in ordered]
        self._long = [pattern for pattern, secret in zip(self._all, ordered, strict=True) if len(secret) >= _LONG]

    def __repr__(self) -> str:
        return "Redactor()"

    def prose(self, text: str) -> str:
        """A text for people without the secrets."""
        return _without(text, self._all)

    def header(self, value: str) -> str:
        """The value of a header without the secrets."""
        return _without(value, self._long)

    def body(self, body: bytes, status: int) -> bytes:
        """The body of an answer with this HTTP status without the secrets."""
        # Latin-1 keeps every byte, and the secrets are ASCII.
        patterns = self._all if status >= 400 else self._long
        text = body.decode("latin-1")
        redacted = _without(text, patterns)
        return body if redacted is text else redacted.encode("latin-1")


def _pattern(secret: str) -> str:
    """A regular expression for a secret in which each character may be escaped, also twice."""
    return "".join(map(_spellings, secret))


def _spellings(character: str) -> str:
    """A regular expression for a character, plain or escaped. Each alternative begins with a literal, for speed."""
    number = ord(character)
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{number:02x}")
    found = [re.escape(character), rf"\\\\*u00{digits}", f"&#0*{number};", f"&#[xX]0*{digits};", f"%(?:25)*{digits}"]
    if not character.isalnum():
        found.append(rf"\\\\*{re.escape(character)}")
    if (named := html.escape(character)) != character:
        found.append(named)
    return f"(?:{'|'.join(found)})"


def _without(text: str, patterns: list[re.Pattern[str]]) -> str:
    """The text without the secrets; the same object if it has none. Text with a secret in UTF-16 loses its NULs."""
    redacted = text.replace("\0", "") if "\0" in text else text
    found = 0
    for pattern in patterns:
        redacted, times = pattern.subn(REDACTED, redacted)
        found += times
    return redacted if found else text
