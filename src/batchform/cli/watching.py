"""How a watch is shown: a table that is redrawn on a terminal, lines in a log, JSON for programs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.cli import session
from batchform.engine import Interrupted
from batchform.errors import Exit
from batchform.observe import Subject
from batchform.render.documents.status import status_document
from batchform.render.escape import printable
from batchform.render.text.status import changed_lines, frame, log_words
from batchform.state.reader import read
from batchform.watch import watch as watch_batches

if TYPE_CHECKING:
    from batchform.api.endpoint import Endpoint
    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.model import ServerProblem
    from batchform.status import Snapshot

_REDRAW: Final = 0.5  # seconds
_LOG_EVERY: Final = 60.0  # seconds between two lines about progress in a log


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a watch is about, and when it gives up: `timeout` in seconds, None for never, 0 for one look."""

    asked: Question
    endpoint: Endpoint
    token: str
    run: str
    timeout: float | None


class Display:
    """Shows nothing; its subclasses show each round of a watch."""

    def update(self, look: Snapshot, left: float | None) -> None:
        """Show the stages of the batches. The last batch ends in about `left` seconds."""

    def failed(self, problem: ServerProblem) -> None:
        """Show that the account could not be read."""

    def tick(self) -> None:
        """Called about twice a second on a terminal."""

    def close(self) -> None:
        """Called once, at the end."""


class Screen(Display):
    """For a person: one frame, redrawn in place on the terminal's other screen, which a resize cannot disturb.

    A frame is one write: the cursor goes home, each line is written over the one before and its rest erased. So nothing
    flickers, and nothing of an older or wider frame is left.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._look: Snapshot | None = None
        self._left: float | None = None
        self._note = ""
        self._drawn: tuple[str, tuple[int, int]] | None = None
        self._at = session.clock.monotonic()

    def update(self, look: Snapshot, left: float | None) -> None:
        """Draw it."""
        self._look, self._left, self._note = look, left, ""
        self._at = session.clock.monotonic()
        self._draw()

    def failed(self, problem: ServerProblem) -> None:
        """Say so below the table, which stays."""
        self._note = f"no answer ({printable(str(problem.status or problem.title), 40)}), trying again; "
        self._draw()

    def tick(self) -> None:
        """Draw it again if the terminal has another size, or a second has passed."""
        self._draw()

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._drawn is not None:
            self._terminal.talk("\x1b[?7h\x1b[?25h\x1b[?1049l", end="")
            self._drawn = None

    def _draw(self) -> None:
        if self._look is None:
            return
        size = shutil.get_terminal_size()
        ago = session.clock.monotonic() - self._at
        footer = f"{self._note}looked {ago:.0f} s ago; Ctrl-C ends this, and nothing else"
        lines = frame(
            self._look, self._terminal.talk_style, columns=size.columns, rows=size.lines, left=self._left, footer=footer
        )
        text = "\r\n".join(f"{line}\x1b[K" for line in lines)
        if self._drawn == (text, size):
            return
        opening = (
            "" if self._drawn is not None else "\x1b[?1049h\x1b[?25l\x1b[?7l"
        )  # other screen, no cursor, no wrapping
        self._terminal.talk(f"{opening}\x1b[?2026h\x1b[H{text}\x1b[J\x1b[?2026l", end="")
        self._drawn = (text, size)


class Log(Display):
    """For a log: a plain line when a batch stands otherwise, and how far it all is, now and then."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._look: Snapshot | None = None
        self._said_at = -_LOG_EVERY

    def update(self, look: Snapshot, left: float | None) -> None:
        """Say what is new."""
        time, now = f"{look.at:%H:%M:%S}", session.clock.monotonic()
        lines = changed_lines(self._look, look)
        for line in lines:
            self._terminal.talk(f"{time} {line}")
        words = log_words(look, left)
        if words and (lines or now - self._said_at >= _LOG_EVERY):
            self._terminal.talk(f"{time} {words}")
            self._said_at = now
        self._look = look

    def failed(self, problem: ServerProblem) -> None:
        """Say so."""
        self._terminal.warn(_missed(problem))


class JsonLog(Display):
    """For a program: a document a line when something has changed."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: object = None

    def update(self, look: Snapshot, left: float | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Print it, unless it is the same as before."""
        if look.standings != self._last:
            self._terminal.data(json.dumps(status_document(look)))
            self._last = look.standings

    def failed(self, problem: ServerProblem) -> None:
        """Say so, on stderr."""
        self._terminal.warn(_missed(problem))


def _missed(problem: ServerProblem) -> str:
    return f"The account could not be read ({printable(str(problem.status or problem.title), 60)}); trying again."


def display_for(terminal: Terminal, *, as_json: bool) -> Display:
    """The display that fits the output."""
    if as_json:
        return JsonLog(terminal)
    return Screen(terminal) if terminal.live else Log(terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the last round of a watch saw, and the exit code of the signal that ended it, if one did."""

    look: Snapshot
    signal: Exit | None


def watch(terminal: Terminal, watched: Watched, display: Display) -> Result:
    """Watch until no batch is processing, the time is over or a signal comes.

    Raises:
        ServerError: The account could not be read even once, or the server refused the credentials.
    """
    asked, fresh = watched.asked, session.fresh_state(watched.asked.config, watched.endpoint)
    with session.way(
        terminal,
        endpoint=watched.endpoint,
        token=watched.token,
        run=watched.run,
        parallelism=1,
        record=lambda _: None,
        listen=lambda _: None,
        tick=display.tick,
        tick_every=_REDRAW if terminal.live else None,
    ) as way:
        subject = Subject(
            config=asked.config,
            selected=asked.selected,
            endpoint=str(watched.endpoint),
            state=lambda: read(asked.state_file).state or fresh,
        )
        try:
            last = watch_batches(
                subject, way.engine, display, pacer=way.pacer, clock=session.clock, timeout=watched.timeout
            )
        finally:
            display.close()
        end = way.engine.end
    if last is not None and (end is None or isinstance(end, Interrupted)):
        return Result(look=last, signal=Exit(128 + end.signum) if end is not None else None)
    assert end is not None  # else there is a last round
    raise session.ended(end)
