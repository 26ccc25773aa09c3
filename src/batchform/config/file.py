"""One file: what it declares, and what is wrong with it.

The judge finds what is wrong, `fields` explains it, and this module finds its place. The rules that need more than one
file are in `across`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from batchform.config import advice, fields
from batchform.config.problems import MAX_PROBLEMS, Code, quote, too_many
from batchform.model import Batch, Guard, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError

    from batchform.config.document import Document, Steps
    from batchform.config.fields import Told
    from batchform.config.judge import Judge
    from batchform.errors import Problem
    from batchform.source_text import Place

_TIMES = ("submitted_at", "not_before")
_FIELDS = frozenset(Batch.__dataclass_fields__)


class File:
    """One file: what it declares, as far as it is right, and what is wrong with it.

    `batches` has the fields of each batch by its name, times as moments. It is complete once `read` found no error.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: dict[Problem, None] = dict.fromkeys(document.problems)
        self.service: Service | None = None
        self.limits: dict[str, int] = {}
        self.costs: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._faulty: set[tuple[int, str | int, bool]] = set()

    @property
    def name(self) -> str:
        """The file's name, as every place has it."""
        return self.document.source.file

    @property
    def top(self) -> dict[str, Any]:
        """The keys and values of the file, right or wrong."""
        return self.document.root if isinstance(self.document.root, dict) else {}

    @property
    def bodies(self) -> dict[str, Any]:
        """The batches of the file by name, right or wrong."""
        batches = self.top.get("batches")
        return batches if isinstance(batches, dict) else {}

    def read(self) -> None:
        """Judge the whole file, or as much of it as it takes to find `MAX_PROBLEMS`, and keep what is right."""
        root = self.document.root
        if root is None:
            if not self.problems:
                hint = "Write `version: 1`, then `batches:` with a name and a `batch_id` for each."
                told = Code.EMPTY_FILE, "It declares nothing, not even its version.", hint
                self._keep(told, self.place(()))
            return
        from batchform.config.judge import judge  # noqa: PLC0415  # jsonschema, which takes 50 ms to import

        if self._judge(judge()):
            self._take()

    def guards(self) -> Iterator[Guard]:
        """The guards of the file, in the order of their names' definition."""
        for name in GuardName:
            if name in self.limits:
                yield Guard(name=name, limit=self.limits[name], place=self.place(("guards", name), key=True))

    def declared(self) -> Iterator[Batch]:
        """The batches of the file, with its defaults. Only for a file without errors."""
        if not self.batches:
            return
        common = self.defaults.get("labels", {})
        places = self.document.key_places(self.top["batches"])
        for (name, own), place in zip(self.batches.items(), places, strict=True):
            values = {**self.defaults, **own, "labels": {**common, **own.get("labels", {})}}
            yield Batch(name=name, place=place, **values)

    def place(self, path: Steps, *, key: bool = False) -> Place:
        """The place of the value at `path`, or of its key."""
        return self.document.key_place(path) if key else self.document.value_place(path)

    # --- what is wrong -----------------------------------------------------------------------------------------------

    def _judge(self, judge: Judge) -> bool:
        """Keep the problem of each error. Whether the file was judged to its end."""
        if "version" in self.top:
            # Another version can give the same keys another meaning, so nothing else is judged then.
            errors = judge.errors({"version": self.top["version"]}, shared=False)
            if wrong := next((error for error in errors if error.path and error.path[0] == "version"), None):
                self._report(wrong, judge)
                return False
        errors = judge.errors(self.document.root, shared=self.document.has_aliases)
        return all(self._report(error, judge) for error in errors)

    def _report(self, error: ValidationError, judge: Judge) -> bool:
        """Keep the problem of an error, if it is the first one there. Whether there is room for more."""
        path: Steps = tuple(error.absolute_path)
        rules: Any = error.schema if isinstance(error.schema, dict) else {}
        around: Any = error.instance
        if error.validator == "required":
            known = rules.get("properties", {})
            if rules.get("additionalProperties") is False and _misspelt(str(path[-1]), around, known):
                return True  # the misspelt key is an error of its own
            return self._keep(fields.missing_key(path), self.place(path[:-1], key=True))
        is_name = "propertyNames" in error.absolute_schema_path
        at = (id(self.document.holder(path)), path[-1] if path else 0, is_name)
        if at in self._faulty:
            return True
        self._faulty.add(at)
        if error.validator == "additionalProperties":
            return self._keep(_unknown(path, around, rules, judge.schema), self.place(path, key=True))
        fault = fields.Fault(
            keyword=str(error.validator),
            value=error.instance,
            rules=rules,
            written="" if is_name or isinstance(error.instance, dict | list) else self.document.written(path),
            accepts=judge.accepts,
        )
        told = fields.explain(path, fault, is_name=is_name)
        if told is None:
            message = quote(error.message, 200)[1:-1]
            told = Code.SCHEMA, f"The schema refuses this: {message}.", "`batchform schema config` prints the schema."
        return self._keep(told, self.place(path, key=is_name or told[0] is Code.MISSING_KEY))

    def _keep(self, told: Told, place: Place) -> bool:
        """Keep a problem. Whether there is room for more."""
        code, detail, hint = told
        problem = code.problem(detail, hint=hint, place=place)
        if problem in self.problems:
            return True
        if len(self.problems) < MAX_PROBLEMS:
            self.problems[problem] = None
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems[too_many(place)] = None
        return len(self.problems) <= MAX_PROBLEMS

    # --- what is right -----------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Keep everything that is right."""
        top = self._right(self.top)
        self.service = Service(top["service"]) if "service" in top else None
        self.limits = self._right(top.get("guards", {}))
        self.costs = self._right(top.get("costs", {}))
        self.defaults = self._fields(("defaults",), top.get("defaults", {}))
        batches = self._right(top.get("batches", {}))
        self.batches = {
            name: self._fields(("batches", name), body)
            for name, body in batches.items()
            if isinstance(body, dict)  # a wrong body that aliases share has only one fault
        }

    def _right(self, mapping: dict[str, Any]) -> dict[str, Any]:
        """The entries of a mapping that have no fault."""
        if not self._faulty:
            return mapping
        return {key: value for key, value in mapping.items() if (id(mapping), key, False) not in self._faulty}

    def _fields(self, path: Steps, mapping: dict[str, Any]) -> dict[str, Any]:
        """The fields of a batch or of the defaults, with moments for times. One outside the calendar is a problem."""
        found = self._right(mapping)
        for key in _TIMES:
            if key in found:
                moment = fields.moment(found[key])
                found = {**found, key: moment}
                if moment is None:
                    del found[key]
                    self._keep(fields.not_in_calendar(mapping[key]), self.place((*path, key)))
        return found


def _unknown(path: Steps, around: Mapping[str, Any], rules: Mapping[str, Any], schema: Mapping[str, Any]) -> Told:
    """Explain a key that the schema does not know in the mapping around it."""
    key, here, top = str(path[-1]), rules.get("properties", {}), schema["properties"]
    batch = top["batches"]["additionalProperties"]["properties"]
    if path[0] == "defaults" and key in batch:
        detail = f"`{key}` cannot be a default: it belongs to one batch."
        return Code.UNKNOWN_KEY, detail, f"Write it in each batch. Known here: {', '.join(here)}."
    elsewhere = {
        "at the top of the file, for all batches together": top,
        "under `guards`": top["guards"]["properties"],
        "under `costs`": top["costs"]["properties"],
        "to a batch, below its name": batch,
    }
    hint = advice.unknown_key(key, here, elsewhere, is_mapping=isinstance(around[key], dict))
    return Code.UNKNOWN_KEY, f"Unknown key `{quote(key)[1:-1]}`.", hint


def _misspelt(key: str, found: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether an unknown key is probably this one. Then it is not missing as well."""
    unknown = (other for other in found if other not in known)
    return any(key in advice.nearest(other, known)[:1] for other in islice(unknown, MAX_PROBLEMS))
