"""What the environment says: endpoint, token, state file, who we are. Nothing here is ever read from the YAML."""

from __future__ import annotations

import os
import platform
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from batchform import __version__
from batchform.api.endpoint import DEFAULT_ENDPOINT, parse_endpoint
from batchform.errors import UsageError
from batchform.state.codec import encode_time
from batchform.state.known import Story

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from batchform.api.endpoint import Endpoint

STATE_NAME = "batchform.state.json"
DEFAULT_CONFIG = "batchform.yaml"


def endpoint() -> Endpoint:
    """The endpoint: BATCHFORM_ENDPOINT, or the vendor's."""
    given = os.environ.get("BATCHFORM_ENDPOINT")
    return parse_endpoint(given) if given else DEFAULT_ENDPOINT


def token() -> str:
    """The token: BATCHFORM_AUTH_TOKEN, or the content of BATCHFORM_AUTH_TOKEN_FILE.

    Raises:
        UsageError: There is none, or both, or the file cannot be read.
    """
    direct, file = os.environ.get("BATCHFORM_AUTH_TOKEN"), os.environ.get("BATCHFORM_AUTH_TOKEN_FILE")
    if direct and file:
        raise UsageError(
            "Two tokens are given", "Set BATCHFORM_AUTH_TOKEN or BATCHFORM_AUTH_TOKEN_FILE, not both. Nothing was sent."
        )
    if direct:
        return direct
    if not file:
        raise UsageError(
            "No token is given",
            "Set BATCHFORM_AUTH_TOKEN, or BATCHFORM_AUTH_TOKEN_FILE to a file that holds it. Nothing was sent."
            " `batchform plan` needs none; `batchform demo` shows everything without one.",
        )
    try:
        with Path(file).open("rb") as stream:
            return stream.read(8192).decode("ascii").strip()
    except OSError as error:
        raise UsageError("The token file cannot be read", f"{file}: {error.strerror}. Nothing was sent.") from error
    except UnicodeDecodeError:
        raise UsageError("The token file holds no token", f"{file}: it is not ASCII text. Nothing was sent.") from None


def state_file(given: str | None, configs: Sequence[str]) -> Path:
    """The state file: as given, else beside the first configuration (inside it, if that is a folder)."""
    if given:
        return Path(given)
    first = Path(configs[0])
    return (first if first.is_dir() else first.parent) / STATE_NAME


def new_run() -> str:
    """An id for this run: 16 hexadecimal digits."""
    return uuid.uuid4().hex[:16]


def holder(operation: str, run: str, path: Path, now: datetime) -> dict[str, str]:
    """Who holds the lock, with Terraform's names, for whoever waits."""
    return {
        "ID": run,
        "Operation": operation,
        "Info": _job(),
        "Who": f"{_user()}@{platform.node()} (process {os.getpid()})",
        "Version": __version__,
        "Created": encode_time(now.replace(microsecond=0)),
        "Path": str(path),
    }


def story(command: str, overrides: Sequence[str] = ()) -> Story:
    """Who runs what, for the history in the state."""
    return Story(
        command=command,
        who=f"{_user()}@{platform.node()}",
        job=_job(),
        commit=_commit(),
        overrides=tuple(overrides),
    )


def _commit() -> str:
    """The commit that is checked out here, or nothing: as the CI job says it, else as git keeps it."""
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA"):
        if os.environ.get(name):
            return os.environ[name]
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return _head(folder / ".git")
    return ""


def _head(git: Path) -> str:
    """The commit in HEAD. Read, not asked for: git may be missing, and a process takes longer than all the rest."""
    try:
        if git.is_file():  # a worktree
            git = git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        common = git
        if (git / "commondir").is_file():
            common = git / (git / "commondir").read_text(encoding="utf-8").strip()
        if head.startswith("ref:"):
            head = _ref(common, head.removeprefix("ref:").strip())
    except (OSError, ValueError):
        return ""
    return head if re.fullmatch(r"[0-9a-f]{40,64}", head, re.ASCII) else ""


def _ref(git: Path, ref: str) -> str:
    """What a branch points at, loose or packed."""
    if (git / ref).is_file():
        return (git / ref).read_text(encoding="utf-8").strip()
    packed = (git / "packed-refs").read_text(encoding="utf-8")
    found = (line.split(" ", 1)[0] for line in packed.splitlines() if line.endswith(f" {ref}"))
    return next(found, "")


def _user() -> str:
    import getpass  # noqa: PLC0415  # only for who writes

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return str(os.getuid())


def _job() -> str:
    """The CI job's address, or nothing."""
    environ = os.environ
    if all(environ.get(key) for key in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")):
        return f"{environ['GITHUB_SERVER_URL']}/{environ['GITHUB_REPOSITORY']}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL") or ""
