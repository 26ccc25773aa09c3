"""The judge accepts honest histories and finds every way to break the promise."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from batchform import simulator
from batchform.state.events import fold
from tests.proof import judge
from tests.state.samples import EMPTY, INTENDED, STARTED, events

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "s3cret"
BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
START, READ, LIST = ("POST", "b/start"), ("GET", "b"), ("GET", "")


class History:
    """The requests about one batch, one second apart, and their answers."""

    def __init__(self, **world: object) -> None:
        self.world = simulator.from_values({"batches": {"b": None}, "rate": {"limit": 9999}, **world})
        self.log: list[simulator.Entry] = []
        self.decisions: list[simulator.Decision] = []

    def ask(self, *requests: tuple[str, str], apart: float = 6.0) -> None:
        """Send requests, this many seconds apart."""
        for method, path in requests:
            at = BEGIN + timedelta(seconds=apart * len(self.log))
            asked = simulator.Request(
                method=method,
                path="/phone/bulk/v1/batches" + (f"/{path}" if path else ""),
                headers=(("Auth-Token", TOKEN),),
            )
            decision = self.world.handle(asked, at.timestamp())
            self.decisions.append(decision)
            self.log.append(
                simulator.Entry(
                    time=at.isoformat(),
                    method=method,
                    path=asked.path,
                    headers={"Auth-Token": "[token]"},
                    operation=decision.operation,
                    batch_id=decision.batch_id,
                    did=decision.did,
                    accepted=decision.accepted,
                    credits_charged=decision.credits_charged,
                    status=decision.status_sent,
                    remaining=decision.remaining,
                )
            )

    def judge(self) -> None:
        """Check whether each repetition had a reason."""
        judge.looked_before_repeating(self.log, self.decisions, settle=10.0, spacing=5.0)


def failing(*statuses: int) -> list[dict[str, object]]:
    """Starts that get this answer and have no effect."""
    return [{"operation": "start", "fault": "answer", "status": status} for status in statuses]


def test_honest_histories_are_acquitted() -> None:
    """A start; a throttled one; one with two reads; one for a batch that is not found."""
    for faults, requests in (
        ([], [LIST, START]),
        (failing(429), [LIST, START, START]),
        (failing(503), [START, READ, READ, START]),
        (failing(503, 503), [START, READ, READ, START, READ, READ, START, LIST]),
    ):
        history = History(faults=faults)
        history.ask(*requests)
        history.judge()
        judge.paid_once(history.log)


@pytest.mark.parametrize(
    ("requests", "apart", "why"),
    [
        ([START, START], 6.0, "after 0 reads"),
        ([START, READ, START], 6.0, "after 1 reads"),
        ([START, LIST, LIST, START], 6.0, "after 0 reads"),
        ([START, READ, READ, START, START], 6.0, "after 0 reads"),
        ([START, READ, READ, START], 4.0, "too hastily"),
    ],
)
def test_a_start_repeated_unread_is_found(requests: list[tuple[str, str]], apart: float, why: str) -> None:
    """Two single reads are needed, far enough apart; the list does not count."""
    history = History(faults=failing(503, 503))
    history.ask(*requests, apart=apart)
    with pytest.raises(AssertionError, match=why):
        history.judge()


def test_a_read_that_overtook_its_start_counts_where_connections_break() -> None:
    """Only the first of the two reads may precede the start, and only by a short time."""
    history = History(faults=failing(503))
    history.ask(READ, START, apart=6.0)
    history.ask(READ, START, apart=6.0)
    with pytest.raises(AssertionError, match="after 1 reads"):
        history.judge()
    judge.looked_before_repeating(history.log, history.decisions, spacing=5.0, overtaking=7.0)
    with pytest.raises(AssertionError, match="after 1 reads"):
        judge.looked_before_repeating(history.log, history.decisions, spacing=5.0, overtaking=5.0)


@pytest.mark.parametrize("look", [READ, LIST])
def test_a_start_after_it_was_shown_to_be_started_is_found(look: tuple[str, str]) -> None:
    """The server refuses the second start, but another server might not."""
    history = History()
    history.ask(START, look, START)
    with pytest.raises(AssertionError, match=r"after it had been shown as (processing|completed)"):
        history.judge()


def test_a_start_paid_for_twice_is_found() -> None:
    """This follows from the log alone."""
    history = History()
    history.ask(START)
    with pytest.raises(AssertionError, match="more than once"):
        judge.paid_once([*history.log, *history.log])


def test_a_lost_and_a_dreamt_outcome_are_found() -> None:
    """An accepted start that is missing or only intended, and a recorded start that was never accepted."""
    history = History()
    history.ask(START)
    intended = fold(EMPTY, events(INTENDED, batch="b")).entries
    started = fold(EMPTY, events(INTENDED, STARTED, batch="b")).entries
    judge.nothing_lost(history.log, started)
    judge.nothing_dreamt(history.log, started)
    for known in ({}, intended):
        with pytest.raises(AssertionError, match="lost"):
            judge.nothing_lost(history.log, known)
    with pytest.raises(AssertionError, match="never accepted"):
        judge.nothing_dreamt([], started)
    judge.nothing_dreamt([], started, elsewhere=["b"])


def test_a_lock_that_is_held_is_found(tmp_path: Path) -> None:
    """No lock file, a free one, and a held one."""
    state = tmp_path / "batchform.state.json"
    judge.lock_is_free(state)
    with (tmp_path / "batchform.state.json.lock").open("wb") as stream:
        judge.lock_is_free(state)
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(AssertionError, match="still held"):
            judge.lock_is_free(state)


def test_a_token_that_got_out_is_found(tmp_path: Path) -> None:
    """Printed, written, or sent to another origin."""
    history = History()
    history.ask(LIST)
    judge.token_stayed_home(TOKEN, folder=tmp_path, spoken=["fine"])
    with pytest.raises(AssertionError, match="printed"):
        judge.token_stayed_home(TOKEN, folder=tmp_path, spoken=[f"token {TOKEN}"])
    with pytest.raises(AssertionError, match="Auth-Token"):
        judge.token_stayed_home(TOKEN, folder=tmp_path, elsewhere=history.log)
    with pytest.raises(AssertionError, match="elsewhere"):
        judge.token_stayed_home(
            TOKEN, folder=tmp_path, elsewhere=[replace(history.log[0], headers={}, path=f"/?{TOKEN}")]
        )
    (tmp_path / "note").write_text(TOKEN)
    with pytest.raises(AssertionError, match="note"):
        judge.token_stayed_home(TOKEN, folder=tmp_path)
