"""Registers in memory, with a clock of their own and every fault that a store may have."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchform.state.registers import Clocks, Held, Unsure, Why

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.state.registers import Tag


@dataclass
class Time:
    """A clock that only waiting moves. `suspended` counts seconds that the monotonic clock did not see."""

    now: float = 1000.0
    suspended: float = 0.0
    wall: float = 0.0

    @property
    def clocks(self) -> Clocks:
        """As the product takes them."""
        return Clocks(
            monotonic=lambda: self.now,
            boot=lambda: self.now + self.suspended,
            wall=lambda: self.now + self.suspended + self.wall,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class Space:
    """What a store holds: shared by all who use it. `held` are the contents with a tag that is never used again."""

    held: dict[str, Held] = field(default_factory=dict)
    tags: int = 0
    ignores: bool = False

    def put(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """One step: the condition and its write."""
        present = self.held.get(name)
        if not self.ignores and (None if present is None else present.tag) != tag:
            raise Unsure(Why.REFUSED, "412 PreconditionFailed")
        self.tags += 1
        self.held[name] = Held(data, f"t{self.tags}")
        return self.held[name].tag


LOST, REFUSED_BUT_DONE, LATE, FAILED, FORBIDDEN, HANGS, EXPIRED = (
    "lost",
    "refused but done",
    "late",
    "failed",
    "forbidden",
    "hangs",
    "expired",
)
FAULTS = (LOST, REFUSED_BUT_DONE, LATE, FAILED, FORBIDDEN, HANGS)


class Memory:
    """Registers over a `Space`. `faults` are taken one a write, "" for none; `reads` the same for reads."""

    def __init__(self, space: Space | None = None, time: Time | None = None, where: str = "memory://state") -> None:
        self.space = Space() if space is None else space
        self.time = Time() if time is None else time
        self.where = where
        self.every = 0.0
        self.lease = 60.0
        self.poll = 1.0
        self.faults: deque[str] = deque()
        self.reads: deque[str] = deque()
        self.late: list[Callable[[], object]] = []
        self.writes: list[tuple[str, int]] = []
        self.before: Callable[[str, str], None] = lambda what, name: None
        self.takes = 0.0

    def rest(self, in_flight: int) -> float:
        """No event waits."""
        return 0.0

    def read(self, name: str) -> Held | None:
        """What is there, unless a fault stands in the way."""
        self.before("read", name)
        self.time.sleep(self.takes)
        self._fail(self.reads.popleft() if self.reads else "")
        return self.space.held.get(name)

    def write(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """Replace what has this tag, unless a fault stands in the way."""
        self.before("write", name)
        self.time.sleep(self.takes)
        self.writes.append((name, len(data)))
        fault = self.faults.popleft() if self.faults else ""
        if fault in {LOST, REFUSED_BUT_DONE}:
            self.space.put(name, data, tag)
            raise Unsure(Why.REFUSED if fault == REFUSED_BUT_DONE else Why.SILENT)
        if fault == LATE:
            self.late.append(lambda: self.space.put(name, data, tag))
            raise Unsure(Why.SILENT)
        self._fail(fault)
        return self.space.put(name, data, tag)

    def land(self) -> None:
        """What is late takes place now, where its condition still holds."""
        late, self.late = self.late, []
        for write in late:
            try:
                write()
            except Unsure:
                continue

    def _fail(self, fault: str) -> None:
        if fault == HANGS:
            self.time.sleep(15)
            raise Unsure(Why.SILENT, "timeout")
        if fault:
            why = {FORBIDDEN: Why.FORBIDDEN, EXPIRED: Why.EXPIRED, FAILED: Why.OTHER}[fault]
            raise Unsure(why, {FORBIDDEN: "403 AccessDenied", EXPIRED: "400 ExpiredToken", FAILED: "500"}[fault])
