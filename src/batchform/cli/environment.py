"""Values from the environment: endpoint, token, state file, user and CI job. The YAML never sets any of them."""

from __future__ import annotations

import os
import platform
import re
import uuid
from dataclasses import dataclass
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
SCHEMA_NAME = "batchform.schema.json"
"""A copy beside the configuration, for editors: an address in the modeline would have to answer for years."""

_GIT_TIMEOUT = 2.0  # seconds; a network file system may hang


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a run sends its requests, its token and its id."""

    endpoint: Endpoint
    token: str
    run: str


def access() -> Access:
    """The access of a new run.

    Raises:
        UsageError: The endpoint is not valid, or there is not exactly one token.
    """
    return Access(endpoint=endpoint(), token=token(), run=new_run())


def endpoint() -> Endpoint:
    """The endpoint: BATCHFORM_ENDPOINT, or the vendor's."""
    given = os.environ.get("BATCHFORM_ENDPOINT")
    return parse_endpoint(given) if given else DEFAULT_ENDPOINT


def token() -> str:
    """The token: BATCHFORM_AUTH_TOKEN, or the content of BATCHFORM_AUTH_TOKEN_FILE.

    Raises:
        UsageError: Both are set or neither, or the file cannot be read.
    """
    direct, file = os.environ.get("BATCHFORM_AUTH_TOKEN"), os.environ.get("BATCHFORM_AUTH_TOKEN_FILE")
    if direct and file:
        raise UsageError(
            "Two tokens are given",
            "Set `BATCHFORM_AUTH_TOKEN` or `BATCHFORM_AUTH_TOKEN_FILE`, not both. Nothing was sent.",
        )
    if direct:
        return direct
    if not file:
        raise UsageError(
            "No token is given",
            "Set `BATCHFORM_AUTH_TOKEN`, or `BATCHFORM_AUTH_TOKEN_FILE` to a file that contains the token. Nothing was"
            " sent. `batchform plan` and `batchform demo` need no token.",
        )
    try:
        with Path(file).open("rb") as stream:
            return stream.read(8192).decode("ascii").strip()
    except OSError as error:
        raise UsageError("The token file cannot be read", f"{file}: {error.strerror}. Nothing was sent.") from error
    except UnicodeDecodeError:
        raise UsageError("The token file is not valid", f"{file} is not ASCII text. Nothing was sent.") from None


def state_file(given: str | None, configs: Sequence[str] = (DEFAULT_CONFIG,)) -> Path:
    """The state file: the given one, else beside the first configuration (inside it, if that is a folder)."""
    if given:
        return Path(given)
    first = Path(configs[0])
    return (first if first.is_dir() else first.parent) / STATE_NAME


def new_run() -> str:
    """A new run id: 16 hexadecimal digits."""
    return uuid.uuid4().hex[:16]


def holder(operation: str, run: str, path: Path, now: datetime) -> dict[str, str]:
    """What the lock file says about its holder, with Terraform's names."""
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
    """What the history says about a run."""
    return Story(
        command=command,
        who=f"{_user()}@{platform.node()}",
        job=_job(),
        commit=_commit(),
        overrides=tuple(overrides),
    )


def _commit() -> str:
    """The commit that is checked out, as the CI job or git says. Empty when neither does."""
    if given := os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA"):
        return given
    import subprocess  # noqa: PLC0415  # only for commands that write

    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATCHFORM_")}  # holds the token
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  # the user's own git
            env={**clean, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    head = found.stdout.decode(errors="replace").strip()
    return head if found.returncode == 0 and re.fullmatch(r"[0-9a-f]{40,64}", head, re.ASCII) else ""


def _user() -> str:
    import getpass  # noqa: PLC0415  # only for commands that write

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have no name
        return str(os.getuid())


def _job() -> str:
    """The URL of the CI job, empty outside of CI."""
    environ = os.environ
    if all(environ.get(key) for key in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")):
        return f"{environ['GITHUB_SERVER_URL']}/{environ['GITHUB_REPOSITORY']}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL") or ""
