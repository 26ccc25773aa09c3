"""Checkouts with the real plan, observation, protocol, engine and store, and a clock that advances only by waiting.

It uses the server and wire of `tests.engine.lab`. In addition, every checkout has a real state file, lock and journal;
the server may follow the vendor's rule or not; someone else may start a batch; and all requests and answers are
recorded, so that the judge's rules can be checked for any history.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from batchform.api.contract import Answer, NotSent
from batchform.api.pacing import Pacer
from batchform.engine import Engine
from batchform.errors import ServerError
from batchform.state.events import Intended, NotAttempted, Rejected, Released, Started, Unknown
from batchform.state.local import Store, hold
from batchform.state.reader import read
from tests.engine.lab import FRESH, RULES, Clock, Crash, FakeWire, Lab, Server, batch_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from batchform.api.contract import Reply, Request
    from batchform.model import Config
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.known import State

_BEYOND: Final = frozenset({"processing", "completed", "stopped"})
_CLEAN_NO: Final = frozenset({401, 403, 406, 415, 429})


@dataclass
class Account(Server):
    """The account. `strict`: a started batch is not started again, as with the vendor, even before the start shows.

    `elsewhere` is true if someone else started a batch, `references` is which request was accepted. No batch becomes
    too old to be started, however much time passes, so that a second start is always possible.
    """

    submitted: str | None = "2036-01-01T00:00:00.000000Z"
    strict: bool = True
    elsewhere: dict[str, float] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    def handle(self, request: Request, at: float) -> Answer:
        """The answer to a request that reaches the server now."""
        batch_id = batch_of(request)
        if request.method == "POST":
            if self.strict and self.is_started(batch_id):
                return self._answer(400, {"error": {"title": "Bad Request"}}, at)
            before = len(self.accepted.get(batch_id, ()))
            answer = super().handle(request, at)
            if len(self.accepted.get(batch_id, ())) > before:
                self.references.setdefault(batch_id, request.reference_id or "")
            return answer
        return super().handle(request, at)

    def is_started(self, batch_id: str) -> bool:
        """Whether the batch was started by anyone, even if that does not show yet."""
        return bool(self.accepted.get(batch_id)) or batch_id in self.elsewhere

    def shown(self, batch_id: str, at: float, lag: float) -> str | None:
        """The status that shows. Two minutes after the start the batch is completed."""
        if batch_id in self.statuses:
            return self.statuses[batch_id]
        begun = [
            *self.accepted.get(batch_id, ())[:1],
            *([self.elsewhere[batch_id]] if batch_id in self.elsewhere else []),
        ]
        if not begun or min(begun) + lag > at:
            return "submitted"
        return "processing" if at < min(begun) + 120 else "completed"


@dataclass
class Calendar(Clock):
    """A clock whose date may jump while its seconds continue."""

    leaps: timedelta = timedelta()

    def now(self) -> datetime:
        """The local time."""
        return super().now() + self.leaps


@dataclass
class Exchange:
    """One request of a checkout and its reply, None if its run `died` first.

    `concerns` are the batches of the run: declared, or in the state.
    """

    at: float
    request: Request
    reply: Reply | None = None
    died: bool = False
    concerns: frozenset[str] = frozenset()


@dataclass
class Checkout(Lab):
    """A folder with its own state.

    `loses_intents` is a planted bug. `forgave` is the part of the history before the state was reverted: this state
    cannot know the requests before it.
    """

    path: Path | None = None
    store: Store | None = None
    loses_intents: bool = False
    history: list[Exchange] = field(default_factory=list)
    forgave: int = 0

    def engine(self) -> Engine:
        """An engine for a new run, on a wire that records."""
        self.runs += 1
        self.last = Engine(
            wire=Wire(self),
            clock=self.clock,
            pacer=Pacer(),
            record=self.record,
            run=self.run_id,
            random=lambda: 0.5,
            parallelism=self.parallelism,
            listen=self.told.extend,
        )
        return self.last

    @property
    def run_id(self) -> str:
        """The id of the current run."""
        assert self.path is not None
        return f"{self.path.parent.name}-r{self.runs}"

    def state(self) -> State:
        """The current state: of the run that holds the store, or on disk."""
        assert self.path is not None
        if self.store is not None:
            return self.store.state
        return read(self.path).state or FRESH

    def record(self, events: Sequence[Event]) -> None:
        """Write to the real journal."""
        self.step()
        assert self.store is not None
        kept = [event for event in events if not (self.loses_intents and isinstance(event.what, Intended))]
        self.store.record(kept)
        for event in events:
            if isinstance(event.what, (Intended, NotAttempted, Started, Unknown, Released, Rejected)):
                self._last_what.setdefault(event.batch_id, []).append(event.what)
        self.step()

    def command(self, wanted: Config, rules: Rules = RULES, *, refresh: bool = True) -> bool:
        """One complete apply. False if it died."""
        assert self.path is not None
        self.runs += 1
        run, self.runs = self.run_id, self.runs - 1
        before = len(self.history)
        concerns = frozenset(batch.batch_id for batch in wanted.batches) | frozenset(self.state().entries)
        fresh = replace(FRESH, lineage=self.path.parent.name)
        try:
            with hold(self.path, fresh=fresh, run=run, holder={}, now=self.clock.now()) as self.store:
                with suppress(ServerError):  # the account could not be listed: nothing was started
                    self.apply(wanted, refresh=refresh, rules=rules)
                self.step()
                self.store.commit(self.clock.now())
                self.step()
        except Crash:
            for exchange in self.history[before:]:
                exchange.died = True
            return False
        finally:
            self.store = None
            for exchange in self.history[before:]:
                exchange.concerns = concerns
        return True

    def revert(self, data: bytes | None) -> None:
        """Restore an older state, or none, as version control would. The journal is removed."""
        assert self.path is not None
        self.path.with_name(f"{self.path.name}.journal").unlink(missing_ok=True)
        if data is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(data)
        self._last_what.clear()
        self.forgave = len(self.history)

    def sent_starts(self) -> set[str]:
        """The batches for which this checkout ever sent a start."""
        return {batch_of(exchange.request) for exchange in self.history if exchange.request.method == "POST"}

    # -- the judge --

    def judge(self, account: Account, excused: set[str]) -> None:
        """Check the rules for this checkout. `excused` are batches whose start a reverted state forgot."""
        entries = self.state().entries
        assert self.path is not None
        for batch_id, reference in account.references.items():
            ours = reference.rpartition("-r")[0].endswith(f"-{self.path.parent.name}")
            if ours and batch_id not in excused:
                entry = entries.get(batch_id)
                assert entry is not None, f"{batch_id}: the start is lost"
                assert entry.recorded_as_started or entry.uncertain, f"{batch_id}: the start is lost: {entry}"
        for batch_id, entry in entries.items():
            assert account.is_started(batch_id) or not entry.recorded_as_started, f"{batch_id}: dreamt of: {entry}"
        for batch_id in {batch_of(exchange.request) for exchange in self.history} - {""}:
            self._looked_before_repeating(batch_id)

    def _looked_before_repeating(self, batch_id: str) -> None:
        """Check the judge's rule for the requests and answers of this checkout about one batch."""
        last: Exchange | None = None
        reads: list[float] = []
        shown, missing = "", False
        for exchange in self.history[self.forgave :]:
            reply = exchange.reply
            if exchange.request.method != "POST":
                told = told_of(reply, batch_id)
                if told in _BEYOND and not exchange.died and batch_id in exchange.concerns:
                    shown = told  # otherwise the answer is not, or perhaps not, recorded
                if batch_of(exchange.request) == batch_id:
                    reads += [exchange.at] if told == "submitted" else []
                    missing = missing or (isinstance(reply, Answer) and reply.status in {400, 404})
            elif batch_of(exchange.request) == batch_id:
                assert not shown, f"{batch_id}: a start after it was shown as {shown}"
                if last is not None and not is_clean_no(last.reply) and not (missing and is_plain_no(last.reply)):
                    assert len(reads) >= 2, f"{batch_id}: a start after {len(reads)} reads"
                    assert reads[-1] - max(reads[0], last.at) >= RULES.settle - 1e-6, f"{batch_id}: {reads}"
                last, reads, missing = exchange, [], False


class Wire(FakeWire):
    """A wire that records requests and replies."""

    def __init__(self, lab: Checkout) -> None:
        super().__init__(lab)
        self._checkout = lab
        self._asked: dict[int, Exchange] = {}

    def submit(self, ticket: int, request: Request) -> None:
        """Send a request."""
        exchange = self._asked[ticket] = Exchange(self._checkout.clock.seconds, request)
        sent = len(self._checkout.sent)
        try:
            super().submit(ticket, request)
        finally:
            if len(self._checkout.sent) > sent:  # otherwise the process died before
                self._checkout.history.append(exchange)

    def collect(self, timeout: float | None) -> list[tuple[int, Reply]]:
        """The replies that have arrived."""
        replies = super().collect(timeout)
        for ticket, reply in replies:
            self._asked[ticket].reply = reply
        return replies


def told_of(reply: Reply | None, batch_id: str) -> str:
    """The status of this batch in a status or list answer, or empty."""
    if not isinstance(reply, Answer) or reply.status != 200:
        return ""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return ""
    result = (document.get("result") or {}) if isinstance(document, dict) and not document.get("error") else {}
    for one in result.get("batches", [result]):
        if one.get("batch_id") == batch_id:
            return str(one.get("status") or "")
    return ""


def is_clean_no(reply: Reply | None) -> bool:
    """Whether the answer clearly means that the start had no effect."""
    return isinstance(reply, NotSent) or (isinstance(reply, Answer) and reply.status in _CLEAN_NO)


def is_plain_no(reply: Reply | None) -> bool:
    """Whether a start was answered 400 or 404."""
    return isinstance(reply, Answer) and reply.status in {400, 404}
