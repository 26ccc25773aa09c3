"""What the commands share: the question that was asked, the state as it is held, and the way to the server."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from batchform.cli import environment
from batchform.cli.terminal import in_ci
from batchform.config.loader import load
from batchform.config.selection import select
from batchform.errors import BatchformError, ServerError, StateError, UsageError
from batchform.state.known import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from batchform.api.contract import Reply, Request
    from batchform.api.endpoint import Endpoint
    from batchform.api.pacing import Pacer
    from batchform.cli.signals import Signals
    from batchform.cli.terminal import Terminal
    from batchform.engine import Clock, End, Engine, Sender
    from batchform.model import Config, Observed
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.local import Store

LOG_EVERY: Final = 10.0
"""Seconds between two lines in a log while nothing else is said."""

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
        UsageError: A target matches nothing.
    """
    config = load(configs)
    return Question(
        config=config,
        selected=select(config.batches, targets, excludes),
        state_file=environment.state_file(state, configs),
    )


def named(asked: Question, words: Sequence[str]) -> Question:
    """The same question about these batches only, given by name, glob, label or batch_id; about all, when none is.

    Raises:
        UsageError: A pattern matches nothing; names the nearest.
    """
    return replace(asked, selected=select(asked.config.batches, words, option=""))


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
    from batchform.protocol import Rules  # noqa: PLC0415  # an offline plan does without

    if settle < _SETTLE and endpoint.scheme == "https":
        raise UsageError(
            "--settle is too short",
            "Less than 10s could take a start that does not show yet for one that never was, and pay twice. Shorter is"
            " allowed against a simulator only (plain http on a loopback address). Nothing was sent.",
        )
    if settle < _SETTLE:  # a simulator is as quick as it is told to be
        return Rules(settle=settle, in_flight=2 * settle)
    return Rules(settle=settle)


_CI_LOCK_TIMEOUT: Final = 300.0  # seconds


@contextlib.contextmanager
def held(
    terminal: Terminal,
    asked: Question,
    endpoint: Endpoint,
    *,
    command: str,
    run: str,
    timeout: float | None,
    overrides: Sequence[str] = (),
) -> Iterator[Store]:
    """The state, locked; checked to be the one that is meant; committed after a failure.

    Args:
        terminal: Where to say that an unfinished run was taken up.
        asked: What the command is about.
        endpoint: Where requests will go.
        command: What is run, for whoever waits and for the history.
        run: The id of this run.
        timeout: Seconds to wait for the lock, None for the default of the place.
        overrides: The guards that are passed by, for the history.

    Raises:
        StateLockedError: Another run holds it.
        StateError: It cannot be used, or belongs to something else.
    """
    from batchform.state.local import hold  # noqa: PLC0415  # only for who writes

    now = clock.now()
    if timeout is None:
        timeout = _CI_LOCK_TIMEOUT if in_ci() else 0.0
    with hold(
        asked.state_file,
        fresh=fresh_state(asked.config, endpoint),
        run=run,
        holder=environment.holder(command, run, asked.state_file, now),
        now=now,
        story=environment.story(command, overrides),
        timeout=timeout,
        sleep=_Waiting(terminal, "Waiting for another run to free the state ...", at_once=True),
    ) as store:
        check_belongs(store.state, asked.config, endpoint)
        if store.recovered:
            terminal.talk(f"Took up {store.recovered} events of a run that did not end.")
        try:
            yield store
        except BaseException:
            with contextlib.suppress(BatchformError):  # the journal holds what the commit could not take
                store.commit(clock.now())
            raise


class _Waiting:
    """Says now and then what is waited for: a log that stands still looks like a run that hangs."""

    def __init__(self, terminal: Terminal, text: str, *, at_once: bool = False) -> None:
        self._terminal, self._text = terminal, text
        self._said = None if at_once else time.monotonic()

    def __call__(self, seconds: float) -> None:
        """Wait that long; the next line, if it is time for one, comes first."""
        self.tick()
        time.sleep(seconds)

    def tick(self) -> None:
        """Say it, unless it has just been said."""
        now = time.monotonic()
        if self._said is None or now - self._said >= LOG_EVERY:
            self._said = now
            self._terminal.talk(self._text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What looking at the account told: the state with what was settled on the way, and the rest."""

    state: State
    observed: Observed


def look(terminal: Terminal, asked: Question, known: State | None, settle: float) -> Looked:
    """Look at the account without writing anything: what is settled on the way is folded in memory only.

    Raises:
        ServerError: The account could not be read.
    """
    from batchform.observe import Subject, observe  # noqa: PLC0415  # an offline plan does without
    from batchform.state.events import fold  # noqa: PLC0415  # the same

    where = environment.endpoint()
    state = known or fresh_state(asked.config, where)

    def record(events: Sequence[Event]) -> None:
        nonlocal state
        state = fold(state, events)

    with way(
        terminal,
        endpoint=where,
        token=environment.token(),
        run=environment.new_run(),
        parallelism=8,
        record=record,
        listen=lambda _: None,
        tick=_Waiting(terminal, "Looking at the account ...").tick,
        tick_every=1.0,
    ) as there:
        subject = Subject(config=asked.config, selected=asked.selected, endpoint=str(where), state=lambda: state)
        observed = observe(subject, there.engine, rules(settle, where), clock.now(), refresh=True)
        if there.engine.end is not None:
            raise ended(there.engine.end)
    return Looked(state=state, observed=observed)


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
    import random  # noqa: PLC0415  # for those who go there

    from batchform.api.client import Client  # noqa: PLC0415  # the network library is for those who go there
    from batchform.api.pacing import Pacer  # noqa: PLC0415  # the same
    from batchform.cli.signals import Signals  # noqa: PLC0415  # the same
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
    from batchform.cli.signals import Interruption  # noqa: PLC0415  # only when it happens
    from batchform.engine import Interrupted, Stopped, Unrecordable  # noqa: PLC0415  # the same

    match end:
        case Interrupted():
            return Interruption(end.signum)
        case Unrecordable():
            return end.error
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
