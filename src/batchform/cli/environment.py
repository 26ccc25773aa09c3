"""What the environment says: endpoint, token, state file, who we are. Nothing here is ever read from the YAML."""

from __future__ import annotations

import getpass
import os
import platform
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from batchform import __version__
from batchform.api.endpoint import DEFAULT_ENDPOINT, Endpoint, parse_endpoint
from batchform.errors import UsageError
from batchform.state.codec import encode_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

STATE_NAME = "batchform.state.json"
DEFAULT_CONFIG = "batchform.yaml"


def endpoint() -> Endpoint:
    """The endpoint: BATCHFORM_ENDPOINT, or the vendor's."""
    return parse_endpoint(os.environ.get("BATCHFORM_ENDPOINT") or DEFAULT_ENDPOINT)


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


def _user() -> str:
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
