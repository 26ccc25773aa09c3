"""Looking at the account again and again until nothing is processing any more.

One list call a round, at most one round in 10 s, fewer when the account's requests run low. Where a person watches,
the table is redrawn in place; a log gets a plain line when something has changed; a program gets JSON. The engine
drives the rounds, so that signals end them as they end everything else.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from batchform import status
from batchform.api.contract import Listing, Missing
from batchform.cli import session
from batchform.engine import Interrupted, Task
from batchform.errors import Exit
from batchform.observe import listed, unlisted
from batchform.protocol import Order, Pause, Rules, list_all, read
from batchform.render.documents.status import status_document
from batchform.render.escape import printable
from batchform.render.text.status import changed_lines, frame, log_words
from batchform.state.reader import read as read_state
from batchform.status import Pace, Snapshot

if TYPE_CHECKING:
    from batchform.api.endpoint import Endpoint
    from batchform.cli.session import Question, Way
    from batchform.cli.terminal import Terminal
    from batchform.model import Observed, Reading, ServerProblem
    from batchform.protocol import Conversation

EVERY: Final = 10.0
"""Seconds between two rounds, at least."""

_HEADROOM: Final = 5
"""A round waits for the next window rather than take one of the last fifth of the requests."""

_SINGLE: Final = 10
"""Single reads in a round, of batches that should be processing and that the list does not name."""

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


class Show(Protocol):
    """Told what each round saw; shows it its own way."""

    def look(self, look: Snapshot, left: float | None) -> None:
        """This is how the batches stand; about `left` seconds to go."""

    def missed(self, problem: ServerProblem) -> None:
        """A round got no answer."""

    def tick(self) -> None:
        """Time has passed."""

    def end(self) -> None:
        """No more will come."""


class Quiet:
    """Shows nothing on the way."""

    def look(self, look: Snapshot, left: float | None) -> None:
        """Nothing."""

    def missed(self, problem: ServerProblem) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Screen:
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

    def look(self, look: Snapshot, left: float | None) -> None:
        """Draw it."""
        self._look, self._left, self._note = look, left, ""
        self._at = session.clock.monotonic()
        self._draw()

    def missed(self, problem: ServerProblem) -> None:
        """Say so below the table, which stays."""
        self._note = f"no answer ({printable(str(problem.status or problem.title), 40)}), trying again; "
        self._draw()

    def tick(self) -> None:
        """Draw it again if the terminal has another size, or a second has passed."""
        self._draw()

    def end(self) -> None:
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


class Log:
    """For a log: a plain line when a batch stands otherwise, and how far it all is, now and then."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._look: Snapshot | None = None
        self._said_at = -_LOG_EVERY

    def look(self, look: Snapshot, left: float | None) -> None:
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

    def missed(self, problem: ServerProblem) -> None:
        """Say so."""
        self._terminal.warn(_missed(problem))

    def tick(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class JsonLog:
    """For a program: a document a line when something has changed."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: object = None

    def look(self, look: Snapshot, left: float | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Print it, unless it is the same as before."""
        if look.standings != self._last:
            self._terminal.data(json.dumps(status_document(look)))
            self._last = look.standings

    def missed(self, problem: ServerProblem) -> None:
        """Say so, on stderr."""
        self._terminal.warn(_missed(problem))

    def tick(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def _missed(problem: ServerProblem) -> str:
    return f"The account could not be read ({printable(str(problem.status or problem.title), 60)}); trying again."


def show_for(terminal: Terminal, *, as_json: bool) -> Show:
    """The way to show a watch here."""
    if as_json:
        return JsonLog(terminal)
    return Screen(terminal) if terminal.live else Log(terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a watch ended: the last look, and the exit code of a signal, None without one."""

    look: Snapshot
    signal: Exit | None


def watch(terminal: Terminal, watched: Watched, show: Show) -> Result:
    """Snapshot until nothing is processing, the time is over, or a signal comes.

    Raises:
        ServerError: The account could not be read even once, or every call is refused.
    """
    rounds = _Rounds(watched, show)
    with session.way(
        terminal,
        endpoint=watched.endpoint,
        token=watched.token,
        run=watched.run,
        parallelism=1,
        record=lambda _: None,
        listen=lambda _: None,
        tick=show.tick,
        tick_every=_REDRAW if terminal.live else None,
    ) as way:
        try:
            way.engine.run_tasks([Task(key="watch", conversation=rounds.talk(way))])
        finally:
            show.end()
        end = way.engine.end
    if isinstance(end, Interrupted) and rounds.last is not None:
        return Result(look=rounds.last, signal=Exit(128 + end.signum))
    if end is not None:
        raise session.ended(end)
    if rounds.last is None:
        assert rounds.problem is not None  # a round ends in a look or in a problem
        raise unlisted(rounds.problem)
    return Result(look=rounds.last, signal=None)


class _Rounds:
    """The talk of a watch, and what it saw last."""

    def __init__(self, watched: Watched, show: Show) -> None:
        self._watched, self._show = watched, show
        self._pace = Pace()
        self.last: Snapshot | None = None
        self.problem: ServerProblem | None = None

    def talk(self, way: Way) -> Conversation[None]:
        """Round after round."""
        timeout = self._watched.timeout
        give_up = None if timeout is None else session.clock.monotonic() + timeout
        while True:
            began = session.clock.monotonic()
            yield from self._round(way)
            now = session.clock.monotonic()
            is_over = self.last is not None and not self.last.under_way
            if is_over or (give_up is not None and now >= give_up):
                return
            wait = _until_next(way, began, now)
            yield Pause(wait if give_up is None else min(wait, give_up - now))
            if give_up is not None and session.clock.monotonic() >= give_up:
                return

    def _round(self, way: Way) -> Conversation[None]:
        asked = self._watched.asked
        wanted = {batch.batch_id for batch in asked.config.batches}
        listing = yield from list_all(asked.config.service, _ONCE, wanted)
        if not isinstance(listing, Listing):
            self.problem = listing
            self._show.missed(listing)
            return
        observed = listed(listing, way.engine.skew)
        seen = self._look(observed)
        single: dict[str, Reading] = {}
        for one in status.unlisted(seen)[:_SINGLE]:
            order = Order(service=asked.config.service, batch_id=one.change.batch_id, reference_id="")
            found: Reading | Missing | None = yield from read(order, _ONCE, believe_missing=False)
            if found is not None and not isinstance(found, Missing):
                single[one.change.batch_id] = found
        if single:
            seen = self._look(replace(observed, readings=MappingProxyType({**observed.readings, **single})))
        self._pace.saw(seen.standings, session.clock.monotonic())
        self.last = seen
        self._show.look(seen, self._pace.left())

    def _look(self, observed: Observed) -> Snapshot:
        asked = self._watched.asked
        return status.snapshot(
            asked.config,
            read_state(asked.state_file).state,
            observed,
            session.clock.now(),
            endpoint=str(self._watched.endpoint),
            selected=asked.selected,
        )


_ONCE: Final = Rules(read_waits=())
"""A round that gets no answer is followed by the next, not by a closer one."""


def _until_next(way: Way, began: float, now: float) -> float:
    """Seconds until the next round."""
    wait = max(EVERY - (now - began), 0.0)
    if way.pacer.left(now) * _HEADROOM < way.pacer.limit:
        wait = max(wait, way.pacer.resets_in(now))
    return wait
