"""`kill -9`, or a failing call, at every external step of an apply of 20 batches.

The first step, the second one, and so on, until a run completes. After each there is a clean run; then the judge
checks, and one more run must find nothing to start. Steps are counted by wrapped calls in the child (`dying.py`) and by
the kernel (strace), which also sees calls that are not wrapped.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.errors import Exit
from tests.e2e.harness import ROOT, Ended, Site, Warm, site, warmed
from tests.e2e.test_loop import declared, ids
from tests.proof import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Weather = Callable[[], dict[str, Any]]
    Folders = Callable[[], Path]
    Count = Callable[[str, object], None]

FACTOR: Final = 100.0
"""How much faster the clock of these commands runs."""

BATCHES: Final = ids(20)
STATE: Final = "batchform.state.json"
APPLY: Final = ("apply", "--auto-approve")
RUN: Final = "00000000deadbeef"
"""The id of every run under strace, so that its files have known names."""


# --- worlds ----------------------------------------------------------------------------------------------------------


def calm() -> dict[str, Any]:
    """Nothing fails, and each start shows at once."""
    return {}


def rough() -> dict[str, Any]:
    """Answers are lost, before and after the server has acted, and a start shows one read late."""
    starts = [("drop", True), ("drop", False), ("reset", True), ("half_body", True), ("not_http", False)]
    return {
        "lag": {"up_to": 1},
        "seed": 7,
        "faults": [
            {"operation": "start", "batch": batch, "fault": fault, "act": act}
            for batch, (fault, act) in zip(BATCHES[::4], starts, strict=True)
        ],
    }


def refusing() -> dict[str, Any]:
    """Errors of every kind, a full rate window, and one batch started by someone else."""
    codes = [(503, False), (500, True), (429, False), (408, True), (400, True)]
    return {
        "lag": {"up_to": 1},
        "seed": 11,
        "console_starts": [{"batch": BATCHES[1], "at_request": 9}],
        "faults": [
            {"operation": "start", "batch": batch, "fault": "answer", "status": status, "act": act}
            for batch, (status, act) in zip(BATCHES[2::4], codes, strict=True)
        ],
    }


def late() -> dict[str, Any]:
    """Every start shows one read late, so the list alone is not enough."""
    return {"lag": 1}


WEATHERS: Final = (calm, rough, refusing)


def world(weather: Weather) -> dict[str, Any]:
    """Twenty batches in this weather."""
    return {"batches": dict.fromkeys(BATCHES), "rate": {"limit": 5000}, **weather()}


# --- after the fall --------------------------------------------------------------------------------------------------


def recover(place: Site, dying: Warm, *, overtaking: float = 0.0) -> None:
    """The next run repairs everything, and the judge finds no fault."""
    place.world.faults = ()  # the faults end; their effects stay
    judge.lock_is_free(place.folder / STATE)
    judge.paid_once(place.log.entries)
    ended = dying.run(place, *APPLY)
    assert ended.code == 0, ended
    known = place.entries()
    lost = [batch for batch in BATCHES if batch not in known or not known[batch].recorded_as_started]
    assert lost == [], f"not recorded as started: {lost}\n{ended}"
    patience = {"settle": 10.0 / FACTOR, "spacing": 5.0 / FACTOR, "overtaking": overtaking}
    place.all_is_well(lambda: dying.run(place, *APPLY), **patience)
    files = {path.name for path in place.folder.iterdir() if not _is_stray(path.name)}
    assert files == {"batchform.yaml", STATE, f"{STATE}.lock", f"{STATE}.backup"}


def _is_stray(name: str) -> bool:
    """Whether a file is left by an interrupted commit, or a copy kept by the next run. Such files have no effect."""
    return name.startswith(f".{STATE}.") or ".torn-" in name


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A prepared process whose commands can be killed."""
    with warmed("tests.proof.dying", FACTOR, tmp_path_factory.mktemp("dying")) as ready:
        yield ready


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Makes empty folders. Those of successful points are removed."""
    base = tmp_path_factory.mktemp("points")
    numbers = itertools.count()

    def make() -> Path:
        made = base / str(next(numbers))
        made.mkdir()
        return made

    return make


# --- by wrapped calls ------------------------------------------------------------------------------------------------

KILLS: Final = ("before", "half", "after")
ERRORS: Final = ("EIO", "ENOSPC", "EROFS", "EACCES")


def fall(folder: Path, dying: Warm, weather: Weather, at: int, how: str, **more: Any) -> tuple[bool, int]:
    """One apply that is killed or fails at this step, and everything after it.

    Returns:
        Whether it completed without harm, and the number of its steps if it could report it.
    """
    counted = folder.with_suffix(".counted")
    with site(folder, world(weather)) as place:
        place.declare(declared(BATCHES))
        ended = dying.run(place, *APPLY, die={"at": at, "how": how}, counted=str(counted), **more)
        steps = int(counted.read_text(encoding="ascii")) if counted.exists() else 0
        assert ended.code in ({-9, *Exit} if how in KILLS else set(Exit)), ended
        assert (ended.code == -9) == (steps == 0), ended
        recover(place, dying, overtaking=0.0 if how in KILLS else 10.0 / FACTOR)
    shutil.rmtree(folder)
    return 0 < steps < at, steps


def sweep(folder: Folders, dying: Warm, weather: Weather, how: str) -> int:
    """Run through all steps until a run completes. Returns their number."""
    for at in range(1, MOST):
        through, _ = fall(folder(), dying, weather, at, how)
        if through:
            return at - 1
    raise AssertionError("no run came through")


MOST: Final = 1_000
LEAST: Final = 75
"""Fewer steps than that, and something was not counted."""


@pytest.mark.full
@pytest.mark.parametrize("how", [*KILLS, *ERRORS])
@pytest.mark.parametrize("weather", WEATHERS)
def test_every_step(
    folder: Folders,
    dying: Warm,
    weather: Weather,
    how: str,
    record_property: Count,
) -> None:
    """After an interruption at any step, one more run repairs everything."""
    points = sweep(folder, dying, weather, how)
    assert points >= LEAST
    record_property("counted", f"kill sweep, {weather.__name__}, {how}: {points} points, each recovered")


@pytest.mark.parametrize("weather", WEATHERS)
def test_some_steps(
    folder: Folders,
    dying: Warm,
    weather: Weather,
    record_property: Count,
) -> None:
    """The same at a few random steps, and after the last one."""
    through, steps = fall(folder(), dying, weather, MOST, "before")
    assert through
    assert steps >= LEAST
    drawn = random.Random(weather.__name__)
    fates = (*KILLS, *KILLS, drawn.choice(ERRORS), drawn.choice(ERRORS))
    for how in fates:
        through, _ = fall(folder(), dying, weather, drawn.randrange(1, steps - 20), how)
        assert not through
    name = weather.__name__
    record_property("counted", f"kill sweep, {name}: {len(fates)} of {len(KILLS) * steps} points, each recovered")


@pytest.mark.parametrize("plant", ["outcome_before_intent", "journal_removed_first"])
def test_a_planted_bug_is_found(folder: Folders, dying: Warm, plant: str) -> None:
    """Otherwise an empty result would prove nothing: at some step, the judge finds the planted bug."""
    for at in random.Random(plant).sample(range(20, 160), 140):
        try:
            fall(folder(), dying, late, at, "after", plant=plant)
        except AssertionError as found:
            assert "was started again after" in str(found) or "not recorded" in str(found)  # noqa: PT017  # it is
            return
    raise AssertionError("the sweep did not find it")


# --- by the kernel ---------------------------------------------------------------------------------------------------

STRACE: Final = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")
NETWORK: Final = ("connect", "sendto", "recvfrom")
"""The calls by which the workers speak. strace counts them by thread; the first to get there ends the process."""


def trace(place: Site, log: Path, *options: str) -> Ended:
    """One apply under strace, only for the files of the state, with the absolute path of the interpreter."""
    assert STRACE is not None
    state = place.folder.resolve() / STATE
    watched = [state, *(state.with_name(STATE + end) for end in (".lock", ".journal", ".backup"))]
    watched += [state.with_name(f".{STATE}.{RUN}.{end}") for end in ("tmp", "backup")]
    watched += [state.parent, state.with_name(f"{STATE}.journal.torn-{RUN}")]
    only = [word for path in watched for word in ("-P", str(path))] if "-f" not in options else []
    command = [os.path.realpath(sys.executable), "-m", "tests.proof.traced", RUN, str(FACTOR), *APPLY]
    ended = subprocess.run(
        [STRACE, "-o", str(log), *only, *options, *command, "-f", str(place.folder)],
        cwd=ROOT,
        env=place.environment(
            PYTHONPATH=os.pathsep.join(path for path in sys.path if path), PYTHONDONTWRITEBYTECODE="1"
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    return place.heard(Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr))


def stage(place: Site, dying: Warm, *, leftover: bool) -> None:
    """Twenty batches; with `leftover`, a state with some of them and the journal of an interrupted run."""
    if leftover:
        place.declare(declared(BATCHES[:3]))
        assert dying.run(place, *APPLY).code == 0
        place.declare(declared(BATCHES[:8]))
        doomed = {"at": 4, "how": "after", "only": "recv_into"}  # the list was answered, and two or three starts
        assert dying.run(place, *APPLY, die=doomed, counted=str(place.folder.with_suffix(".dead"))).code == -9
        with (place.folder / f"{STATE}.journal").open("ab") as stream:
            stream.write(b"torn")
    place.declare(declared(BATCHES))


def calls(folder: Path, dying: Warm, *, leftover: bool, network: bool) -> Counter[str]:
    """How often an undisturbed apply makes each call on these files (or the network)."""
    log = folder.with_suffix(".log")
    with site(folder, world(calm)) as place:
        stage(place, dying, leftover=leftover)
        ended = trace(place, log, *(("-f", "-e", f"trace={','.join(NETWORK)}") if network else ()))
        assert ended.code == 0, ended
        recover(place, dying)
    made = Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(), re.MULTILINE))
    assert made.total() >= 40, f"strace saw too little: {made}"
    return made


def inject(folder: Path, dying: Warm, call: str, number: str, what: str, *, leftover: bool) -> bool:
    """One apply with a fault at the n-th such call, and everything after it. Returns whether the fault occurred."""
    log = folder.with_suffix(".log")
    with site(folder, world(calm)) as place:
        stage(place, dying, leftover=leftover)
        threads = ("-f",) if call in NETWORK else ()
        ended = trace(place, log, *threads, "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}")
        happened = ended.code == -signal.SIGKILL if what == KILL else "(INJECTED)" in log.read_text()
        assert ended.code in {*Exit, -signal.SIGKILL} if what == KILL else set(Exit), ended
        assert happened or ended.code == 0, ended
        recover(place, dying)
    shutil.rmtree(folder)
    return happened


KILL: Final = "signal=KILL"
HARM: Final = (KILL, *(f"error={name}" for name in ERRORS))


@needs_strace
@pytest.mark.full
@pytest.mark.parametrize("what", HARM)
@pytest.mark.parametrize("leftover", [False, True], ids=["fresh", "leftover"])
def test_every_system_call(
    folder: Folders,
    dying: Warm,
    what: str,
    leftover: bool,  # noqa: FBT001  # a table
    record_property: Count,
) -> None:
    """The n-th call of each name on the state, the journal or the lock, until there is no n-th one."""
    points: Counter[str] = Counter()
    for call in calls(folder(), dying, leftover=leftover, network=False):
        while inject(folder(), dying, call, str(points[call] + 1), what, leftover=leftover):
            points[call] += 1
        assert points[call] > 0, f"{call} was never reached"
    names = ", ".join(f"{call} {count}" for call, count in sorted(points.items()))
    where = "a dead run's journal" if leftover else "no state yet"
    record_property("counted", f"strace, {what}, {where}: {points.total()} points, each recovered ({names})")


@needs_strace
@pytest.mark.full
def test_every_call_of_the_network(folder: Folders, dying: Warm, record_property: Count) -> None:
    """The same for the network calls of the workers."""
    points: Counter[str] = Counter()
    for call in calls(folder(), dying, leftover=False, network=True):
        while inject(folder(), dying, call, str(points[call] + 1), KILL, leftover=False):
            points[call] += 1
        assert points[call] > 0, f"{call} was never reached"
    record_property("counted", f"strace, {KILL}, the network: {points.total()} points, each recovered ({dict(points)})")


@needs_strace
@pytest.mark.full
@pytest.mark.parametrize("call", ["openat", "write", "fsync", "rename", "unlink"])
def test_a_disk_that_stays_full(folder: Folders, dying: Warm, call: str, record_property: Count) -> None:
    """From the n-th call on all calls fail, as on a full disk until there is space again."""
    points = 0
    while inject(folder(), dying, call, f"{points + 1}+", "error=ENOSPC", leftover=True):
        points += 1
    assert points > 0
    record_property("counted", f"strace, ENOSPC from then on, {call}: {points} points, each recovered")


@needs_strace
@pytest.mark.parametrize(
    ("call", "number", "what"),
    [
        ("write", 3, KILL),
        ("rename", 2, KILL),
        ("write", 4, "error=ENOSPC"),
        ("fsync", 5, "error=EIO"),
        ("openat", 6, "error=EACCES"),
    ],
)
def test_some_system_calls(folder: Folders, dying: Warm, call: str, number: int, what: str) -> None:
    """A few of the points of the full form."""
    assert inject(folder(), dying, call, str(number), what, leftover=True)
