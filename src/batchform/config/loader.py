"""Files -> Config, or every problem of all files at once.

Each file is judged alone (`file`), and the rules for all files together are in `across`. The files are read in the
order of their names, so neither the order of the arguments nor the split of batches over files changes the result.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from batchform.config import reader
from batchform.config.across import clashes, doubts
from batchform.config.file import File
from batchform.config.problems import MAX_PROBLEMS, Code, quote_path, too_many
from batchform.errors import ConfigError, Severity
from batchform.model import Config, Costs, Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchform.errors import Problem
    from batchform.source_text import SourceText

SUFFIXES = (".yaml", ".yml")
"""The file names that are read in a folder. A name that begins with a dot is ignored, as in a shell."""


def load(paths: Sequence[str | os.PathLike[str]]) -> Config:
    """The configuration in the files of `paths`, and in the files directly inside its folders.

    Raises:
        ConfigError: with every problem and warning of all files, sorted by place.
    """
    problems: list[Problem] = []
    files = [File(reader.load(file)) for file in _files(paths, problems)]
    clashing = _some(clashes(files))
    if len(clashing) <= MAX_PROBLEMS:  # clashes are cheap to find, and enough of them make judging needless
        for file in files:
            file.read()
    problems += chain(*(file.problems for file in files), clashing, _some(doubts(files)))
    problems.sort(key=_by_place)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems, _sources(files, problems))
    batches = [batch for file in files for batch in file.declared()]
    return Config(
        service=next((file.service for file in files if file.service), Service.PHONE),
        guards=tuple(guard for file in files for guard in file.guards()),
        costs=next((Costs(**file.costs) for file in files if file.costs), Costs()),
        batches=tuple(sorted(batches, key=lambda batch: batch.name)),
        files=tuple(file.name for file in files),
        warnings=tuple(problems),
        sources=_sources(files, problems),
    )


def _some(problems: Iterable[Problem]) -> list[Problem]:
    """The first `MAX_PROBLEMS`, and a last one that says so if there are more."""
    found: list[Problem] = []
    for problem in problems:
        if len(found) == MAX_PROBLEMS:
            return [*found, replace(too_many(problem.place), severity=problem.severity)]
        found.append(problem)
    return found


def _sources(files: Sequence[File], problems: Sequence[Problem]) -> dict[str, SourceText]:
    """The texts of the files that the problems are in."""
    names = {place.file for problem in problems for place in problem.places}
    return {file.name: file.document.source for file in files if file.name in names}


def _by_place(problem: Problem) -> tuple[str, bool, int, int, str]:
    """Sort by place, and the problem that closes the list of a file last."""
    place, is_last = problem.place, problem.code == Code.TOO_MANY_PROBLEMS.value[0]
    return (place.file, is_last, place.line, place.column, problem.code) if place else ("", False, 0, 0, problem.detail)


# --- which files -----------------------------------------------------------------------------------------------------


def _files(paths: Sequence[str | os.PathLike[str]], problems: list[Problem]) -> list[str]:
    """The files to read, sorted. A file that is named twice, also under two names, is read once."""
    found: dict[str, str] = {}
    for path in sorted(os.fspath(path) for path in paths):
        is_folder = Path(path).is_dir()
        for file in _in_folder(path, problems) if is_folder else [path]:
            # realpath, because resolve() raises on a loop of links. A NUL is refused when the file is opened.
            real = file if "\0" in file else os.path.realpath(file)
            limit = tree(path, is_folder=is_folder)
            if limit is not None and real != file and not is_inside(real, limit):
                problems.append(_leads_out(file, real, limit))
            else:
                found.setdefault(real, file)
    return sorted(found.values())


def tree(path: str, *, is_folder: bool) -> str | None:
    """The folder that links below `path` must not leave, with its own links resolved. None: no limit.

    The command line may name any path. A link can come from a pull request that is not reviewed yet, so it may not:
    inside a checkout it must stay in the checkout, elsewhere in the folder on the command line.
    """
    here = os.path.realpath(os.curdir)
    checkout = next((str(folder) for folder in (Path(here), *Path(here).parents) if (folder / ".git").exists()), here)
    if is_inside(os.path.normpath(os.path.join(here, path)), checkout):  # noqa: PTH118  # lexically, and NUL is fine
        return checkout
    return os.path.realpath(path) if is_folder else None


def is_inside(path: str, folder: str) -> bool:
    """Whether the path is the folder or below it. Both are absolute, without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _leads_out(file: str, real: str, tree: str) -> Problem:
    detail = (
        f"{quote_path(file)} leads to {quote_path(real)}, outside {quote_path(tree)}. Links may not lead outside this"
        " folder."
    )
    hint = "Replace the link with the file, or name the other path with `-f`."
    return Code.LEADS_OUT.problem(detail, hint=hint, place=None)


def _in_folder(folder: str, problems: list[Problem]) -> list[str]:
    """The YAML files directly inside `folder`."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError as error:
        problems.append(
            Code.UNREADABLE.problem(
                f"{quote_path(folder)}: {error.strerror}.", hint="Check the permissions.", place=None
            )
        )
        return []
    names = [name for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if not names:
        detail = (
            f"No file directly inside {quote_path(folder)} ends with {' or '.join(SUFFIXES)}. Subfolders are not read."
        )
        problems.append(Code.EMPTY_FOLDER.problem(detail, hint="Check the path given with `-f`.", place=None))
    return [f"{folder.rstrip(os.sep)}{os.sep}{name}" for name in names]
