"""Output for CI systems beside the log: step outputs, summaries, annotations, groups that fold a long table.

A wrapper script around the command could lose the exit code or add text to outputs, so the command does this itself.
A failure here is one warning. It never changes what the command does or its exit code.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from batchform.cli.terminal import Terminal
    from batchform.errors import Problem
    from batchform.source_text import SourceText

_LONGEST_OUTPUT: Final = 256 * 1024
"""Bytes. GitHub accepts 1 MiB for all outputs of a job."""

_LONG_TABLE: Final = 40
"""A table with more lines is put in a group."""


def in_github() -> bool:
    """Whether this is a step of a GitHub Actions job."""
    return bool(os.environ.get("GITHUB_ACTIONS"))


def run_link() -> str:
    """The web address of this job, or of its run; empty outside of CI, and for an address with unusual characters."""
    environ = os.environ
    link = environ.get("CI_JOB_URL", "")
    if in_github():
        repository = f"{environ.get('GITHUB_SERVER_URL', '')}/{environ.get('GITHUB_REPOSITORY', '')}"
        link = f"{repository}/actions/runs/{environ.get('GITHUB_RUN_ID', '')}"
    return link if re.fullmatch(r"https?://[A-Za-z0-9.:/_-]+", link) else ""


def problems(terminal: Terminal, found: Sequence[Problem], sources: Mapping[str, SourceText]) -> None:
    """Show problems of the configuration with their source lines; on GitHub also as annotations."""
    if not found:
        return
    from batchform.render.text.problems import problems_text  # noqa: PLC0415  # only when there are some

    terminal.message(problems_text(found, terminal.message_style, sources))
    if in_github():
        terminal.message(annotate(found))


def annotate(problems: Sequence[Problem]) -> str:
    """Workflow commands that mark the lines of a pull request."""
    from batchform.render.github import github_text  # noqa: PLC0415  # only on GitHub

    return github_text(problems, in_repository)


def in_repository(file: str) -> str:
    """The path relative to the checkout of the job; outside of it, the path as given."""
    root = os.environ.get("GITHUB_WORKSPACE")
    path = os.path.normpath(file)
    if root:
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
        if not inside.startswith(os.pardir):
            return inside
    return path


def outputs(terminal: Terminal, **values: str) -> None:
    """Set outputs of the step. A random delimiter keeps a value from setting other outputs."""
    file = os.environ.get("GITHUB_OUTPUT")
    if not in_github() or not file:
        return
    import secrets  # noqa: PLC0415  # only on GitHub

    written = []
    for name, value in values.items():
        end = f"end-{secrets.token_hex(16)}"
        written.append(f"{name}<<{end}\n{_cut(value)}\n{end}\n")
    _append(terminal, Path(file), "".join(written))


def publish(terminal: Terminal, markdown: str, text: str, *, starts: int, records: int, applyable: bool) -> None:
    """Add the Markdown to the summary of the step, and set the outputs of a plan or a report."""
    from batchform.render.markdown import STEP_SUMMARY  # noqa: PLC0415  # only on GitHub

    summary(terminal, markdown, STEP_SUMMARY)
    outputs(terminal, starts=str(starts), records=str(records), applyable=str(applyable).lower(), plan=text)


def summary(terminal: Terminal, markdown: str, most: int) -> None:
    """Append to the summary of the step, up to `most` bytes in total. GitHub drops a larger summary completely."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not in_github() or not file:
        return
    path = Path(file)
    before = path.stat().st_size if path.exists() else 0
    if before + len(markdown.encode(errors="replace")) > most:
        terminal.warn("The summary of the step is full, so it does not show this run. See the log.")
        return
    _append(terminal, path, markdown + "\n")


def grouped(text: str, title: str, now: datetime) -> str:
    """The text of a plan, with a long table in a group that the log folds. The totals stay visible.

    A file gets the text unchanged.
    """
    begin, end = _markers(title, now)
    if not begin or _into_file():
        return text
    blocks = text.split("\n\n")
    for number, block in enumerate(blocks):
        if block.startswith("  ") and block.count("\n") >= _LONG_TABLE:
            blocks[number] = f"{begin}\n{block}\n{end}"
            break
    return "\n\n".join(blocks)


def _markers(title: str, now: datetime) -> tuple[str, str]:
    """The lines that begin and end a group on this CI system, empty on any other."""
    if in_github():
        return f"::group::{title}", "::endgroup::"
    if os.environ.get("GITLAB_CI"):
        at, name = int(now.timestamp()), title.lower().replace(" ", "_")
        clear = "\x1b[0K"
        head = f"{clear}section_start:{at}:{name}[collapsed=true]\r{clear}{title}"
        return head, f"{clear}section_end:{at}:{name}\r{clear}"
    return "", ""


def _into_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):  # a stream without a file descriptor, as in tests
        return True


def _cut(value: str) -> str:
    data = value.encode(errors="replace")
    if len(data) <= _LONGEST_OUTPUT:
        return data.decode()
    return data[:_LONGEST_OUTPUT].decode(errors="ignore") + "\n... (cut; the log has the full text)"


def _append(terminal: Terminal, path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except OSError as error:
        terminal.warn(f"{path} could not be written ({error.strerror}). The next steps get no values from this run.")
