"""What apply says while it works: a line that is redrawn on a terminal, a plain line now and then in a log, or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from batchform import __version__
from batchform.api.pacing import estimate
from batchform.cli import ci
from batchform.model import Service
from batchform.render.documents.stream import event_document, planned_documents, report_documents, version_document
from batchform.render.text.event import event_text
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.report import report_text
from batchform.state.events import AlreadyStarted, Intended, NotAttempted, Rejected, Released, Started, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batchform.api.pacing import Pacer
    from batchform.apply import Report
    from batchform.cli.terminal import Terminal
    from batchform.engine import Clock
    from batchform.plan import Plan
    from batchform.state.events import Event

_LOG_EVERY = 10.0  # seconds between two lines in a log
_LIVE_EVERY = 0.2  # seconds between two looks of the line on a terminal
_WORTH_A_LINE = (AlreadyStarted, NotAttempted, Rejected, Released, Unknown)


class Progress(Protocol):
    """Told what happens; shows it its own way."""

    every: float

    def planned(self, made: Plan) -> None:
        """The plan that is about to be carried out."""

    def begin(self, starts: int, pacer: Pacer) -> None:
        """So many starts are to come."""

    def tell(self, events: Sequence[Event]) -> None:
        """These events are on disk."""

    def tick(self) -> None:
        """Time has passed."""

    def end(self) -> None:
        """No more will come."""

    def report(self, what: Report, state_file: Path) -> None:
        """What came of it all."""


class TextProgress:
    """For people: the plan and the account on stdout, the way there on stderr."""

    def __init__(self, terminal: Terminal, clock: Clock) -> None:
        self._terminal, self._clock = terminal, clock
        self.every = _LIVE_EVERY if terminal.live else 1.0
        self._total = 0
        self._pacer: Pacer | None = None
        self._began = self._shown = clock.monotonic()
        self._settled: dict[str, bool] = {}
        self._drawn = False

    def planned(self, made: Plan) -> None:
        """Print the plan."""
        self._wipe()
        text = plan_text(made, self._terminal.style)
        self._terminal.data(ci.grouped(text, "Batches", self._clock.now()))
        notices = notices_text(made, self._terminal.talk_style)
        if notices:
            self._terminal.talk(notices)

    def begin(self, starts: int, pacer: Pacer) -> None:
        """Start counting."""
        self._total, self._pacer = starts, pacer
        self._began = self._shown = self._clock.monotonic()
        self._settled.clear()

    def tell(self, events: Sequence[Event]) -> None:
        """Count, and print what is out of the ordinary."""
        for event in events:
            if isinstance(event.what, _WORTH_A_LINE):
                self._wipe()
                self._terminal.talk(event_text(event, self._terminal.talk_style))
            if isinstance(event.what, Intended):
                self._settled.pop(event.batch_id, None)
            elif isinstance(event.what, (Started, *_WORTH_A_LINE)):
                self._settled[event.batch_id] = isinstance(event.what, Started)

    def tick(self) -> None:
        """Draw the line anew, or print one when enough time has passed."""
        now = self._clock.monotonic()
        if now - self._shown < (_LIVE_EVERY if self._terminal.live else _LOG_EVERY):
            return
        self._shown = now
        line = "Looking at the account ..."  # which may take long: reads that settle something, a limit to wait out
        if self._pacer is not None:
            started = sum(self._settled.values())
            left = self._total - len(self._settled)
            line = f"Applying: {started:,} of {self._total:,} started, {self._left(left, now)}"
        if self._terminal.live:
            self._terminal.talk(f"\r\x1b[K{line}", end="")
            self._drawn = True
        else:
            self._terminal.talk(line)

    def _left(self, left: int, now: float) -> str:
        """How long the rest may take, by the rate limit and the pace so far."""
        if self._pacer is None or not left:
            return "waiting for the last answers"
        done = max(len(self._settled), 1)
        seconds = estimate(
            requests=left,
            limit=self._pacer.limit,
            remaining=self._pacer.left(now),
            seconds_to_reset=self._pacer.resets_in(now),
            window=self._pacer.window,
            seconds_each=(now - self._began) / done if len(self._settled) < self._pacer.limit else 0.0,
        )
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {max(seconds, 1):.0f} s left"

    def _wipe(self) -> None:
        if self._drawn:
            self._terminal.talk("\r\x1b[K", end="")
            self._drawn = False

    def end(self) -> None:
        """Take the line away."""
        self._wipe()
        self._pacer = None

    def report(self, what: Report, state_file: Path) -> None:
        """Print the outcome table."""
        self._terminal.data("\n" + report_text(what, self._terminal.style, state_path=str(state_file)))


class JsonProgress:
    """For programs: one JSON object a line on stdout."""

    def __init__(self, terminal: Terminal, clock: Clock) -> None:
        self._terminal, self._clock = terminal, clock
        self.every = 1.0
        self._service = Service.PHONE
        self._shown = clock.monotonic()
        self._line(version_document(__version__, at=clock.now()))

    def _line(self, document: dict[str, Any]) -> None:
        self._shown = self._clock.monotonic()
        self._terminal.data(json.dumps(document))

    def planned(self, made: Plan) -> None:
        """Print the lines of the plan."""
        self._service = made.service
        for document in planned_documents(made, at=self._clock.now()):
            self._line(document)

    def begin(self, starts: int, pacer: Pacer) -> None:
        """Nothing: the plan has said it."""

    def tell(self, events: Sequence[Event]) -> None:
        """A line for each event."""
        for event in events:
            self._line(event_document(event, service=self._service))

    def tick(self) -> None:
        """Events are the progress; where none comes for long, a line in the log."""
        if self._clock.monotonic() - self._shown >= _LOG_EVERY:
            self._shown = self._clock.monotonic()
            self._terminal.talk("Still at work ...")

    def end(self) -> None:
        """Nothing."""

    def report(self, what: Report, state_file: Path) -> None:  # noqa: ARG002  # the protocol's signature
        """Print the lines of the report."""
        for document in report_documents(what, at=self._clock.now()):
            self._line(document)
