"""A watch: rounds that each list the account once, until no batch is processing.

Rounds begin 10 s apart, or 5 s while a status may lag behind a start. They wait longer when few requests of the rate
limit are left. The engine drives them, so signals end a watch like any other run. The clock is an argument.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from batchform import status
from batchform.api.contract import Listing, Missing
from batchform.engine import Task
from batchform.observe import listed, unlisted
from batchform.protocol import Order, Pause, Rules, list_all, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from batchform.api.pacing import Pacer
    from batchform.engine import Clock, Engine
    from batchform.model import Observed, Reading, ServerProblem
    from batchform.observe import Subject
    from batchform.protocol import Conversation
    from batchform.status import Snapshot

EVERY: Final = 10.0
"""The shortest time in seconds between the beginnings of two rounds."""

EVERY_IN_LAG: Final = 5.0
"""The same while a status may lag behind a start."""

_RESERVE: Final = 5
"""With less than a fifth of the requests left, a round waits for the next window of the rate limit."""

_SINGLE: Final = 10
"""The most single reads in a round: of batches that should be processing and that the list lacks."""

_ONCE: Final = Rules(read_waits=())
"""A round does not retry. The next round does."""


class Listener(Protocol):
    """Gets the result of each round."""

    def update(self, snapshot: Snapshot, left: float | None) -> None:
        """The account was read. The last batch ends in about `left` seconds, None when that is not known."""

    def failed(self, problem: ServerProblem) -> None:
        """The account could not be read."""


def watch(
    subject: Subject, engine: Engine, listener: Listener, *, pacer: Pacer, clock: Clock, timeout: float | None
) -> Snapshot | None:
    """Watch until no batch is processing, the time is over or the run ends early.

    Args:
        subject: What to watch.
        engine: Sends the requests.
        listener: Gets the result of each round.
        pacer: The pacer of the engine.
        clock: The clock of the engine.
        timeout: Seconds, None: unlimited. With 0 there is one round.

    Returns:
        What the last successful round saw, None when the run ended early before there was one.

    Raises:
        ServerError: No round could read the account.
    """
    rounds = Rounds(subject, listener, pacer=pacer, clock=clock, skew=lambda: engine.skew)
    engine.run_tasks([Task(key="watch", conversation=rounds.conversation(timeout))])
    if rounds.last is None and engine.end is None:
        assert rounds.problem is not None  # each round has one or the other
        raise unlisted(rounds.problem)
    return rounds.last


class Rounds:
    """The conversation of a watch.

    Attributes:
        last: What the last successful round saw.
        problem: Why the last failed round could not read the account.
    """

    def __init__(
        self,
        subject: Subject,
        listener: Listener,
        *,
        pacer: Pacer,
        clock: Clock,
        skew: Callable[[], timedelta | None],
    ) -> None:
        self._subject, self._listener, self._pacer, self._clock, self._skew = subject, listener, pacer, clock, skew
        self._pace = status.Pace()
        self.last: Snapshot | None = None
        self.problem: ServerProblem | None = None

    def conversation(self, timeout: float | None) -> Conversation[None]:
        """One round after the other."""
        end = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            began = self._clock.monotonic()
            yield from self._round()
            now = self._clock.monotonic()
            is_over = self.last is not None and not self.last.under_way
            if is_over or (end is not None and now >= end):
                return
            wait = self._until_next(began, now)
            yield Pause(wait if end is None else min(wait, end - now))
            if end is not None and self._clock.monotonic() >= end:
                return

    def _round(self) -> Conversation[None]:
        config = self._subject.config
        listing = yield from list_all(config.service, _ONCE, {batch.batch_id for batch in config.batches})
        if not isinstance(listing, Listing):
            self.problem = listing
            self._listener.failed(listing)
            return
        observed = listed(listing, self._skew())
        seen = self._snapshot(observed)
        single: dict[str, Reading] = {}
        for one in status.unlisted(seen)[:_SINGLE]:
            order = Order(service=config.service, batch_id=one.change.batch_id, reference_id="")
            found: Reading | Missing | None = yield from read(order, _ONCE, believe_missing=False)
            if found is not None and not isinstance(found, Missing):
                single[one.change.batch_id] = found
        if single:
            seen = self._snapshot(replace(observed, readings=MappingProxyType({**observed.readings, **single})))
        self._pace.saw(seen.standings, self._clock.monotonic())
        self.last = seen
        self._listener.update(seen, self._pace.left())

    def _snapshot(self, observed: Observed) -> Snapshot:
        subject = self._subject
        return status.snapshot(
            subject.config,
            subject.state(),
            observed,
            self._clock.now(),
            endpoint=subject.endpoint,
            selected=subject.selected,
        )

    def _until_next(self, began: float, now: float) -> float:
        """Seconds until the next round."""
        every = EVERY_IN_LAG if self.last is not None and self.last.lags else EVERY
        wait = max(every - (now - began), 0.0)
        if self._pacer.left(now) * _RESERVE < self._pacer.limit:
            wait = max(wait, self._pacer.resets_in(now))
        return wait
