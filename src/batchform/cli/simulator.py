"""`batchform simulator`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.errors import ConfigError, UsageError
from batchform.render.escape import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchform.cli.terminal import Terminal
    from batchform.simulator import Log, World


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Loopback only. Port 0 picks a free port.",
)
@click.option(
    "--world", "world_file", metavar="FILE", help="YAML with batches and scripted faults (schemas/world-1.json)."
)
@click.option("--token", metavar="TEXT", help="The only accepted token. Default: any. It is not a secret.")
@click.option("--rate-limit", type=click.IntRange(1), metavar="N", help="Requests per window. Default: 150.")
@click.option(
    "--rate-window", type=click.FloatRange(0.1), metavar="SECONDS", help="The length of a window. Default: 60."
)
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Wait before each answer.")
@click.option("--speed", type=click.FloatRange(0), metavar="FACTOR", help="How fast batches complete. Default: 1.")
@click.option("--log", "log_file", metavar="FILE", help="Append one JSON line per request.")
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    listen: str,
    world_file: str | None,
    token: str | None,
    rate_limit: int | None,
    rate_window: float | None,
    latency: float,
    speed: float | None,
    log_file: str | None,
) -> None:
    """Run a simulator of the vendor's server, which has no sandbox.

    Prints its URL, then serves until it is interrupted. It follows the rules of the vendor: statuses, refusals, 28
    days, credits and the rate limit of the account. The world file adds faults.
    """
    from batchform.simulator import serve  # noqa: PLC0415  # only here

    host, port = _address(listen)
    world = _world(world_file)
    stop = _stop()
    with _log(log_file) as log:
        try:
            with (
                contextlib.suppress(KeyboardInterrupt),
                serve(
                    world,
                    host=host,
                    port=port,
                    token=token,
                    rate_limit=rate_limit,
                    rate_window=rate_window,
                    latency=latency,
                    speed=speed,
                    log=log,
                ) as url,
            ):
                terminal.data(f"Listening on {url}")
                stop.wait()
        except ValueError as error:
            raise UsageError("The simulator listens on loopback addresses only", f"{error}.") from error
        except OSError as error:
            raise UsageError("Cannot listen on this address", f"{listen}: {error.strerror}.") from error


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError("The address is not valid", f"{listen!r}: write it as `127.0.0.1:8080`.")
    return host.strip("[]"), int(port)


def _world(file: str | None) -> World:
    from batchform.config.reader import load  # noqa: PLC0415  # yaml, only for a world file
    from batchform.simulator import WorldError, from_values  # noqa: PLC0415  # only here

    if file is None:
        return from_values(None)
    if not os.path.lexists(file):  # the hint of the reader is for a configuration
        raise UsageError(
            "There is no such world file",
            f"{printable(file)}: check the path. `batchform schema world` prints its schema.",
        )
    document = load(file)
    if document.problems:
        raise ConfigError(document.problems, {file: document.source})
    try:
        return from_values(document.root)
    except WorldError as error:
        raise UsageError("The world file is not valid", f"{file}: {error}.") from error


@contextlib.contextmanager
def _log(file: str | None) -> Iterator[Log]:
    from batchform.simulator import Log  # noqa: PLC0415  # only here

    try:
        log = Log() if file is None else Log(Path(file))
    except OSError as error:
        raise UsageError("The log cannot be written", f"{file}: {error.strerror}.") from error
    with contextlib.closing(log):
        yield log


def _stop() -> threading.Event:
    """An event that TERM and HUP set. An INT ends the wait without it."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    return stop
