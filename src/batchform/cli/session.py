"""What plan and apply share: the question that was asked, and the way to the server."""

from __future__ import annotations

import contextlib
import os
import random
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from batchform.cli import environment
from batchform.cli.signals import Interruption, Signals
from batchform.config.loader import load
from batchform.config.selection import select
from batchform.errors import BatchformError, ServerError, StateError, UsageError
from batchform.protocol import Rules
from batchform.state.events import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from batchform.api.contract import Reply, Request
    from batchform.api.endpoint import Endpoint
    from batchform.api.pacing import Pacer
    from batchform.cli.terminal import Terminal
    from batchform.engine import Clock, End, Engine, Sender
    from batchform.model import Config
    from batchform.state.events import Event

_SETTLE: Final = 10.0  # seconds; less only where nothing is paid for


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)


clock: Clock = SystemClock()
"""The one clock of the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a command is about: the configuration, the batches asked about (None: all), the state file."""

    config: Config
    selected: frozenset[str] | None
    state_file: Path


def question(
    configs: Sequence[str], state: str | None, targets: Sequence[str] = (), excludes: Sequence[str] = ()
) -> Question:
    """Read the configuration.

    Raises:
        ConfigError: It is not valid; carries every problem.
        UsageError: A target fits nothing.
    """
    config = load(configs)
    return Question(
        config=config,
        selected=select(config, targets, excludes),
        state_file=environment.state_file(state, configs),
    )


def fresh_state(config: Config, endpoint: Endpoint) -> State:
    """An empty state, for when there is none."""
    return State(lineage=str(uuid.uuid4()), service=config.service, endpoint=str(endpoint))


def check_belongs(state: State | None, config: Config, endpoint: Endpoint | None) -> None:
    """Refuse a state of another service, or, when the server is to be asked, of another endpoint.

    Raises:
        StateError: Outcomes of one place must never stand for those of another.
    """
    if state is None:
        return
    if state.service is not config.service:
        raise StateError(
            "The state belongs to another service",
            f"The configuration is for {config.service.value}, the state for {state.service.value}. Keep one state per"
            " service: name another file with --state. Nothing was sent.",
        )
    if endpoint is not None and state.endpoint != str(endpoint):
        raise StateError(
            "The state belongs to another endpoint",
            f"BATCHFORM_ENDPOINT is {endpoint}, the state was made with {state.endpoint}. Outcomes of one must not"
            " stand for the other: name another file with --state, or set the endpoint. Nothing was sent.",
        )


def rules(settle: float, endpoint: Endpoint) -> Rules:
    """How patient to be.

    Raises:
        UsageError: Less patience than is safe, where starts are paid for.
    """
    if settle < _SETTLE and endpoint.scheme == "https":
        raise UsageError(
            "--settle is too short",
            "Less than 10s could take a start that does not show yet for one that never was, and pay twice. Shorter is"
            " allowed against a simulator only (plain http on a loopback address). Nothing was sent.",
        )
    return Rules(settle=settle, spacing=min(5.0, settle / 2) if settle < _SETTLE else 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to the server: the engine, its pacer (for estimates), and the signals that may end the run."""

    engine: Engine
    pacer: Pacer
    signals: Signals


@contextlib.contextmanager
def way(
    terminal: Terminal,
    *,
    endpoint: Endpoint,
    token: str,
    run: str,
    parallelism: int,
    record: Callable[[Sequence[Event]], None],
    listen: Callable[[Sequence[Event]], None],
    tick: Callable[[], None] = lambda: None,
    tick_every: float | None = None,
) -> Iterator[Way]:
    """An engine on real threads and sockets; signals end it in good order. Everything is closed at the end."""
    from batchform.api.client import Client  # noqa: PLC0415  # the network library is for those who go there
    from batchform.api.pacing import Pacer  # noqa: PLC0415  # the same
    from batchform.engine import Engine, Threads  # noqa: PLC0415  # the same

    client = Client(endpoint, token)
    sender = _Logged(client, terminal) if os.environ.get("BATCHFORM_LOG") == "debug" else client
    threads = Threads(sender, parallelism)
    pacer = Pacer()
    engine = Engine(
        wire=threads,
        clock=clock,
        pacer=pacer,
        record=record,
        run=run,
        random=random.random,
        parallelism=parallelism,
        listen=listen,
        tick=tick,
        tick_every=tick_every,
    )
    try:
        with Signals(engine) as signals:
            yield Way(engine=engine, pacer=pacer, signals=signals)
    finally:
        client.close()
        threads.close()


def ended(end: End) -> BatchformError:
    """The error for a look at the account that ended early."""
    from batchform.engine import Interrupted, Stopped  # noqa: PLC0415  # only when it happens

    match end:
        case Interrupted():
            return Interruption(end.signum)
        case Stopped():
            problem = end.problem
            detail = f": {problem.detail}" if problem.detail else ""
            return ServerError(
                "The server refused the request",
                f"{problem.status} {problem.title}{detail}. Check the token, its product and its limits. No batch was"
                " started.",
            )
        case _:
            return ServerError("The account could not be read", "The service does not answer. No batch was started.")


class _Logged:
    """A sender that tells what goes out and what comes back, without the token and without bodies."""

    def __init__(self, sender: Sender, terminal: Terminal) -> None:
        self._sender, self._terminal = sender, terminal

    def send(self, request: Request) -> Reply:
        """Send, and say so."""
        from batchform.api.contract import Answer  # noqa: PLC0415  # only when logging
        from batchform.render.escape import printable  # noqa: PLC0415  # the same

        reply = self._sender.send(request)
        what = str(reply.status) if isinstance(reply, Answer) else f"{type(reply).__name__}: {reply.cause}"
        took = (reply.received_at - reply.sent_at) * 1000
        self._terminal.talk(printable(f"debug: {request.method} {request.path} -> {what} in {took:.0f} ms"))
        return reply

    def cut(self) -> None:
        """Close every socket."""
        self._sender.cut()
