"""Registers on a branch: what is particular to git. What every engine has to do is in `test_registers`."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchform.errors import UsageError
from batchform.state.address import Branch
from batchform.state.answers import not_usable
from batchform.state.git import FILE, Git, _Ended, _unsure
from batchform.state.journal import Header, encode_header
from batchform.state.registers import LASTING, Down, Held, Taken, Unsure, Why, replace
from tests.state.git_server import BRANCH, PASSWORD, GitServer, authorization, bare, git
from tests.state.samples import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REF = f"refs/heads/{BRANCH}"


@dataclass
class Place:
    """A repository, and a checkout of it."""

    root: Path

    @property
    def origin(self) -> Path:
        """The repository."""
        return self.root / "origin.git"

    @property
    def checkout(self) -> Path:
        """The checkout."""
        return self.root / "checkout"

    def clone(self, name: str = "checkout", *options: str, url: str = "") -> Path:
        """Another checkout."""
        git("clone", "--quiet", *options, url or self.origin.as_uri(), name, folder=self.root)
        return self.root / name

    def registers(self, folder: Path | None = None) -> Git:
        """The branch, from the checkout."""
        return Git(Branch(name=BRANCH), folder or self.checkout)

    def says(self, *words: str) -> str:
        """What git says of the repository."""
        return git(*words, folder=self.origin).strip()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but that of the checkout."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "BATCHFORM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository and a clone of it."""
    bare(tmp_path)
    made = Place(tmp_path)
    made.clone()
    return made


@pytest.fixture
def server(place: Place) -> Iterator[GitServer]:
    """The repository over http; the checkout has that address."""
    with GitServer(place.root) as running:
        git("remote", "set-url", "origin", running.url, folder=place.checkout)
        yield running


def program(folder: Path, name: str, text: str) -> Path:
    """A script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def unsure(action: Callable[[], object]) -> Unsure:
    """The answer of an action that is not a plain yes."""
    with pytest.raises(Unsure) as caught:
        action()
    return caught.value


# --- The condition and its write are one step ------------------------------------------------------------------------


def test_a_write_is_built_on_the_tip_that_another_file_moved(place: Place) -> None:
    """The tags of the other registers stay, and so does the history."""
    one, other = place.registers(), place.registers()
    state = one.write("", b"state", None)
    journal = other.write(".journal", b"journal", None)
    assert one.write("", b"state again", state) == place.says("rev-parse", f"{REF}:{FILE}")
    assert other.read(".journal") == Held(b"journal", journal)
    assert place.says("rev-list", "--count", REF) == "3"


def test_a_push_on_an_old_tip_is_refused_by_the_server(place: Place) -> None:
    """Nothing but its lease stands between it and the branch: it comes late, when another write took place."""
    one, other = place.registers(), place.registers()
    tag = one.write("", b"one", None)
    blob = one._do("hash-object", "-w", "--stdin", given=b"late").decode().strip()  # a write in steps
    late = one._commit(one._look(), FILE, blob, "late")  # the same
    old = place.says("rev-parse", REF)
    other.write("", b"two", tag)
    assert one._push(old, late.commit) == "[rejected] (stale info)"  # the same
    held = one.read("")
    assert held is not None
    assert held.data == b"two"


def test_a_lost_answer_is_read_back(place: Place, server: GitServer) -> None:
    """The push took place: `replace` knows, and the next write builds on it. curl may have sent it twice."""
    one = place.registers()
    server.gate.lost = 1
    assert unsure(lambda: one.write("", b"one", None)).why in {Why.SILENT, Why.REFUSED}
    server.gate.lost = 1
    held = one.read("")
    assert held is not None
    tag = replace(one, "", b"two", held.tag, patience=30)
    assert one.read("") == Held(b"two", tag)
    assert place.says("rev-list", "--count", REF) == "2"
    with pytest.raises(Taken):
        replace(one, "", b"three", held.tag, patience=30)


def test_a_branch_that_always_moves_is_not_written_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five tries the answer is open, and `replace` tries again later."""
    one, other = place.registers(), place.registers()
    pushes: list[str] = []
    push = Git._push

    def moved(self: Git, old: str, new: str) -> str:
        if self is other:
            return push(self, old, new)
        pushes.append(new)
        held = other.read(".journal")
        other.write(".journal", b"%d" % len(pushes), None if held is None else held.tag)
        return "[rejected] (stale info)"

    monkeypatch.setattr(Git, "_push", moved)
    found = unsure(lambda: one.write("", b"one", None))
    assert (found.why, found.detail, len(pushes)) == (Why.OTHER, "the branch moves", 5)


def test_a_refusal_that_no_other_push_has_caused_is_not_pushed_again(place: Place) -> None:
    """For example a lock that a dead process left on the server: five pushes would be refused as one is."""
    one = place.registers()
    tag = one.write("", b"one", None)
    lock = place.origin / f"{REF}.lock"
    lock.touch()
    before = len([at for at in one._pushes if at > 0])
    found = unsure(lambda: one.write("", b"two", tag))
    assert found.why is Why.OTHER
    assert found.detail.startswith("[remote rejected]")
    assert len([at for at in one._pushes if at > 0]) == before + 1
    lock.unlink()
    assert one.write("", b"two", tag)


def test_a_branch_that_was_cut_short_by_hand_goes_on(place: Place) -> None:
    """The tag is the content, so a new history with the same files changes nothing."""
    one = place.registers()
    tag = one.write("", b"one", None)
    one.write(".journal", b"journal", None)
    tree = place.says("rev-parse", f"{REF}^{{tree}}")
    place.says("update-ref", REF, git("commit-tree", "-m", "short", tree, folder=place.origin).strip())
    one.write("", b"two", tag)
    assert place.says("rev-list", "--count", REF) == "2"


def test_a_protected_branch_takes_every_write(place: Place) -> None:
    """No push is forced, and none deletes."""
    for name in ("receive.denyNonFastForwards", "receive.denyDeletes"):
        git("config", name, "true", folder=place.origin)
    one = place.registers()
    tag = one.write("", b"one", None)
    assert place.registers().write("", b"two", tag)


def test_an_origin_that_pushes_elsewhere_is_named(place: Place) -> None:
    """To a fork or a copy: what is written there is never read. Also if two commits of one second are the same."""
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    git("config", "remote.origin.pushurl", bare(elsewhere).as_uri(), folder=place.checkout)
    one = place.registers()
    one.write("", b"one", None)
    for data in (b"one", b"two"):
        found = unsure(lambda: one.write("", data, None))  # noqa: B023  # called at once
        assert found.why is Why.APART
    error = not_usable(one.where, Down(found, writing=True))
    assert error.summary == "`origin` reads from one place and pushes to another"
    assert "git remote get-url --push origin" in error.detail


# --- The branch ------------------------------------------------------------------------------------------------------


def test_other_files_beside_ours_stay(place: Place) -> None:
    """A README on the branch, for example, and a folder."""
    tag = place.registers().write("", b"one", None)
    work = place.clone("other", "--branch", BRANCH)
    (work / "f\u00fcr alle").mkdir()
    (work / "f\u00fcr alle" / "README").write_text("mine")
    git("add", ".", folder=work)
    git("commit", "--quiet", "-m", "mine", folder=work)
    git("push", "--quiet", "origin", BRANCH, folder=work)
    place.registers().write("", b"two", tag)
    assert place.says("show", f"{REF}:f\u00fcr alle/README") == "mine"


@pytest.mark.parametrize("what", ["other files", "a link"])
def test_a_branch_with_something_else_is_refused(what: str, place: Place) -> None:
    """It is neither read as an absent state nor written."""
    if what == "a link":
        (place.checkout / FILE).symlink_to("batchform.yaml")
        git("add", ".", folder=place.checkout)
        git("commit", "--quiet", "-m", "a link", folder=place.checkout)
    git("push", "--quiet", "origin", f"HEAD:{REF}", folder=place.checkout)
    one = place.registers()
    for action in (lambda: one.read(""), lambda: one.write("", b"one", None)):
        found = unsure(action)
        assert found.why in LASTING
    error = not_usable(one.where, Down(found, writing=True))
    assert error.summary == "The branch does not hold a batchform state"


@pytest.mark.parametrize("there", [f"{BRANCH}/other", BRANCH.partition("/")[0]], ids=["below", "above"])
def test_a_name_that_another_branch_excludes_is_named(there: str, place: Place) -> None:
    """One repository cannot hold `a` and `a/b`; another push would not help."""
    git("update-ref", f"refs/heads/{there}", "refs/heads/main", folder=place.origin)
    one = Git(Branch(name=BRANCH if there.startswith(f"{BRANCH}/") else f"{BRANCH}/state"), place.checkout)
    found = unsure(lambda: one.write("", b"one", None))
    assert found.why in LASTING
    error = not_usable(one.where, Down(found, writing=True))
    assert error.summary == "The name of the branch is not free"
    assert "Choose another name." in error.detail
    assert f"'refs/heads/{there}' exists" in error.detail or "refname conflict" in error.detail  # git 2.53


def test_the_words_of_a_newer_git_server_are_known(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it updates several refs at once, it says no more than this (tried with git 2.53)."""
    one = place.registers()

    def push(says: str) -> str:
        answer = _Ended(1, f"!\t{'1' * 40}:{REF}\t[remote rejected] ({says})\n".encode(), "")
        monkeypatch.setattr(Git, "_run", lambda *_words, **_more: answer)
        return one._push("", "1" * 40)

    assert unsure(lambda: push("refname conflict")).why is Why.NOT_FREE
    for moved in ("reference already exists", "reference does not exist", "incorrect old value provided"):
        assert moved in push(moved)
    assert unsure(lambda: push("something else")).why is Why.RULE


def test_a_commit_says_who_wrote_what(place: Place) -> None:
    """With the run and its job; a journal that cannot be read is written all the same."""
    one = place.registers()
    holder = {"Operation": "apply", "Who": "anna@ci", "Info": "https://ci.example.test/42"}
    header = Header(lineage="l", serial=1, service=EMPTY.service, endpoint="e", run="r1", epoch=1, holder=holder)
    tag = one.write(".journal", encode_header(header), None)
    said = place.says("log", "-1", "--format=%an <%ae>%n%cn%n%B", REF).splitlines()
    assert said[:3] == ["batchform <batchform@localhost>", "batchform", "Write the journal [skip ci]"]
    assert said[4:6] == ["apply by anna@ci, run r1", "https://ci.example.test/42"]
    one.write("", b"state", None)
    assert "run r1" in place.says("log", "-1", "--format=%B", REF)
    one.write(".journal", b"%08x {}\n" % zlib.crc32(b"{}"), one.write(".journal", b"no header", tag))


def test_who_commits_comes_from_the_configuration_or_the_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for any commit."""
    git("config", "user.name", "The bot", folder=place.checkout)
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "bot@example.test")
    place.registers().write("", b"one", None)
    assert place.says("log", "-1", "--format=%an <%ae>", REF) == "The bot <bot@example.test>"


def test_commits_are_signed_where_git_is_set_up_for_it(place: Place) -> None:
    """By the checkout's own program; if it fails, nothing is pushed, and the message says so."""
    sign = 'cat >/dev/null\necho "[GNUPG:] SIG_CREATED " >&2\necho "-----BEGIN PGP SIGNATURE-----"'
    for name, value in (("gpg.program", str(program(place.root, "sign", sign))), ("commit.gpgsign", "true")):
        git("config", name, value, folder=place.checkout)
    tag = place.registers().write("", b"one", None)
    assert "gpgsig -----BEGIN PGP SIGNATURE-----" in place.says("cat-file", "commit", REF)
    git("config", "gpg.program", "false", folder=place.checkout)
    one = place.registers()
    found = unsure(lambda: one.write("", b"two", tag))
    assert found.why is Why.UNSIGNED
    assert "commit.gpgsign" in not_usable(one.where, Down(found, writing=True)).detail
    assert place.says("rev-list", "--count", REF) == "1"


def test_a_signature_that_takes_too_long_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example a key that waits for a touch. It is not the store that does not answer."""
    git("config", "gpg.program", str(program(place.root, "sign", "sleep 60")), folder=place.checkout)
    git("config", "commit.gpgsign", "true", folder=place.checkout)
    one = place.registers()
    one.read("")
    monkeypatch.setattr(Git, "timeout", 1.0)
    found = unsure(lambda: one.write("", b"one", None))
    assert (found.why, found.detail) == (Why.UNSIGNED, "git commit-tree took longer than 1 s")


# --- The checkout ----------------------------------------------------------------------------------------------------


def test_every_kind_of_checkout_will_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shallow, partial, detached, a worktree, bare, a folder inside; also from a hook, whose variables name it."""
    shallow = place.clone("shallow", "--depth=1")
    partial = place.clone("partial", "--filter=blob:none")
    git("checkout", "--quiet", "--detach", folder=partial)
    git("worktree", "add", "--quiet", "--detach", str(place.root / "tree"), folder=place.checkout)
    (place.checkout / "inside").mkdir()
    mirror = place.clone("mirror.git", "--mirror")
    folders = [shallow, partial, place.root / "tree", place.checkout / "inside", mirror]
    tag = place.registers().write("", b"base", None)
    for number, folder in enumerate(folders):
        tag = place.registers(folder).write("", b"%d" % number, tag)
    monkeypatch.setenv("GIT_DIR", str(place.checkout / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(place.checkout / ".git" / "index"))
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(place.root))
    assert place.registers(place.root).write("", b"from a hook", tag)


def test_an_address_relative_to_the_checkout_is_found_from_inside(place: Place) -> None:
    """As git itself reads it."""
    git("remote", "set-url", "origin", "../origin.git", folder=place.checkout)
    (place.checkout / "inside").mkdir()
    assert place.registers(place.checkout / "inside").write("", b"one", None)


def test_a_repository_with_longer_names_will_do(tmp_path: Path) -> None:
    """SHA-256."""
    git("init", "--quiet", "--bare", "--object-format=sha256", str(tmp_path / "origin.git"), folder=tmp_path)
    git("init", "--quiet", "--object-format=sha256", str(tmp_path / "checkout"), folder=tmp_path)
    git("remote", "add", "origin", "../origin.git", folder=tmp_path / "checkout")
    one = Place(tmp_path).registers()
    assert len(one.write("", b"one", None)) == 64
    assert Place(tmp_path).registers().read("") is not None


def test_hooks_of_the_checkout_do_not_run(place: Place) -> None:
    """They are meant for code, and could ask, or take minutes."""
    hooks = place.root / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "reference-transaction"):
        program(hooks, name, "exit 1")
    git("config", "core.hooksPath", str(hooks), folder=place.checkout)
    assert place.registers().write("", b"one", None)


def test_no_secret_is_written_anywhere(place: Place, server: GitServer) -> None:
    """The token of actions/checkout, also if it is in a file that only this checkout includes; `insteadOf` counts."""
    server.gate.password = True
    included = place.root / "credentials.config"
    git("config", "--file", str(included), *server.signs_in, folder=place.root)
    git("config", f"includeIf.gitdir:{place.checkout}/.git.path", str(included), folder=place.checkout)
    other = "https://git.example.test/"
    git("config", f"url.{server.url.removesuffix('origin.git')}.insteadOf", other, folder=place.checkout)
    git("remote", "set-url", "origin", f"{other}origin.git", folder=place.checkout)
    one = place.registers()
    one.write("", b"one", None)
    assert set(server.gate.headers) == {authorization()}
    private = Path(one._environment["GIT_DIR"])  # to look into it
    assert not any(PASSWORD.encode() in path.read_bytes() for path in private.rglob("*") if path.is_file())
    assert not any(authorization().encode() in path.read_bytes() for path in private.rglob("*") if path.is_file())
    del one
    gc.collect()
    assert not private.exists()


def test_a_credential_helper_gets_its_token_and_not_ours(
    place: Place, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BATCHFORM_STATE_TOKEN is for the push; the vendor's token never reaches a child."""
    server.gate.password = True
    monkeypatch.setenv("BATCHFORM_STATE_TOKEN", PASSWORD)
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN", "for the vendor only")
    seen = place.root / "seen"
    helper = f'!f() {{ env >>{seen}; printf "username=x-access-token\\npassword=%s\\n" "$BATCHFORM_STATE_TOKEN"; }}; f'
    git("config", "credential.helper", helper, folder=place.checkout)
    assert place.registers().write("", b"one", None)
    assert PASSWORD in seen.read_text()
    assert "for the vendor only" not in seen.read_text()


# --- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "why", "summary"),
    [
        (401, Why.NO_CREDENTIALS, f"There are no usable credentials for git:{BRANCH}"),
        (403, Why.FORBIDDEN, "`origin` refuses these credentials"),
        (404, Why.NO_BUCKET, "The repository of `origin` is not there"),
        (429, Why.THROTTLED, "The store does not answer"),
        (503, Why.OTHER, "The store does not answer"),
    ],
)
def test_no_answer_is_taken_for_a_missing_branch(
    status: int, why: Why, summary: str, place: Place, server: GitServer
) -> None:
    """A branch is missing only if the server has listed its branches."""
    server.gate.closed = status
    one = place.registers()
    found = unsure(lambda: one.read(""))
    assert found.why is why
    error = not_usable(one.where, Down(found, writing=False))
    assert error.summary == summary
    assert server.url not in error.detail
    assert unsure(lambda: one.write("", b"one", None)).why is why
    server.gate.closed = 0
    assert one.read("") is None


@pytest.mark.parametrize(
    "says",
    ["could not read Username for 'http://x': terminal prompts disabled", "unable to get password from user"],
    ids=["git 2.39", "git 2.47"],
)
def test_each_git_says_in_its_words_that_there_are_no_credentials(says: str) -> None:
    """Without them, asking again does not help."""
    assert _unsure(_Ended(128, b"", f"fatal: {says}\n")).why is Why.NO_CREDENTIALS


def test_a_repository_that_is_not_there_is_no_missing_branch(place: Place) -> None:
    """Nor is a server that is not there."""
    git("remote", "set-url", "origin", str(place.root / "nowhere.git"), folder=place.checkout)
    assert unsure(lambda: place.registers().read("")).why is Why.NO_BUCKET
    git("remote", "set-url", "origin", f"http://x:{PASSWORD}@127.0.0.1:9/origin.git", folder=place.checkout)
    found = unsure(lambda: place.registers().read(""))
    assert found.why is Why.SILENT
    assert "Failed to connect to 127.0.0.1" in found.detail
    assert PASSWORD not in found.detail


def test_the_server_is_quoted_and_a_credential_helper_is_not() -> None:
    """The first says what is wrong, such as a list of allowed addresses. The second may say a secret."""
    said = (
        "+ printf password=secret\n"
        "remote: The owner has an IP allow list enabled, and 192.0.2.7 is not permitted.\n"
        f"fatal: unable to access 'https://x:{PASSWORD}@host/': The requested URL returned error: 403\n"
    )
    found = _unsure(_Ended(128, b"", said))
    assert found.why is Why.FORBIDDEN
    assert found.detail == (
        "The owner has an IP allow list enabled, and 192.0.2.7 is not permitted. unable to access ... The requested URL"
        " returned error: 403"
    )


@pytest.mark.parametrize(("status", "why"), [(403, Why.FORBIDDEN), (503, Why.OTHER)])
def test_a_push_that_the_server_does_not_take_is_told(status: int, why: Why, place: Place, server: GitServer) -> None:
    """Without the right to push: which right it is."""
    server.gate.fail, server.gate.status = 1, status
    one = place.registers()
    found = unsure(lambda: one.write("", b"one", None))
    assert found.why is why
    if why is Why.FORBIDDEN:
        error = not_usable(one.where, Down(found, writing=True))
        assert error.summary == "`origin` does not let us push"
        assert "contents: write" in error.detail


def test_a_rule_of_the_server_is_named_without_secrets(place: Place) -> None:
    """A hook or a protected branch: the server's words, without addresses and what may be a token."""
    text = f'echo "GH006: Protected branch https://x:{PASSWORD}@host/x \033[31m {PASSWORD}{PASSWORD}" >&2; exit 1'
    program(place.origin / "hooks", "pre-receive", text)
    one = place.registers()
    found = unsure(lambda: one.write("", b"one", None))
    assert found.why is Why.RULE
    error = not_usable(one.where, Down(found, writing=True))
    assert error.summary == "A rule of the git server refuses the push"
    assert "GH006: Protected branch ..." in error.detail
    assert PASSWORD not in error.detail
    assert error.detail.isprintable()


@pytest.mark.parametrize("says", ["Gitea: Internal Server Error", "GitLab: Internal API unreachable"])
def test_a_server_with_a_problem_of_its_own_is_no_rule(says: str, place: Place) -> None:
    """It refuses like a rule, but only for a while: the write is tried as long as with any other failure."""
    program(place.origin / "hooks", "pre-receive", f'echo "{says}" >&2; exit 1')
    found = unsure(lambda: place.registers().write("", b"one", None))
    assert found.why not in LASTING
    assert says in found.detail


def test_a_push_that_github_cannot_store_is_no_rule(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer has no other sign of it."""
    one = place.registers()
    said = "remote: fatal error in commit_refs        \nerror: failed to push some refs\n"
    ended = _Ended(1, b"To x\n!\ta:b\t[remote rejected] (failure)\nDone\n", said)
    run = Git._run
    monkeypatch.setattr(Git, "_run", lambda *words, **more: ended if words[1] == "push" else run(*words, **more))
    found = unsure(lambda: one.write("", b"one", None))
    assert (found.why, found.detail) == (Why.OTHER, "[remote rejected] (failure) fatal error in commit_refs")


def test_a_git_that_takes_too_long_is_ended_with_its_children(
    place: Place, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sent may still take place, so the answer is open."""
    one = place.registers()
    one.read("")
    server.gate.hang = 1
    monkeypatch.setattr(Git, "timeout", 1.0)
    begun: list[int] = []
    popen = subprocess.Popen

    def noted(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = popen(*words, **more)
        begun.append(process.pid)
        return process

    monkeypatch.setattr("batchform.state.git.subprocess.Popen", noted)
    found = unsure(lambda: one.write("", b"one", None))
    assert (found.why, found.detail) == (Why.SILENT, "git push took longer than 1 s")
    with pytest.raises(ProcessLookupError):
        os.killpg(begun[-1], 0)


def test_a_git_that_is_interrupted_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C leaves no process."""
    one = place.registers()
    wait = subprocess.Popen.wait

    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(self)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.read("")


def test_a_git_that_cannot_be_run_any_more_is_no_answer(place: Place) -> None:
    """For example if the folder is gone."""
    one = place.registers()
    one._root = place.root / "gone"  # as if it had been removed
    assert unsure(lambda: one.read("")).why is Why.MACHINE


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("echo fatal: No space left on device >&2; exit 128", ": fatal: No space left on device"),
        ("exit 128", ": exit code 128"),
        ("sleep 60", " took longer than 1 s"),
    ],
)
def test_a_failure_on_this_machine_is_not_one_of_the_store(
    does: str, says: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a full disk."""
    one = place.registers()
    programs = place.root / "programs"
    programs.mkdir()
    program(programs, "git", f'[ "$1" = hash-object ] && {{ {does}; }}\nPATH={os.environ["PATH"]} exec git "$@"')
    monkeypatch.setitem(one._environment, "PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(Git, "timeout", 1.0)
    found = unsure(lambda: one.write("", b"one", None))
    assert found.why is Why.MACHINE
    error = not_usable(one.where, Down(found, writing=True))
    assert error.summary == "git failed on this machine"
    assert f"git hash-object{says}" in error.detail


# --- What is refused before anything is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("This checkout has no `origin`", ("remote", "remove", "origin")),
        ("`origin` has several addresses", ("remote", "set-url", "--add", "origin", "https://example.test/2")),
        ("The branch is the one that is checked out", ("checkout", "--quiet", "-b", BRANCH)),
    ],
)
def test_a_checkout_that_does_not_fit_is_named(says: str, change: tuple[str, ...], place: Place) -> None:
    """Before anything is sent."""
    git(*change, folder=place.checkout)
    with pytest.raises(UsageError) as caught:
        place.registers()
    assert caught.value.summary == says
    assert "Nothing was sent." in caught.value.detail


def test_several_addresses_for_pushes_are_refused(place: Place) -> None:
    """A push to both could succeed at one."""
    for number in (1, 2):
        git("config", "--add", "remote.origin.pushurl", f"https://example.test/{number}", folder=place.checkout)
    with pytest.raises(UsageError, match="`origin` has several addresses"):
        place.registers()


def test_what_is_no_usable_checkout_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository; one that belongs to another user."""
    with pytest.raises(UsageError, match="There is no git checkout here"):
        place.registers(place.root)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError) as caught:
        place.registers()
    assert caught.value.summary == "git does not trust this checkout"
    assert "safe.directory" in caught.value.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo git version 2.31.9", "git is too old"),
        ("echo something else", "git is too old"),
        (f"echo fatal: https://x:{PASSWORD}@host/ >&2; exit 3", "git cannot be used"),
        ("sleep 60", "git cannot be used"),
        (None, "git is not installed"),
    ],
)
def test_a_git_that_does_not_fit_is_named(
    text: str | None, says: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too old, missing, or broken."""
    programs = place.root / "programs"
    programs.mkdir()
    if text is not None:
        program(programs, "git", text)
    monkeypatch.setenv("PATH", f"{programs}:/bin" if text else str(programs))
    monkeypatch.setattr(Git, "timeout", 1.0 if text == "sleep 60" else 30.0)
    with pytest.raises(UsageError) as caught:
        place.registers()
    assert caught.value.summary == says
    assert PASSWORD not in caught.value.detail


def test_a_git_that_makes_no_repository_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example on a full disk."""
    programs = place.root / "programs"
    programs.mkdir()
    program(programs, "git", f'[ "$1" = init ] && exit 1\nPATH={os.environ["PATH"]} exec git "$@"')
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match="git cannot be used"):
        place.registers()


@pytest.mark.parametrize("fails", ["each", "the repository"])
def test_a_machine_without_a_temporary_folder_is_named(
    fails: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a container with a read-only disk. It is not git that is missing."""
    if fails == "each":
        monkeypatch.setattr(tempfile, "tempdir", str(place.root / "nowhere"))
    else:
        monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(UsageError, match="git cannot be used") as caught:
        place.registers()
    assert "No such file" in caught.value.detail or "No space" in caught.value.detail


def full(**_more: str) -> str:
    """A disk without space."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_origin_of_another_user_is_trusted_where_git_trusts_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared repository on a disk: git asks for `safe.directory`, and its server on this machine asks once more."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (place.root / "config").write_text('[safe]\n\tdirectory = "/odd \\\\ \\" folder"\n\tdirectory = *\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place.root / "config"))
    assert place.registers().write("", b"one", None)


def test_a_commit_of_any_time_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is only shown."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@999999999999 +0000")
    tag = place.registers().write("", b"one", None)
    assert place.registers().read("") == Held(b"one", tag)


# --- How long events wait --------------------------------------------------------------------------------------------


def test_events_wait_for_answers_and_for_the_next_push(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds after a push while answers are to come, and until no minute has more than six pushes."""
    now = 1000.0
    monkeypatch.setattr("batchform.state.git.time.monotonic", lambda: now)
    one = place.registers()
    assert (one.rest(0), one.rest(5)) == (0.0, 0.0)
    tag = None
    for number in range(6):
        tag = one.write("", b"%d" % number, tag)
        now += 1.0
    assert (one.rest(0), one.rest(5)) == (54.0, 54.0)
    now = 1061.0
    assert (one.rest(0), one.rest(5)) == (0.0, 0.0)
    one.write("", b"more", tag)
    assert (one.rest(0), one.rest(5)) == (0.0, 10.0)
