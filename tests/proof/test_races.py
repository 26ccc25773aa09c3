"""Many commands at once: on one state, on separate states, and on a state that is replaced during the run.

Every command is a separate process. The simulator's log and the remaining states are judged.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.errors import Exit, StateError
from batchform.state.disk import paths
from batchform.state.known import Phase
from batchform.state.reader import read
from tests.e2e.harness import Site, site
from tests.e2e.test_loop import declared, ids
from tests.proof import judge
from tests.proof.crowd import Crowd, crowd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STATE: Final = "batchform.state.json"
APPLY: Final = ("apply", "--auto-approve", "--lock-timeout", "300s")


@contextmanager
def field(tmp_path: Path, count: int, **options: Any) -> Iterator[tuple[Site, Crowd]]:
    """A number of batches in a folder, and a crowd."""
    folder = tmp_path / "site"
    folder.mkdir()
    values = {"batches": dict.fromkeys(ids(count)), **options.pop("values", {})}
    with (
        crowd(tmp_path / "said") as all_of_them,
        site(folder, values, rate_limit=1_000_000, **options) as place,
    ):
        place.declare(declared(ids(count)))
        yield place, all_of_them


def judged(place: Site, all_of_them: Crowd, count: int, *, locked: bool = True) -> None:
    """After a clean run each batch is started once and known, nothing is invented, and the next run sends no start.

    If the runs were `locked` out from each other, none of them repeated a start without reads.
    """
    assert all_of_them.run(place, *APPLY).code == 0
    log = place.log.entries
    assert judge.accepted(log) == dict.fromkeys(ids(count), 1)
    judge.paid_once(log)
    judge.nothing_lost(log, place.entries())
    judge.nothing_dreamt(log, place.entries())
    judge.lock_is_free(place.folder / STATE)
    if locked:
        judge.looked_before_repeating(log, place.decisions)
    sent = len(place.requests("start"))
    assert all_of_them.run(place, *APPLY).code == 0
    assert len(place.requests("start")) == sent
    place.token_stayed_home()


# --- on one state ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.full)])
def test_of_many_applies_at_once_one_pays(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """50 batches, one state, one lock: each run waits, and all but the first find nothing to do."""
    with field(tmp_path, 50) as (place, all_of_them):
        members = [all_of_them.begin(place, *APPLY) for _ in range(count)]
        ended = [all_of_them.end(member, 300.0) for member in members]
        assert Counter(one.code for one in ended) == {0: count}
        assert sum("50 started" in one.out for one in ended) == 1
        assert sum("No changes. " in one.out for one in ended) == count - 1
        assert len(place.requests("start")) == 50
        judge.looked_before_repeating(place.log.entries, place.decisions, settle=10.0, spacing=5.0)
        judged(place, all_of_them, 50)
    record_property("counted", f"races: {count} applies of 50 batches at once on one state, 50 starts, each once")


@pytest.mark.parametrize("count", [6, pytest.param(40, marks=pytest.mark.full)])
def test_whoever_holds_the_lock_may_be_killed(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each run in turn is killed during its starts while the others wait; the last one finishes."""
    batches = 8 * count
    with field(tmp_path, batches, latency=0.02) as (place, all_of_them):
        members = [all_of_them.begin(place, *APPLY, "--parallelism", "2", "--settle", "0.2s") for _ in range(count)]
        by_pid = {member.pid: member for member in members}
        killed = 0
        while killed < count - 1:
            place.log.wait_for(accepted=3 * (killed + 1))
            held_by = holder(place.folder)
            if held_by not in by_pid:
                continue
            os.kill(held_by, signal.SIGKILL)
            with all_of_them.changed:
                assert all_of_them.changed.wait_for(lambda: by_pid[held_by].code is not None, 60.0)  # noqa: B023  # now
            del by_pid[held_by]
            killed += 1
        codes = Counter(all_of_them.end(member, 120.0).code for member in members)
        assert codes == {-signal.SIGKILL: count - 1, 0: 1}
        judged(place, all_of_them, batches)
    record_property("counted", f"races: {count - 1} holders of the lock killed in turn, {batches} starts, each once")


def holder(folder: Path) -> int:
    """The process that holds the lock according to the lock file, or 0."""
    try:
        who = json.loads((folder / f"{STATE}.lock").read_text())["Who"]
    except (OSError, ValueError, KeyError):
        return 0
    return int(who.rpartition("process ")[2].partition(")")[0].partition(",")[0])


# --- on states of their own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batches"), [(10, 8), pytest.param(10, 50, marks=pytest.mark.full)])
@pytest.mark.parametrize("lag", [0, 1])
def test_ten_checkouts_that_share_nothing_but_the_account(
    count: int, batches: int, lag: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One accepted start for each batch in total. Every state knows it, and only one state as its own."""
    with field(tmp_path, batches, values={"lag": lag}, latency=0.01) as (place, all_of_them):
        folders = [tmp_path / f"checkout-{number}" for number in range(count)]
        for folder in folders:
            shutil.copytree(place.folder, folder)
        members = [all_of_them.begin(place, *APPLY, factor=10.0, folder=folder) for folder in folders]
        ended = [all_of_them.end(member, 120.0) for member in members]
        assert Counter(one.code for one in ended) == {0: count}
        assert judge.accepted(place.log.entries) == dict.fromkeys(ids(batches), 1)
        true_to(place, folders, ids(batches))
        refused = len(place.requests("start")) - batches
        sent = len(place.requests("start"))
        for folder in folders:
            assert all_of_them.run(place, *APPLY, folder=folder).code == 0
        assert len(place.requests("start")) == sent
        true_to(place, folders, ids(batches))
    record_property(
        "counted",
        f"races: {count} checkouts, {batches} batches, lag {lag}: each started once, {refused} starts refused",
    )


def true_to(place: Site, folders: list[Path], batch_ids: list[str]) -> None:
    """Each state knows every batch as started, and as its own exactly if its own request was accepted."""
    accepted_as = {entry.batch_id: entry.headers["Reference-Id"] for entry in place.log.entries if entry.accepted}
    for folder in folders:
        known = read(folder / STATE).state
        assert known is not None
        judge.nothing_lost(place.log.entries, known.entries)
        judge.nothing_dreamt(place.log.entries, known.entries)
        judge.lock_is_free(folder / STATE)
        for batch_id in batch_ids:
            entry = known.entries[batch_id]
            is_ours = entry.reference_id == accepted_as[batch_id]
            assert (entry.phase is Phase.STARTED) == is_ours, (folder, entry)


def test_the_judge_finds_checkouts_that_both_claim_a_start(tmp_path: Path) -> None:
    """A planted error: one checkout's state in the place of another's."""
    with field(tmp_path, 2) as (place, all_of_them):
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            shutil.copytree(place.folder, folder)
            assert all_of_them.run(place, *APPLY, folder=folder).code == 0
        true_to(place, folders, ids(2))
        lie = read(folders[1] / STATE).state
        assert lie is not None
        assert {entry.phase for entry in lie.entries.values()} == {Phase.ADOPTED}
        (folders[1] / STATE).write_bytes((folders[0] / STATE).read_bytes().replace(b'"started"', b'"adopted"'))
        with pytest.raises(StateError, match=r"digest|damaged"):
            true_to(place, folders, ids(2))


# --- a state that is pulled from under a run -------------------------------------------------------------------------


def test_a_lock_file_that_is_deleted_in_mid_run(tmp_path: Path) -> None:
    """Two runs use one state: the second commits the first one's journal, the first notices, and neither pays twice."""
    with field(tmp_path, 40, latency=0.1) as (place, all_of_them):
        first = all_of_them.begin(place, *APPLY, "--parallelism", "4", "--settle", "1s")
        place.log.wait_for(accepted=8)
        paths(place.folder / STATE).lock.unlink()
        second = all_of_them.begin(place, *APPLY, "--parallelism", "4", "--settle", "1s")
        codes = {all_of_them.end(first).code, all_of_them.end(second).code}
        assert codes <= {Exit.DONE, Exit.UNKNOWN}, codes
        judge.paid_once(place.log.entries)
        judged(place, all_of_them, 40, locked=False)


@pytest.mark.parametrize("runs", [3, pytest.param(25, marks=pytest.mark.full)])
def test_a_lock_file_that_is_deleted_again_and_again(runs: int, tmp_path: Path) -> None:
    """As many runs at once as the lock is deleted."""
    with field(tmp_path, 60, latency=0.05) as (place, all_of_them):
        members = []
        for number in range(runs):
            members.append(all_of_them.begin(place, *APPLY, "--parallelism", "2", "--settle", "0.5s"))
            place.log.wait_for(accepted=number + 1)
            paths(place.folder / STATE).lock.unlink(missing_ok=True)
        for member in members:
            assert all_of_them.end(member, 120.0).code in {Exit.DONE, Exit.INCOMPLETE, Exit.UNKNOWN, Exit.ERROR}
        judge.paid_once(place.log.entries)
        judged(place, all_of_them, 60, locked=False)


def test_a_folder_that_is_cleaned_while_a_start_waits(tmp_path: Path) -> None:
    """`git clean -fdx` removes state, journal and lock while a throttled start waits: it is not sent any more."""
    throttled = {"operation": "start", "fault": "answer", "status": 429}
    with field(tmp_path, 1, values={"faults": [throttled], "rate": {"window": "8s"}}) as (place, all_of_them):
        first = all_of_them.begin(place, *APPLY)
        place.log.wait_for_operation("start")
        for file in place.folder.glob(f"{STATE}*"):
            file.unlink()
        ended = all_of_them.end(first, 120.0)
        assert ended.code == Exit.UNKNOWN, ended
        assert "The journal was removed" in ended.out, ended
        assert len(place.requests("start")) == 1
        judged(place, all_of_them, 1, locked=False)


def committed_elsewhere(place: Site, all_of_them: Crowd, folder: Path, target: str) -> None:
    """Another checkout of the same state runs separately and commits."""
    shutil.copytree(place.folder, folder)
    assert all_of_them.run(place, *APPLY, "--target", target, folder=folder).code == 0


def test_a_newer_commit_that_takes_the_states_place(tmp_path: Path) -> None:
    """A pull during an apply: its events are added to the new state, and both are known."""
    with field(tmp_path, 20, latency=0.1) as (place, all_of_them):
        assert all_of_them.run(place, *APPLY, "--target", "batch-b-00000").code == 0
        elsewhere = tmp_path / "elsewhere"
        committed_elsewhere(place, all_of_them, elsewhere, "batch-b-00019")
        member = all_of_them.begin(place, *APPLY, "--parallelism", "2", "--exclude", "batch-b-00019")
        place.log.wait_for(accepted=6)
        (elsewhere / STATE).replace(place.folder / STATE)
        assert all_of_them.end(member).code == 0
        known = place.entries()
        assert {known[batch_id].phase for batch_id in ids(20)} == {Phase.STARTED}
        judged(place, all_of_them, 20)


def test_an_older_commit_that_takes_the_states_place(tmp_path: Path) -> None:
    """A revert during an apply: the apply does not overwrite the file and says what to do; nothing is lost."""
    with field(tmp_path, 20, latency=0.1) as (place, all_of_them):
        assert all_of_them.run(place, *APPLY, "--target", "batch-b-00000").code == 0
        older = (place.folder / STATE).read_bytes()
        assert all_of_them.run(place, *APPLY, "--target", "batch-b-00001").code == 0
        member = all_of_them.begin(place, *APPLY, "--parallelism", "2")
        place.log.wait_for(accepted=6)
        (place.folder / STATE).write_bytes(older)
        ended = all_of_them.end(member)
        assert ended.code == Exit.ERROR, ended
        assert "The state was replaced by an older one" in ended.err
        sent = len(place.requests("start"))
        refused = all_of_them.run(place, *APPLY)
        assert refused.code == Exit.ERROR, refused
        assert "state recover" in refused.err
        assert len(place.requests("start")) == sent
        recovered = all_of_them.run(place, "state", "recover", "--auto-approve")
        assert recovered.code == 0, recovered
        judged(place, all_of_them, 20)


def test_a_commit_of_another_history_that_takes_the_states_place(tmp_path: Path) -> None:
    """Two lineages are not mixed, and `state recover` keeps the events of the run."""
    with field(tmp_path, 12, latency=0.1) as (place, all_of_them):
        elsewhere = tmp_path / "elsewhere"
        committed_elsewhere(place, all_of_them, elsewhere, "batch-b-00011")
        assert all_of_them.run(place, *APPLY, "--target", "batch-b-00000").code == 0
        member = all_of_them.begin(place, *APPLY, "--parallelism", "2")
        place.log.wait_for(accepted=5)
        (elsewhere / STATE).replace(place.folder / STATE)
        ended = all_of_them.end(member)
        assert ended.code == Exit.ERROR, ended
        assert "The journal belongs to a different state file" in ended.err
        assert all_of_them.run(place, *APPLY).code == Exit.ERROR
        assert all_of_them.run(place, "state", "recover", "--auto-approve").code == 0
        judged(place, all_of_them, 12)


def test_a_state_that_vanishes(tmp_path: Path) -> None:
    """`git clean` during an apply: its knowledge is written again."""
    with field(tmp_path, 12, latency=0.1) as (place, all_of_them):
        assert all_of_them.run(place, *APPLY, "--target", "batch-b-00000").code == 0
        member = all_of_them.begin(place, *APPLY, "--parallelism", "2")
        place.log.wait_for(accepted=5)
        (place.folder / STATE).unlink()
        assert all_of_them.end(member).code == 0
        judged(place, all_of_them, 12)
