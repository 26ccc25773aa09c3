"""One file: what it declares, as far as it is right, and what is wrong with it.

Walked key by key against the tables in `fields`. What more than one file is needed for stands in `across`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from batchform.config import advice, fields, schema
from batchform.config.fields import BATCH_ID, LABEL, NAME, Unfit, UnquotedText
from batchform.config.problems import MAX_PROBLEMS, Code, how_to_quote, quote, too_many
from batchform.model import Batch, Guard, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchform.config.document import Document, Steps
    from batchform.config.fields import Readers
    from batchform.errors import Place

SCHEMA = "config-1"
"""The schema of a configuration file."""

_HEARD = 20_000
"""How many keys and values a file may hold for the schema to be heard: jsonschema takes 7 s for a million."""


class _Enough(Exception):  # noqa: N818  not an error: it ends the walk over one file
    """More is wrong with the file than anybody reads."""


class File:
    """One file: what it declares, as far as it is right, and what is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems = dict.fromkeys(document.problems)  # what many aliases share is wrong only once
        self.faulty: set[Steps] = set()
        self.service: Service | None = None
        self.limits: dict[str, int] = {}
        self.defaults: dict[str, Any] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """The file's name, as every place has it."""
        return self.document.source.file

    def sets(self, key: str) -> bool:
        """Whether the file says anything about `key`, be it right or wrong."""
        return isinstance(self.document.root, dict) and key in self.document.root

    def read(self) -> None:
        """Read everything the document holds, or as much as it takes to find `MAX_PROBLEMS`."""
        try:
            self._walk()
            self._hear_the_schema()
        except _Enough:
            pass

    def _walk(self) -> None:
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
        if "version" not in root and not self.document.cut and not _misspelt("version", root, fields.FILE):
            self._report(Code.MISSING_KEY, "A configuration says its version.", "Write `version: 1` first.", ())
        self.service = top.get("service")
        self.limits = self._entries(("guards",), top.get("guards", {}), fields.GUARDS)
        self.defaults = self._with_labels(("defaults",), top.get("defaults", {}), fields.DEFAULTS)
        batches = top.get("batches", {})
        cut = next(reversed(batches), None) if self.document.cut else None  # its last batch may go on
        for name, body in batches.items():
            self.batches[name] = self._batch(name, body, whole=name != cut)

    def _hear_the_schema(self) -> None:
        """Once something is wrong, keep what jsonschema finds beyond it."""
        if not self.faulty or self.document.root is None or self.document.nodes > _HEARD:
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
                yield Guard(name=name, limit=self.limits[name], place=self.place(("guards", name), key=True))

    def declared(self) -> Iterator[Batch]:
        """The batches of the file, its defaults filled in. Only for a file without problems."""
        common = self.defaults.get("labels", {})
        if not self.batches:
            return
        places = self.document.key_places(("batches",))
        for (name, own), place in zip(self.batches.items(), places, strict=True):
            labels = {**common, **own.get("labels", {})}
            yield Batch(name=name, place=place, **{**self.defaults, **own, "labels": labels})

    def place(self, path: Steps, *, key: bool = False) -> Place:
        """Where the value at `path` stands, or its key."""
        return self.document.key_place(path) if key else self.document.value_place(path)

    def _batch(self, name: str, body: object, *, whole: bool) -> dict[str, Any]:
        """The fields of one batch that are right."""
        path = ("batches", name)
        try:
            NAME.read(name)
        except Unfit as unfit:
            self._report(unfit.code, unfit.detail, unfit.hint, path, key=True)
        try:
            body = fields.read_mapping({} if body is None else body)
        except Unfit as unfit:
            hint = unfit.hint
            if name in fields.BATCH:
                hint = f"If `{name}` belongs to the batch above it, indent it further than the name of that batch."
            elif isinstance(body, str) and BATCH_ID.pattern.fullmatch(body):
                hint = f"Write `batch_id: {body}` on a line of its own below the name, indented further."
            self._report(unfit.code, unfit.detail, hint, path)
            return {}
        if whole and "batch_id" not in body and not _misspelt("batch_id", body, fields.BATCH):
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
                self._unknown(path, key, value, readers)
                continue
            try:
                found[key] = reader(value)
            except UnquotedText:
                self._unquoted((*path, key))
            except Unfit as unfit:
                self._report(unfit.code, unfit.detail, unfit.hint, (*path, key))
        return found

    def _unknown(self, path: Steps, key: str, value: object, readers: Readers) -> None:
        detail = f"{quote(key)} means nothing here."
        hint = advice.unknown_key(key, readers, _ELSEWHERE, is_mapping=isinstance(value, dict))
        if path == ("defaults",) and key in fields.BATCH:
            detail = f"{quote(key)} cannot be a default: it belongs to one batch."
            hint = f"Write it in each batch. Known here: {', '.join(readers)}."
        self._report(Code.UNKNOWN_KEY, detail, hint, (*path, key), key=True)

    def _unquoted(self, path: Steps) -> None:
        if written := self.document.written(path):
            detail = f"Some YAML readers take {quote(written)[1:-1]} for something other than text."
            self._report(Code.UNQUOTED, detail, how_to_quote(written), path)
        else:
            hint = "Write it behind the colon." if path[-1] == "batch_id" else "Write a text, or leave the key out."
            self._report(Code.WRONG_KIND, "This must be a text, not an empty value.", hint, path)

    def _report(self, code: Code, detail: str, hint: str, path: Steps, *, key: bool = False) -> None:
        """Keep a problem of the value at `path`, or of its key."""
        place = self.place(path, key=key)
        problem = code.problem(detail, hint=hint, place=place)
        self.faulty.add(path)
        if len(self.problems) >= MAX_PROBLEMS and problem not in self.problems:
            self.problems[too_many(place)] = None
            raise _Enough
        self.problems[problem] = None


_ELSEWHERE = {
    "at the top of the file, for all batches together": ("version", "service", "guards", "defaults", "batches"),
    "under `guards`": tuple(fields.GUARDS),
    "to a batch, below its name": tuple(fields.BATCH),
}
"""Where keys belong that stand where they mean nothing."""


def _misspelt(key: str, found: Mapping[str, Any], readers: Readers) -> bool:
    """Whether an unknown key is taken for this one: then it is not missing as well."""
    unknown = (other for other in found if other not in readers)
    return any(key in advice.nearest(other, readers)[:1] for other in islice(unknown, MAX_PROBLEMS))
