"""Makes connections to one endpoint, directly or through a proxy, and says why one could not be made.

Everything here happens before the first byte of a request: DNS, TCP, `CONNECT` to the proxy, TLS. The tunnel is
urllib3's own; only the step that is reached is noted beside it.

Connections are made with `ConnectionCls` of urllib3's pools, looked up at each use, because vcrpy replaces it there.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from urllib3 import connectionpool
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import Url

from batchform import __version__
from batchform.api.certificate import issuer_of
from batchform.api.deadline import LATE, Connecting, cause_of
from batchform.api.reach import Failure, Flaw, Peer, Refusal, Step, failure_at
from batchform.api.trust import tls_context

if TYPE_CHECKING:
    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Proxy
    from batchform.api.trust import Trust

USER_AGENT = f"batchform/{__version__}"

_LOOK = 5.0
"""Seconds for reading a certificate that was refused."""

_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")

_FLAWS = {9: Flaw.TIME, 10: Flaw.TIME, 62: Flaw.NAME, 64: Flaw.NAME}
"""OpenSSL's verify codes for certificates whose authority is not the question."""


class _Tunnel(HTTPSConnection):
    """urllib3's connection through a proxy, which notes the step it has reached."""

    step = Step.PROXY_TLS

    def _tunnel(self) -> None:
        self.step = Step.TUNNEL
        super()._tunnel()
        self.step = Step.TLS


class Connector:
    """Makes connections to `endpoint`.

    Raises:
        UsageError: The certificates of `trust` cannot be read.
        ValueError: A proxy for an endpoint without TLS, which would see the credentials.
    """

    def __init__(self, endpoint: Endpoint, proxy: Proxy | None, trust: Trust) -> None:
        self.endpoint, self.proxy, self.trust = endpoint, proxy, trust
        if proxy is not None and endpoint.scheme != "https":
            raise ValueError(f"{endpoint} cannot be reached through a proxy")  # safety: no credentials in the clear
        self._tls = tls_context(trust) if endpoint.scheme == "https" else None
        self._issuers: dict[Step, str] = {}

    def make(self, timeout: float) -> HTTPConnection:
        """A connection that is not yet connected. `timeout` is in seconds, for each wait on its socket."""
        made = self._make(timeout, self._tls)
        made.auto_open = 0  # safety: urllib3 must not reconnect and send again
        return made

    def _make(self, timeout: float, tls: ssl.SSLContext | None) -> HTTPConnection:
        host, port, proxy = self.endpoint.host, self.endpoint.port, self.proxy
        if tls is None:
            made = connectionpool.HTTPConnectionPool.ConnectionCls(host, port, timeout=timeout)
        elif proxy is None:
            made = connectionpool.HTTPSConnectionPool.ConnectionCls(host, port, timeout=timeout, ssl_context=tls)
        else:
            made = _Tunnel(
                proxy.host,
                proxy.port,
                timeout=timeout,
                ssl_context=tls,
                proxy=Url(scheme=proxy.scheme, host=proxy.host, port=proxy.port),
                proxy_config=ProxyConfig(self._tls, False, None, None),  # the proxy itself is always verified
            )
            target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            headers = {"Host": target, "User-Agent": USER_AGENT}
            if proxy.authorization:
                headers["Proxy-Authorization"] = proxy.authorization
            made.set_tunnel(host, port, headers=headers, scheme=proxy.scheme)
        assert isinstance(made, HTTPConnection)
        return made

    def failure(self, connection: HTTPConnection, error: Exception | None, seconds: float) -> Failure:
        """Why `connection` is not connected: `error`, or None if it took longer than `seconds`."""
        step = _step(connection, error)
        refusal = None
        cause = LATE if error is None else _ERRNO.sub("", cause_of(error))
        if cause == LATE:  # noticed here, or by the socket's own timeout
            cause = f"no answer within {seconds:.3g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            cause = str(getattr(error, "verify_message", "")) or cause
            flaw = _FLAWS.get(getattr(error, "verify_code", 0), Flaw.AUTHORITY)
            refusal = Refusal(flaw=flaw, issuer=self._issuer(step))
        return failure_at(step, cause, endpoint=self.endpoint, proxy=self.proxy, trust=self.trust, refusal=refusal)

    def _issuer(self, step: Step) -> str:
        """Who issued the certificate that was refused at this step. Read once; that connection carries nothing."""
        if step not in self._issuers:
            look = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            look.check_hostname, look.verify_mode = False, ssl.CERT_NONE
            if step is Step.PROXY_TLS and self.proxy is not None:
                made: HTTPConnection = HTTPSConnection(
                    self.proxy.host, self.proxy.port, timeout=_LOOK, ssl_context=look
                )
            else:
                made = self._make(_LOOK, look)
            why = Connecting(made).wait(_LOOK)
            self._issuers[step] = "" if why else peer_of(made).issuer
            made.close()  # safety: not verified, so nothing is ever sent over it
        return self._issuers[step]


def peer_of(connection: HTTPConnection) -> Peer:
    """What a connected connection tells about its other end; empty texts for what it does not."""
    wire: Any = connection.sock
    address, protocol, certificate = "", "", b""
    with suppress(OSError, AttributeError, ValueError):
        address = str(getattr(wire, "socket", wire).getpeername()[0])
    with suppress(OSError, AttributeError, ValueError):
        protocol = wire.version() or ""
        certificate = wire.getpeercert(binary_form=True) or b""
    return Peer(address=address, protocol=protocol, issuer=issuer_of(certificate))


def _step(connection: HTTPConnection, error: Exception | None) -> Step:
    """The step that failed with `error`, or, without one, that took too long."""
    if isinstance(error, NameResolutionError):
        return Step.DNS
    if isinstance(error, (NewConnectionError, ConnectTimeoutError)) or (error is None and connection.sock is None):
        return Step.CONNECT
    return connection.step if isinstance(connection, _Tunnel) else Step.TLS
