"""Registers on a branch of this checkout's `origin`: a commit for each write, pushed under a lease on the tip.

The branch holds three files, and the id of a file's blob is the tag of its register. A write of one file builds a
commit on the tip and pushes it with `--force-with-lease`. The server moves the branch only if it still has that tip, so
the condition and the write are one step. If the tip has moved, the write is built again on the new tip, unless its own
file has changed: then it is refused. Each commit has the tip as its parent, so a protected branch accepts it.

Nothing in the checkout is read but its configuration, and nothing in it is changed. Objects are in a temporary
repository, which has the latest commits only. It takes the checkout's configuration from the environment of each git
process: includes that depend on the checkout's folder are resolved, and no credentials are written to a disk.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.errors import StateError, UsageError
from batchform.state.journal import replay
from batchform.state.registers import Held, Unsure, Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from batchform.state.address import Branch
    from batchform.state.registers import Tag

FILE: Final = "batchform.state.json"
"""The state's file on the branch; `.journal` and `.backup` follow it."""

_OLDEST: Final = (2, 32)
"""The git that knows GIT_CONFIG_GLOBAL. Before it, a private configuration cannot be given."""

_PUSHES: Final = 6
"""GitHub asks for at most that many pushes a minute."""

_MOVES: Final = 5
"""How often a write is built on a new tip, while other files of the branch change."""

_LATEST: Final = 1 << 35
"""Seconds since 1970: a commit may have any time, and a date has only so many years."""

_KEPT: Final = re.compile(
    r"(author|committer|credential|gpg|http|https|protocol|ssh|url|user)\..*"
    r"|commit\.gpgsign|core\.(askpass|gitproxy|sshcommand)"
    r"|remote\.origin\.(proxy|proxyauthmethod|pushurl|receivepack|serveroption|uploadpack|url|vcs)",
    re.DOTALL,
)
"""What is taken of the checkout's configuration: how to reach `origin`, who commits and how commits are signed."""

_FALLBACK: Final = (("user.name", "batchform"), ("user.email", "batchform@localhost"))
"""The identity of the commits if none is configured. What is configured follows it, and counts."""

_FIXED: Final = (
    # A hook for pushes is meant for code: it may run for minutes, or ask.
    ("core.hookspath", os.devnull),
    ("credential.interactive", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
)

_NOT_GIVEN: Final = re.compile(
    r"BATCHFORM_(?!STATE_TOKEN$).*|GIT_(CONFIG|TRACE).*|GIT_(ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|CURL_VERBOSE|DIR"
    r"|GRAFT_FILE|IMPLICIT_WORK_TREE|INDEX_FILE|NAMESPACE|NO_REPLACE_OBJECTS|OBJECT_DIRECTORY|PREFIX"
    r"|QUARANTINE_PATH|REPLACE_REF_BASE|SHALLOW_FILE|WORK_TREE)",
    re.DOTALL,
)
"""Variables that git does not get: batchform's secrets, and what would lead it back to the checkout."""

_SILENT_ENVIRONMENT: Final = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never"}

_REMOTE: Final = frozenset({"fetch", "ls-remote", "push"})
"""What depends on `origin`. All other commands of git work in the temporary repository."""

_ANSWERS: Final = {
    Why.NO_CREDENTIALS: (
        r"could not read (Username|Password)|unable to get password|Authentication failed|Permission denied \("
        r"|Host key verification failed"
        r"|returned error: 401|HTTP Basic: Access denied"
    ),
    Why.FORBIDDEN: r"returned error: 403|denied to |not allowed to push|marked as read only|not granted",
    Why.NO_BUCKET: (
        r"[Rr]epository .*not found|returned error: 404|not appear to be a git repository|could not be found"
    ),
    Why.THROTTLED: r"returned error: 429",
    Why.OTHER: r"returned error: \d",
}
"""What a failed git says on stderr, in the order in which it is looked for."""

_MOVED: Final = re.compile(
    r"\[rejected\]|\[up to date\]|\[remote rejected\] \((failed to update ref|cannot lock ref|incorrect old value"
    r"|reference already|reference does not|fetch first|non-fast-forward)"
)
"""The answers to a push whose condition did not hold."""

_NOT_FREE: Final = re.compile(r"exists; cannot create|[Dd]irectory.file conflict|refname conflict")
"""The answers to a push that would create a branch `a/b` beside a branch `a`. The last one is that of git 2.53."""

_PASSING: Final = re.compile(
    r"\(failure\)|commit_refs|[Ii]nternal ([Ss]erver [Ee]rror|API)|unpacker error|[Tt]ime(d |-)?out"
)
"""What GitHub, GitLab and Gitea answer to a push while they have a problem of their own."""

_SPEAKERS: Final = "remote|fatal|error|ERROR|ssh"
"""Whose lines on stderr are shown: those of the server, of git and of ssh, not those of a credential helper."""


@dataclass(frozen=True, slots=True)
class _Tip:
    """The newest known commit, "" while there is no branch; its files (path -> mode, type and id), and its time."""

    commit: str
    files: Mapping[str, tuple[str, str, str]]
    written: datetime | None = None

    def tag(self, file: str) -> Tag | None:
        """The tag of a register, None if there is no such file."""
        return self.files[file][2] if file in self.files else None


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a git process ended."""

    code: int
    out: bytes
    err: str


class Git:
    """The registers on one branch. The temporary repository is removed with this object."""

    lease = 300.0
    poll = 10.0
    every = 0.0  # see `rest`
    gather = 10.0
    """Seconds after a push for which events wait for answers that are still to come."""
    window = 60.0
    """Seconds in which events are pushed `_PUSHES` times at the most."""
    timeout = 30.0
    """Seconds for one git process. A push that takes longer says nothing about the present."""

    def __init__(self, address: Branch, folder: Path | None = None) -> None:
        """Reads the configuration of the checkout around `folder` (None: the current one). Nothing is sent yet.

        Raises:
            UsageError: There is no usable git, checkout or `origin`, or the branch is the one that is checked out.
        """
        self.where = str(address)
        self._ref = f"refs/heads/{address.name}"
        self._turn = threading.Lock()
        self._tip: _Tip | None = None
        self._writer = ""
        self._pushes: deque[float] = deque([float("-inf")] * _PUSHES, _PUSHES)
        checkout = _Checkout(self.where, self._ref, folder or Path.cwd(), self.timeout)
        self._signs = checkout.signs
        self._root = checkout.root
        try:
            private = Path(tempfile.mkdtemp(prefix="batchform-git-"))
            (private / "trusted").write_text(_trusting(checkout.trusted), errors="surrogateescape")
        except OSError as error:
            raise UsageError(
                "git cannot be used", f"There is no folder for temporary files: {error.strerror}. Nothing was sent."
            ) from None
        weakref.finalize(self, shutil.rmtree, private, ignore_errors=True)
        config = (*_FALLBACK, *checkout.kept, *_FIXED)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not _NOT_GIVEN.fullmatch(name)},
            **_SILENT_ENVIRONMENT,
            "GIT_DIR": str(private),
            # A git server on this machine reads this file, and none of the variables below.
            "GIT_CONFIG_GLOBAL": str(private / "trusted"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": str(len(config)),
            **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(config)},
            **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(config)},
        }
        words = ("--quiet", "--bare", "--template=", f"--object-format={checkout.object_format}", str(private))
        try:
            self._do("init", *words)
        except Unsure as unsure:
            raise UsageError(
                "git cannot be used",
                f"It cannot make a repository in {private.parent}: {unsure.detail}. Nothing was sent.",
            ) from None

    def rest(self, in_flight: int) -> float:
        """See `Registers`. The pushes of a minute may follow each other at once, so a short run is short."""
        ready = max(self._pushes[0] + self.window, self._pushes[-1] + self.gather if in_flight else 0.0)
        return max(ready - time.monotonic(), 0.0)

    def read(self, name: str) -> Held | None:
        """See `Registers`."""
        with self._turn:
            tip = self._look()
            tag = tip.tag(FILE + name)
            return None if tag is None else Held(self._do("cat-file", "blob", tag), tag, tip.written)

    def write(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """See `Registers`."""
        with self._turn:
            file = FILE + name
            new = self._do("hash-object", "-w", "--stdin", given=data).decode().strip()
            for _ in range(_MOVES):
                tip = self._tip
                if tip is None or tip.tag(file) != tag:
                    tip = self._look()
                if tip.tag(file) != tag:
                    raise Unsure(Why.REFUSED)
                self._tip = None  # until the push has an answer
                after = self._commit(tip, file, new, self._message(name, data))
                refusal = self._push(tip.commit, after.commit)
                if not refusal:
                    self._tip = after
                    return new
                if self._look().commit == tip.commit:
                    # A new commit would not help. git itself refuses if a push finds another tip than a read.
                    raise Unsure(Why.OTHER if refusal.startswith("[remote") else Why.APART, refusal)
        raise Unsure(Why.OTHER, "the branch moves")

    def _look(self) -> _Tip:
        """The tip that the server has now."""
        refs = self._do("ls-remote", "origin", self._ref).decode(errors="replace").split("\n")
        found = [line.partition("\t")[0] for line in refs if line.partition("\t")[2] == self._ref]
        if not found:
            self._tip = _Tip("", {})  # proven: the server was asked, and named no such branch
        elif self._tip is None or self._tip.commit != found[0]:
            words = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "origin")
            self._do("fetch", *words, f"+{self._ref}:refs/batchform/tip")
            self._tip = self._load(self._do("rev-parse", "refs/batchform/tip").decode().strip())
        assert self._tip is not None
        return self._tip

    def _load(self, commit: str) -> _Tip:
        """What a commit holds."""
        files = {}
        for line in self._do("ls-tree", "-z", commit).decode(errors="surrogateescape").split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, kind, name = about.split(" ")
            files[path] = (mode, kind, name)
        ours = [files[path] for path in (FILE, f"{FILE}.journal", f"{FILE}.backup") if path in files]
        if (files and not ours) or any(mode != "100644" for mode, _, _ in ours):
            raise Unsure(Why.FOREIGN)
        written = min(int(self._do("log", "-1", "--format=%ct", commit)), _LATEST)
        return _Tip(commit, files, datetime.fromtimestamp(written, UTC))

    def _commit(self, tip: _Tip, file: str, blob: str, message: str) -> _Tip:
        """The commit that has this blob as that file, and else what the tip has."""
        files = {**tip.files, file: ("100644", "blob", blob)}
        listed = "".join(f"{' '.join(about)}\t{path}\0" for path, about in files.items())
        tree = self._do("mktree", "-z", given=listed.encode(errors="surrogateescape")).decode().strip()
        words = [*(["-p", tip.commit] if tip.commit else []), *(["-S"] if self._signs else []), "-F", "-", tree]
        try:
            out = self._do("commit-tree", *words, given=message.encode(errors="replace"))
        except Unsure as unsure:
            raise Unsure(Why.UNSIGNED if self._signs else unsure.why, unsure.detail) from None
        return _Tip(out.decode().strip(), files, datetime.now(UTC))

    def _push(self, old: str, new: str) -> str:
        """Move the branch from `old` ("": create it) to `new`; returns "", or the refusal if it had another tip."""
        # safety: the server compares the old tip under its own lock, so of two pushes on one tip one takes place
        self._pushes.append(time.monotonic())
        lease = f"--force-with-lease={self._ref}:{old}"
        ended = self._run("push", "--porcelain", "--no-verify", lease, "origin", f"{new}:{self._ref}")
        answer = re.search(r"^[!=]\t.*\t(\[.*)$", ended.out.decode(errors="replace"), re.MULTILINE)
        if ended.code == 0 and answer is None:
            return ""
        if answer is None or answer[1].startswith("[remote failure]"):
            raise _unsure(ended)
        refusal = _clean(f"{answer[1]} {_said(ended.err, 'remote')}")
        if _NOT_FREE.search(refusal):
            raise Unsure(Why.NOT_FREE, refusal)
        if _MOVED.match(answer[1]):
            return refusal
        raise Unsure(Why.OTHER if _PASSING.search(refusal) else Why.RULE, refusal)

    def _message(self, name: str, data: bytes) -> str:
        """Who wrote what. CI systems start nothing for a commit with `[skip ci]`."""
        if name == ".journal":
            try:
                header = replay(data.partition(b"\n")[0] + b"\n", "").header
            except StateError:
                header = None
            if header is not None:
                operation, who, job = (header.holder.get(key, "") for key in ("Operation", "Who", "Info"))
                self._writer = f"{operation} by {who}, run {header.run}\n{job}"
        what = {"": "state", ".journal": "journal", ".backup": "backup"}.get(name, name)
        return f"Write the {what} [skip ci]\n\n{self._writer}\n"

    # --- Processes ---------------------------------------------------------------------------------------------------

    def _do(self, *words: str, given: bytes = b"") -> bytes:
        """What git prints.

        Raises:
            Unsure: It failed.
        """
        ended = self._run(*words, given=given)
        if ended.code != 0:
            if words[0] not in _REMOTE:
                # Without space it cannot say anything: what it prints goes to a file, too.
                raise Unsure(Why.MACHINE, f"git {words[0]}: {_clean(ended.err) or f'exit code {ended.code}'}")
            raise _unsure(ended)
        return ended.out

    def _run(self, *words: str, given: bytes = b"") -> _Ended:
        try:
            return _run(words, self._root, self._environment, self.timeout, given)
        except TimeoutError:
            why = Why.SILENT if words[0] in _REMOTE else Why.MACHINE
            raise Unsure(why, f"git {words[0]} took longer than {self.timeout:.0f} s") from None
        except OSError as error:
            raise Unsure(Why.MACHINE, f"git {words[0]}: {error.strerror}") from None


class _Checkout:
    """What is taken of the checkout around a folder."""

    def __init__(self, where: str, ref: str, folder: Path, timeout: float) -> None:
        self._where, self._folder, self._timeout = where, folder, timeout
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BATCHFORM_", "GIT_TRACE"))},
            **_SILENT_ENVIRONMENT,
        }
        version = re.match(r"git version (\d+)\.(\d+)", self._ask("version"), re.ASCII)
        if version is None or (int(version[1]), int(version[2])) < _OLDEST:
            raise self._error("git is too old", "It needs git {}.{} or newer.".format(*_OLDEST))
        # A git without this option answers with its name.
        self.object_format = self._ask("rev-parse", "--show-object-format").strip()
        self.root = folder / self._ask("rev-parse", "--show-cdup").strip()
        if self._ask("symbolic-ref", "--quiet", "HEAD", may_fail=True).strip() == ref:
            raise self._error(
                "The branch is the one that is checked out",
                "A state has a branch of its own, for example `git:batchform-state`.",
            )
        config = list(_entries(self._ask("config", "--list", "-z")))
        self.signs = self._ask("config", "--type=bool", "commit.gpgsign", may_fail=True).strip() == "true"
        urls = [value for key, value in config if key == "remote.origin.url"]
        pushed = [value for key, value in config if key == "remote.origin.pushurl"]
        if not urls:
            raise self._error("This checkout has no `origin`", "Add it with `git remote add origin URL`.")
        if len(urls) > 1 or len(pushed) > 1:
            raise self._error(
                "`origin` has several addresses",
                "A state is in one place. `git remote get-url --all --push origin` shows them; keep one.",
            )
        self.kept = [(key, value) for key, value in config if _KEPT.fullmatch(key)]
        self.trusted = [value for key, value in config if key == "safe.directory"]

    def _ask(self, *words: str, may_fail: bool = False) -> str:
        try:
            ended = _run(words, self._folder, self._environment, self._timeout)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == "git":  # not the folder for temporary files
                raise self._error("git is not installed", "It needs the command `git`.") from None
            raise self._error("git cannot be used", f"`git {words[0]}`: {error.strerror or 'out of time'}.") from None
        if ended.code == 0 or may_fail:
            return ended.out.decode(errors="surrogateescape")
        if "dubious ownership" in ended.err:
            raise self._error(
                "git does not trust this checkout",
                "It belongs to another user. Allow it with `git config --global --add safe.directory FOLDER`.",
            )
        if "not a git repository" in ended.err:
            raise self._error("There is no git checkout here", "Run it in a checkout of the repository.")
        raise self._error("git cannot be used", f"`git {words[0]}`: {_clean(ended.err)}.")

    def _error(self, summary: str, detail: str) -> UsageError:
        what = f"{self._where} is a branch of the `origin` of this checkout."
        return UsageError(summary, f"{what} {detail} Nothing was sent.")


def _entries(listed: str) -> Iterator[tuple[str, str]]:
    """The keys and values of `git config --list -z`. A key alone means true."""
    for entry in listed.split("\0")[:-1]:
        key, newline, value = entry.partition("\n")
        yield key, value if newline else "true"


def _trusting(folders: Iterable[str]) -> str:
    """A configuration of git by which repositories in these folders may belong to another user."""
    quoted = (folder.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for folder in folders)
    return "".join(["[safe]\n", *(f'\tdirectory = "{folder}"\n' for folder in quoted)])


def _run(
    words: Iterable[str], folder: Path, environment: Mapping[str, str], timeout: float, given: bytes = b""
) -> _Ended:
    """Run git to its end, in a session of its own: it has no terminal to ask on, and ends with all its children.

    Raises:
        TimeoutError: It was killed, because it took too long.
        OSError: It cannot be run.
    """
    # Files, not pipes: a child of git that goes on, such as ssh's shared connection, keeps a pipe open.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given)
        stdin.seek(0)
        process = subprocess.Popen(  # noqa: S603  # no shell, and no word from outside but a checked name
            ["git", *words],  # noqa: S607  # the user's own git
            cwd=folder,
            env=dict(environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError from None
            raise
        stdout.seek(0)
        stderr.seek(0)
        return _Ended(code, stdout.read(), stderr.read().decode(errors="replace"))


def _unsure(ended: _Ended) -> Unsure:
    """What a failure of git means, and what it says about it."""
    why = next((why for why, pattern in _ANSWERS.items() if re.search(pattern, ended.err)), Why.SILENT)
    return Unsure(why, _clean(_said(ended.err, _SPEAKERS)))


def _said(text: str, speakers: str) -> str:
    """What these speakers say in a text of git."""
    return " ".join(re.findall(rf"^(?:{speakers}): *(.*\S)", text, re.MULTILINE))


def _clean(text: str) -> str:
    """Text of git or a server on one line, without addresses and whatever may be a token. Names of refs stay."""
    text = re.sub(r"\S*(?:://|@)\S*", "...", text)
    text = re.sub(r"(?<![A-Za-z0-9+/_=-])(?!refs/)[A-Za-z0-9+/_=-]{30,}", "...", text)
    return " ".join(re.sub(r"[^ -~]+", " ", text).split())[:200]
