"""When the next request may go. Pure arithmetic: the time and the randomness are arguments.

The server counts requests per account in windows of a minute, and says after each request how many are left and when
the window ends. A `Pacer` keeps what is needed to send as fast as that allows and not faster. Every guess in it errs
towards waiting:

- A request that is in flight when a window turns may be counted in either, so it is counted in both.
- Answers overtake each other, so within one window (told by its Reset) the smallest Remaining counts.
- The Date header is cut to whole seconds, so `date - received` is at most the distance between the server's clock and
  ours; the largest of the newest ones comes closest. Those that are far from their median are ignored: a wrong Date is
  outvoted. A window therefore seems to end a little late, never early.
- Without headers, no more than `limit` requests end within any stretch of one window's length, which holds wherever
  the server's windows may begin.

Source: CONTRACT "Limits".
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchform.model import RATE_LIMIT

if TYPE_CHECKING:
    from batchform.api.contract import RateHeaders

WINDOW = 60.0
"""Seconds in a window."""

FARTHEST_RESET = 300.0
"""Seconds. A Reset that is farther away than this is not believed."""

_SAME_WINDOW = 2
"""Seconds by which the Reset of one window may jitter."""

_SLACK = 1.0
"""Seconds to let pass after a Reset, which may be rounded down."""

_BLUR = 5.0
"""Seconds around a turn in which it is unsure which window a request without headers was counted in."""

_LATER = 1.0
"""Seconds after which to ask again where only the end of a request in flight can help."""

_TICK = 0.001

_DATES = 15
"""How many Date headers are kept."""

_NEAR_MEDIAN = 5.0
"""Seconds. A Date whose distance to our clock differs more than this from the median is not believed."""


def full_jitter(attempt: int, base: float, cap: float, random01: float) -> float:
    """Seconds to wait before attempt number `attempt` (from 0): evenly spread from 0 to the capped exponential."""
    return random01 * min(cap, base * 2.0 ** min(max(attempt, 0), 60))


def estimate(
    *,
    requests: int,
    limit: int = RATE_LIMIT,
    remaining: int | None = None,
    seconds_to_reset: float = WINDOW,
    window: float = WINDOW,
    seconds_each: float = 0.0,
) -> float:
    """About how many seconds `requests` take, for progress displays.

    `remaining` is what is left of this window (None: all of `limit`), `seconds_each` how long one request takes divided
    by how many run at once.
    """
    left = limit if remaining is None else remaining
    beyond = requests - max(left, 0)
    if beyond <= 0:
        return requests * seconds_each
    whole = math.ceil(beyond / max(limit, 1)) - 1
    last = beyond - whole * max(limit, 1)
    return max(requests * seconds_each, max(seconds_to_reset, 0.0) + whole * window + last * seconds_each)


@dataclass(slots=True)
class _Window:
    """A window the server told of: its first Reset, the smallest Remaining, and when it ends where Reset is no help."""

    reset: int
    remaining: int
    fallback_end: float | None


class Pacer:
    """Decides when a request may go. Owned by one thread; `now` is monotonic seconds and never runs backwards.

    For each request: `sent` when it goes, then exactly one of `answered`, `failed` and `throttled` when it ends.
    `throttled_in_a_row` counts the windows that ended in a 429 without a request let through between them.
    """

    def __init__(self, limit: int = RATE_LIMIT, window: float = WINDOW) -> None:
        self.limit = limit
        self.window = window
        self.throttled_in_a_row = 0
        self._in_flight = 0
        self._told: _Window | None = None
        self._untold: deque[float] = deque()  # when requests ended whose count no header told
        self._offsets: deque[float] = deque(maxlen=_DATES)
        self._offset: float | None = None  # the server's epoch seconds minus our monotonic ones, at most
        self._ended = -1  # the Reset of the last window that was left
        self._resume: float | None = None  # after a 429: when to go on

    def admits(self, now: float, *, reserve: int = 0) -> float:
        """0.0 when a request may be sent now, else the seconds after which to ask again.

        `reserve` requests are left for others. It never takes the whole window, so that whoever asks gets a turn.
        """
        self._turn(now)
        if self._resume is not None:
            return max(self._resume - now, _TICK)
        missing = min(max(reserve, 0), self.limit - 1) + 1 - self.left(now)
        if missing <= 0:
            return 0.0
        wait = _LATER
        if self._told is not None:
            wait = self._end(self._told) - now
        elif missing <= len(self._untold):
            wait = self._untold[missing - 1] + self.window - now
        return max(min(wait, _LATER) if self._in_flight else wait, _TICK)

    def left(self, now: float) -> int:
        """Requests that may still go in this window; never below 0."""
        self._turn(now)
        base = self.limit if self._told is None else self._told.remaining
        return max(base - self._in_flight - len(self._untold), 0)

    def resets_in(self, now: float) -> float:
        """Seconds until a new window is believed to have begun; a whole window when nothing is known."""
        self._turn(now)
        if self._resume is not None:
            return self._resume - now
        return self.window if self._told is None else max(self._end(self._told) - now, 0.0)

    def sent(self, now: float) -> None:
        """A request has gone."""
        self._turn(now)
        self._in_flight += 1

    def failed(self, now: float) -> None:
        """A request has ended without an answer. It may have been counted, so it is."""
        self._turn(now)
        self._landed()
        self._untold.append(now)

    def answered(self, rate: RateHeaders, now: float) -> None:
        """A request was let through, whatever became of it."""
        self._turn(now)
        self._landed()
        self.throttled_in_a_row = 0
        self._learn(rate, now)

    def throttled(self, rate: RateHeaders, now: float, random01: float) -> None:
        """A request was answered 429: nothing goes before the window is over.

        The end is judged by Reset against the server's own clock. A Reset that is missing, past or more than five
        minutes away means a window's length. `random01` spreads the return of those who share the account.
        """
        self._turn(now)
        self._landed()
        self._note_date(rate, now)
        if self._resume is None:
            self.throttled_in_a_row += 1
        to_reset = self._to_reset(rate.reset_epoch, now)
        if to_reset is not None:
            self._resume = max(self._resume or now, now + to_reset + _SLACK + random01)
        elif self._resume is None:
            self._resume = now + self.window * (1.0 + 0.1 * random01)

    # --- what the headers told ---------------------------------------------------------------------------------------

    def _learn(self, rate: RateHeaders, now: float) -> None:
        self._note_date(rate, now)
        if rate.limit is not None and 0 < rate.limit <= 1_000_000:
            self.limit = rate.limit
        reset, remaining = rate.reset_epoch, rate.remaining
        if reset is None or remaining is None:
            self._untold.append(now)
            return
        told = self._told
        if told is not None and abs(reset - told.reset) <= _SAME_WINDOW:
            told.remaining = min(told.remaining, remaining)
        elif reset <= (self._ended + _SAME_WINDOW if told is None else told.reset):
            self._untold.append(now)  # it was counted in a window that is over, or the Reset is nonsense
        else:
            self._begin(reset, remaining, now)

    def _begin(self, reset: int, remaining: int, now: float) -> None:
        self._leave()
        to_reset = self._to_reset(reset, now)
        fallback = now + self.window if to_reset is None else None
        self._told = _Window(reset=reset, remaining=remaining, fallback_end=fallback)
        began = now if to_reset is None else now + to_reset - self.window
        self._forget_untold(began - _BLUR)

    def _note_date(self, rate: RateHeaders, now: float) -> None:
        if rate.date_epoch is not None:
            self._offsets.append(rate.date_epoch - now)
            middle = sorted(self._offsets)[(len(self._offsets) - 1) // 2]
            self._offset = max(offset for offset in self._offsets if offset <= middle + _NEAR_MEDIAN)

    def _to_reset(self, reset: int | None, now: float) -> float | None:
        """Seconds until `reset` on the server's clock, None when that cannot be known or believed."""
        if reset is None or self._offset is None:
            return None
        seconds = reset - (now + self._offset)
        return seconds if 0.0 < seconds <= FARTHEST_RESET else None

    # --- windows and counts ------------------------------------------------------------------------------------------

    def _end(self, told: _Window) -> float:
        if told.fallback_end is not None or self._offset is None:
            return told.fallback_end or 0.0
        return told.reset + _SLACK - self._offset

    def _turn(self, now: float) -> None:
        """Leave a window that has ended, and what has left the sliding one."""
        if self._told is not None and now >= self._end(self._told):
            self._forget_untold(self._end(self._told) - _BLUR)
            self._leave()
        if self._resume is not None and now >= self._resume:
            self._forget_untold(self._resume - _BLUR)
            self._leave()
            self._resume = None
        self._forget_untold(now - self.window)

    def _leave(self) -> None:
        if self._told is not None:
            self._ended = max(self._ended, self._told.reset)
            self._told = None

    def _forget_untold(self, until: float) -> None:
        while self._untold and self._untold[0] <= until:
            self._untold.popleft()

    def _landed(self) -> None:
        self._in_flight = max(self._in_flight - 1, 0)
