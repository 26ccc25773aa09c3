"""Encode the state as JSON and decode it, with one table of field codecs. For events see `state.event_codec`.

A field name has the same meaning in events, entries and runs, so the table has one codec per name. Fields with default
values are omitted, so each batch is one short line. The format is versioned: a newer file is refused, because an old
version would lose fields that it does not know. The digest detects damage and manual edits.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from batchform.errors import StateError
from batchform.model import ServerProblem, Service, Source
from batchform.state.known import BEYOND, Cause, Entry, Evidence, Phase, Run, State, Story, TimeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FORMAT_VERSION: Final = "1.2"
_SPENDING_SINCE: Final = 2
"""The minor version that added the spending of each batch."""
_MAJOR, _MINOR = (int(part) for part in FORMAT_VERSION.split("."))


class NewerFormatError(StateError):
    """A newer version wrote the file. It is not damaged and must stay as it is."""


# What decoding a wrong value may raise, including a time out of range and a text nested too deeply to print.
_MISFITS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

# --- One codec per field ---------------------------------------------------------------------------------------------


def encode_time(value: datetime) -> str:
    """RFC 3339 in UTC, with a `Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def decode_time(value: Any) -> datetime:
    """The aware datetime. Raises ValueError if there is no time zone."""
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _encode_problem(problem: ServerProblem) -> dict[str, Any]:
    return {"status": problem.status, "title": problem.title, "detail": problem.detail}


def _decode_problem(value: Any) -> ServerProblem:
    status = value.get("status")
    return ServerProblem(
        status=None if status is None else _count(status),
        title=_text(value["title"]),
        detail=_text(value.get("detail", "")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return tuple(_text(item) for item in value)


def _labels(value: Any) -> dict[str, str]:
    return {key: _text(text) for key, text in value.items()}


def _counts(value: Any) -> dict[str, int]:
    return {key: _count(number) for key, number in value.items()}


def _by_key(value: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(value.items()))


def _same(value: Any) -> Any:
    return value


_Codec = tuple["Callable[[Any], Any]", "Callable[[Any], Any]"]
Fields = tuple[tuple[str, Any, _Codec], ...]
"""Name, default and codec of each field of a dataclass."""

_TEXT: _Codec = (_same, _text)
_COUNT: _Codec = (_same, _count)
_FLAG: _Codec = (_same, _flag)
_TIME: _Codec = (encode_time, decode_time)

_FIELDS: Mapping[str, _Codec] = {
    "adopted": _COUNT,
    "already_started": _COUNT,
    "at": _TIME,
    "attempt_run": _TEXT,
    "attempts": _COUNT,
    "batch_id": _TEXT,
    "cause": (str, Cause),
    "charged_at": _TIME,
    "command": _TEXT,
    "commit": _TEXT,
    "contradiction": _FLAG,
    "credits": _COUNT,
    "declared": _FLAG,
    "doubt": _FLAG,
    "ended_at": _TIME,
    "evidence": (str, Evidence),
    "final": _FLAG,
    "forgotten": _COUNT,
    "found": _FLAG,
    "id": _TEXT,
    "intended_at": _TIME,
    "job": _TEXT,
    "labels": (_by_key, _labels),
    "name": _TEXT,
    "not_attempted": _COUNT,
    "overrides": (list, _texts),
    "phase": (str, Phase),
    "problem": (_encode_problem, _decode_problem),
    "reason": _TEXT,
    "records": _COUNT,
    "reference_id": _TEXT,
    "rejected": _COUNT,
    "removed": _COUNT,
    "run": _TEXT,
    "seen_at": _TIME,
    "seq": _COUNT,
    "settled_at": _TIME,
    "source": (str, Source),
    "started": _COUNT,
    "started_at": _TIME,
    "statistics": (_by_key, _counts),
    "status": _TEXT,
    "submitted_at": _TIME,
    "time_source": (str, TimeSource),
    "unknown": _COUNT,
    "unsized": _COUNT,
    "updated_at": _TIME,
    "who": _TEXT,
}


def fields_of(cls: type[Any], skip: frozenset[str] = frozenset()) -> Fields:
    """The codecs for the fields of a dataclass."""
    return tuple((f.name, f.default, _FIELDS[f.name]) for f in fields(cls) if f.name not in skip)


_ENTRY = fields_of(Entry, frozenset({"batch_id"}))
_RUN = fields_of(Run)
_STORY = fields_of(Story)


def encode_fields(value: Any, plan: Fields) -> dict[str, Any]:
    """The fields whose values are not the default."""
    return {name: codec[0](v) for name, default, codec in plan if (v := getattr(value, name)) is not default}


def decode_fields(data: Any, plan: Fields, where: str) -> dict[str, Any]:
    """The arguments for the dataclass. Raises StateError naming `where` if a value is wrong or missing."""
    if not isinstance(data, dict):
        raise StateError("The state is damaged", f"{where} is not an object.")
    values: dict[str, Any] = {}
    for name, default, codec in plan:
        if name in data:
            try:
                values[name] = codec[1](data[name])
            except _MISFITS as error:
                raise StateError("The state is damaged", f"{where}.{name}: {error}.") from error
        elif default is MISSING:
            raise StateError("The state is damaged", f"{where} has no `{name}`.")
    return values


# --- Stories ---------------------------------------------------------------------------------------------------------


def encode_story(story: Story) -> dict[str, Any]:
    """The JSON of a story, for the header of a journal."""
    return encode_fields(story, _STORY)


def decode_story(data: Any, where: str) -> Story:
    """The story in the header of a journal. Raises StateError naming `where` if it is not valid."""
    return Story(**decode_fields(data, _STORY, where))


# --- State -----------------------------------------------------------------------------------------------------------


_compact = json.JSONEncoder(separators=(", ", ": ")).encode


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical content, so the layout of the file does not matter."""
    content = {key: value for key, value in document.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def encode_state(state: State) -> bytes:
    """The bytes of the state file: JSON with one batch per line, sorted by batch_id, for readable diffs."""
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "lineage": state.lineage,
        "serial": state.serial,
        "service": state.service.value,
        "endpoint": state.endpoint,
        **({"home": state.home} if state.home else {}),
        "batches": _rows(state.entries),
        **({"past": _rows(state.past)} if state.past else {}),
        "runs": [encode_fields(run, _RUN) for run in state.runs],
    }
    document["digest"] = digest(document)
    lines = []
    for key, value in document.items():
        if key in {"batches", "past"} and value:
            rows = ",\n".join(f"    {_compact(name)}: {_compact(entry)}" for name, entry in value.items())
            lines.append(f'  "{key}": {{\n{rows}\n  }}')
        elif key == "runs" and value:
            rows = ",\n".join(f"    {_compact(run)}" for run in value)
            lines.append(f'  "runs": [\n{rows}\n  ]')
        else:
            lines.append(f"  {_compact(key)}: {_compact(value)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _rows(entries: Mapping[str, Entry]) -> dict[str, Any]:
    return {key: encode_fields(entries[key], _ENTRY) for key in sorted(entries)}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises ValueError for a duplicate key, which a digest of the decoded document would not show."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a duplicate key")
    return value


def parse_state(data: bytes) -> dict[str, Any]:
    """The JSON document of a state file. The version is checked, the digest is not.

    Raises:
        NewerFormatError: Only a newer version reads it.
        StateError: It is empty, not JSON, or not a state file.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise StateError(
            "The state is empty",
            "An empty file does not count as a missing state, because started batches could be forgotten. Delete it"
            " only if there never was a state.",
        )
    try:
        document = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise StateError("The state is damaged", f"It is not valid JSON ({error}).") from error
    if not isinstance(document, dict) or "format_version" not in document:
        raise StateError("This is not a state file", "It is JSON without a `format_version`. Is it the wrong file?")
    version = document["format_version"]
    major, _, minor = version.partition(".") if isinstance(version, str) else ("", "", "")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (major, minor)):
        raise StateError("The state is damaged", "`format_version` must have the form 1.0.")
    if (int(major), int(minor)) > (_MAJOR, _MINOR):
        raise NewerFormatError(
            "The state has a newer format",
            f"It has format {int(major)}.{int(minor)}, but this version reads formats up to {FORMAT_VERSION}. Upgrade"
            " batchform. The state was not changed.",
        )
    return document


def decode_state(data: bytes, *, trust: bool = False) -> State:
    """The state of a state file.

    Args:
        data: The bytes of the file.
        trust: Accept a file whose digest does not match. Only `state recover` does, and it asks for approval.

    Raises:
        NewerFormatError: Only a newer version reads it.
        StateError: The file cannot be used. The message says why; `reader.decoded` adds where and what to do.
    """
    document = parse_state(data)
    if not trust and document.get("digest") != digest(document):
        raise StateError("The state was changed by hand or is damaged", "Its digest does not match its content.")
    try:
        batches, past, runs = document["batches"], document.get("past", {}), document["runs"]
        state = State(
            lineage=_text(document["lineage"]),
            serial=_count(document["serial"]),
            service=Service(document["service"]),
            endpoint=_text(document["endpoint"]),
            home=_text(document.get("home", "")),
        )
    except _MISFITS as error:
        raise StateError("The state is damaged", f"The top level of the file: {error}.") from error
    if not isinstance(batches, dict) or not isinstance(past, dict) or not isinstance(runs, list):
        raise StateError("The state is damaged", "`batches` and `past` must be objects, and `runs` a list.")
    state = replace(
        state,
        entries=_entries(batches, "batches"),
        past=_entries(past, "past"),
        runs=tuple(Run(**decode_fields(run, _RUN, f"runs[{number}]")) for number, run in enumerate(runs)),
    )
    return _with_starts(state) if _minor(document) < _SPENDING_SINCE else state


def _minor(document: Mapping[str, Any]) -> int:
    return int(document["format_version"].partition(".")[2])


def _entries(rows: Mapping[str, Any], where: str) -> Mapping[str, Entry]:
    return MappingProxyType(
        {key: Entry(batch_id=key, **decode_fields(row, _ENTRY, f"{where}.{key}")) for key, row in rows.items()}
    )


def _with_starts(state: State) -> State:
    """A state of an older format, with the times of the starts and the users, as far as it has them."""
    runs = sorted(state.runs, key=lambda run: run.at)
    entries = {key: _with_start(entry, runs) for key, entry in state.entries.items()}
    return replace(state, entries=MappingProxyType(entries))


def _with_start(entry: Entry, runs: Sequence[Run]) -> Entry:
    if entry.phase not in BEYOND:
        return entry
    if entry.phase is not Phase.STARTED:
        seen = [at for at in (entry.settled_at, entry.seen_at, entry.updated_at) if at is not None]
        return replace(entry, started_at=min(seen), time_source=TimeSource.LATEST)
    at = entry.intended_at
    began = replace(entry, started_at=at or entry.settled_at or entry.updated_at, time_source=TimeSource.REQUEST)
    # Runs never overlap, so the last one that began before the attempt made it.
    number = bisect_right(runs, at, key=lambda run: run.at) if at is not None else 0
    return replace(began, who=runs[number - 1].who, attempt_run=runs[number - 1].id) if number else began
