"""The address for requests. It is separate from the client, so that a check does not import the network library.

An endpoint is an origin only. Everything that could send the token elsewhere is refused: user information, a path, a
query, plain HTTP to another machine, a host name that can be resolved to any address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = "127.0.0.1 or [::1]"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_SHAPE = re.compile(r"(?i:https?)://[^/?#@\\\s]+/?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An origin. `host` is in lower case without brackets. `str()` returns the normal form without a default port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """For example `https://api.experianaperture.io` or `http://127.0.0.1:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


DEFAULT_ENDPOINT = Endpoint(scheme="https", host="api.experianaperture.io", port=443)
"""The vendor's endpoint. Source: CONTRACT "Start"."""


def _shown(text: str) -> str:
    """The text up to its path or query, which may hold a key."""
    return re.split(r"(?<![:/])[/?#]", text, maxsplit=1)[0][:200]


def parse_endpoint(text: str) -> Endpoint:
    """Parse an endpoint.

    Raises:
        UsageError: The text is neither an https origin nor an http origin with a loopback address. The message never
            repeats a text that may contain a password.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415  # not needed for the default endpoint

    if "@" in text:
        raise _unusable("It contains a user name or password before the host.", "It is not shown here.")
    if not text.isascii() or not text.isprintable():
        raise _unusable("It contains characters that are not allowed in a URL.", "Write a host name in its xn-- form.")
    if not _SHAPE.fullmatch(text):
        raise _unusable(
            f"{_shown(text)!r} is not an origin. Write https://, a host and optionally a port, without a path or query."
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(f"{text[:200]!r} cannot be parsed: {error}.") from None
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if port == 0 or parts.netloc.endswith(":"):
        raise _unusable(f"{text[:200]!r} has no valid port.")
    address = _address(host)
    if address is None and (len(host) > 253 or "[" in parts.netloc or not _HOST_NAME.fullmatch(host)):
        raise _unusable(f"{host[:200]!r} is not a host name or an address.")
    if parts.scheme == "http" and not _is_loopback(address):
        raise _unusable(
            f"{text[:200]!r} would send the token unencrypted.",
            f"Use https. Plain http is allowed only for a simulator on this machine: {_LOOPBACK}. A name such as"
            " localhost can be resolved to another machine.",
        )
    return Endpoint(scheme=parts.scheme, host=host if address is None else str(address), port=port)


def _unusable(what: str, hint: str = "") -> UsageError:
    return UsageError("The endpoint is not usable", " ".join(filter(None, [what, hint, "Nothing was sent."])))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import AddressValueError, IPv4Address, IPv6Address  # noqa: PLC0415  # the same

    for kind in (IPv4Address, IPv6Address):
        try:
            found = kind(host)
        except AddressValueError:
            continue
        return None if "%" in host else found
    return None


def _is_loopback(address: IPv4Address | IPv6Address | None) -> bool:
    """Whether the address is this machine. An IPv4 address written as IPv6 is not accepted."""
    return address is not None and address.is_loopback and getattr(address, "ipv4_mapped", None) is None
