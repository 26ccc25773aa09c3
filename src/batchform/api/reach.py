"""The result of connecting: the other end, or the step that failed, with the host, the proxy and what to check first.

Pure. Each of these failures happened before the first byte of a request, so it costs nothing and may be repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Proxy
    from batchform.api.trust import Trust

_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})\b(.*)", re.DOTALL)
"""How Python words the proxy's answer to CONNECT. Nothing but the advice depends on it."""


class Step(StrEnum):
    """The steps of a connection, in their order. With a proxy, the first two reach the proxy."""

    DNS = "DNS"
    CONNECT = "connect"
    PROXY_TLS = "TLS to the proxy"
    TUNNEL = "CONNECT"
    TLS = "TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection. `address` is the proxy's, if there is one; without TLS the rest is empty."""

    address: str
    protocol: str
    issuer: str


class Flaw(StrEnum):
    """Why a certificate was refused, as far as the advice differs."""

    AUTHORITY = "authority"
    NAME = "name"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A certificate that was refused. `issuer` is empty if it cannot be read."""

    flaw: Flaw
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A connection that could not be made. `step` is None if it was not the network's doing."""

    step: Step | None
    text: str


def failure_at(
    step: Step, cause: str, *, endpoint: Endpoint, proxy: Proxy | None, trust: Trust, refusal: Refusal | None = None
) -> Failure:
    """The failure at this step, in two or three sentences for a person.

    Args:
        step: The step that failed.
        cause: The system's words.
        endpoint: Where the request should have gone.
        proxy: The proxy on the way, None for none.
        trust: The store that certificates were checked against.
        refusal: The certificate that was refused, None if the reason was another.
    """
    target, cause = f"{endpoint.host}:{endpoint.port}", cause.rstrip(".")
    through = f" through the proxy {proxy} ({proxy.setting})" if proxy is not None else ""
    if refusal is not None:
        owner = f"the proxy {proxy}" if step is Step.PROXY_TLS else f"{target}{through}"
        by = f"It was issued by `{refusal.issuer}`." if refusal.issuer else "Its issuer cannot be read."
        advice = _certificate_advice(refusal.flaw, trust, proxy)
        return Failure(step=step, text=f"{step}: the certificate of {owner} is not accepted: {cause}. {by} {advice}")
    said = _REFUSED.fullmatch(cause)
    if said is not None and proxy is not None:
        answer = f"{said[1]} {said[2].strip()}".rstrip()
        advice = _tunnel_advice(int(said[1]), proxy, target)
        return Failure(step=step, text=f"{step}: the proxy {proxy} answered {answer} for {target}. {advice}")
    text = f"{step}: no connection to {target}{through}: {cause}. {_advice(step, proxy)}"
    return Failure(step=step, text=text)


def _certificate_advice(flaw: Flaw, trust: Trust, proxy: Proxy | None) -> str:
    match flaw:
        case Flaw.TIME:
            return "Check this machine's clock."
        case Flaw.NAME:
            return "Check the host name, and what answers under it."
        case Flaw.AUTHORITY if trust.path:
            return f"{trust.setting or 'The CA file'} ({trust.path}) does not hold that authority."
        case Flaw.AUTHORITY:
            whose = "the proxy's or your company's" if proxy is not None else "your company's"
            return f"If that is {whose} authority, set BATCHFORM_CA_BUNDLE to a file with its certificate."
        case _:
            assert_never(flaw)


def _tunnel_advice(status: int, proxy: Proxy, target: str) -> str:
    if status == 407 and proxy.authorization:
        return f"Check the user and password in {proxy.setting}."
    if status == 407:
        return (
            f"Set {proxy.setting} with a user and password: {proxy.scheme}://USER:PASSWORD@{proxy.host}:{proxy.port}."
        )
    if status in {401, 403}:
        return f"Ask for {target} to be allowed on the proxy."
    return f"Check that the proxy reaches {target} and supports CONNECT."


def _advice(step: Step, proxy: Proxy | None) -> str:
    if proxy is not None:
        if step in {Step.DNS, Step.CONNECT, Step.PROXY_TLS}:
            return f"Check the proxy in {proxy.setting}."
        if step is Step.TUNNEL:
            return "Check that this is an HTTP proxy that supports CONNECT."
        return "Check whether the proxy cuts or inspects this connection."
    match step:
        case Step.DNS:
            return "Check the host name and DNS; where only a proxy reaches the internet, set HTTPS_PROXY."
        case Step.TLS:
            return "Check that the host speaks TLS on this port, and what stands in between."
        case _:
            return "Check the host, the port and the firewall; where a proxy is needed, set HTTPS_PROXY."
