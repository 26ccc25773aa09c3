"""What a person sees after Ctrl-C, before the command ends."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from batchform.cli.signals import Signals, Terminated, letting_go

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_held_is_released_once_a_signal_comes(number: signal.Signals) -> None:
    """A second signal does not disturb the release."""
    came: list[str] = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def command() -> None:
        with letting_go():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
                came.append("released")

    with pytest.raises(Terminated) as ended:
        command()
    assert (ended.value.signum, came) == (number, ["released"])


def test_without_a_signal_all_is_as_before() -> None:
    """An ignored signal stays ignored (nohup), and a default one ends the process again."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with letting_go():
        assert signal.getsignal(signal.SIGTERM) not in {signal.SIG_DFL, signal.SIG_IGN}
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
