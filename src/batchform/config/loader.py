"""Files -> Config, or every problem of all of them at once.

Each file is walked alone first, key by key against the tables in `fields`; what one file cannot know (an id declared
in another, a setting made twice) is judged over all of them afterwards. The files are taken in the order of their
names, so neither the order of the arguments nor the way batches are spread over files can change the result.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from batchform.config import document, fields, schema
from batchform.config.fields import LABEL, NAME, Unfit, UnquotedText, did_you_mean
from batchform.config.problems import Code, how_to_quote, quote, quote_path
from batchform.errors import ConfigError, Problem, Severity
from batchform.model import Batch, Config, Guard, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batchform.config.document import Document, Steps
    from batchform.config.fields import Readers

SCHEMA = "config-1"
"""The schema of a configuration file."""

_At: TypeAlias = "tuple[_Source, Steps]"

SUFFIXES = (".yaml", ".yml")
"""What the files of a folder end with to be read. A name that begins with a dot is left alone, as in any shell."""


def load(paths: Sequence[str | os.PathLike[str]]) -> Config:
    """What the files, and the files right inside the folders, of `paths` declare together.

    Raises:
        ConfigError: with every problem and warning of all files, sorted by place.
    """
    problems: list[Problem] = []
    sources = [_Source(document.load(file)) for file in _files(paths, problems)]
    for source in sources:
        source.walk()
        source.hear_the_schema()
        problems += source.problems
    problems += _set_twice(sources)
    problems += _same_name(sources)
    problems += _same_batch_id(sources)
    problems = sorted(dict.fromkeys(problems), key=_by_place)  # what many aliases share is wrong only once
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    batches = [batch for source in sources for batch in source.declared()]
    return Config(
        service=next((source.service for source in sources if source.service), Service.PHONE),
        guards=tuple(guard for source in sources for guard in source.guards()),
        batches=tuple(sorted(batches, key=lambda batch: batch.name)),
        files=tuple(source.file for source in sources),
        warnings=tuple(problems),
    )


def _by_place(problem: Problem) -> tuple[str, int, int, str]:
    place = problem.place
    return (place.file, place.line, place.column, problem.code) if place else ("", 0, 0, problem.detail)


# --- which files -----------------------------------------------------------------------------------------------------


def _files(paths: Sequence[str | os.PathLike[str]], problems: list[Problem]) -> list[str]:
    """The files to read, sorted; each once, however often and under whatever name it was given."""
    found: dict[str, str] = {}
    for path in sorted(os.fspath(path) for path in paths):
        for file in _in_folder(path, problems) if Path(path).is_dir() else [path]:
            # realpath, because resolve() raises on a loop of links; a NUL is for the reader to complain of.
            found.setdefault(file if "\0" in file else os.path.realpath(file), file)
    return sorted(found.values())


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


# --- one file --------------------------------------------------------------------------------------------------------


class _Source:
    """One file: what it declares, as far as it is right, and what is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems = list(document.problems)
        self.faulty: set[Steps] = set()
        self.service: Service | None = None
        self.limits: dict[str, int] = {}
        self.defaults: dict[str, Any] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    @property
    def file(self) -> str:
        return self.document.source.file

    def sets(self, key: str) -> bool:
        """Whether the file says anything about `key`, be it right or wrong."""
        return isinstance(self.document.root, dict) and key in self.document.root

    def walk(self) -> None:
        """Read everything the document holds."""
        root = self.document.root
        if root is None:
            if not self.problems:
                hint = "Write `version: 1`, then `batches:` with a name and a `batch_id` for each."
                self._report(Code.EMPTY_FILE, "It declares nothing, not even its version.", hint, ())
            return
        if not isinstance(root, dict):
            detail = f"A configuration is a mapping with `version` and `batches`, not {fields.kind(root)}."
            self._report(Code.WRONG_KIND, detail, "Write `version: 1` on the first line.", ())
            return
        if "version" in root and not self._entries((), {"version": root["version"]}, fields.FILE):
            return  # Another version may mean other things by the same keys.
        top = self._entries((), root, fields.FILE)
        if "version" not in root:
            self._report(Code.MISSING_KEY, "A configuration says its version.", "Write `version: 1` first.", ())
        self.service = top.get("service")
        self.limits = self._entries(("guards",), top.get("guards", {}), fields.GUARDS)
        self.defaults = self._with_labels(("defaults",), top.get("defaults", {}), fields.DEFAULTS)
        for name, body in top.get("batches", {}).items():
            self.batches[name] = self._batch(name, body)

    def hear_the_schema(self) -> None:
        """Once something is wrong, keep what jsonschema finds beyond it."""
        if len(self.problems) == len(self.document.problems) or self.document.root is None:
            return
        told = {path[:length] for path in self.faulty for length in range(len(path) + 1)}  # at it, or inside it
        for path, message in schema.complaints(SCHEMA, self.document.root):
            around = any(path[:length] in self.faulty for length in range(1, len(path)))
            if path not in told and not around:
                self._report(Code.SCHEMA, f"{quote(message, 200)}.", "See `schemas/config-1.json`.", path)

    def guards(self) -> Iterator[Guard]:
        """The guards of the file, in the order of their names' definition."""
        for name in GuardName:
            if name in self.limits:
                yield Guard(name=name, limit=self.limits[name], place=self.document.key_place(("guards", name)))

    def declared(self) -> Iterator[Batch]:
        """The batches of the file, its defaults filled in. Only for a file without problems."""
        common = self.defaults.get("labels", {})
        for name, own in self.batches.items():
            labels = {**common, **own.get("labels", {})}
            place = self.document.key_place(("batches", name))
            yield Batch(name=name, place=place, **{**self.defaults, **own, "labels": labels})

    def _batch(self, name: str, body: object) -> dict[str, Any]:
        """The fields of one batch that are right."""
        path = ("batches", name)
        try:
            NAME.read(name)
        except Unfit as unfit:
            self._report(unfit.code, unfit.detail, unfit.hint, path, key=True)
        try:
            body = fields.read_mapping({} if body is None else body)
        except Unfit as unfit:
            self._report(unfit.code, unfit.detail, unfit.hint, path)
            return {}
        if "batch_id" not in body:
            detail = f"The batch {quote(name)} has no batch_id, which is what it is started by."
            self._report(
                Code.MISSING_KEY, detail, "Write `batch_id:` with the id the create call returned.", path, key=True
            )
        return self._with_labels(path, body, fields.BATCH)

    def _with_labels(self, path: Steps, body: Mapping[str, Any], readers: Readers) -> dict[str, Any]:
        """As `_entries`, for the two mappings that have labels."""
        found = self._entries(path, body, readers)
        if "labels" in found:
            found["labels"] = self._labels((*path, "labels"), found["labels"])
        return found

    def _labels(self, path: Steps, body: Mapping[str, Any]) -> dict[str, str]:
        """The labels that are right."""
        for key in body:
            try:
                NAME.read(key)
            except Unfit as unfit:
                self._report(unfit.code, unfit.detail, unfit.hint, (*path, key), key=True)
        return self._entries(path, body, dict.fromkeys(body, LABEL.read))

    def _entries(self, path: Steps, body: Mapping[str, Any], readers: Readers) -> dict[str, Any]:
        """The entries that are right, by key; the problems of the others are kept."""
        found = {}
        for key, value in body.items():
            if (reader := readers.get(key)) is None:
                self._unknown(path, key, readers)
                continue
            try:
                found[key] = reader(value)
            except UnquotedText:
                self._unquoted((*path, key))
            except Unfit as unfit:
                self._report(unfit.code, unfit.detail, unfit.hint, (*path, key))
        return found

    def _unknown(self, path: Steps, key: str, readers: Readers) -> None:
        detail = f"{quote(key)} means nothing here."
        if path == ("defaults",) and key in fields.BATCH:
            detail = f"{quote(key)} cannot be a default: it belongs to one batch."
        hint = did_you_mean(key, readers) or f"Known here: {', '.join(readers)}."
        self._report(Code.UNKNOWN_KEY, detail, hint, (*path, key), key=True)

    def _unquoted(self, path: Steps) -> None:
        if written := self.document.written(path):
            detail = f"Some YAML readers take {quote(written)[1:-1]} for something other than text."
            self._report(Code.UNQUOTED, detail, how_to_quote(written), path)
        else:
            hint = "Write a text, or leave the key out."
            self._report(Code.WRONG_KIND, "This must be a text, not an empty value.", hint, path)

    def _report(self, code: Code, detail: str, hint: str, path: Steps, *, key: bool = False) -> None:
        """Keep a problem of the value at `path`, or of its key."""
        place = self.document.key_place(path) if key else self.document.value_place(path)
        self.problems.append(code.problem(detail, hint=hint, place=place))
        self.faulty.add(path)


# --- all files together ----------------------------------------------------------------------------------------------


def _set_twice(sources: list[_Source]) -> Iterator[Problem]:
    """Problems of settings that stand in more than one file."""
    for key in ("service", "guards"):
        setting = [source for source in sources if source.sets(key)]
        for other in setting[1:]:
            detail = f"`{key}` holds for all files together, so only one of them can set it."
            yield _clash(
                Code.SET_TWICE, detail, "Keep it in one file.", (other, (key,)), (setting[0], (key,)), key=True
            )


def _same_name(sources: list[_Source]) -> Iterator[Problem]:
    """Problems of names that more than one file gives to a batch."""
    firsts: dict[str, _Source] = {}
    for source in sources:
        for name in source.batches:
            first = firsts.setdefault(name, source)
            if first is not source:
                detail = f"Two files declare a batch named {quote(name)}."
                path = ("batches", name)
                yield _clash(Code.SAME_NAME, detail, "Rename one of them.", (source, path), (first, path), key=True)


def _same_batch_id(sources: list[_Source]) -> Iterator[Problem]:
    """Problems of ids declared under more than one name, and warnings of ids that could be meant to be the same."""
    firsts: dict[str, tuple[_Source, str]] = {}
    spellings: dict[str, str] = {}
    for source in sources:
        for name, batch in source.batches.items():
            batch_id = batch.get("batch_id")
            if batch_id is None:
                continue
            first, first_name = firsts.setdefault(batch_id, (source, name))
            spelling = spellings.setdefault(batch_id.lower(), batch_id)
            here = (source, ("batches", name, "batch_id"))
            if first_name != name:
                detail = (
                    f"{quote(name)} and {quote(first_name)} are one batch to the server, which is started only once."
                )
                there = (first, ("batches", first_name, "batch_id"))
                yield _clash(Code.SAME_BATCH_ID, detail, "Remove one of them, or correct its id.", here, there)
            elif spelling != batch_id:
                first, first_name = firsts[spelling]
                detail = f"{quote(batch_id)} and {quote(spelling)} are two batches to batchform."
                there = (first, ("batches", first_name, "batch_id"))
                yield _clash(Code.CASE_ONLY, detail, "If the server means one batch, remove one of them.", here, there)


def _clash(code: Code, detail: str, hint: str, here: _At, there: _At, *, key: bool = False) -> Problem:
    """The problem of two things that cannot both stand, at the later one."""
    places = [
        source.document.key_place(path) if key else source.document.value_place(path) for source, path in (here, there)
    ]
    return code.problem(detail, hint=hint, place=places[0], related=[(places[1], "the first one")])
