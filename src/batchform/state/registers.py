"""Named bytes in a store that two machines share, and the one function that replaces them.

An engine (`state.objects`, `state.git`) offers conditional writes: create, or replace what has a known tag. An engine
never retries by itself, because a retry turns a lost answer into a refusal of one's own write. `replace` is the only
caller of `write`, and the only place that decides whether a write took place.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

Tag: TypeAlias = str
"""Identifies one content of one name, as long as no two contents are equal."""

_FIRST_WAIT: Final = 0.2
"""Seconds before the second try; doubled after each further one, up to `_LONGEST_WAIT`."""

_LONGEST_WAIT: Final = 4.0

THROTTLED_EVERY: Final = 1.1
"""Seconds between two writes of one name, once the store has throttled us."""


@dataclass(frozen=True, slots=True)
class Held:
    """The bytes under a name, and their tag. `written` is the store's time, for messages; no decision depends on it."""

    data: bytes
    tag: Tag
    written: datetime | None = field(default=None, compare=False)


class Why(StrEnum):
    """What the store answered, as far as a message or a retry depends on it."""

    REFUSED = "refused"
    """The condition did not hold. May be the answer to a write of ours that took place."""
    ABSENT = "absent"
    """The store has proven that there is nothing under the name."""
    THROTTLED = "throttled"
    FORBIDDEN = "forbidden"
    NO_CREDENTIALS = "no_credentials"
    EXPIRED = "expired"
    NO_BUCKET = "no_bucket"
    REGION = "region"
    FOREIGN = "foreign"
    """The branch holds something else."""
    RULE = "rule"
    """A rule or hook of the git server refuses the push."""
    APART = "apart"
    """`origin` reads from one place and pushes to another."""
    NOT_FREE = "not_free"
    """The repository has a branch whose name excludes this one."""
    UNSIGNED = "unsigned"
    """The commit cannot be signed."""
    MACHINE = "machine"
    """git failed on this machine, for a reason that is not the store's."""
    CLOCK = "clock"
    """The clock of this machine is wrong."""
    NO_CONDITIONS = "no_conditions"
    """The store has no conditional writes."""
    ARCHIVED = "archived"
    """The object is in an archive class, where it cannot be read."""
    RETAINED = "retained"
    """A policy forbids to replace the object."""
    CERTIFICATE = "certificate"
    """The certificate of the store is not accepted."""
    UNREACHABLE = "unreachable"
    """There is no connection."""
    SILENT = "silent"
    """No answer: cut, or out of time."""
    OTHER = "other"


LASTING: Final = frozenset(
    {
        Why.FORBIDDEN,
        Why.NO_CREDENTIALS,
        Why.NO_BUCKET,
        Why.REGION,
        Why.CLOCK,
        Why.NO_CONDITIONS,
        Why.ARCHIVED,
        Why.RETAINED,
        Why.CERTIFICATE,
        Why.FOREIGN,
        Why.RULE,
        Why.NOT_FREE,
        Why.UNSIGNED,
    }
)
"""Answers that waiting rarely changes: tried for `_LASTING_PATIENCE` seconds only."""

_LASTING_PATIENCE: Final = 3.0


class Unsure(Exception):  # noqa: N818  # an answer, not an error: the write may have taken place
    """The store gave anything but a plain yes. `detail` is short and holds no secret: a status and a code."""

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(f"{why.value} {detail}".rstrip())
        self.why = why
        self.detail = detail


class Taken(Exception):  # noqa: N818  # the expected outcome of a race
    """Another content stands under the name. `now` is that content, None when the name is gone."""

    def __init__(self, now: Held | None) -> None:
        super().__init__("taken")
        self.now = now


class Down(Exception):  # noqa: N818  # the same: the caller decides what follows
    """The store gave no usable answer in time. The write may have taken place, or may yet take place."""

    def __init__(self, last: Unsure, *, writing: bool) -> None:
        super().__init__(str(last))
        self.last, self.writing = last, writing


class Registers(Protocol):
    """One engine, bound to one address. Safe to share between threads.

    Attributes:
        where: The address, for messages.
        every: The least seconds between two writes of one name. May grow when the store throttles.
        lease: How many seconds a journal has to be unchanged before another run may take it over.
        poll: Seconds between two reads of a journal that another run holds.
    """

    where: str
    every: float
    lease: float
    poll: float

    def rest(self, in_flight: int) -> float:
        """Seconds for which events should wait for more, so that one write records them. So many answers will come."""

    def read(self, name: str) -> Held | None:
        """The present content. None only where the store has proven that there is none. Raises Unsure."""

    def write(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """Replace the content that has this tag; None: create. Raises Unsure for all but a plain yes."""


def _boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Time as arguments.

    `monotonic` counts seconds while this process can run; `boot` also those for which the machine was suspended, where
    the system has such a clock; `wall` is the time of day.
    """

    monotonic: Callable[[], float] = time.monotonic
    boot: Callable[[], float] = _boot
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


SYSTEM: Final = Clocks()


def replace(
    registers: Registers, name: str, data: bytes, tag: Tag | None, *, patience: float, clocks: Clocks = SYSTEM
) -> Tag:
    """Replace the content that has `tag` by `data`; returns the new tag.

    No content is ever written twice under two tags, so equal bytes prove that our write took place.

    Args:
        registers: The engine.
        name: Which register.
        data: The new content, equal to no earlier one.
        tag: The tag that it replaces; None: it must not exist yet.
        patience: Seconds after which no further try is begun.
        clocks: Time.

    Raises:
        Taken: Another content is there.
        Down: The store gave no usable answer in that time.
    """
    began = clocks.monotonic()
    wait = _FIRST_WAIT
    while True:
        try:
            return registers.write(name, data, tag)
        except Unsure as unsure:
            last = unsure
        try:
            # safety: whatever the answer was, the write may have taken place
            now = registers.read(name)
        except Unsure as unsure:
            last = unsure
        else:
            if now is not None and now.data == data:
                return now.tag
            if (None if now is None else now.tag) != tag:
                raise Taken(now)
        wait = _pause(Down(last, writing=True), wait, clocks.monotonic() - began, patience, clocks)


def obtain(registers: Registers, name: str, patience: float, clocks: Clocks = SYSTEM) -> Held | None:
    """The present content, read again while the store gives no answer.

    Raises:
        Down: The store gave no usable answer in that time.
    """
    began = clocks.monotonic()
    wait = _FIRST_WAIT
    while True:
        try:
            return registers.read(name)
        except Unsure as unsure:
            wait = _pause(Down(unsure, writing=False), wait, clocks.monotonic() - began, patience, clocks)


def _pause(down: Down, wait: float, passed: float, patience: float, clocks: Clocks) -> float:
    """Wait before the next try; returns how long to wait after that one. Raises `down` when time is up."""
    last = down.last
    if last.why is Why.THROTTLED:
        wait = max(wait, THROTTLED_EVERY)
    limit = min(patience, _LASTING_PATIENCE) if last.why in LASTING else patience
    if passed + wait > limit:
        raise down
    clocks.sleep(wait)
    return min(2 * wait, _LONGEST_WAIT)
