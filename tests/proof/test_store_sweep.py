"""Every request of an apply to its store: the command dies at it, or the store does.

The first, the second, ... until a run comes through. After each, another machine runs; after that the judge, before
whom one more run must find nothing left to start.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.errors import StateError
from batchform.state.address import Bucket
from batchform.state.events import Intended
from batchform.state.journal import replay
from batchform.state.known import Phase
from batchform.state.objects import Objects
from batchform.state.reader import read as read_file
from batchform.state.remote.reader import read
from tests.e2e.harness import Ended, Site, Warm, site, warmed
from tests.e2e.test_loop import declared, ids
from tests.proof import judge
from tests.proof.toll import FAULTS, Toll
from tests.state.engines import BUCKET, environment, server, variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchform.state.known import Entry, State

FACTOR: Final = 100.0
LEASE: Final = 12.0
"""Seconds for which a run is certain that it holds the state. Another one watches it for LEASE / FACTOR seconds."""
APPLY: Final = ("apply", "--auto-approve")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A warm process whose commands use a store."""
    with warmed("tests.proof.leased", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


@pytest.fixture(scope="module")
def toll() -> Iterator[Toll]:
    """A store whose requests may fail."""
    with Toll(server("moto")) as made:
        yield made


class Case:
    """One account and one key of the store."""

    def __init__(self, place: Site, warm: Warm, toll: Toll, count: int) -> None:
        self.place, self.warm, self.toll, self.ids = place, warm, toll, ids(count)
        self.key = f"{uuid.uuid4().hex}/state.json"
        place.declare(declared(self.ids))

    @property
    def address(self) -> str:
        """Where the state is."""
        return f"s3://{BUCKET}/{self.key}"

    def apply(self, **more: Any) -> Ended:
        """Run apply, on the machine that has nothing but the configuration."""
        return self.run(*APPLY, **more)

    def run(self, *words: str, timeout: str = "15s", patience: float = 20.0, **more: Any) -> Ended:
        """Run a command there. A request to the store ends after `timeout`, and is tried for `patience` seconds."""
        given = {"BATCHFORM_STATE": self.address, "BATCHFORM_STORE_TIMEOUT": f"{patience * FACTOR:.0f}s"}
        environment = self.place.environment(**variables("moto", self.toll.port), **given)
        return self.warm.run(self.place, *words, lease=LEASE, timeout=timeout, environment=environment, **more)

    def state(self) -> State | None:
        """What the store holds; None also where a run is refused because a state is missing."""
        with environment("moto"), contextlib.suppress(StateError):
            return read(Objects(Bucket(scheme="s3", bucket=BUCKET, key=self.key))).state
        return None

    def entries(self) -> dict[str, Entry]:
        """The batches in it."""
        state = self.state()
        return {} if state is None else dict(state.entries)

    def recover(self) -> None:
        """The next machine makes everything good; what the first one heard is not needed for that."""
        self.toll.begin()
        judge.paid_once(self.place.log.entries)
        ended = self.apply()
        assert ended.code == 0, ended
        sent = len(self.place.requests("start"))
        again = self.apply()
        assert again.code == 0, again
        assert len(self.place.requests("start")) == sent, again
        log = self.place.log.entries
        assert judge.accepted(log) == dict.fromkeys(self.ids, 1)
        assert {entry.phase for entry in self.entries().values()} == {Phase.STARTED}
        judge.nothing_dreamt(log, self.entries())
        judge.looked_before_repeating(log, self.place.decisions, settle=10.0 / FACTOR, spacing=10.0 / FACTOR)
        self.place.token_stayed_home()


def world(count: int) -> dict[str, Any]:
    """So many batches, and a status that shows a read late."""
    return {"batches": dict.fromkeys(ids(count)), "rate": {"limit": 5000}, "lag": {"up_to": 1}, "seed": 5}


@dataclass
class Points:
    """The requests of a run, one after the other, each in a world of its own."""

    folder: Path
    warm: Warm
    toll: Toll

    def sweep(self, count: int, step: Callable[[Case, int], bool]) -> int:
        """Take every point until a run comes through; how many there were."""
        for number in itertools.count(1):
            if self.one(number, count, step, Case.recover):
                return number - 1
        raise AssertionError

    def one(self, number: int, count: int, step: Callable[[Case, int], bool], after: Callable[[Case], None]) -> bool:
        """Take this point; whether the run came through."""
        folder = self.folder / str(number)
        folder.mkdir()
        with site(folder, world(count)) as place:
            case = Case(place, self.warm, self.toll, count)
            over = step(case, number)
            after(case)
        return over


@pytest.fixture
def points(tmp_path: Path, warm: Warm, toll: Toll) -> Points:
    """Nothing taken yet."""
    return Points(tmp_path, warm, toll)


SIZES: Final = (2, pytest.param(20, marks=pytest.mark.full))


def limit(fault: str) -> str:
    """How long a request may take under this fault: not longer than needed where the store hangs."""
    return "700ms" if fault == "hangs" else "15s"


def mostly_full(*short: str) -> list[Any]:
    """All faults, of which the short form takes these."""
    return [fault if fault in short else pytest.param(fault, marks=pytest.mark.full) for fault in FAULTS]


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("count", SIZES)
def test_a_command_that_dies_at_any_request_to_its_store_is_made_good(
    how: str, count: int, points: Points, record_property: Callable[[str, object], None]
) -> None:
    """Killed before it, or after it took place: each batch is started once, and known as started by us."""

    def step(case: Case, number: int) -> bool:
        ended = case.apply(die={"at": number, "how": how})
        assert ended.code in {0, -9}, ended
        return ended.code == 0

    taken = points.sweep(count, step)
    assert taken > 8
    record_property("counted", f"store sweep: killed {how} each of {taken} requests, all recovered")


@pytest.mark.parametrize("how", ["after", pytest.param("before", marks=pytest.mark.full)])
def test_a_command_that_is_ended_at_any_request_to_its_store_lets_go_of_it(
    how: str, points: Points, record_property: Callable[[str, object], None]
) -> None:
    """By TERM, as CI systems cancel a job: the next run need not wait for the end of the lease."""
    held = 0

    def step(case: Case, number: int) -> bool:
        nonlocal held
        ended = case.apply(die={"at": number, "how": how, "by": signal.SIGTERM})
        assert ended.code in {0, 143}, ended
        held += case.run("state", "lock").code != 0
        return ended.code == 0

    taken = points.sweep(2, step)  # from the commit on, the signal changes nothing
    assert taken > 5
    assert held <= 1  # a claim whose answer was not heard yet
    record_property("counted", f"store sweep: ended {how} each of {taken} requests, {held} times not released")


@pytest.mark.parametrize("fault", mostly_full("lost"))
@pytest.mark.parametrize("count", SIZES)
def test_a_store_that_fails_once_at_any_request_costs_nothing(
    fault: str, count: int, points: Points, record_property: Callable[[str, object], None]
) -> None:
    """The run goes on: the store says a moment later what is there."""
    codes: Counter[int] = Counter()

    def step(case: Case, number: int) -> bool:
        points.toll.begin(number, fault)
        ended = case.apply(timeout=limit(fault))
        codes[ended.code] += 1
        assert ended.code == 0, ended
        return points.toll.count < number

    taken = points.sweep(count, step)
    assert taken > 8
    record_property("counted", f"store sweep: {fault!r} once at each of {taken} requests: {dict(codes)}")


@pytest.mark.parametrize("fault", mostly_full("gone"))
@pytest.mark.parametrize("count", SIZES)
def test_a_store_that_is_gone_from_any_request_on_loses_nothing(
    fault: str, count: int, points: Points, record_property: Callable[[str, object], None]
) -> None:
    """Nothing is sent whose intent is not in the store; what was heard is there, or in the file."""
    codes: Counter[int] = Counter()
    spilled = 0

    def step(case: Case, number: int) -> bool:
        nonlocal spilled
        points.toll.begin(number, fault, for_good=True)
        ended = case.apply(timeout=limit(fault), patience=1.0)
        codes[ended.code] += 1
        over = points.toll.count < number
        assert ended.code == 0 if over else ended.code in {0, 1, 4}, ended
        points.toll.begin()
        files = list(case.place.folder.glob("batchform.outcomes-*"))
        heard = set()
        for file in files:
            spilled += 1
            found = replay(file.read_bytes(), file.name)
            heard = {event.batch_id for event in found.events if not isinstance(event.what, Intended)}
            assert file.name in ended.err
        known = {key for key, entry in case.entries().items() if entry.recorded_as_started or entry.uncertain}
        assert set(judge.accepted(case.place.log.entries)) <= known
        started = {key for key, entry in case.entries().items() if entry.recorded_as_started}
        assert set(judge.accepted(case.place.log.entries)) <= started | heard
        return over

    taken = points.sweep(count, step)
    assert taken > 8
    record_property(
        "counted", f"store sweep: {fault!r} from each of {taken} requests on: {dict(codes)}, {spilled} files"
    )


@pytest.mark.parametrize(
    ("to", "how"),
    [
        ("the file", "before"),
        pytest.param("the store", "before", marks=pytest.mark.full),
        pytest.param("the store", "after", marks=pytest.mark.full),
        pytest.param("the file", "after", marks=pytest.mark.full),
        pytest.param("the store again", "before", marks=pytest.mark.full),
        pytest.param("the store again", "after", marks=pytest.mark.full),
    ],
)
def test_a_move_that_dies_at_any_request_leaves_one_state_and_can_be_made_again(
    to: str, how: str, points: Points, record_property: Callable[[str, object], None]
) -> None:
    """Never two that go on, and never a place where a run would begin with an empty one."""
    file = "moved.json"

    def step(case: Case, number: int) -> bool:
        old, new = (case.address, file) if to == "the file" else (file, case.address)
        move = ("state", "migrate", "--state", old, new)
        path = case.place.folder / file
        points.toll.begin()
        if to == "the store again":
            assert case.run(*APPLY, "--state", new).code == 0
            assert case.run("state", "migrate", "--state", new, old).code == 0
        assert case.run(*APPLY, "--state", old).code == 0
        ended = case.run(*move, die={"at": number, "how": how})
        assert ended.code in {0, -9}, ended
        over = ended.code == 0
        here, there = case.state(), read_file(path).state
        goes_on = [here is not None and here.home == case.address, there is not None and there.home == ""]
        assert goes_on.count(True) <= 1, goes_on
        if goes_on == [False, False]:
            for place in (old, new):
                assert case.run(*APPLY, "--state", place).code == 1
        ended = case.run(*move, "--lock-timeout", "6000s")
        assert ended.code == 0, ended
        assert case.run(*APPLY, "--state", old).code == 1
        assert case.run(*APPLY, "--state", new).code == 0
        assert judge.accepted(case.place.log.entries) == dict.fromkeys(case.ids, 1)
        assert len(case.place.requests("start")) == len(case.ids)
        return over

    taken = next(number for number in itertools.count(1) if points.one(number, 2, step, lambda case: None)) - 1
    assert taken > 5
    record_property("counted", f"store sweep: a move into {to} killed {how} each of {taken} requests, all completed")
