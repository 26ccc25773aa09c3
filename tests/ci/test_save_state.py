"""`save-state.sh` as shipped, between bare repositories and clones. Nothing on the branch may be lost."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from batchform.model import Service
from batchform.state.disk import paths, replace_durably
from batchform.state.events import Event, Intended, fold
from batchform.state.journal import Header, Journal
from batchform.state.known import State
from batchform.state.reader import read
from tests.ci.runner import EXAMPLE, Forge, clean_environment, git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BRANCH = "batchform-state"
STATE = "batchform.state.json"
JOURNAL = f"{STATE}.journal"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Branch(Forge):
    """A repository with an empty branch for the state."""

    def checkout(self, name: str) -> Path:
        """Clone the branch, as a job does before apply."""
        return self.clone(name, BRANCH)

    def save(self, folder: Path) -> tuple[int, str]:
        """Run the script and return its exit code and output."""
        done = subprocess.run(
            ["sh", str(EXAMPLE / "ci" / "save-state.sh"), str(folder)],
            env={**clean_environment(), "PATH": f"{self.tools()}:{clean_environment()['PATH']}"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout

    def known(self, name: str) -> set[str]:
        """The batches that the branch knows, by its state and its journal."""
        state = read(self.checkout(name) / STATE).state
        return set() if state is None else set(state.entries)


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    """The branch after the setup of the README."""
    made = Branch(folder=tmp_path, endpoint="http://127.0.0.1:9", token="")
    git(tmp_path, "init", "--quiet", "--bare", str(made.bare))
    seed = tmp_path / "seed"
    git(tmp_path, "init", "--quiet", f"--initial-branch={BRANCH}", str(seed))
    git(seed, "commit", "--quiet", "--allow-empty", "--message", "batchform's state")
    git(seed, "push", "--quiet", str(made.bare), BRANCH)
    return made


def fresh(lineage: str) -> State:
    """A state without entries."""
    return State(lineage=lineage, service=Service.PHONE, endpoint="https://api.experianaperture.io")


def intent(run: str) -> Event:
    """A start that is about to be sent, of a batch with the name of the run."""
    return Event(run=run, seq=1, at=NOW, batch_id=run, name=run, what=Intended(reference_id=f"{run}.1"))


def killed(folder: Path, run: str, lineage: str = "one") -> None:
    """Leave what a killed first run leaves: a journal and no state."""
    empty = fresh(lineage)
    journal = Journal(
        folder / JOURNAL,
        Header(lineage=lineage, serial=0, service=empty.service, endpoint=empty.endpoint, run=run),
    )
    journal.append([intent(run)])
    journal.close()


def ended(folder: Path, run: str, lineage: str = "one") -> None:
    """Leave what a complete first run leaves: a state."""
    replace_durably(paths(folder / STATE), fold(fresh(lineage), [intent(run)]), run)


@pytest.mark.parametrize("second", [killed, ended])
@pytest.mark.parametrize("first", [killed, ended])
def test_a_second_run_keeps_what_the_first_saved(
    branch: Branch, first: Callable[..., None], second: Callable[..., None]
) -> None:
    """Also if one of them was killed and saved only a journal."""
    a, b = branch.checkout("a"), branch.checkout("b")
    first(a, "a")
    assert branch.save(a)[0] == 0
    second(b, "b")
    code, log = branch.save(b)
    assert code == 0, log
    assert branch.known("after") == {"a", "b"}
    assert "rejected" not in log
    assert "hint:" not in log
    assert branch.save(b) == (0, "The state has not changed.\n")


@pytest.mark.parametrize("second", [killed, ended])
@pytest.mark.parametrize("first", [killed, ended])
def test_two_first_runs_fail_and_change_nothing(
    branch: Branch, first: Callable[..., None], second: Callable[..., None]
) -> None:
    """Their states have no common history. The script says what to do; both states still exist."""
    a, b = branch.checkout("a"), branch.checkout("b")
    first(a, "a", "one")
    assert branch.save(a)[0] == 0
    before = git(branch.bare, "rev-parse", BRANCH)
    second(b, "b", "two")
    code, log = branch.save(b)
    assert code == 1
    assert "two different states" in log
    assert "run apply again" in log
    assert git(branch.bare, "rev-parse", BRANCH) == before
    mine = read(b / STATE).state
    assert mine is not None
    assert set(mine.entries) == {"b"}
    assert branch.save(b)[0] == 1, "again, it must not succeed"
    assert git(branch.bare, "rev-parse", BRANCH) == before


def test_other_files_of_the_branch_stay(branch: Branch) -> None:
    """A push between checkout and save may change other files, for example another state."""
    a, b = branch.checkout("a"), branch.checkout("b")
    (a / "other.json").write_text("{}")
    git(a, "add", "--all")
    git(a, "commit", "--quiet", "--message", "Another state")
    git(a, "push", "--quiet")
    ended(b, "b")
    code, log = branch.save(b)
    assert code == 0, log
    assert branch.file(BRANCH, "other.json") == "{}"
    assert branch.known("after") == {"b"}


def test_a_missing_state_does_not_remove_that_of_the_branch(branch: Branch) -> None:
    """The script fails and says so."""
    a = branch.checkout("a")
    ended(a, "a")
    assert branch.save(a)[0] == 0
    (a / STATE).unlink()
    code, log = branch.save(a)
    assert code == 1
    assert "The branch was not changed" in log
    assert branch.known("after") == {"a"}


@pytest.mark.parametrize("empty", ["a", "b"])
def test_a_journal_without_events_adds_nothing(branch: Branch, empty: str) -> None:
    """A run that was killed while it created its journal does not stop another run from saving."""
    a, b = branch.checkout("a"), branch.checkout("b")
    for folder in (a, b):
        if folder.name == empty:
            (folder / JOURNAL).write_bytes(b"")
        else:
            ended(folder, folder.name)
    assert branch.save(a)[0] == 0
    code, log = branch.save(b)
    assert code == 0, log
    assert branch.known("after") == {"a", "b"} - {empty}
