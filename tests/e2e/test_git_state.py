"""Two machines, each with a clone of one repository and a home of its own, and a state on a branch of it.

The server is git's own `http-backend`, which asks for a password as GitHub does. What the tests of another store show
(`test_remote`) is not repeated here: only what depends on the branch, and that the machines need nothing but it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from batchform.state.address import Branch
from batchform.state.git import Git
from batchform.state.known import Phase
from batchform.state.reader import read as read_file
from batchform.state.remote.access import JOURNAL, STATE
from batchform.state.remote.reader import read
from tests.e2e.harness import site
from tests.e2e.test_loop import declared, ids
from tests.e2e.test_remote import APPLY, Land
from tests.state.git_server import BRANCH, PASSWORD, GitServer, bare, git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from batchform.state.known import Entry


@dataclass
class Clones(Land):
    """Machines that are clones."""

    server: GitServer = field(kw_only=True)

    @property
    def address(self) -> str:
        """Where the state is."""
        return f"git:{BRANCH}"

    def folder(self, name: str) -> Path:
        """A shallow clone, as actions/checkout makes it: a detached commit, and a token in the configuration."""
        folder = self.root / name
        if not folder.exists():
            self.clone(folder, "--depth=1")
            git("checkout", "--quiet", "--detach", folder=folder)
            git("config", *self.server.signs_in, folder=folder)
            (folder / "batchform.yaml").write_text((self.place.folder / "batchform.yaml").read_text())
        return folder

    def clone(self, folder: Path, *options: str) -> None:
        """Clone the repository."""
        signs_in = "=".join(self.server.signs_in)
        git("-c", signs_in, "clone", "--quiet", *options, self.server.url, str(folder), folder=self.root)

    def surroundings(self) -> dict[str, str]:
        """Nothing: what is needed is in the checkout. What a killed run leaves in its temporary folder goes with it."""
        return {"GIT_CONFIG_NOSYSTEM": "1", "TMPDIR": str(self.root.parent)}

    def registers(self) -> Git:
        """The branch, as the test looks into it."""
        return Git(Branch(name=BRANCH), self.folder("the observer"))

    def entries(self) -> dict[str, Entry]:
        """What the branch holds now."""
        state = read(self.registers()).state
        return {} if state is None else dict(state.entries)

    def contents(self) -> list[bytes | None]:
        """The bytes of state and journal."""
        registers = self.registers()
        held = [registers.read(name) for name in (STATE, JOURNAL)]
        return [None if one is None else one.data for one in held]

    def all_is_well(self, count: int) -> None:
        """As with any store; and no output or commit has the password."""
        super().all_is_well(count)
        history = git("log", "--format=%an %ae %cn %ce %B", BRANCH, folder=self.root.parent / "origin.git")
        assert PASSWORD not in history
        assert not [said for said in self.place.spoken if PASSWORD in said]


@contextmanager
def clones(tmp_path: Path, count: int, lease: float = 300.0, **options: float) -> Iterator[Clones]:
    """So many batches that nobody has started."""
    bare(tmp_path)
    folder, root = tmp_path / "site", tmp_path / "machines"
    folder.mkdir()
    root.mkdir()
    batches = {"batches": dict.fromkeys(ids(count))}
    with GitServer(tmp_path) as server, site(folder, batches, rate_limit=1_000_000, **options) as place:
        server.gate.password = True
        place.declare(declared(ids(count)))
        yield Clones(place=place, root=root, lease=lease, server=server)


def everything(folder: Path) -> dict[str, bytes | str]:
    """What a run must not change: each file of the checkout and of its `.git`, and what git says of it."""
    found: dict[str, bytes | str] = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    found["status"] = git("status", "--porcelain=v2", "--branch", folder=folder)
    found["refs"] = git("for-each-ref", folder=folder)
    found["objects"] = git("count-objects", "-v", folder=folder)
    found.pop(".git/index")  # `git status` itself writes times there
    return found


@pytest.mark.full
def test_a_push_has_a_group_of_32_starts(tmp_path: Path) -> None:
    """Unless `--parallelism` says otherwise. Pushes are 10 s apart, so they decide how long a run takes."""
    pushes: list[int] = []
    for options in ((), ("--parallelism", "8")):
        folder = tmp_path / f"{len(pushes)}"
        folder.mkdir()
        with clones(folder, 33) as here:
            ended = here.run("one", *APPLY, *options)
            assert ended.code == 0, ended
            pushes.append(here.server.gate.pushes)
    few, many = pushes
    assert many - few == 3, pushes  # five groups of at most 8, not two


def test_a_run_changes_nothing_in_its_checkout(tmp_path: Path) -> None:
    """Neither files nor refs, objects or configuration. The next machine finds everything on the branch."""
    with clones(tmp_path, 5) as here:
        before = everything(here.folder("one"))
        ended = here.run("one", *APPLY)
        assert ended.code == 0, ended
        assert everything(here.folder("one")) == before
        ended = here.run("two", "plan", "--detailed-exitcode")
        assert ended.code == 0, ended
        assert "No changes. " in ended.out
        assert here.run("two", "state", "list").out.count("started") >= 5
        here.all_is_well(5)


def test_a_clone_of_the_branch_is_a_copy_to_plan_on(tmp_path: Path) -> None:
    """A pull request from a fork has no credentials; its checkout of the branch is enough, and never applied."""
    with clones(tmp_path, 3) as here:
        assert here.run("one", *APPLY).code == 0
        folder = here.folder("one")
        here.clone(folder / "_state", "--branch", BRANCH)
        here.server.gate.closed = 403
        offline = {"BATCHFORM_STATE": "_state/batchform.state.json"}
        ended = here.run("one", "plan", "--detailed-exitcode", **offline)
        assert ended.code == 0, ended
        ended = here.run("one", *APPLY, **offline)
        assert ended.code == 1, ended
        assert "This state is a copy" in ended.err
        here.server.gate.closed = 0
        here.all_is_well(3)


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.full)])
def test_a_runner_that_vanishes_is_made_good_by_another(count: int, tmp_path: Path) -> None:
    """`kill -9` in the middle of its starts; the other knows each of them as ours, and nobody unlocks anything."""
    with clones(tmp_path, count, lease=6.0, latency=0.01) as here:
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(count // 3)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        ended = here.run("two", "apply", "--auto-approve")
        assert ended.code == 0, ended
        here.all_is_well(count)


@pytest.mark.parametrize("count", [3, pytest.param(10, marks=pytest.mark.full)])
def test_of_first_runs_at_once_each_batch_is_started_by_one(count: int, tmp_path: Path) -> None:
    """There is no branch yet, and each of them creates it. The others wait, and find nothing to do."""
    with clones(tmp_path, 5) as here:
        for run in [here.begin(f"machine {number}", *APPLY) for number in range(count)]:
            ended = here.place.end(run, 300.0)
            assert ended.code == 0, ended
        here.all_is_well(5)


def test_a_runner_that_is_suspended_past_its_lease_sends_nothing_more(tmp_path: Path) -> None:
    """Another has taken over and finished: the first pushes nothing, and exits 4."""
    with clones(tmp_path, 30, lease=6.0, latency=0.05) as here:
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(10)
        os.kill(first.pid, signal.SIGSTOP)
        ended = here.run("two", "apply", "--auto-approve")
        assert ended.code == 0, ended
        sent, contents = len(here.place.requests("start")), here.contents()
        os.kill(first.pid, signal.SIGCONT)
        ended = here.place.end(first)
        assert ended.code == 4, ended
        assert "Another run has taken over the state" in ended.err
        here.place.sent_no_more(sent)
        assert here.contents() == contents
        here.all_is_well(30)


def test_a_branch_that_is_deleted_during_a_run_is_restored_from_what_the_run_kept(tmp_path: Path) -> None:
    """By a bot that removes stale branches, for example. Nothing else knows what was started, so no claim is made."""
    with clones(tmp_path, 20, latency=0.3) as here:
        assert here.run("one", *APPLY, "--target", "batch-b-00000").code == 0
        first = here.begin("one", *APPLY, "--parallelism", "4")
        here.place.log.wait_for(5)
        git("update-ref", "-d", f"refs/heads/{BRANCH}", folder=tmp_path / "origin.git")
        ended = here.place.end(first)
        assert ended.code == 4, ended
        assert "The state was deleted during the run" in ended.err
        assert "The intents are recorded" not in ended.out
        (spilled,) = here.folder("one").glob("batchform.outcomes-*.journal")
        ended = here.run("one", "state", "push", spilled.name, BATCHFORM_STATE="git:another")
        assert ended.code == 1, ended
        assert "There is no state" in ended.err
        for says in ("Pushed: ", "The state has all of this already."):
            ended = here.run("one", "state", "push", spilled.name)
            assert ended.code == 0, ended
            assert says in ended.err
        assert {entry.phase for entry in here.entries().values()} >= {Phase.STARTED}
        assert here.run("two", *APPLY).code == 0
        adopted = {batch_id for batch_id, entry in here.entries().items() if entry.phase is Phase.ADOPTED}
        assert adopted == {"b-00000"}  # of the run before
        assert here.place.accepted() == dict.fromkeys(ids(20), 1)


def test_a_deleted_branch_is_restored_from_a_copy(tmp_path: Path) -> None:
    """Which `state pull` made: with its history, and under its name only."""
    with clones(tmp_path, 3) as here:
        assert here.run("one", *APPLY).code == 0
        assert here.run("one", "state", "pull", "copy.json").code == 0
        git("update-ref", "-d", f"refs/heads/{BRANCH}", folder=tmp_path / "origin.git")
        ended = here.run("one", "state", "push", "copy.json")
        assert ended.code == 0, ended
        here.all_is_well(3)


def test_pushes_without_answers_cost_nothing(tmp_path: Path) -> None:
    """Each took place, and is read back."""
    with clones(tmp_path, 3) as here:
        here.server.gate.lost = 3
        ended = here.run("one", *APPLY)
        assert ended.code == 0, ended
        assert here.server.gate.lost == 0
        here.all_is_well(3)


def test_the_commands_for_a_state_work_on_a_branch(tmp_path: Path) -> None:
    """A file moves there; it is locked, shown, unlocked, pulled, and pushed to."""
    with clones(tmp_path, 8, lease=6.0, latency=0.05) as here:
        local = {"BATCHFORM_STATE": "batchform.state.json"}
        ended = here.run("one", *APPLY, "--target", "batch-b-00000", **local)
        assert ended.code == 0, ended
        ended = here.run("one", "state", "migrate", here.address, **local)
        assert ended.code == 0, ended
        assert here.run("two", "state", "lock").out == "The state is free.\n"
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(3)
        os.kill(first.pid, signal.SIGSTOP)
        ended = here.run("two", "state", "lock", "--json")
        assert ended.code == 5, ended
        found = json.loads(ended.out)
        ended = here.run("two", "state", "unlock", found["run"], "--auto-approve")
        assert ended.code == 0, ended
        os.kill(first.pid, signal.SIGCONT)
        assert here.place.end(first).code == 4
        for file in here.folder("one").glob("batchform.outcomes-*.journal"):
            assert here.run("one", "state", "push", file.name).code == 0
        assert here.run("two", *APPLY).code == 0
        assert here.run("two", "state", "pull", "copy.json").code == 0
        state = read_file(here.folder("two") / "copy.json").state
        assert state is not None
        assert (state.home, len(state.entries)) == (here.address, 8)
        here.all_is_well(8)


@pytest.mark.parametrize(
    ("says", "before"),
    [
        ("The branch is the one that is checked out", ("checkout", "--quiet", "-b", BRANCH)),
        ("This checkout has no `origin`", ("remote", "remove", "origin")),
        ("There are no usable credentials", ("config", "credential.helper", "")),
    ],
)
def test_a_mistake_is_named_before_anything_is_sent(says: str, before: tuple[str, ...], tmp_path: Path) -> None:
    """And never taken for a state that does not exist yet."""
    with clones(tmp_path, 1) as here:
        git(*before, folder=here.folder("one"))
        git("config", "--unset", here.server.signs_in[0], folder=here.folder("one"))
        ended = here.run("one", "apply", "--auto-approve")
        assert ended.code == 1, ended
        assert says in ended.err
        assert here.server.gate.pushes == 0
        assert here.place.log.entries == []


def test_a_plan_on_a_file_runs_no_git_for_a_state(tmp_path: Path) -> None:
    """What a state on a branch needs is imported for one only."""
    with clones(tmp_path, 1) as here:
        code = (
            "import sys\nfrom batchform.cli.main import main\n"
            "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, "plan"],
            cwd=here.folder("one"),
            env=here.place.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended
        assert not {"batchform.state.git", "subprocess"} & set(ended.stderr.split())
