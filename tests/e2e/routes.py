"""What stands between the command and the simulator: TLS, a proxy that others wrote, and one that ends its tunnels."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trustme

from tests.api.proxies import forward
from tests.api.servers import RawServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.servers import Peer
    from tests.e2e.harness import Site

CA = trustme.CA(organization_name="The Right One")


@dataclass(frozen=True)
class Front:
    """The simulator behind TLS. `url` has a name: a loopback address would bypass every proxy."""

    url: str
    port: int
    ca_file: str

    def environment(self, **more: str) -> dict[str, Any]:
        """What a command needs to reach it."""
        return {"BATCHFORM_ENDPOINT": self.url, "BATCHFORM_CA_BUNDLE": self.ca_file, **more}


@contextmanager
def behind_tls(place: Site) -> Iterator[Front]:
    """Terminate TLS in front of the simulator. TLS 1.2, whose records show a proxy where the handshake ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    CA.issue_cert("localhost").configure_cert(context)
    target = urlsplit(place.url)
    ca_file = place.folder.parent / f"{place.folder.name}-ca.pem"
    CA.cert_pem.write_to_path(str(ca_file))

    def pass_on(peer: Peer) -> None:
        with socket.create_connection((str(target.hostname), target.port or 0)) as there:
            there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            forward(peer, there)

    with RawServer(pass_on, tls=context) as server:
        yield Front(url=f"https://localhost:{server.port}", port=server.port, ca_file=str(ca_file))


@dataclass(frozen=True)
class RealProxy:
    """A running proxy.py."""

    port: int
    log: Path

    def requests(self) -> list[str]:
        """Its access log: method and target of each connection that has ended."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line.split(" - ")[-3] for line in lines if "access_log" in line]


@contextmanager
def real_proxy(folder: Path, *words: str) -> Iterator[RealProxy]:
    """Run proxy.py, in a process of its own, for the length of a `with`."""
    folder.mkdir()
    port_file, log = folder / "port", folder / "log"
    command = [
        *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file)),
        *("--num-workers", "1", "--num-acceptors", "1", "--log-file", str(log), "--log-level", "INFO", *words),
    ]
    with (folder / "output").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            ends = time.monotonic() + 30.0
            while not (port_file.is_file() and port_file.read_text().strip()):
                assert process.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < ends, "no port within 30 s"
                time.sleep(0.02)
            yield RealProxy(port=int(port_file.read_text()), log=log)
        finally:
            process.terminate()
