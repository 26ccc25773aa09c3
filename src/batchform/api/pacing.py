"""When the next request may be sent. Pure arithmetic: the time and the randomness are arguments.

The server counts the requests of an account in windows of one minute. Each answer says how many requests are left and
when the window ends. A `Pacer` sends as fast as this allows. If something is uncertain, it waits:

- A request that is in flight when a window ends may count in either window, so it counts in both.
- Answers may arrive out of order, so the smallest Remaining of a window (identified by its Reset) applies.
- The Date header has whole seconds, so `date - received` is at most the difference between the server's clock and ours.
  The largest value is the closest. A value far above the median is ignored, so one wrong Date changes nothing. So a
  window seems to end a little late, never early.
- Without headers, at most `limit` requests end within any period of one window's length. This is correct wherever the
  server's windows begin.

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
"""Seconds. A Reset farther away than this is ignored."""

_SAME_WINDOW = 2
"""Seconds by which the Reset of one window may vary."""

_SLACK = 1.0
"""Seconds to wait after a Reset, because it may be rounded down."""

_BLUR = 5.0
"""Seconds before the end of a window in which a request without headers may count in the next window."""

_LATER = 1.0
"""Seconds after which to ask again while requests are in flight."""

_TICK = 0.001

_DATES = 15
"""How many Date headers are kept."""

_NEAR_MEDIAN = 5.0
"""Seconds. A Date whose distance to our clock differs more than this from the median is not believed."""


def full_jitter(attempt: int, base: float, cap: float, random01: float) -> float:
    """Seconds to wait before attempt number `attempt` (from 0): between 0 and the capped exponential."""
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
    """Estimate how many seconds `requests` take, for progress displays.

    `remaining` is the rest of this window (None: all of `limit`). `seconds_each` is the time of one request divided by
    the number of concurrent requests.
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
    """A window that the server reported: its first Reset, the smallest Remaining, and its end if Reset is unusable."""

    reset: int
    remaining: int
    fallback_end: float | None


class Pacer:
    """Decides when a request may be sent. Used by one thread. `now` is monotonic seconds and never decreases.

    For each request, call `sent` when it is sent and exactly one of `answered`, `failed` and `throttled` when it ends.
    `throttled_in_a_row` counts the consecutive windows with a 429 and without an admitted request.
    """

    def __init__(self, limit: int = RATE_LIMIT, window: float = WINDOW) -> None:
        self.limit = limit
        self.window = window
        self.throttled_in_a_row = 0
        self._in_flight = 0
        self._reported: _Window | None = None
        self._unreported: deque[float] = deque()  # the ends of requests that no Remaining includes
        self._offsets: deque[float] = deque(maxlen=_DATES)
        self._offset: float | None = None  # the server's epoch seconds minus our monotonic ones, at most
        self._last_reset = -1  # the Reset of the last window that has ended
        self._resume: float | None = None  # after a 429: when to continue

    def admits(self, now: float, *, reserve: int = 0) -> float:
        """0.0 when a request may be sent now, else the seconds after which to ask again.

        `reserve` requests are kept for other uses, but never the whole window.
        """
        self._advance(now)
        if self._resume is not None:
            return max(self._resume - now, _TICK)
        missing = min(max(reserve, 0), self.limit - 1) + 1 - self.left(now)
        if missing <= 0:
            return 0.0
        wait = _LATER
        if self._reported is not None:
            wait = self._end(self._reported) - now
        elif missing <= len(self._unreported):
            wait = self._unreported[missing - 1] + self.window - now
        return max(min(wait, _LATER) if self._in_flight else wait, _TICK)

    def left(self, now: float) -> int:
        """The number of requests that may still be sent in this window; never below 0."""
        self._advance(now)
        base = self.limit if self._reported is None else self._reported.remaining
        return max(base - self._in_flight - len(self._unreported), 0)

    def resets_in(self, now: float) -> float:
        """Seconds until the next window probably begins; a whole window if nothing is known."""
        self._advance(now)
        if self._resume is not None:
            return self._resume - now
        return self.window if self._reported is None else max(self._end(self._reported) - now, 0.0)

    def sent(self, now: float) -> None:
        """Record that a request was sent."""
        self._advance(now)
        self._in_flight += 1

    def failed(self, now: float) -> None:
        """Record that a request ended without an answer. It counts, because the server may have counted it."""
        self._advance(now)
        self._end_request()
        self._unreported.append(now)

    def answered(self, rate: RateHeaders, now: float) -> None:
        """Record that the server admitted a request, with any answer but 429."""
        self._advance(now)
        self._end_request()
        self.throttled_in_a_row = 0
        self._learn(rate, now)

    def throttled(self, rate: RateHeaders, now: float, random01: float) -> None:
        """Record a 429: nothing is sent before the window ends.

        The end follows from Reset and the server's own clock. If Reset is missing, past or more than five minutes away,
        the wait is one window. `random01` spreads the next requests of all who share the account.
        """
        self._advance(now)
        self._end_request()
        self._note_date(rate, now)
        if self._resume is None:
            self.throttled_in_a_row += 1
        to_reset = self._to_reset(rate.reset_epoch, now)
        if to_reset is not None:
            self._resume = max(self._resume or now, now + to_reset + _SLACK + random01)
        elif self._resume is None:
            self._resume = now + self.window * (1.0 + 0.1 * random01)

    # --- headers -----------------------------------------------------------------------------------------------------

    def _learn(self, rate: RateHeaders, now: float) -> None:
        self._note_date(rate, now)
        if rate.limit is not None and 0 < rate.limit <= 1_000_000:
            self.limit = rate.limit
        reset, remaining = rate.reset_epoch, rate.remaining
        if reset is None or remaining is None:
            self._unreported.append(now)
            return
        window = self._reported
        if window is not None and abs(reset - window.reset) <= _SAME_WINDOW:
            window.remaining = min(window.remaining, remaining)
        elif reset <= (self._last_reset + _SAME_WINDOW if window is None else window.reset):
            self._unreported.append(now)  # it counted in a window that has ended, or the Reset is wrong
        else:
            self._begin(reset, remaining, now)

    def _begin(self, reset: int, remaining: int, now: float) -> None:
        self._leave()
        to_reset = self._to_reset(reset, now)
        fallback = now + self.window if to_reset is None else None
        self._reported = _Window(reset=reset, remaining=remaining, fallback_end=fallback)
        began = now if to_reset is None else now + to_reset - self.window
        self._drop_unreported(began - _BLUR)

    def _note_date(self, rate: RateHeaders, now: float) -> None:
        if rate.date_epoch is not None:
            self._offsets.append(rate.date_epoch - now)
            middle = sorted(self._offsets)[(len(self._offsets) - 1) // 2]
            self._offset = max(offset for offset in self._offsets if offset <= middle + _NEAR_MEDIAN)

    def _to_reset(self, reset: int | None, now: float) -> float | None:
        """Seconds until `reset` on the server's clock, None if that is unknown or implausible."""
        if reset is None or self._offset is None:
            return None
        seconds = reset - (now + self._offset)
        return seconds if 0.0 < seconds <= FARTHEST_RESET else None

    # --- windows and counts ------------------------------------------------------------------------------------------

    def _end(self, window: _Window) -> float:
        if window.fallback_end is not None or self._offset is None:
            return window.fallback_end or 0.0
        return window.reset + _SLACK - self._offset

    def _advance(self, now: float) -> None:
        """End the windows that are over, and drop requests older than the sliding window."""
        if self._reported is not None and now >= self._end(self._reported):
            self._drop_unreported(self._end(self._reported) - _BLUR)
            self._leave()
        if self._resume is not None and now >= self._resume:
            self._drop_unreported(self._resume - _BLUR)
            self._leave()
            self._resume = None
        self._drop_unreported(now - self.window)

    def _leave(self) -> None:
        if self._reported is not None:
            self._last_reset = max(self._last_reset, self._reported.reset)
            self._reported = None

    def _drop_unreported(self, until: float) -> None:
        while self._unreported and self._unreported[0] <= until:
            self._unreported.popleft()

    def _end_request(self) -> None:
        self._in_flight = max(self._in_flight - 1, 0)
