"""Chooses the proxy for an endpoint from the environment. Pure: the variables are an argument.

The rules are those of curl and `requests`: `HTTPS_PROXY`, then `ALL_PROXY`, unless `NO_PROXY` names the host; the
spelling in lower case wins. `BATCHFORM_PROXY` and `--proxy` override all of them. An endpoint on a loopback address
never uses a proxy. Every request through a proxy uses CONNECT, so the proxy sees a host and a port only.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchform.api.endpoint import Endpoint

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?|[0-9A-Fa-f:.]+", re.ASCII)
_SEPARATORS = re.compile(r"[,\s]+")
_BRACKETED = re.compile(r"\[([^\]]+)\](?::([0-9]{1,5}))?", re.ASCII)
_WITH_PORT = re.compile(r"([^:]+):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy. `str()` never shows the user or the password.

    `scheme` is how to reach the proxy itself. `setting` is the variable or option that named it, for messages.
    """

    scheme: str
    host: str
    port: int
    setting: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Such as `http://proxy.example:3128`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authorization(self) -> str:
        """The value of `Proxy-Authorization`; empty without a user. Source: RFC 7617."""
        if not (self.user or self.password):
            return ""
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode('ascii')}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What to redact: the password and the encoded pair. The user as well, if it stands alone (it may be a key)."""
        parts = (self.password or self.user, self.authorization.removeprefix("Basic "))
        return tuple(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How requests reach an endpoint: through `proxy`, None for directly. `reason` names the setting that decided."""

    proxy: Proxy | None
    reason: str


DIRECT = Route(proxy=None, reason="no proxy is set")


def choose_route(endpoint: Endpoint, environ: Mapping[str, str], option: str | None = None) -> Route:
    """The route to `endpoint`.

    Args:
        endpoint: Where requests go.
        environ: The environment variables.
        option: The value of `--proxy`; None if it was not given, empty for no proxy.

    Raises:
        UsageError: The proxy's URL is not usable. The message does not repeat the URL, which may hold a password.
    """
    if _is_loopback(endpoint.host):
        return Route(proxy=None, reason="a loopback address never uses a proxy")
    setting, url = ("--proxy", option) if option is not None else ("BATCHFORM_PROXY", environ.get("BATCHFORM_PROXY"))
    if url is not None:
        if not url.strip():
            return Route(proxy=None, reason=f"{setting} is empty")
        return Route(proxy=parse_proxy(url, setting), reason=setting)
    setting = next((name for name in ("HTTPS_PROXY", "ALL_PROXY") if _variable(name, environ)[1]), "")
    if not setting:
        return DIRECT
    setting, url = _variable(setting, environ)
    exceptions, names = _variable("NO_PROXY", environ)
    entry = matching_entry(names, endpoint.host, endpoint.port)
    if entry:
        return Route(proxy=None, reason=f"`{entry}` in {exceptions}")
    return Route(proxy=parse_proxy(url, setting), reason=setting)


def parse_proxy(url: str, setting: str) -> Proxy:
    """The proxy that `url` names. Without a scheme it is `http://`, as curl and `requests` read it.

    Raises:
        UsageError: It is not the URL of an HTTP proxy.
    """
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415  # only needed with a proxy

    text = url.strip()
    if not text.isprintable() or " " in text:
        raise _unusable(setting, "It holds a space or a control character.")
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _unusable(setting, "Its host or port cannot be read.") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _unusable(setting, "Only proxies with http:// and https:// are supported.")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _unusable(setting, "It holds more than a user, a password, a host and a port.")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if not _HOST.fullmatch(host) or not port:
        raise _unusable(setting, "It names no usable host and port.")
    return Proxy(
        scheme=parts.scheme,
        host=host,
        port=port,
        setting=setting,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def matching_entry(no_proxy: str, host: str, port: int) -> str:
    """The first entry of `no_proxy` that names this host and port; empty if none does.

    An entry is `*`, a domain (with or without a leading dot: it and everything below it), an address, or a network such
    as `10.0.0.0/8`; a domain or an address may end in a port, and then names that port only.
    """
    host = host.rstrip(".").lower()
    for entry in _SEPARATORS.split(no_proxy):
        if entry and _matches(entry.lower(), host, port):
            return entry
    return ""


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    found = _BRACKETED.fullmatch(entry) or _WITH_PORT.fullmatch(entry)
    if found is not None:
        entry, wanted = found.groups()
        if wanted is not None and int(wanted) != port:
            return False
    if _address(host) is not None:
        return _covers(entry, host)
    domain = entry.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _covers(entry: str, host: str) -> bool:
    """Whether an address or a network holds the address `host`."""
    from ipaddress import ip_address, ip_network  # noqa: PLC0415  # only needed for an address behind NO_PROXY

    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> object | None:
    from ipaddress import ip_address  # noqa: PLC0415  # not needed for the vendor's endpoint without a proxy

    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    if not (host[:1].isdigit() or ":" in host):  # a name: most runs need not import ipaddress
        return False
    address = _address(host)
    return bool(getattr(address, "is_loopback", False)) and getattr(address, "ipv4_mapped", None) is None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The name and value of a variable. The spelling in lower case wins, also when it is empty, as in `requests`."""
    lower = name.lower()
    if lower in environ:
        return lower, environ[lower].strip()
    return name, environ.get(name, "").strip()


def _unusable(setting: str, why: str) -> UsageError:
    return UsageError(
        "The proxy is not usable",
        f"{setting}: {why} Write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters"
        " percent-encoded (`@` is %40). Its value is not shown, because it may hold a password. Nothing was sent.",
    )
