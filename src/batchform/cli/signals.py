"""INT, TERM and HUP: an orderly end, at whatever moment they come.

While requests may be under way they go to the engine; while a person is asked, or nothing is at stake, they end the
command at once; while the state is being committed they wait.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Self

from batchform.errors import BatchformError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from batchform.engine import Engine

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(BatchformError):  # noqa: N818  # a signal is no error
    """A signal came while nothing was under way."""

    def __init__(self, signum: int) -> None:
        super().__init__("Interrupted", "No batch was started.")
        self.exit_code = Exit(128 + signum)  # type: ignore[misc]  # this family's code is known only now


class Signals:
    """Handlers for the signals that end a run, for the length of a `with`. An ignored signal stays so (nohup).

    Once one has come, the command is about to end with its code; what comes after the `with` can only spoil that, and
    is ignored.
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
            signal.signal(number, after)  # type: ignore[arg-type]  # it is what `signal.signal` returned

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While a person is asked, a signal ends the command rather than the run; one that has just come, too."""
        self._asking = True
        try:
            if self._came is not None:
                raise Interruption(self._came)
            yield
        finally:
            self._asking = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the interpreter's signature
        self._came = signum
        if self._asking:
            self._asking = False
            raise Interruption(signum)
        self._engine.interrupt(signum)
