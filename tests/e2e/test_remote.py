"""Machines that share nothing but a store: they race, vanish, are suspended, and lose the store itself.

Each has a folder and a home of its own. The store is a real server (moto), the judge is the simulator's log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from batchform.state.address import Bucket
from batchform.state.codec import decode_state, encode_state
from batchform.state.known import Phase
from batchform.state.objects import Objects
from batchform.state.remote.access import JOURNAL, STATE
from batchform.state.remote.reader import read
from tests.e2e.harness import ROOT, Ended, Site, site
from tests.e2e.test_loop import declared, ids
from tests.proof import judge
from tests.state.engines import BUCKET, SCHEMES, engine, environment, variables
from tests.state.samples import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from batchform.state.known import Entry
    from batchform.state.registers import Registers

APPLY = ("apply", "--auto-approve", "--lock-timeout", "300s")


@dataclass
class Land:
    """An account, a store, and machines."""

    place: Site
    root: Path
    lease: float
    kind: str = "moto"
    key: str = field(default_factory=lambda: f"{uuid.uuid4().hex}/batchform.state.json")

    @property
    def address(self) -> str:
        """Where the state is."""
        return str(self.bucket)

    @property
    def bucket(self) -> Bucket:
        """The same, as a value."""
        return Bucket(scheme=SCHEMES.get(self.kind, "s3"), bucket=BUCKET, key=self.key)

    def folder(self, name: str) -> Path:
        """The folder of that machine, with the configuration in it."""
        folder = self.root / name
        if not folder.exists():
            folder.mkdir()
            text = (self.place.folder / "batchform.yaml").read_text()
            (folder / "batchform.yaml").write_text(text)
        return folder

    def surroundings(self) -> dict[str, str]:
        """The variables that lead to the store."""
        return variables(self.kind)

    def begin(self, name: str, *words: str, **more: str) -> subprocess.Popen[str]:
        """Begin a command on that machine."""
        folder = self.folder(name)
        given = {"BATCHFORM_STATE": self.address, "HOME": str(folder), **self.surroundings(), **more}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.leased", str(self.lease), "25", *words],
            cwd=folder,
            env=self.place.environment(**given, PYTHONPATH=str(ROOT)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *words: str, **more: str) -> Ended:
        """Run a command on that machine to its end."""
        return self.place.end(self.begin(name, *words, **more))

    def registers(self) -> Registers:
        """The store, as the test looks into it."""
        return Objects(self.bucket)

    def entries(self) -> dict[str, Entry]:
        """What the store holds now."""
        with environment(self.kind):
            state = read(self.registers()).state
        return {} if state is None else dict(state.entries)

    def contents(self) -> list[bytes | None]:
        """The bytes of state and journal."""
        with environment(self.kind):
            held = [self.registers().read(name) for name in (STATE, JOURNAL)]
        return [None if one is None else one.data for one in held]

    def all_is_well(self, count: int) -> None:
        """One start each, all of them known as started by us, and nothing to do for a third machine."""
        ended = self.run("the third", *APPLY)
        assert ended.code == 0, ended
        log = self.place.log.entries
        assert judge.accepted(log) == dict.fromkeys(ids(count), 1)
        assert {entry.phase for entry in self.entries().values()} == {Phase.STARTED}
        judge.nothing_lost(log, self.entries())
        judge.nothing_dreamt(log, self.entries())
        judge.looked_before_repeating(log, self.place.decisions)
        self.place.token_stayed_home()
        for folder in self.root.iterdir():
            judge.token_stayed_home("secret", folder=folder, spoken=self.place.spoken)


@contextmanager
def land(tmp_path: Path, count: int, lease: float = 60.0, kind: str = "moto", **options: float) -> Iterator[Land]:
    """So many batches that nobody has started."""
    folder = tmp_path / "site"
    root = tmp_path / "machines"
    folder.mkdir()
    root.mkdir()
    with site(folder, {"batches": dict.fromkeys(ids(count))}, rate_limit=1_000_000, **options) as place:
        place.declare(declared(ids(count)))
        yield Land(place=place, root=root, lease=lease, kind=kind)


@pytest.mark.parametrize("kind", ["moto", "google", "azurite"])
def test_a_run_leaves_nothing_on_its_machine(kind: str, tmp_path: Path) -> None:
    """The next machine finds everything in the store, and an offline plan reads it there."""
    with land(tmp_path, 5, kind=kind) as here:
        ended = here.run("one", *APPLY)
        assert ended.code == 0, ended
        assert [path.name for path in here.folder("one").iterdir()] == ["batchform.yaml"]
        ended = here.run("two", "plan", "--detailed-exitcode")
        assert ended.code == 0, ended
        assert "No changes. " in ended.out
        assert here.run("two", "state", "list").out.count("started") >= 5
        here.all_is_well(5)


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.full)])
def test_a_machine_that_vanishes_is_made_good_by_another(count: int, tmp_path: Path) -> None:
    """`kill -9` in the middle of its starts; the other knows each of them as ours, and nobody unlocks anything."""
    with land(tmp_path, count, lease=3.0, latency=0.01) as here:
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(count // 3)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        ended = here.run("two", "apply", "--auto-approve")
        assert ended.code == 0, ended
        here.all_is_well(count)


@pytest.mark.parametrize("count", [5, pytest.param(20, marks=pytest.mark.full)])
def test_of_many_machines_at_once_each_batch_is_started_by_one(count: int, tmp_path: Path) -> None:
    """The others wait for their turn and find nothing to do."""
    with land(tmp_path, 10) as here:
        runs = [here.begin(f"machine {number}", *APPLY) for number in range(count)]
        for run in runs:
            ended = here.place.end(run, 300.0)
            assert ended.code == 0, ended
        here.all_is_well(10)


def test_who_does_not_wait_is_told_who_holds_it(tmp_path: Path) -> None:
    """Exit 5, the holder and its job; nothing was sent."""
    with land(tmp_path, 5, latency=0.3) as here:
        job = {"GITHUB_SERVER_URL": "https://ci.example.test", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "42"}
        first = here.begin("one", *APPLY, **job)
        here.place.log.wait_for(1)
        os.kill(first.pid, signal.SIGSTOP)
        ended = here.run("two", "apply", "--auto-approve", "--lock-timeout", "0s")
        assert ended.code == 5, ended
        assert "https://ci.example.test/a/b/actions/runs/42" in ended.err
        os.kill(first.pid, signal.SIGCONT)
        assert here.place.end(first).code == 0
        here.all_is_well(5)


def test_a_machine_that_is_suspended_past_its_lease_sends_nothing_more(tmp_path: Path) -> None:
    """Another has taken over and finished: the first writes nothing to the store and exits 4."""
    with land(tmp_path, 40, lease=3.0, latency=0.05) as here:
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
        kept = [path.name for path in here.folder("one").iterdir() if path.name != "batchform.yaml"]
        assert all(name.startswith("batchform.outcomes-") for name in kept)
        here.all_is_well(40)


# --- What is refused before anything is sent -------------------------------------------------------------------------


def refused(here: Land, says: str, **more: str) -> Ended:
    """The command ends with this message, and no start was sent."""
    ended = here.run("one", "apply", "--auto-approve", **more)
    assert ended.code == 1, ended
    assert says in ended.err, ended
    assert here.place.requests("start") == []
    return ended


@pytest.mark.parametrize(
    ("says", "more"),
    [
        ("The bucket does not exist", {"BATCHFORM_STATE": "s3://no-such-bucket/state.json"}),
        ("accepts a file, `git:", {"BATCHFORM_STATE": "ftp://bucket/state.json"}),
        ("user name or a password", {"BATCHFORM_STATE": "s3://user:topsecret@bucket/state.json"}),
        ("AWS_ENDPOINT_URL_S3 is not usable", {"AWS_ENDPOINT_URL_S3": "http://store.example.test"}),
        ("AWS_PROFILE is not usable", {"AWS_PROFILE": "nobody", "AWS_ACCESS_KEY_ID": ""}),
    ],
)
def test_a_mistake_in_the_surroundings_is_named(says: str, more: dict[str, str], tmp_path: Path) -> None:
    """And never taken for a state that does not exist yet."""
    with land(tmp_path, 1) as here:
        given = {**variables("moto"), **more}
        folder = here.folder("one")
        ended = subprocess.run(
            [sys.executable, "-m", "batchform", "apply", "--auto-approve"],
            cwd=folder,
            env=here.place.environment(**{"BATCHFORM_STATE": here.address, "HOME": str(folder), **given}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1, ended
        assert says in ended.stderr
        assert "topsecret" not in ended.stderr + ended.stdout
        assert here.place.log.entries == []


def test_a_store_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    """s3rver takes every write, so two runs could hold one state there."""
    with engine("s3rver"), land(tmp_path, 1) as here:
        refused(here, "This store ignores conditions", **variables("s3rver"))


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("plan",), ("state", "list")])
def test_a_local_state_needs_nothing_of_it(words: tuple[str, ...], tmp_path: Path) -> None:
    """Neither the library nor what is built on it is imported."""
    with land(tmp_path, 1) as here:
        code = (
            "import sys\nfrom batchform.cli.main import main\ntry:\n    main()\nfinally:\n"
            "    print(*(name for name in sys.modules if name in {'obstore', 'boto3', 'batchform.state.remote',"
            " 'batchform.state.registers', 'batchform.state.objects'}), file=sys.stderr)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=here.folder("one"),
            env=here.place.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not {"obstore", "batchform.state.remote"} & set(ended.stderr.split()), ended


def test_without_the_library_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    with land(tmp_path, 1) as here:
        code = "import sys\nsys.modules['obstore'] = None\nfrom batchform.cli.main import main\nmain()\n"
        ended = subprocess.run(
            [sys.executable, "-c", code, "apply", "--auto-approve", "--state", "s3://bucket/key"],
            cwd=here.folder("one"),
            env=here.place.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert "pip install obstore" in ended.stderr
        assert "Traceback" not in ended.stderr


# --- The commands for a state in a store -----------------------------------------------------------------------------


def test_a_copy_is_planned_on_and_never_applied(tmp_path: Path) -> None:
    """A fork plans without the store; an apply on the copy is refused; the copy is pulled again onto itself."""
    with land(tmp_path, 3) as here:
        assert here.run("one", *APPLY).code == 0
        assert here.run("one", "state", "pull", "copy.json").code == 0
        assert here.run("one", "state", "pull", "copy.json").code == 0
        offline = {"BATCHFORM_STATE": "copy.json", "AWS_ENDPOINT_URL_S3": ""}
        ended = here.run("one", "plan", "--detailed-exitcode", **offline)
        assert ended.code == 0, ended
        ended = here.run("one", *APPLY, **offline)
        assert ended.code == 1, ended
        assert "This state is a copy" in ended.err
        before = here.contents()[0]
        ended = here.run("one", "state", "push", "copy.json")
        assert "The state has all of this already." in ended.err, ended
        assert here.contents()[0] == before
        here.all_is_well(3)


@pytest.mark.parametrize("names", [(STATE,), (STATE, JOURNAL)])
def test_a_state_that_was_deleted_is_restored_from_a_copy(names: tuple[str, ...], tmp_path: Path) -> None:
    """Of its latest version, also where its journal is still there. Anything less would forget what was started."""
    with land(tmp_path, 3) as here:
        assert here.run("one", *APPLY, "--target", "batch-b-00000").code == 0
        assert here.run("one", "state", "pull", "old.json").code == 0
        assert here.run("one", *APPLY).code == 0
        assert here.run("one", "state", "pull", "copy.json").code == 0
        with environment(here.kind):
            obstore = pytest.importorskip("obstore")
            obstore.delete(Objects(here.bucket)._store, [here.key + name for name in names])
        if names == (STATE,):
            (here.folder("one") / "outcomes.journal").write_bytes(here.contents()[1] or b"")
            for command in (("state", "push", "old.json"), ("state", "push", "outcomes.journal"), APPLY):
                ended = here.run("one", *command)
                assert ended.code == 1, ended
                assert "The state is missing" in ended.err
        for says in ("Pushed: 3 batches", "The state has all of this already."):
            ended = here.run("one", "state", "push", "copy.json")
            assert ended.code == 0, ended
            assert says in ended.err
        here.all_is_well(3)


def test_a_pull_never_replaces_another_state(tmp_path: Path) -> None:
    """What only that state knows would be forgotten."""
    with land(tmp_path, 2) as here:
        assert here.run("one", *APPLY).code == 0
        other = here.folder("one") / "mine.json"
        other.write_bytes(encode_state(EMPTY))
        ended = here.run("one", "state", "pull", "mine.json")
        assert ended.code == 1, ended
        assert "is another state" in ended.err
        assert other.read_bytes() == encode_state(EMPTY)


def test_a_push_into_the_wrong_place_is_refused(tmp_path: Path) -> None:
    """A copy of another state, another history, a store without a state, and no state at all."""
    with land(tmp_path, 2) as here:
        assert here.run("one", *APPLY).code == 0
        folder = here.folder("one")
        home = {"BATCHFORM_STATE": f"s3://{BUCKET}/{uuid.uuid4().hex}/state.json"}
        (folder / "copy.json").write_bytes(encode_state(replace(EMPTY, home="s3://bucket/other")))
        (folder / "other.json").write_bytes(encode_state(EMPTY))
        (folder / "cut.journal").write_bytes(b"")
        for file, says, more in (
            ("copy.json", "a copy of another state", {}),
            ("other.json", "two different states", {}),
            ("other.json", "There is no state", home),
            ("cut.journal", "is cut off", {}),
            ("missing", "cannot be read", {}),
        ):
            before = here.contents()[0]
            ended = here.run("one", "state", "push", file, **more)
            assert ended.code == 1, ended
            assert says in ended.err, ended
            assert here.contents()[0] == before


def test_a_run_that_hangs_is_unlocked(tmp_path: Path) -> None:
    """`lock` names it; after `unlock` and its wait, another goes on at once, and the first sends nothing more."""
    with land(tmp_path, 20, lease=3.0, latency=0.05) as here:
        ended = here.run("two", "state", "lock")
        assert (ended.code, "free" in ended.out) == (0, True), ended
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(5)
        os.kill(first.pid, signal.SIGSTOP)
        ended = here.run("two", "state", "lock", "--json")
        assert ended.code == 5, ended
        found = json.loads(ended.out)
        assert (found["locked"], found["holder"][:9], found["lease_seconds"]) == (True, "apply by ", 3.0)
        ended = here.run("two", "state", "unlock", found["run"])
        assert ended.code == 1, ended
        assert "no approval" in ended.err
        ended = here.run("two", "state", "unlock", "0123456789abcdef", "--auto-approve")
        assert "does not hold the state" in ended.err, ended
        ended = here.run("two", "state", "unlock", found["run"], "--auto-approve", "--lock-timeout", "5s")
        assert ended.code == 0, ended
        ended = here.run("two", "apply", "--auto-approve", "--lock-timeout", "0s")
        assert ended.code == 0, ended
        sent = len(here.place.requests("start"))
        os.kill(first.pid, signal.SIGCONT)
        assert here.place.end(first).code == 4
        here.place.sent_no_more(sent)
        spilled = list(here.folder("one").glob("batchform.outcomes-*.journal"))
        for file in spilled:
            assert here.run("one", "state", "push", file.name).code == 0
        here.all_is_well(20)


def test_a_damaged_state_is_recovered(tmp_path: Path) -> None:
    """A run was killed, and the state cannot be read. Its journal is kept; the account has what only the state knew."""
    with land(tmp_path, 6, lease=3.0, latency=0.05) as here:
        assert here.run("one", *APPLY, "--target", "batch-b-00000").code == 0
        first = here.begin("one", *APPLY)
        here.place.log.wait_for(6)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        with environment(here.kind):
            whole = here.registers().read(STATE)
            assert whole is not None
            here.registers().write(STATE, b"damaged", whole.tag)
        damaged = here.contents()
        for command in (APPLY, ("plan",)):
            ended = here.run("two", *command)
            assert ended.code == 1, ended
            said = " ".join(ended.err.split())
            assert f"{here.address}: It is not valid JSON" in said
            assert "batchform state recover" in said
        ended = here.run("two", "state", "recover")
        assert ended.code == 1, ended
        assert "This recovery has no approval" in ended.err
        assert here.contents() == damaged
        ended = here.run("two", "state", "recover", "--auto-approve")
        assert ended.code == 0, ended
        (copy,) = here.folder("two").glob("*.damaged-*")
        assert copy.read_bytes() == b"damaged"
        assert "Recovered " in ended.out
        ended = here.run("two", "state", "recover")
        assert (ended.code, ended.out) == (0, "The state is not damaged.\n"), ended
        assert here.run("two", *APPLY).code == 0
        assert judge.accepted(here.place.log.entries) == dict.fromkeys(ids(6), 1)
        first_one, *others = (here.entries()[key].phase for key in ids(6))
        assert (first_one, set(others)) == (Phase.ADOPTED, {Phase.STARTED})


def test_a_state_file_needs_no_unlock(tmp_path: Path) -> None:
    """The kernel frees its lock."""
    with land(tmp_path, 1) as here:
        local = {"BATCHFORM_STATE": "batchform.state.json"}
        ended = here.run("one", "state", "lock", **local)
        assert (ended.code, ended.out) == (0, "The state is free.\n"), ended
        ended = here.run("one", "state", "unlock", "0123456789abcdef", **local)
        assert ended.code == 1, ended
        assert "kernel frees" in ended.err


# --- A state file moves into a store ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["moto", "google", "azurite"])
def test_a_state_file_moves_into_a_store(kind: str, tmp_path: Path) -> None:
    """The file stays as a copy; a second migrate changes nothing; one that was cut off in between is completed."""
    with land(tmp_path, 3, kind=kind) as here:
        local = {"BATCHFORM_STATE": "batchform.state.json"}
        assert here.run("one", *APPLY, **local).code == 0
        file = here.folder("one") / "batchform.state.json"
        before = file.read_bytes()
        assert here.run("one", "state", "migrate", here.address, **local).code == 0
        moved = here.contents()
        file.write_bytes(before)  # as if it had died before it changed the file
        assert here.run("one", "state", "migrate", here.address, **local).code == 0
        assert here.contents()[0] == moved[0]
        moved = here.contents()
        ended = here.run("one", "state", "migrate", here.address, **local)
        assert (ended.code, here.contents()) == (0, moved), ended
        ended = here.run("one", *APPLY, **local)
        assert ended.code == 1, ended
        assert "This state is a copy" in ended.err
        here.all_is_well(3)


def test_a_state_returns_to_the_store_that_it_has_left(tmp_path: Path) -> None:
    """From the file that it moved to, and from no other; what happened there goes with it."""
    with land(tmp_path, 3) as here:
        local = {"BATCHFORM_STATE": "batchform.state.json"}
        file = here.folder("one") / "batchform.state.json"
        assert here.run("one", *APPLY, "--target", next(iter(declared(ids(3))))).code == 0
        assert here.run("one", "state", "migrate", "batchform.state.json").code == 0
        assert here.run("one", *APPLY, **local).code == 0
        other = file.with_name("other.json")
        other.write_bytes(file.read_bytes())
        ended = here.run("one", "state", "migrate", here.address, BATCHFORM_STATE="other.json")
        assert ended.code == 1, ended
        assert "Choose another address. Nothing was changed." in " ".join(ended.err.split())
        before = decode_state(file.read_bytes())
        for _ in range(2):
            ended = here.run("one", "state", "migrate", here.address, **local)
            assert ended.code == 0, ended
        assert here.run("one", *APPLY, **local).code == 1  # a copy
        assert here.run("one", *APPLY).code == 0
        state = decode_state(here.contents()[0] or b"")
        assert (state.home, set(state.entries)) == (here.address, set(ids(3)))
        assert state.serial > before.serial
        here.all_is_well(3)


def test_a_state_does_not_move_onto_another(tmp_path: Path) -> None:
    """Both stay as they are."""
    with land(tmp_path, 2) as here:
        assert here.run("one", *APPLY).code == 0
        before = here.contents()[0]
        other = here.folder("one") / "mine.json"
        other.write_bytes(encode_state(EMPTY))
        ended = here.run("one", "state", "migrate", here.address, BATCHFORM_STATE="mine.json")
        assert ended.code == 1, ended
        assert (here.contents()[0], other.read_bytes()) == (before, encode_state(EMPTY))


def test_a_state_that_was_put_into_a_store_by_hand_is_not_moved_onto(tmp_path: Path) -> None:
    """The error says what it is, and both stay as they are."""
    with land(tmp_path, 2) as here:
        assert here.run("one", *APPLY).code == 0
        state = here.contents()[0]
        assert state is not None
        by_hand = encode_state(replace(decode_state(state), home=""))
        with environment(here.kind):
            held = here.registers().read(STATE)
            assert held is not None
            here.registers().write(STATE, by_hand, held.tag)
        other = here.folder("one") / "mine.json"
        other.write_bytes(by_hand)
        ended = here.run("one", "state", "migrate", here.address, BATCHFORM_STATE="mine.json")
        assert ended.code == 1, ended
        assert "was put there by hand" in " ".join(ended.err.split())
        assert (here.contents()[0], other.read_bytes()) == (by_hand, by_hand)
