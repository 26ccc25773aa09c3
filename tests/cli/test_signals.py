"""What a person sees after Ctrl-C, before the command ends."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from batchform.cli.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the handlers, because `Signals` leaves later signals ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("in_flight", "text"),
    [
        (0, ""),
        (1, "Finishing 1 request, at most 5 s; Ctrl-C again to cut them.\n"),
        (3, "Finishing 3 requests, at most 5 s; Ctrl-C again to cut them.\n"),
    ],
)
def test_the_first_signal_is_answered_at_once(in_flight: int, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Only the first signal prints, and only while requests are in flight. The engine gets both."""
    came: list[int] = []
    engine: Any = SimpleNamespace(in_flight=in_flight, interrupt=came.append)
    with Signals(engine):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert came == [signal.SIGINT, signal.SIGINT]
    assert capfd.readouterr().err == text
