"""Files -> Config, or every problem of all of them at once.

Each file is read alone first (`file`); what one file cannot know is judged over all of them afterwards (`across`). The
files are taken in the order of their names, so neither the order of the arguments nor the way batches are spread over
files can change the result.
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
from batchform.model import Config, Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchform.errors import Problem
    from batchform.source_text import SourceText

SUFFIXES = (".yaml", ".yml")
"""What the files of a folder end with to be read. A name that begins with a dot is left alone, as in any shell."""


def load(paths: Sequence[str | os.PathLike[str]]) -> Config:
    """What the files, and the files right inside the folders, of `paths` declare together.

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
    """The texts of the files that have anything to show."""
    names = {place.file for problem in problems for place in problem.places}
    return {file.name: file.document.source for file in files if file.name in names}


def _by_place(problem: Problem) -> tuple[str, bool, int, int, str]:
    """Sort by place, and the problem that closes the list of a file last."""
    place, is_last = problem.place, problem.code == Code.TOO_MANY_PROBLEMS.value[0]
    return (place.file, is_last, place.line, place.column, problem.code) if place else ("", False, 0, 0, problem.detail)


# --- which files -----------------------------------------------------------------------------------------------------


def _files(paths: Sequence[str | os.PathLike[str]], problems: list[Problem]) -> list[str]:
    """The files to read, sorted; each once, however often and under whatever name it was given."""
    found: dict[str, str] = {}
    for path in sorted(os.fspath(path) for path in paths):
        is_folder = Path(path).is_dir()
        for file in _in_folder(path, problems) if is_folder else [path]:
            # realpath, because resolve() raises on a loop of links; a NUL is for the reader to complain of.
            real = file if "\0" in file else os.path.realpath(file)
            tree = _tree(path, is_folder=is_folder)
            if tree is not None and real != file and not _is_inside(real, tree):
                problems.append(_leads_out(file, real, tree))
            else:
                found.setdefault(real, file)
    return sorted(found.values())


def _tree(path: str, *, is_folder: bool) -> str | None:
    """The folder that links from `path` must not lead out of, its own links resolved; None for anywhere.

    Whoever writes the command line may name any path. Whoever writes the files, in a pull request that nobody has read
    yet, may name none: inside the checkout, it is the checkout; elsewhere, it is the folder that was named.
    """
    here = os.path.realpath(os.curdir)
    checkout = next((str(folder) for folder in (Path(here), *Path(here).parents) if (folder / ".git").exists()), here)
    if _is_inside(os.path.normpath(os.path.join(here, path)), checkout):  # noqa: PTH118  # lexically, and NUL is fine
        return checkout
    return os.path.realpath(path) if is_folder else None


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _leads_out(file: str, real: str, tree: str) -> Problem:
    detail = (
        f"{quote_path(file)} leads to {quote_path(real)}, outside {quote_path(tree)}. Who may change a link must not"
        " choose what is read from this machine."
    )
    hint = "Put the file itself there, or name the other path with `-f`."
    return Code.LEADS_OUT.problem(detail, hint=hint, place=None)


def _in_folder(folder: str, problems: list[Problem]) -> list[str]:
    """The YAML files right inside `folder`."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError as error:
        problems.append(
            Code.UNREADABLE.problem(
                f"{quote_path(folder)}: {error.strerror}.", hint="Check who may read it.", place=None
            )
        )
        return []
    names = [name for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if not names:
        detail = (
            f"Nothing right inside {quote_path(folder)} ends with {' or '.join(SUFFIXES)}. Deeper folders are not read."
        )
        problems.append(Code.EMPTY_FOLDER.problem(detail, hint="Check the path given with `-f`.", place=None))
    return [f"{folder.rstrip(os.sep)}{os.sep}{name}" for name in names]
