"""INT, TERM and HUP end a run in good order.

While requests can be in flight, a signal goes to the engine. At a prompt it ends the command at once. During a commit
it waits. Before and after that, a command that holds a state lets go of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Self

from batchform.engine import GRACE
from batchform.errors import BatchformError, Exit
from batchform.render.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from batchform.engine import Engine

_FATAL = (signal.SIGTERM, signal.SIGHUP)
"""What ends a process at once, unless it is handled."""

_SIGNALS = (signal.SIGINT, *_FATAL)


class Interruption(BatchformError):  # noqa: N818  # a signal is no error
    """A signal came while no request was in flight."""

    def __init__(self, signum: int) -> None:
        super().__init__("Interrupted", "No batch was started.")
        self.exit_code = Exit(128 + signum)  # type: ignore[misc]  # the code depends on the signal


class Terminated(KeyboardInterrupt):
    """TERM or HUP came while no request was in flight: what Python raises for INT."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


@contextlib.contextmanager
def letting_go() -> Iterator[None]:
    """TERM and HUP raise `Terminated`, so that what is held is released. Later ones are ignored, but not Ctrl-C."""

    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  # Python's signature
        for number in _FATAL:
            signal.signal(number, signal.SIG_IGN)
        raise Terminated(signum)

    for number in _FATAL:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number in _FATAL:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)


class Signals:
    """Handles the signals during a `with`. A signal that is ignored before stays ignored (nohup).

    After a first signal, later ones are ignored beyond the `with`: the command is ending with the code of the first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asking = False
        self._came: int | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            after = handler if self._came is None else signal.SIG_IGN
            signal.signal(number, after)  # type: ignore[arg-type]  # the value comes from `signal.signal`

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """At a prompt, a signal ends the command at once; so does one that came just before."""
        self._asking = True
        try:
            if self._came is not None:
                raise Interruption(self._came)
            yield
        finally:
            self._asking = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  # Python's signature
        first, self._came = self._came is None, signum
        if self._asking:
            self._asking = False
            raise Interruption(signum)
        self._engine.interrupt(signum)
        if first and (number := self._engine.in_flight):
            self._say(f"Finishing {count(number, 'request')}, at most {GRACE:.0f} s; Ctrl-C again to cut them.\n")

    @staticmethod
    def _say(text: str) -> None:
        """Print to stderr at once. The stream is not used, because the signal may have come during its own write."""
        with contextlib.suppress(OSError):
            os.write(2, (f"\n{text}" if os.isatty(2) else text).encode())
