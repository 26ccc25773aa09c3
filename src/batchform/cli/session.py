"""What commands share: load the configuration, lock the state, open a connection to the server."""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from batchform.cli import environment, network
from batchform.cli.files import companions
from batchform.cli.terminal import Waiting, in_ci
from batchform.config.loader import load as load_config
from batchform.config.selection import select
from batchform.errors import BatchformError, ServerError
from batchform.state.known import State, check_belongs
from batchform.state.store import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from batchform.api.client import Log
    from batchform.api.contract import Reply, Request
    from batchform.api.endpoint import Endpoint
    from batchform.api.pacing import Pacer
    from batchform.cli.network import Access
    from batchform.cli.signals import Signals
    from batchform.cli.terminal import Terminal
    from batchform.engine import Clock, End, Engine
    from batchform.model import Config, Observed
    from batchform.observe import Subject
    from batchform.state.events import Event
    from batchform.state.reader import Known
    from batchform.state.store import Place, Store

CI_LOCK_TIMEOUT: Final = 600.0
"""Seconds for which a CI job waits for a lock. A run that died holds a branch for 300 s."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Seconds that never decrease."""
        return time.monotonic()

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)


clock: Clock = SystemClock()
"""The clock of all commands."""


# --- Configuration and state -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a command works on: the configuration, the ids of the selected batches (None: all), the state file."""

    config: Config
    selected: frozenset[str] | None
    state_file: Place

    @property
    def files(self) -> tuple[str | Path, ...]:
        """The files that no option may write: the state with its companions, and the configuration."""
        return (*companions(self.state_file), *self.config.files)

    def fresh_state(self, endpoint: Endpoint) -> State:
        """The empty state to begin with when there is none."""
        return State(lineage=str(uuid.uuid4()), service=self.config.service, endpoint=str(endpoint))

    def subject(self, endpoint: Endpoint, state: Callable[[], State]) -> Subject:
        """What to refresh. `state` returns the current state."""
        from batchform.observe import Subject  # noqa: PLC0415  # an offline plan needs no server

        return Subject(config=self.config, selected=self.selected, endpoint=str(endpoint), state=state)


def load(
    configs: Sequence[str],
    state: str | None,
    targets: Sequence[str] = (),
    excludes: Sequence[str] = (),
    *,
    option: str = "--target ",
) -> Scope:
    """Load the configuration and select batches. `option` introduces the targets in an error message.

    Raises:
        ConfigError: The configuration is not valid. It has every problem.
        UsageError: A pattern matches no batch.
    """
    config = load_config(configs)
    config = replace(config, guards=environment.capped(config.guards))
    return Scope(
        config=config,
        selected=select(config.batches, targets, excludes, option=option),
        state_file=environment.state_file(state, configs),
    )


def known(scope: Scope, endpoint: Endpoint | None) -> Known:
    """Read the state without a lock. Without an endpoint, the endpoint of the state does not matter.

    Raises:
        StateError: The state cannot be used, or belongs to another service or endpoint.
    """
    found = read(scope.state_file)
    if found.state is not None:
        check_belongs(found.state, scope.config.service, str(endpoint) if endpoint is not None else None)
    return found


@contextlib.contextmanager
def hold(
    terminal: Terminal,
    file: Place,
    *,
    fresh: State,
    run: str,
    command: str,
    timeout: float | None,
    patience: float,
    overrides: Sequence[str] = (),
) -> Iterator[Store]:
    """Lock the state and open it. It is also committed after a failure.

    Args:
        terminal: Shows that the command waits, and what it recovered.
        file: Where the state is.
        fresh: The state to begin with when there is none.
        run: The id of this run.
        command: The command, for the lock file and the history.
        timeout: Seconds to wait for another run, None for the default.
        patience: Seconds for which a request to a store is tried.
        overrides: The guards that the user overrides, for the history.

    Raises:
        StateLockedError: Another run holds the lock.
        StateError: The state cannot be used, or belongs to another service or endpoint.
    """
    from batchform.cli.signals import letting_go  # noqa: PLC0415  # only for commands that write
    from batchform.state.store import hold as hold_state  # noqa: PLC0415  # the same

    now = clock.now()
    if timeout is None and in_ci():
        timeout = CI_LOCK_TIMEOUT
    held = hold_state(
        file,
        fresh=fresh,
        run=run,
        holder=environment.holder(command, run, file, now),
        now=now,
        story=environment.story(command, overrides),
        timeout=timeout,
        patience=patience,
        sleep=Waiting(terminal, "Waiting for another run to release the lock ...", at_once=True),
    )
    with letting_go(), held as store:
        if store.recovered:
            events = "1 event" if store.recovered == 1 else f"{store.recovered:,} events"
            terminal.message(f"Recovered {events} from an interrupted run.")
        try:
            yield store
        except BaseException:
            with contextlib.suppress(BatchformError):  # the journal has every event
                store.commit(clock.now())
            raise


# --- The server ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A connection to the server: the engine, its pacer, and the signals that end the run early."""

    engine: Engine
    pacer: Pacer
    signals: Signals


@contextlib.contextmanager
def connect(
    terminal: Terminal,
    access: Access,
    *,
    parallelism: int = 1,
    record: Callable[[Sequence[Event]], None] = lambda _: None,
    store: Store | None = None,
    listen: Callable[[Sequence[Event]], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
    tick_every: float | None = None,
) -> Iterator[Connection]:
    """Open an engine on real threads and sockets, and close everything at the end.

    With a `store`, events go there, and no start leaves unless this run still holds the state. The last arguments are
    those of the engine.
    """
    import random  # noqa: PLC0415  # only for commands that use the network

    from batchform.api.pacing import Pacer  # noqa: PLC0415  # the same
    from batchform.cli.signals import Signals  # noqa: PLC0415  # the same
    from batchform.engine import Engine, Threads  # noqa: PLC0415  # the same

    client = access.client(
        may_start=store.sure if store is not None else lambda: True, log=_log(terminal) if terminal.debug else None
    )
    threads = Threads(client, parallelism)
    pacer = Pacer()
    engine = Engine(
        wire=threads,
        clock=clock,
        pacer=pacer,
        record=record if store is None else store.record,
        renew=(lambda: None) if store is None else store.renew,
        rest=(lambda _: 0.0) if store is None else store.rest,
        run=access.run,
        random=random.random,
        parallelism=parallelism,
        listen=listen,
        tick=tick,
        tick_every=tick_every,
    )
    try:
        with Signals(engine) as signals:
            yield Connection(engine=engine, pacer=pacer, signals=signals)
    finally:
        client.close()
        threads.close()


def refresh(
    terminal: Terminal, scope: Scope, state: State | None, settle: float, proxy: str | None
) -> tuple[State, Observed]:
    """Read current statuses from the server without writing anything. `proxy` is the value of `--proxy`.

    Returns:
        The state with the events of verified attempts, in memory only, and what the server said.

    Raises:
        ServerError: The account could not be read.
    """
    from batchform.observe import observe  # noqa: PLC0415  # an offline plan needs no server
    from batchform.protocol import rules  # noqa: PLC0415  # the same
    from batchform.state.events import fold  # noqa: PLC0415  # the same

    access = network.access(proxy)
    patience = rules(settle, access.endpoint)
    now_known = state or scope.fresh_state(access.endpoint)

    def record(events: Sequence[Event]) -> None:
        nonlocal now_known
        now_known = fold(now_known, events)

    waiting = Waiting(terminal, "Reading the account ...")
    with connect(terminal, access, parallelism=8, record=record, tick=waiting.tick, tick_every=1.0) as server:
        subject = scope.subject(access.endpoint, lambda: now_known)
        observed = observe(subject, server.engine, patience, clock.now(), refresh=True)
        if server.engine.end is not None:
            raise error_of(server.engine.end)
    return now_known, observed


def error_of(end: End) -> BatchformError:
    """The error for a refresh that ended early."""
    from batchform.cli.signals import Interruption  # noqa: PLC0415  # only when it happens
    from batchform.engine import NO_MEMORY, ForeignAnswers, Interrupted, Stopped, Unrecordable  # noqa: PLC0415  # the same

    match end:
        case Interrupted():
            return Interruption(end.signum)
        case Unrecordable():
            return end.error
        case Stopped() if end.problem == NO_MEMORY:
            return ServerError(NO_MEMORY.title, "What was read before is recorded. No batch was started. Try again.")
        case Stopped():
            from batchform.api.refusal import advice  # noqa: PLC0415  # the same

            problem = end.problem
            if problem.status is None:
                return ServerError("No request could be sent", f"{problem.detail} No batch was started.")
            detail = f": {problem.detail.rstrip('.')}" if problem.detail else ""
            return ServerError(
                "The server refused the request",
                f"{problem.status} {problem.title}{detail}. {advice(problem)} No batch was started.",
            )
        case ForeignAnswers():
            from batchform.render.outcomes import end_text  # noqa: PLC0415  # the same

            return ServerError("The answers belong to other requests", f"No batch was started. {end_text(end)}")
        case _:
            return ServerError("The account could not be read", "The service does not answer. No batch was started.")


def _log(terminal: Terminal) -> Log:
    """Print a line for each request, without the token and without bodies."""
    from batchform.api.contract import Answer  # noqa: PLC0415  # only when logging
    from batchform.render.escape import printable  # noqa: PLC0415  # the same

    def log(endpoint: Endpoint, request: Request, reply: Reply) -> None:
        result = str(reply.status) if isinstance(reply, Answer) else f"{type(reply).__name__}: {reply.cause}"
        took = (reply.received_at - reply.sent_at) * 1000
        what = f"{request.method} {endpoint}{request.path} -> {result} in {took:.0f} ms"
        terminal.message(printable(f"debug: {clock.now():%H:%M:%S.%f} {what}"))

    return log
