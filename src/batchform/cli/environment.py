"""Values from the environment: endpoint, state file, user and CI job. The YAML never sets any of them."""

from __future__ import annotations

import os
import platform
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from batchform import __version__
from batchform.api.endpoint import DEFAULT_ENDPOINT, parse_endpoint
from batchform.errors import StateError, UsageError
from batchform.model import Guard, GuardName
from batchform.render.escape import printable
from batchform.state.address import parse_address
from batchform.state.codec import encode_time
from batchform.state.known import Story

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from batchform.api.endpoint import Endpoint
    from batchform.state.store import Place

STATE_NAME = "batchform.state.json"
DEFAULT_CONFIG = "batchform.yaml"
SCHEMA_NAME = "batchform.schema.json"
"""A copy beside the configuration, for editors: an address in the modeline would have to answer for years."""

_ACTORS = {
    "GITHUB_ACTIONS": ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),  # the first is who ran a job again
    "GITLAB_CI": ("GITLAB_USER_LOGIN",),
}

_GIT_TIMEOUT = 2.0  # seconds; a network file system may hang


def endpoint() -> Endpoint:
    """The endpoint: BATCHFORM_ENDPOINT, or the vendor's."""
    given = os.environ.get("BATCHFORM_ENDPOINT")
    return parse_endpoint(given) if given else DEFAULT_ENDPOINT


def capped(guards: Sequence[Guard]) -> tuple[Guard, ...]:
    """The guards, each replaced by the limit of its environment variable if that is smaller.

    Raises:
        UsageError: A variable is not a whole number.
    """
    limits = {guard.name: guard for guard in guards}
    for name in GuardName:
        given = os.environ.get(name.variable, "").strip()
        if not given:
            continue
        if not re.fullmatch("[0-9]{1,15}", given, re.ASCII):
            raise UsageError(
                f"{name.variable} is not a number", f"`{printable(given, 40)}`: use digits only. Nothing was sent."
            )
        if name not in limits or int(given) < limits[name].limit:
            limits[name] = Guard(name=name, limit=int(given), place=None)
    return tuple(limits.values())


def state_file(given: str | None, configs: Sequence[str] = (DEFAULT_CONFIG,)) -> Place:
    """Where the state is: as given, else a file beside the configuration (inside it, if that is a folder).

    Raises:
        UsageError: It is meant as an address, and is not a usable one; or the configuration is in several folders, so
            that the order of `-f` would choose the state.
        StateError: A link leads out of the checkout.
    """
    if given:
        return parse_address(given) or inside_checkout(Path(given))
    folders = [path if path.is_dir() else path.parent for path in map(Path, configs)]
    if len({os.path.realpath(folder) for folder in folders}) > 1:
        raise UsageError(
            "The configuration is in several folders",
            "The state file is beside the configuration, so it could be in each of them. Name it with `--state FILE`,"
            " and use the same file in each run. Nothing was sent.",
        )
    return inside_checkout(folders[0] / STATE_NAME, folders[0])


def inside_checkout(state: Path, folder: Path | None = None) -> Path:
    """The path of a state, unchanged. In the checkout, or in the folder of the configuration, no link may lead out.

    Raises:
        StateError: A link leads out.
    """
    real = os.path.realpath(state)
    if real == os.path.abspath(state):  # noqa: PTH100  # without resolving links
        return state
    from batchform.config.loader import is_inside, tree  # noqa: PLC0415  # only with a link in the path

    limit = tree(os.fspath(state), is_folder=False) or (folder and tree(os.fspath(folder), is_folder=True))
    if limit and not is_inside(real, limit):
        raise StateError(
            "The state is outside of the checkout",
            f"{state} leads to {real}, outside {limit}. Links may not lead outside this folder. Remove the link, or"
            " name the other file with `--state`. Nothing was sent.",
        )
    return state


def new_run() -> str:
    """A new run id: 16 hexadecimal digits."""
    return uuid.uuid4().hex[:16]


def holder(operation: str, run: str, path: Place, now: datetime) -> dict[str, str]:
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
    """Who runs this: in a CI job the user who caused it, else the user of this machine."""
    for ci, names in _ACTORS.items():
        if os.environ.get(ci) and (actor := next(filter(None, map(os.environ.get, names)), None)):
            return actor
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
