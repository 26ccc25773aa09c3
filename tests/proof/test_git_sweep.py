"""Every request of an apply to the branch of its state: the command dies before or after it, and the next one goes on.

A `git push` is not a request that dies with its sender: it is a process of its own, and may take place later.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from batchform.state.address import Branch
from batchform.state.git import Git
from batchform.state.remote.reader import read
from tests.e2e.harness import Ended, Warm, site, warmed
from tests.proof.test_store_sweep import APPLY, FACTOR, Case, world
from tests.proof.toll import Toll
from tests.state.git_server import BRANCH, bare, git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchform.state.known import Entry

LEASE = 4.0 * FACTOR


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A warm process whose commands use a branch."""
    with warmed("tests.proof.leased", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


class OnBranch(Case):
    """One account and one repository; the folder of the command is a checkout."""

    def apply(self, **more: Any) -> Ended:
        """Run apply."""
        folder = self.place.folder
        if not (folder / ".git").exists():
            (folder.parent / "remote").mkdir()
            git("init", "--quiet", folder=folder)
            git("remote", "add", "origin", bare(folder.parent / "remote").as_uri(), folder=folder)
        given = {"BATCHFORM_STATE": f"git:{BRANCH}", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        given["TMPDIR"] = str(folder.parent)  # where a killed run leaves its repository
        given["BATCHFORM_STORE_TIMEOUT"] = "6000s"
        job = {"lease": LEASE, "timeout": "15s", "environment": self.place.environment(**given)}
        return self.warm.run(self.place, *APPLY, **job, **more)

    def entries(self) -> dict[str, Entry]:
        """What the branch holds."""
        state = read(Git(Branch(name=BRANCH), self.place.folder)).state
        return {} if state is None else dict(state.entries)


def dies(folder: Path, warm: Warm, at: int, how: str) -> bool:
    """Run an apply that dies there, and the one that makes it good. False: it came through."""
    folder.mkdir()
    (folder / "site").mkdir()
    with site(folder / "site", world(2)) as place, Toll(9) as unused:
        case = OnBranch(place, warm, unused, 2)
        ended = case.apply(die={"at": at, "how": how})
        assert ended.code in {0, -9}, ended
        case.recover()
    return ended.code != 0


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_command_that_dies_at_the_push_of_its_intents_is_made_good(how: str, tmp_path: Path, warm: Warm) -> None:
    """The eighth request of a first run: four reads, the claim, its probe, another read."""
    assert dies(tmp_path / "8", warm, 8, how)


@pytest.mark.full
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_command_that_dies_at_any_request_is_made_good(
    how: str, tmp_path: Path, warm: Warm, record_property: Callable[[str, object], None]
) -> None:
    """Each batch is started once, and known as started by us."""
    at = 1
    while dies(tmp_path / str(at), warm, at, how):
        at += 1
    assert at > 9
    record_property("counted", f"git sweep: killed {how} each of {at - 1} requests, all recovered")
