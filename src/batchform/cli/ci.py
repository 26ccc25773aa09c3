"""What a CI system is told beside the log: outputs, summaries, annotations, markers that fold a long table.

All of it is done here and not by a wrapper around the command: wrappers have eaten exit codes and added text to
outputs. Nothing here changes what is done or how the command ends; what cannot be told is said in one warning.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from batchform.cli.terminal import Terminal
    from batchform.errors import Problem, SourceText

_LONGEST_OUTPUT: Final = 256 * 1024
"""Bytes. GitHub takes 1 MiB for all outputs of a job together."""

_LONG_TABLE: Final = 40
"""A table of more lines than this is put in a group."""


def in_github() -> bool:
    """Whether this is a step of a GitHub Actions job."""
    return bool(os.environ.get("GITHUB_ACTIONS"))


def problems(terminal: Terminal, found: Sequence[Problem], sources: Mapping[str, SourceText]) -> None:
    """Show what is wrong with the configuration, with its text; on GitHub also mark the lines of the pull request."""
    if not found:
        return
    from batchform.render.text.problems import problems_text  # noqa: PLC0415  # only when there are some

    terminal.talk(problems_text(found, terminal.talk_style, sources))
    if in_github():
        terminal.talk(annotate(found))


def annotate(problems: Sequence[Problem]) -> str:
    """The workflow commands that mark the lines of a pull request."""
    from batchform.render.github import github_text  # noqa: PLC0415  # only for those who ask for it

    return github_text(problems, in_repository)


def in_repository(file: str) -> str:
    """The path of a file from the root of the repository that the job has checked out, or as it was given."""
    root = os.environ.get("GITHUB_WORKSPACE")
    path = os.path.normpath(file)
    if root:
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
        if not inside.startswith(os.pardir):
            return inside
    return path


def outputs(terminal: Terminal, **values: str) -> None:
    """Set outputs of the step. A value may be any text: what ends it is random, so that none can set another."""
    file = os.environ.get("GITHUB_OUTPUT")
    if not in_github() or not file:
        return
    import secrets  # noqa: PLC0415  # only where somebody reads them

    written = []
    for name, value in values.items():
        end = f"end-{secrets.token_hex(16)}"
        written.append(f"{name}<<{end}\n{_cut(value)}\n{end}\n")
    _append(terminal, Path(file), "".join(written))


def summary(terminal: Terminal, markdown: str, most: int) -> None:
    """Add to the summary of the step, if GitHub takes so much: beyond `most` bytes it would take nothing at all."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not in_github() or not file:
        return
    path = Path(file)
    before = path.stat().st_size if path.exists() else 0
    if before + len(markdown.encode(errors="replace")) > most:
        terminal.warn("The step's summary is full: this run is not in it. The log has everything.")
        return
    _append(terminal, path, markdown + "\n")


def grouped(text: str, title: str, now: datetime) -> str:
    """The text of a plan, its table in a group that the log folds where it is long; the totals always stay in sight.

    Into a file nothing is added: there is nobody to fold it.
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
    """The lines that begin and end a group where this runs, empty where there are none."""
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
    except (OSError, ValueError):  # a stream without a file, as in tests
        return True


def _cut(value: str) -> str:
    data = value.encode(errors="replace")
    if len(data) <= _LONGEST_OUTPUT:
        return data.decode()
    return data[:_LONGEST_OUTPUT].decode(errors="ignore") + "\n... (cut; the log has all of it)"


def _append(terminal: Terminal, path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except OSError as error:
        terminal.warn(f"{path} could not be written ({error.strerror}): the next steps will not know of this run.")
