"""When a watch looks again: at most once in 10 s, and not with the last of the account's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from batchform.api.contract import RateHeaders
from batchform.api.pacing import Pacer
from batchform.cli.session import Way
from batchform.cli.watching import EVERY, _until_next

if TYPE_CHECKING:
    from batchform.cli.signals import Signals
    from batchform.engine import Engine


def way(remaining: int) -> Way:
    """A way to a server that has said how many requests are left of 150, in a window that ends 33 s from now."""
    pacer = Pacer()
    pacer.sent(0.0)
    pacer.answered(RateHeaders(limit=150, remaining=remaining, reset_epoch=1_033, date_epoch=1_000), 0.0)
    nothing: Any = None
    return Way(engine=cast("Engine", nothing), pacer=pacer, signals=cast("Signals", nothing))


@pytest.mark.parametrize(("took", "wait"), [(0.0, EVERY), (4.0, EVERY - 4.0), (30.0, 0.0)])
def test_rounds_begin_ten_seconds_apart(took: float, wait: float) -> None:
    """However long one took; one that took longer is followed at once."""
    assert _until_next(way(149), 0.0, took) == pytest.approx(wait)


def test_the_last_fifth_of_the_requests_is_left_to_others() -> None:
    """Then the next round waits for the next window."""
    assert _until_next(way(30), 0.0, 0.0) == pytest.approx(EVERY)
    assert 33.0 <= _until_next(way(29), 0.0, 0.0) <= 36.0
