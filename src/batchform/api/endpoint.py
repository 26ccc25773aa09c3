"""Where requests may go. Checked here, apart from the client, so that asking does not import a network library.

An endpoint is an origin and nothing more. Everything that could lead the token elsewhere (userinfo, a path, a query,
plain HTTP to another machine, a host name that a resolver might map anywhere) is an error with a way out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = "127.0.0.1 or [::1], written as a number"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_SHAPE = re.compile(r"(?i:https?)://[^/?#@\\\s]+/?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An origin. `host` is in lower case and without brackets; `str()` is the normal form, without a default port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Such as `https://api.experianaperture.io` or `http://127.0.0.1:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


DEFAULT_ENDPOINT = Endpoint(scheme="https", host="api.experianaperture.io", port=443)
"""Source: CONTRACT "Start"."""


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that `text` names.

    Raises:
        UsageError: It is not an https origin, or an http one on a loopback literal. The message never repeats a text
            that may hold a password.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415  # the vendor's endpoint needs no parsing

    if "@" in text:
        raise _unusable("It holds a user name or password before the host.", "Nothing of it is shown here.")
    if not text.isascii() or not text.isprintable():
        raise _unusable("It holds characters that no URL has.", "Write an international host name in its xn-- form.")
    if not _SHAPE.fullmatch(text):
        raise _unusable(f"{text[:200]!r} is not an origin: https://, a host, perhaps a port, and no path or query.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(f"{text[:200]!r} cannot be read: {error}.") from None
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if port == 0 or parts.netloc.endswith(":"):
        raise _unusable(f"{text[:200]!r} names no usable port.")
    address = _address(host)
    if address is None and (len(host) > 253 or "[" in parts.netloc or not _HOST_NAME.fullmatch(host)):
        raise _unusable(f"{host[:200]!r} is not a host name or an address.")
    if parts.scheme == "http" and not _is_loopback(address):
        raise _unusable(
            f"{text[:200]!r} would send the token unencrypted.",
            f"Use https. Plain http is for a simulator on this machine: {_LOOPBACK} (a name such as localhost can be"
            " mapped elsewhere).",
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
    """Whether it is this machine. An IPv4 address written as IPv6 is not."""
    return address is not None and address.is_loopback and getattr(address, "ipv4_mapped", None) is None
