"""What apply prints while it works: text for people, or JSON lines for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from batchform import __version__
from batchform.api.pacing import estimate
from batchform.cli import ci
from batchform.cli.terminal import LOG_EVERY, columns_of
from batchform.model import Service
from batchform.render.documents.stream import event_document, planned_documents, report_documents, version_document
from batchform.render.escape import cut
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.report import report_text
from batchform.state.events import AlreadyStarted, Intended, NotAttempted, Rejected, Released, Started, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.api.pacing import Pacer
    from batchform.apply import Report
    from batchform.cli.terminal import Terminal
    from batchform.engine import Clock
    from batchform.plan import Plan
    from batchform.state.events import Event
    from batchform.state.store import Place

_REDRAW = 0.2  # seconds
_UNUSUAL = (AlreadyStarted, NotAttempted, Rejected, Released, Unknown)


class TextProgress:
    """The plan and the report on stdout; on stderr unusual events, and a status line that a terminal redraws."""

    def __init__(self, terminal: Terminal, clock: Clock) -> None:
        self._terminal, self._clock = terminal, clock
        self.every = _REDRAW if terminal.live else 1.0  # seconds between two ticks
        self._total = 0
        self._pacer: Pacer | None = None
        self._began = self._printed_at = clock.monotonic()
        self._done: dict[str, bool] = {}
        self._drawn = False

    def planned(self, made: Plan) -> None:
        """Print the plan."""
        self._wipe()
        text = plan_text(made, self._terminal.style, applying=True)
        self._terminal.data(ci.grouped(text, "Batches", self._clock.now()))
        notices = notices_text(made, self._terminal.message_style)
        if notices:
            self._terminal.message(notices)

    def begin(self, starts: int, pacer: Pacer) -> None:
        """Begin to count."""
        self._total, self._pacer = starts, pacer
        self._began = self._printed_at = self._clock.monotonic()
        self._done.clear()

    def record(self, events: Sequence[Event]) -> None:
        """Count, and print unusual events."""
        for event in events:
            if isinstance(event.what, _UNUSUAL):
                self._wipe()
                self._terminal.message(event_text(event, self._terminal.message_style))
            if isinstance(event.what, Intended):
                self._done.pop(event.batch_id, None)
            elif isinstance(event.what, (Started, *_UNUSUAL)):
                self._done[event.batch_id] = isinstance(event.what, Started)

    def tick(self) -> None:
        """Print the status line if it is time."""
        now = self._clock.monotonic()
        if now - self._printed_at < (_REDRAW if self._terminal.live else LOG_EVERY):
            return
        self._printed_at = now
        line = "Reading the account ..."
        if self._pacer is not None:
            started = sum(self._done.values())
            line = f"Applying: {started:,} of {self._total:,} started, {self._left(self._pacer, now)}"
        if self._terminal.live:
            line = cut(line, columns_of(sys.stderr) - 1)  # a second line would stay on the screen
            self._terminal.message(f"\r\x1b[K{line}", end="")
            self._drawn = True
        else:
            self._terminal.message(line)

    def _left(self, pacer: Pacer, now: float) -> str:
        """The time left, by the rate limit and the pace so far."""
        left = self._total - len(self._done)
        if not left:
            return "waiting for the last answers"
        seconds = estimate(
            requests=left,
            limit=pacer.limit,
            remaining=pacer.left(now),
            seconds_to_reset=pacer.resets_in(now),
            window=pacer.window,
            seconds_each=(now - self._began) / max(len(self._done), 1) if len(self._done) < pacer.limit else 0.0,
        )
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {max(seconds, 1):.0f} s left"

    def _wipe(self) -> None:
        if self._drawn:
            self._terminal.message("\r\x1b[K", end="")
            self._drawn = False

    def end(self) -> None:
        """Remove the status line."""
        self._wipe()
        self._pacer = None

    def report(self, result: Report, state_file: Place) -> None:
        """Print the report."""
        self._terminal.data("\n" + report_text(result, self._terminal.style, state_path=str(state_file)))


class JsonProgress:
    """One JSON object a line on stdout."""

    def __init__(self, terminal: Terminal, clock: Clock) -> None:
        self._terminal, self._clock = terminal, clock
        self.every = 1.0
        self._service = Service.PHONE
        self._line(version_document(__version__, at=clock.now()))

    def _line(self, document: dict[str, Any]) -> None:
        self._printed_at = self._clock.monotonic()
        self._terminal.data(json.dumps(document))

    def planned(self, made: Plan) -> None:
        """Print the lines of the plan."""
        self._service = made.service
        for document in planned_documents(made, at=self._clock.now()):
            self._line(document)

    def begin(self, starts: int, pacer: Pacer) -> None:
        """Print nothing: the plan has the number of starts."""

    def record(self, events: Sequence[Event]) -> None:
        """Print a line for each event."""
        for event in events:
            self._line(event_document(event, service=self._service))

    def tick(self) -> None:
        """Print a message to stderr when no line was printed for some time."""
        if self._clock.monotonic() - self._printed_at >= LOG_EVERY:
            self._printed_at = self._clock.monotonic()
            self._terminal.message("Still working ...")

    def end(self) -> None:
        """Print nothing: there is no status line."""

    def report(self, result: Report, state_file: Place) -> None:  # noqa: ARG002  # the signature of TextProgress
        """Print the lines of the report."""
        for document in report_documents(result, at=self._clock.now()):
            self._line(document)
