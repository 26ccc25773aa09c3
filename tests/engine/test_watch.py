"""A watch: when it reads the account, what it reads singly, and how it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from batchform.api.contract import Answer, RateHeaders
from batchform.api.pacing import Pacer
from batchform.errors import Exit, ServerError
from batchform.observe import Subject
from batchform.protocol import Pause, Send
from batchform.state.known import Entry, Phase
from batchform.watch import EVERY, EVERY_IN_LAG, Rounds, watch
from tests.engine.lab import ENDPOINT, FRESH, NOW, Clock, Fate, Lab, Server, config, failed, ids

if TYPE_CHECKING:
    from batchform.api.contract import Reply
    from batchform.model import ServerProblem
    from batchform.state.known import State
    from batchform.status import Snapshot


@dataclass
class Heard:
    """A listener that keeps what it gets."""

    snapshots: list[Snapshot] = field(default_factory=list)
    problems: list[ServerProblem] = field(default_factory=list)

    def update(self, snapshot: Snapshot, left: float | None) -> None:
        """A round."""
        self.snapshots.append(snapshot)

    def failed(self, problem: ServerProblem) -> None:
        """A round without an answer."""
        self.problems.append(problem)


def subject(names: list[str]) -> Subject:
    """These batches, with nothing known of them."""
    return Subject(config=config(names), selected=None, endpoint=ENDPOINT, state=lambda: FRESH)


def listing(**statuses: str) -> Answer:
    """A list of these batches."""
    batches: list[dict[str, Any]] = [{"batch_id": name, "status": status} for name, status in statuses.items()]
    return Answer(status=200, body=json.dumps({"result": {"batches": batches}}).encode())


def play(
    replies: list[Reply],
    *,
    timeout: float | None = None,
    took: float = 0.0,
    pacer: Pacer | None = None,
    known: State = FRESH,
) -> tuple[list[float], Heard]:
    """The pauses between rounds that get these replies, each after `took` seconds, and what the listener got."""
    heard, clock, pauses = Heard(), Clock(), []
    what = replace(subject(["a"]), state=lambda: known)
    rounds = Rounds(what, heard, pacer=pacer or Pacer(), clock=clock, skew=lambda: None)
    conversation = rounds.conversation(timeout)
    left = iter(replies)
    try:
        step = next(conversation)
        while True:
            match step:
                case Send():
                    clock.seconds += took
                    step = conversation.send(next(left))
                case Pause():
                    pauses.append(step.seconds)
                    clock.seconds += step.seconds
                    step = conversation.send(None)
                case _:
                    raise AssertionError(step)
    except StopIteration:
        assert next(left, None) is None, "not all replies were asked for"
    return pauses, heard


RUNNING, DONE = listing(a="processing"), listing(a="completed")


@pytest.mark.parametrize(("took", "wait"), [(0.0, EVERY), (4.0, EVERY - 4.0), (30.0, 0.0)])
def test_rounds_begin_ten_seconds_apart(took: float, wait: float) -> None:
    """A round that takes longer is followed at once."""
    pauses, heard = play([RUNNING, RUNNING, DONE], took=took)
    assert pauses == pytest.approx([wait, wait])
    assert [one.under_way for one in heard.snapshots] == [True, True, False]


def started(ago: float, phase: Phase = Phase.STARTED) -> State:
    """The batch was started that many seconds before the watch."""
    at = NOW - timedelta(seconds=ago)
    words = {"batch_id": "a", "name": "a", "status": "processing", "settled_at": at, "updated_at": at, "run": "r0"}
    return replace(FRESH, entries={"a": Entry(phase=phase, **words)})  # type: ignore[arg-type]  # of many types


@pytest.mark.parametrize("phase", [Phase.STARTED, Phase.ALREADY_STARTED])
def test_a_status_that_lags_behind_its_start_is_waited_for(phase: Phase) -> None:
    """Listed as submitted just after its start, it is under way, and the account is read every 5 s."""
    waiting = listing(a="submitted")
    pauses, heard = play([waiting, waiting, RUNNING, DONE], known=started(1.0, phase))
    assert pauses == [EVERY_IN_LAG, EVERY_IN_LAG, EVERY]
    assert heard.snapshots[-1].verdict is Exit.DONE


@pytest.mark.parametrize(("ago", "rounds"), [(591.0, 3), (600.0, 1), (-591.0, 3), (-3600.0, 1)])
def test_the_lag_is_over_after_ten_minutes(ago: float, rounds: int) -> None:
    """Then the batch is not started, and the watch ends."""
    timeout = 15.0
    _, heard = play([listing(a="submitted")] * rounds, known=started(ago), timeout=timeout)
    assert len(heard.snapshots) == rounds
    assert heard.snapshots[-1].verdict is (Exit.TIMEOUT if ago == -591.0 else Exit.INCOMPLETE)


@pytest.mark.parametrize(("remaining", "shortest", "longest"), [(30, EVERY, EVERY), (29, 33.0, 36.0)])
def test_the_last_fifth_of_the_requests_is_left_to_others(remaining: int, shortest: float, longest: float) -> None:
    """The next round then waits for the next window, which begins in 33 s."""
    pacer = Pacer()
    pacer.sent(0.0)
    pacer.answered(RateHeaders(limit=150, remaining=remaining, reset_epoch=1_033, date_epoch=1_000), 0.0)
    pauses, _ = play([RUNNING, DONE], pacer=pacer)
    assert shortest <= pauses[0] <= longest


@pytest.mark.parametrize(("timeout", "pauses"), [(0.0, []), (25.0, [EVERY, EVERY, 5.0]), (20.0, [EVERY, EVERY])])
def test_a_watch_ends_at_its_timeout(timeout: float, pauses: list[float]) -> None:
    """The last pause is cut short, and no round follows it."""
    rounds = max(len(pauses), 1)
    assert play([RUNNING] * rounds, timeout=timeout)[0] == pauses


def test_a_round_without_an_answer_is_followed_by_the_next() -> None:
    """It is reported, and the round itself does not retry."""
    pauses, heard = play([failed(503), failed(500), DONE])
    assert pauses == [EVERY, EVERY]
    assert [problem.status for problem in heard.problems] == [503, 500]
    assert len(heard.snapshots) == 1


def test_batches_that_the_list_lacks_are_read_singly() -> None:
    """At most ten in a round."""
    names = ids(15)
    lab = Lab(server=Server(names, statuses=dict.fromkeys(names, "completed")))
    for name in names:
        lab.server.statuses[name] = "processing"
    lab.apply(config(names))
    lab.server.unlisted = set(names)
    lab.server.statuses = dict.fromkeys(names, "completed")
    before, heard = len(lab.sent), Heard()
    known = Subject(config=config(names), selected=None, endpoint=ENDPOINT, state=lab.state)
    watch(known, lab.engine(), heard, pacer=Pacer(), clock=lab.clock, timeout=5.0)
    assert len(lab.sent) - before == 1 + 10
    assert sum(standing.observed for standing in heard.snapshots[0].standings) == 10


def test_a_watch_that_never_reads_the_account_is_an_error() -> None:
    """It gives the problem of the last round."""
    lab = Lab(server=Server(["a"]), fate=lambda _request, _number: Fate(reply=failed(503)))
    with pytest.raises(ServerError, match="could not be read") as error:
        watch(subject(["a"]), lab.engine(), Heard(), pacer=Pacer(), clock=lab.clock, timeout=15.0)
    assert "503" in error.value.detail
    assert len(lab.sent) == 2


def test_refused_credentials_end_a_watch() -> None:
    """The engine has the reason, so there is neither a result nor an error."""
    lab = Lab(server=Server(["a"]), fate=lambda _request, _number: Fate(reply=failed(401)))
    engine = lab.engine()
    assert watch(subject(["a"]), engine, Heard(), pacer=Pacer(), clock=lab.clock, timeout=None) is None
    assert engine.end is not None
    assert len(lab.sent) == 1
