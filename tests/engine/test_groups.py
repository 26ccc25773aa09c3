"""Events that wait for more: a store whose writes are dear gets few of them, and no start leaves before its intent."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from batchform.apply import Result
from batchform.engine import Interrupted, Unrecordable
from batchform.state.events import Intended
from tests.engine.lab import Fate, Lab, Server, config, ids
from tests.engine.test_starts import faulty

if TYPE_CHECKING:
    from batchform.api.contract import Request


@dataclass
class Pushes:
    """A store as slow as a git server: `takes` seconds a write, six a minute; `state.git` decides alike."""

    lab: Lab
    takes: float = 1.5
    at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lab.rest = self.rest
        self.lab.on_record = self.push

    def rest(self, in_flight: int) -> float:
        """Seconds for which events wait."""
        ready = self.at[-6] + 60 if len(self.at) >= 6 else 0.0
        if in_flight and self.at:
            ready = max(ready, self.at[-1] + 10)
        return max(ready - self.lab.clock.seconds, 0.0)

    def push(self) -> None:
        """Write."""
        self.at.append(self.lab.clock.seconds)
        self.lab.clock.seconds += self.takes


def jitter(seed: int) -> Lab:
    """A lab whose answers take up to half a second."""
    chance = random.Random(seed)

    def fate(_request: Request, _number: int) -> Fate:
        return Fate(chance.uniform(0.02, 0.5))

    return Lab(Server([]), fate=fate, parallelism=32)


@pytest.mark.parametrize("takes", [0.5, 1.5, 2.0])
def test_thirty_two_at_once_are_as_fast_as_the_vendor_allows(takes: float) -> None:
    """150 a minute, with six writes: each holds the outcomes of one group and the intents of the next."""
    names = ids(600)
    lab, at_once = jitter(1), jitter(1)
    lab.server, at_once.server = Server(names, limit=150), Server(names, limit=150)
    at_once.apply(config(names))
    pushes = Pushes(lab, takes)
    done = lab.apply(config(names))
    assert len(done.having(Result.STARTED)) == 600
    assert lab.clock.seconds < 1.05 * at_once.clock.seconds
    assert all(later - earlier > 59.9 for earlier, later in zip(pushes.at, pushes.at[6:-1], strict=False))
    lab.check_all_started(names)


@pytest.mark.parametrize("seed", range(4))
def test_with_any_fault_each_batch_is_started_once(seed: int) -> None:
    """Lost answers, refusals, throttling and a lagging status, while events wait."""
    names = ids(100)
    lab = Lab(Server(names, lag=6.0, list_lag=9.0, limit=150), fate=faulty(seed, 0.15), parallelism=16)
    Pushes(lab)
    for _ in range(6):
        lab.apply(config(names))
        lab.check_outcomes()
    lab.fate = lambda _request, _number: Fate()
    assert lab.apply(config(names)).complete
    lab.check_all_started(names)


def test_a_run_that_ends_waits_for_nothing() -> None:
    """Ctrl-C while intents wait for an hour: they are recorded at once as not attempted, and nothing is sent."""
    names = ids(4)
    lab = Lab(Server(names), rest=lambda _: 3600.0)
    lab.after(2.0, lambda: lab.run.interrupt(signal.SIGINT))
    engine = lab.start(names)
    assert isinstance(engine.end, Interrupted)
    assert lab.clock.seconds < 3
    assert lab.sent == []
    assert sum(isinstance(event.what, Intended) for event in lab.durable) == 4
    assert not any(entry.uncertain for entry in lab.state().entries.values())


def test_outcomes_that_could_not_be_recorded_are_in_the_report() -> None:
    """Also those that waited."""
    names = ids(8)
    lab = Lab(Server(names), parallelism=4, fail_record_at=2)
    Pushes(lab)
    engine = lab.start(names)
    assert isinstance(engine.end, Unrecordable)
    assert len(lab.starts) == 4
    assert {event.batch_id for event in engine.unrecorded} >= set(lab.starts)
    lab.check_outcomes()
