"""Problems and errors -> workflow commands, which GitHub shows beside the lines of a pull request.

GitHub shows at most ten of a kind for each step, so errors and warnings get ten each and a notice counts the rest.
Source: docs.github.com, "Workflow commands for GitHub Actions"; actions/runner, ActionCommand (what is escaped how).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchform.errors import Severity
from batchform.render.escape import printable
from batchform.render.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchform.errors import Problem

_MOST = 10
"""GitHub shows this many commands of one kind for one step of a job."""


def github_text(problems: Sequence[Problem], in_repository: Callable[[str], str]) -> str:
    """A line for each of the first problems, errors first, and a line that counts the rest.

    Args:
        problems: The problems, in the order to show them.
        in_repository: Turns the file name of a place into its path from the root of the repository.
    """
    lines, rest = [], []
    for severity in (Severity.ERROR, Severity.WARNING):
        of_kind = [problem for problem in problems if problem.severity is severity]
        lines += [_command(problem, in_repository) for problem in of_kind[:_MOST]]
        if more := len(of_kind) - _MOST:
            rest += [f"{count(more, f'more {severity.value}')}"] if more > 0 else []
    if rest:
        lines.append(f"::notice title=batchform::{' and '.join(rest)}; `batchform validate` shows them.")
    return "\n".join(lines)


def error_command(title: str, text: str) -> str:
    """The workflow command that shows an error on the page of the run."""
    message = _data("\n".join(printable(line) for line in text.splitlines()))
    return f"::error title={_property(printable(title))}::{message}"


def _command(problem: Problem, in_repository: Callable[[str], str]) -> str:
    """The workflow command of one problem."""
    properties: dict[str, object] = {}
    if place := problem.place:
        properties = {"file": printable(in_repository(place.file)), "line": place.line, "col": place.column}
        properties |= {"endLine": place.end_line}
        if place.end_line == place.line:  # GitHub ignores columns over several lines
            properties |= {"endColumn": max(place.end_column, place.column + 1)}
    properties["title"] = printable(f"{problem.summary} [{problem.code}]")
    lines = [problem.detail, problem.hint, *(f"See {other}: {note}" for other, note in problem.related)]
    message = _data("\n".join(printable(line) for line in lines if line))
    written = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    return f"::{problem.severity.value} {written}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
