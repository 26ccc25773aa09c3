"""Random histories over the real code: the judge's rules hold after every step.

Hypothesis makes the histories: applies with any faults, deaths at any step, changing declarations, reverted states, a
second checkout that shares only the account, starts at the vendor's console, and time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from batchform import protocol
from batchform.api.contract import Answer, Broken, NotSent
from batchform.state import events as state_events
from batchform.state.events import Forgotten
from tests.engine.lab import RULES, Fate, config, failed, ids
from tests.engine.test_crashes import DEAF, GARBAGE
from tests.proof.land import Account, Calendar, Checkout

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.api.contract import Reply
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.known import Entry

BATCHES: Final = ids(4)
FINE: Final = Fate()
WEATHERS: Final[list[Reply]] = [*GARBAGE, failed(429), failed(403), NotSent(cause="refused"), Broken(cause="reset")]
SHOWS_LATE: Final = 6.4
"""Seconds by which a status may lag. A start arrives within 3 s, so it shows within the 10 s of `Rules.settle`."""

fates = st.builds(
    lambda way, reaches, reply: (
        Fate(way[0]) if reply is None else Fate(way[0], reaches and reply not in DEAF, reply, way[1])
    ),
    st.sampled_from([(0.01, 0.5), (0.3, 0.5), (6.0, 0.5), (0.3, 10.0), (1.0, 3.0)]),  # the last two arrive too late
    st.booleans(),
    st.one_of(st.none(), st.none(), st.sampled_from([reply for reply in WEATHERS if reply != failed(403)])),
)
refusals = st.just(Fate(0.1, reaches=False, reply=failed(403)))
held = st.just(Fate(0.3, reply=Broken(cause="reset"), arrives=60.0))
"""A proxy breaks the connection at once, and passes the request on 18 s later: within `Rules.in_flight`."""
weathers = st.lists(st.one_of(fates, fates, fates, refusals, held), max_size=12).map(tuple)
crashes = st.one_of(st.none(), st.none(), st.integers(1, 60))


class History(RuleBasedStateMachine):
    """One history. Planted bugs change `patience` and `loses_intents`."""

    patience: ClassVar[Rules] = RULES
    loses_intents: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.declared = set(BATCHES)
        self.held: set[str] = set()
        self.excused: set[str] = set()
        self.dropped: set[str] = set()  # batches that no state needs to contain any more
        self.blind = False  # batches that the state may have forgotten and only the account knows

    @initialize(strict=st.booleans(), lag=st.sampled_from([0.0, 1.0, SHOWS_LATE]), stale=st.sampled_from([0.0, 300.0]))
    def begin(self, *, strict: bool, lag: float, stale: float) -> None:
        """An account and two checkouts. If the server would start a batch twice, the second checkout is not used."""
        self.clock = Calendar()
        self.account = Account(BATCHES, lag=lag, list_lag=stale, strict=strict)
        self.checkouts = [self._checkout("one"), self._checkout("two")]
        first, second = self.checkouts
        second.arrivals, second.sent, second.at = first.arrivals, first.sent, first.at
        self.copies: list[bytes | None] = [None]

    def _checkout(self, name: str) -> Checkout:
        folder = self.folder / name
        folder.mkdir()
        return Checkout(
            self.account,
            clock=self.clock,
            path=folder / "state.json",
            parallelism=3,
            loses_intents=self.loses_intents,
        )

    def teardown(self) -> None:
        """Without faults, two more applies start the rest, and the third one has nothing to do."""
        try:
            if hasattr(self, "checkouts"):
                self.finish()
        finally:
            shutil.rmtree(self.folder)

    # -- steps --

    @rule(
        second=st.booleans(),
        weather=weathers,
        crash=crashes,
        refresh=st.booleans(),
        parallelism=st.integers(1, 4),
    )
    def apply(
        self, *, second: bool, weather: tuple[Fate, ...], crash: int | None, refresh: bool, parallelism: int
    ) -> None:
        """An apply with some faults, which may die."""
        one = self.checkouts[second and self.account.strict]
        first = len(one.sent)
        one.fate = lambda _request, number: weather[number - first] if number - first < len(weather) else FINE
        one.crash_at = None if crash is None else one.steps + crash
        one.parallelism = parallelism
        one.command(self._wanted(), self.patience, refresh=refresh or self.blind)
        one.crash_at = None

    def _wanted(self) -> Any:
        wanted = config(sorted(self.declared))
        return replace(
            wanted, batches=tuple(replace(batch, hold=batch.batch_id in self.held) for batch in wanted.batches)
        )

    @rule(batch_id=st.sampled_from(BATCHES))
    def take_out_or_put_back(self, *, batch_id: str) -> None:
        """A pull request changes the declarations."""
        self.declared ^= {batch_id}

    @rule(batch_id=st.sampled_from(BATCHES))
    def hold_or_let_go(self, *, batch_id: str) -> None:
        """Another one sets or removes `hold`."""
        self.held ^= {batch_id}

    @rule(batch_id=st.sampled_from(BATCHES))
    def list_it_or_not(self, *, batch_id: str) -> None:
        """The list does not always contain every batch."""
        self.account.unlisted ^= {batch_id}

    @precondition(lambda self: self.account.strict)
    @rule(batch_id=st.sampled_from(BATCHES))
    def somebody_else_starts_it(self, *, batch_id: str) -> None:
        """Someone starts it at the vendor's console."""
        if not self.account.is_started(batch_id):
            self.account.elsewhere[batch_id] = self.clock.seconds

    @rule(seconds=st.sampled_from([0.5, 20.0, 1_000.0]))
    def time_passes(self, *, seconds: float) -> None:
        """Time passes."""
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.checkouts[0].reach(self.clock.seconds)

    @rule()
    def more_than_a_month_passes(self) -> None:
        """Undeclared batches may be removed from the state, but the account knows them."""
        for one in self.checkouts:
            known = one.state().entries
            self.dropped |= {batch_id for batch_id in BATCHES if batch_id not in self.declared}
            self.dropped |= {batch_id for batch_id, entry in known.items() if not entry.declared}
        self._wait(1_000.0)
        self.clock.leaps += timedelta(days=40)
        self.account.skew = self.clock.leaps
        self.blind = self.blind or not self.account.strict

    @rule()
    def commit_the_state(self) -> None:
        """The state on disk is committed, and may be restored later."""
        path = self.checkouts[0].path
        assert path is not None
        self.copies.append(path.read_bytes() if path.exists() else None)

    @rule(which=st.integers(0, 20))
    def revert_the_state(self, *, which: int) -> None:
        """An older commit is restored, or a runner with the only copy disappears.

        A server that would start a batch twice gets time to show its starts; the list still may not contain the batch.
        """
        self.checkouts[0].revert(self.copies[which % len(self.copies)])
        self.excused |= self.checkouts[0].sent_starts()  # some may still be on their way
        if not self.account.strict:
            self._wait(400.0)
            self.blind = True

    # -- properties --

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        """This holds for any number of requests."""
        if hasattr(self, "account"):
            assert {key: len(times) for key, times in self.account.accepted.items() if len(times) > 1} == {}

    @invariant()
    def every_state_is_true(self) -> None:
        """Accepted starts are started or unknown, recorded starts were accepted, and no repeat came without reads."""
        if hasattr(self, "checkouts"):
            self.checkouts[0].judge(self.account, self.excused | self.dropped)
            self.checkouts[1].judge(self.account, self.dropped)

    def finish(self) -> None:
        """Without faults and with everything declared, all are started once and known, and nothing more is sent."""
        self.declared, self.held = set(BATCHES), set()
        self.account.unlisted = set()
        used = self.checkouts if self.account.strict else self.checkouts[:1]
        for one in used:
            self._wait(1_000.0)
            one.fate = lambda _request, _number: FINE
            for _ in range(2):
                assert one.command(self._wanted(), self.patience)
        self.excused.clear()
        self.dropped.clear()
        self.nothing_is_paid_for_twice()
        self.every_state_is_true()
        assert [batch_id for batch_id in BATCHES if not self.account.is_started(batch_id)] == []
        for one in used:
            known = one.state().entries
            assert [batch_id for batch_id in BATCHES if not known[batch_id].recorded_as_started] == []
            starts = len(one.starts)
            assert one.command(self._wanted(), self.patience)
            assert len(one.starts) == starts


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """These histories have no power loss; `test_power_loss` tests that."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize(
    ("examples", "steps"), [(60, 20), pytest.param(2_000, 30, marks=pytest.mark.full)], ids=["some", "many"]
)
def test_in_any_history_nothing_is_paid_twice_and_no_outcome_is_lost(
    examples: int, steps: int, record_property: Callable[[str, object], None]
) -> None:
    """The judge's rules hold after every step, and in the end everything is started once and known."""
    run_state_machine_as_test(History, settings=settings(max_examples=examples, stateful_step_count=steps))
    record_property("counted", f"histories: {examples:,} of up to {steps} steps over the real code")


class Hasty(History):
    """A planted bug: no time for a start to show."""

    patience = replace(RULES, settle=0.0)


class Careless(History):
    """A planted bug: attempts are not recorded on disk."""

    loses_intents = True


def found(machine: type[History]) -> None:
    """Whether the machine finds a fault in a few thousand histories."""
    quick = settings(
        max_examples=3_000, stateful_step_count=20, phases=[Phase.generate], derandomize=True, database=None
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quick)


@pytest.mark.parametrize("machine", [pytest.param(Hasty, marks=pytest.mark.full), Careless])
def test_the_histories_find_planted_bugs(machine: type[History], monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine finds planted bugs."""
    monkeypatch.setattr(protocol, "SETTLE", 0.0)  # otherwise the rules of `Hasty` are refused
    found(machine)


@pytest.mark.full
def test_the_histories_find_a_state_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: undeclared batches are removed at once."""
    step = state_events.step

    def dropping(entry: Entry | None, event: Event, who: str = "") -> Entry | None:
        return None if isinstance(event.what, Forgotten) else step(entry, event, who)

    monkeypatch.setattr(state_events, "step", dropping)
    found(History)


def test_the_machine_begins_with_answers_that_mean_something() -> None:
    """The parts of the faults: clean answers, unusual ones and none."""
    assert {type(reply) for reply in WEATHERS} == {Answer, Broken, NotSent}
