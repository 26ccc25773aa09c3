"""How a watch is shown: a table that is redrawn on a terminal, lines in a log, JSON for programs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.cli import session
from batchform.engine import Interrupted
from batchform.errors import Exit
from batchform.render.documents.status import status_document
from batchform.render.escape import printable
from batchform.render.text.status import changed_lines, frame, log_words
from batchform.state.store import read
from batchform.watch import watch as watch_batches

if TYPE_CHECKING:
    from batchform.cli.network import Access
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.model import ServerProblem
    from batchform.status import Snapshot

_REDRAW: Final = 0.5  # seconds
_LOG_EVERY: Final = 60.0  # seconds between two lines about progress in a log


class Display:
    """Shows nothing; its subclasses show each round of a watch."""

    def update(self, snapshot: Snapshot, left: float | None) -> None:
        """Show the stages of the batches. The last batch ends in about `left` seconds."""

    def failed(self, problem: ServerProblem) -> None:
        """Show that the account could not be read."""

    def tick(self) -> None:
        """Called about twice a second on a terminal."""

    def close(self) -> None:
        """Called once, at the end."""


class Screen(Display):
    """A table on the alternate screen of a terminal, which a resize does not disturb.

    Each frame is one write that overwrites the lines of the frame before and erases the rest of each line. So nothing
    flickers, and nothing of an older or wider frame remains.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._snapshot: Snapshot | None = None
        self._left: float | None = None
        self._note = ""
        self._drawn: tuple[str, tuple[int, int]] | None = None
        self._at = session.clock.monotonic()

    def update(self, snapshot: Snapshot, left: float | None) -> None:
        """Draw the table."""
        self._snapshot, self._left, self._note = snapshot, left, ""
        self._at = session.clock.monotonic()
        self.tick()

    def failed(self, problem: ServerProblem) -> None:
        """Add a note below the last table."""
        self._note = f"no answer ({printable(str(problem.status or problem.title), 40)}), trying again; "
        self.tick()

    def tick(self) -> None:
        """Draw the table again if the window has a new size or a second has passed."""
        if self._snapshot is None:
            return
        size = shutil.get_terminal_size()
        ago = session.clock.monotonic() - self._at
        footer = f"{self._note}updated {ago:.0f} s ago; Ctrl-C stops watching, batches keep processing"
        lines = frame(
            self._snapshot,
            self._terminal.message_style,
            columns=size.columns,
            rows=size.lines,
            left=self._left,
            footer=footer,
        )
        text = "\r\n".join(f"{line}\x1b[K" for line in lines)
        if self._drawn == (text, size):
            return
        # The alternate screen, without a cursor and without wrapping.
        opening = "" if self._drawn is not None else "\x1b[?1049h\x1b[?25l\x1b[?7l"
        self._terminal.message(f"{opening}\x1b[?2026h\x1b[H{text}\x1b[J\x1b[?2026l", end="")
        self._drawn = (text, size)

    def close(self) -> None:
        """Restore the terminal."""
        if self._drawn is not None:
            self._terminal.message("\x1b[?7h\x1b[?25h\x1b[?1049l", end="")
            self._drawn = None


class Log(Display):
    """A line for each batch that has a new stage, and the progress now and then."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._snapshot: Snapshot | None = None
        self._printed_at = -_LOG_EVERY

    def update(self, snapshot: Snapshot, left: float | None) -> None:
        """Print what is new."""
        time, now = f"{snapshot.at:%H:%M:%S}", session.clock.monotonic()
        lines = changed_lines(self._snapshot, snapshot)
        for line in lines:
            self._terminal.message(f"{time} {line}")
        words = log_words(snapshot, left)
        if words and (lines or now - self._printed_at >= _LOG_EVERY):
            self._terminal.message(f"{time} {words}")
            self._printed_at = now
        self._snapshot = snapshot

    def failed(self, problem: ServerProblem) -> None:
        """Print a warning."""
        said = printable(str(problem.status or problem.title), 60)
        self._terminal.warn(f"The account could not be read ({said}); trying again.")


class JsonLog(Log):
    """A JSON document a line when something has changed."""

    def update(self, snapshot: Snapshot, left: float | None) -> None:  # noqa: ARG002  # the signature of Display
        """Print the document unless nothing has changed."""
        if self._snapshot is None or snapshot.standings != self._snapshot.standings:
            self._terminal.data(json.dumps(status_document(snapshot)))
            self._snapshot = snapshot


def display_for(terminal: Terminal, *, as_json: bool) -> Display:
    """The display that fits the output."""
    if as_json:
        return JsonLog(terminal)
    return Screen(terminal) if terminal.live else Log(terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the last round of a watch saw, and the exit code of the signal that ended it, if one did."""

    snapshot: Snapshot
    signal: Exit | None


def watch(terminal: Terminal, scope: Scope, access: Access, display: Display, *, timeout: float | None) -> Result:
    """Watch until no batch is processing, the time is over or a signal comes.

    Args:
        terminal: Tells how often to redraw.
        scope: The batches.
        access: The server.
        display: Shows each round.
        timeout: Seconds, None: unlimited. With 0 there is one round.

    Raises:
        ServerError: The account could not be read even once, or the server refused the credentials.
    """
    fresh = scope.fresh_state(access.endpoint)
    tick_every = _REDRAW if terminal.live else None
    with session.connect(terminal, access, tick=display.tick, tick_every=tick_every) as server:
        subject = scope.subject(access.endpoint, lambda: read(scope.state_file).state or fresh)
        try:
            last = watch_batches(
                subject, server.engine, display, pacer=server.pacer, clock=session.clock, timeout=timeout
            )
        finally:
            display.close()
        end = server.engine.end
    if last is not None and (end is None or isinstance(end, Interrupted)):
        return Result(snapshot=last, signal=Exit(128 + end.signum) if end is not None else None)
    assert end is not None  # without an end there is a last round
    raise session.error_of(end)
