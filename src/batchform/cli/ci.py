"""Output for CI systems beside the log: step outputs, summaries, annotations, groups that fold a long table.

A wrapper script around the command could lose the exit code or add text to outputs, so the command does this itself.
A failure here is one warning. It never changes what the command does or its exit code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchform.errors import BatchformError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from batchform.cli.terminal import Terminal
    from batchform.errors import Problem
    from batchform.render.style import Style
    from batchform.source_text import SourceText

_LONGEST_OUTPUT: Final = 256 * 1024
"""Bytes. GitHub accepts 1 MiB for all outputs of a job."""

_LONGEST_EVENT: Final = 32 * 1024 * 1024
"""Bytes of the description of an event. GitHub's own limit is 25 MB."""

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


def commit() -> str:
    """The commit that this job is about: the head of a pull request, not its merge commit. Empty outside of CI."""
    environ = os.environ
    found = environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or environ.get("CI_COMMIT_SHA", "")
    if in_github():
        found = _head_of_pull_request(environ.get("GITHUB_EVENT_PATH", "")) or environ.get("GITHUB_SHA", "")
    return found if re.fullmatch(r"[0-9a-f]{40,64}", found, re.ASCII) else ""


def _head_of_pull_request(event: str) -> str:
    """The commit that GitHub's description of the event names as the head, empty if it names none."""
    from batchform.cli.files import read_plain  # noqa: PLC0415  # only on GitHub

    try:
        return str(json.loads(read_plain(Path(event), _LONGEST_EVENT))["pull_request"]["head"]["sha"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def key(configs: Sequence[str], state: str | None) -> str:
    """Identifies a comment among those of a pull request. It needs no configuration, so an error has the same one."""
    text = "\0".join([*sorted(configs), state or ""])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def comment_limit() -> int:
    """The longest comment on this CI system."""
    from batchform.render.markdown import GITHUB_COMMENT, GITLAB_COMMENT  # noqa: PLC0415  # only for CI systems

    return GITLAB_COMMENT if os.environ.get("GITLAB_CI") else GITHUB_COMMENT


@contextlib.contextmanager
def comment_of_failure(
    file: str | None, command: str, configs: Sequence[str], state: str | None, others: Iterable[str | None]
) -> Iterator[None]:
    """If the command fails, write a comment that says so. It replaces no file except an earlier comment.

    Args:
        file: Where to write the comment; None for none.
        command: The name of the command.
        configs: The files and folders of the configuration, as given.
        state: The state, as given.
        others: The other files that the command reads or writes, None for one that is not given.
    """
    try:
        yield
    except BatchformError as error:
        if file is not None and _may_replace(file, configs, state, others):
            from batchform.cli import files  # noqa: PLC0415  # only when a command fails
            from batchform.render.markdown import log_markdown, marker  # noqa: PLC0415  # the same

            text = log_markdown(
                _told(error),
                title=f"batchform {command}: failed",
                head=marker(command, key(configs, state)),
                lead="This commit has no plan." if command == "plan" else "",
                commit=commit(),
                link=run_link(),
                limit=comment_limit(),
            )
            with contextlib.suppress(OSError):  # the error itself is shown
                files.write(Path(file), text)
        raise


def _may_replace(file: str, configs: Sequence[str], state: str | None, others: Iterable[str | None]) -> bool:
    """Whether there is no such file, or an earlier comment. Never a file that the command uses otherwise."""
    from batchform.cli import environment, files  # noqa: PLC0415  # only when a command fails

    begin = b"<!-- batchform:"
    try:
        protected: list[str | Path] = [*files.companions(environment.state_file(state, configs)), *configs]
        protected += [other for other in others if other is not None]
        files.check_outputs({"--markdown": file}, protected)  # safety: the command may have failed before its own check
        return files.read_plain(Path(file), len(begin)) == begin
    except FileNotFoundError:
        return True
    except (BatchformError, OSError, ValueError):
        return False


def _told(error: BatchformError) -> str:
    """The error as on a terminal, without colour."""
    from batchform.render.style import Style  # noqa: PLC0415  # only when a command fails
    from batchform.render.text.problems import error_text  # noqa: PLC0415  # the same

    return error_text(error, Style(color=False))


def error(terminal: Terminal, shown: BatchformError) -> None:
    """Show an error on the terminal, and on GitHub as `failed` does."""
    terminal.error(shown)
    failed(terminal, shown)


def failed(terminal: Terminal, error: BatchformError) -> None:
    """Show an error on GitHub, in the summary of the step and on the page of the run.

    Problems of a configuration have annotations of their own.
    """
    if not in_github():
        return
    from batchform.render.markdown import STEP_SUMMARY, log_markdown  # noqa: PLC0415  # only on GitHub

    if not isinstance(error, ConfigError):
        mark_failed(terminal, error.summary, error.detail)
    text = log_markdown(_told(error), title="batchform: failed", limit=STEP_SUMMARY // 4)
    summary(terminal, terminal.redacted(text), STEP_SUMMARY)


def mark_failed(terminal: Terminal, title: str, text: str) -> None:
    """Show an error on the page of the run of GitHub."""
    if in_github():
        from batchform.render.github import error_command  # noqa: PLC0415  # only on GitHub

        terminal.message(error_command(title, text))


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


def publish(
    terminal: Terminal, markdown: str, text: str, *, starts: int, records: int, applyable: bool, changes: bool
) -> None:
    """Add the Markdown to the summary of the step, and set the outputs of a plan or a report."""
    from batchform.render.markdown import STEP_SUMMARY  # noqa: PLC0415  # only on GitHub

    summary(terminal, markdown, STEP_SUMMARY)
    words = {name: str(value).lower() for name, value in (("applyable", applyable), ("changes", changes))}
    outputs(terminal, starts=str(starts), records=str(records), plan=text, **words)


def summarise(terminal: Terminal, command: str, text: Callable[[Style], str]) -> None:
    """Add the output of a command to the summary of the step. `text` makes it in a style."""
    if not in_github():
        return
    from batchform.render.markdown import STEP_SUMMARY, log_markdown  # noqa: PLC0415  # only on GitHub
    from batchform.render.style import Style  # noqa: PLC0415  # the same

    shown = log_markdown(text(Style(color=False)), title=f"batchform {command}", limit=STEP_SUMMARY // 4)
    summary(terminal, shown, STEP_SUMMARY)


def summary(terminal: Terminal, markdown: str, most: int) -> None:
    """Append to the summary of the step, up to `most` bytes in total. GitHub drops a larger summary completely."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not in_github() or not file:
        return
    path = Path(file)
    before = 0
    with suppress(OSError):  # absent; of anything else `_append` warns
        before = path.stat().st_size
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


def _without_waiting(path: str, flags: int) -> int:
    """Open the file; a pipe without a reader is an error at once. It would wait for ever, after the starts."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _append(terminal: Terminal, path: Path, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8", errors="replace", opener=_without_waiting) as stream:
            stream.write(text)
    except OSError as error:
        terminal.warn(f"{path} could not be written ({error.strerror}). The next steps get no values from this run.")
