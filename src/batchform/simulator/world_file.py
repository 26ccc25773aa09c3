"""Make a world from plain values, as parsed from a file. schemas/world-1.json documents the format for editors.

An error names the path of the wrong value in the file, such as `batches.b1.age`. Only the first error is reported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from batchform.simulator.batches import REASON, RECORDS_KEYS, Batch, Status
from batchform.simulator.faults import (
    KINDS,
    Answer,
    Body,
    Drip,
    Drop,
    Fault,
    HalfBody,
    Hang,
    Items,
    ListSpoil,
    NotHttp,
    OddCredits,
    OddStatus,
    RateHeaders,
    Reset,
    SpoiltList,
    WrongBatchId,
)
from batchform.simulator.tokens import OAuth
from batchform.simulator.world import BATCH_ID, MOST_RECORDS, REFERENCE, ConsoleStart, TokenFlaw, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.simulator.faults import Effect

T = TypeVar("T")

OPERATIONS: Final = ("create", "list", "status", "start", "results", "stop")
"""The names of the six operations. Source: CONTRACT "Operations"."""

_DURATION: Final = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNITS: Final = (86_400, 3600, 60, 1)
_ID: Final = BATCH_ID.pattern
_ID_OR_ANY: Final = rf"\*|{_ID}"
_VISIBLE: Final = r"[!-~]{1,1000}"
_LONGEST: Final = 36_500 * 86_400.0
"""The longest duration, in seconds."""


class WorldError(ValueError):
    """The values do not make a world. `path` is the wrong value, such as `faults[2].status`, or empty for the whole."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


def from_values(values: object) -> World:
    """Return the world that plain values describe.

    Args:
        values: Mappings, lists, strings, numbers, booleans and None. None is an empty world.

    Raises:
        WorldError: The values do not make a world.
    """
    top = _Table("", {} if values is None else values)
    if top.integer("version", 1, least=1) != 1:
        raise WorldError("version", "only version 1 is supported")
    lag, lag_up_to = _lag(top)
    rate = top.table("rate")
    oauth = None if top.peek("oauth") is None else _oauth(top.table("oauth"))
    world = World(
        token=top.maybe_text("token", _VISIBLE),
        refused_tokens={
            name: TokenFlaw(_choice(path, flaw, tuple(TokenFlaw)))
            for name, path, flaw in top.table("refused_tokens").items()
        },
        oauth=oauth,
        credits=top.maybe_integer("credits", least=0),
        credits_per_record=top.number("credits_per_record", 1.0),
        credits_as_text=top.boolean("credits_as_text", default=False),
        rate_limit=rate.integer("limit", 150, least=1),
        rate_window=rate.duration("window", 60.0, positive=True),
        send_rate_headers=rate.boolean("headers", default=True),
        other_traffic=top.integer("other_traffic", 0, least=0),
        speed=top.number("speed", 1.0),
        lag=lag,
        lag_up_to=lag_up_to,
        seed=top.integer("seed", 0, least=0),
        skew=top.duration("ahead", 0.0) - top.duration("behind", 0.0),
        batches=tuple(_batch(name, _Table(path, value or {})) for name, path, value in top.table("batches").items()),
        faults=tuple(_fault(table) for table in top.tables("faults")),
        console_starts=tuple(_console_start(table) for table in top.tables("console_starts")),
    )
    rate.end()
    top.end()
    for number, start in enumerate(world.console_starts):
        if start.batch_id not in {batch.batch_id for batch in world.batches}:
            raise WorldError(f"console_starts[{number}].batch", "no batch of this world has this id")
    return world


def _lag(top: _Table) -> tuple[int, int | None]:
    """The fixed lag, and the limit for a drawn one."""
    if not isinstance(top.peek("lag"), Mapping):
        return top.integer("lag", 0, least=0), None
    drawn = top.table("lag")
    most = drawn.integer("up_to", None, least=0)
    drawn.end()
    return 0, most


def _oauth(table: _Table) -> OAuth:
    """The client that gets access tokens."""
    oauth = OAuth(
        client_id=table.text("client_id", _VISIBLE),
        client_secret=table.text("client_secret", _VISIBLE),
        lifetime=table.duration("lifetime", 1800.0, positive=True),
    )
    table.end()
    return oauth


def _batch(batch_id: str, table: _Table) -> Batch:
    """One batch."""
    if not re.fullmatch(_ID, batch_id):
        raise WorldError(table.path, "a batch id has 1 to 128 of the characters A-Z a-z 0-9 _ -")
    records = table.integer("records", 1, least=1, most=MOST_RECORDS)
    status = Status(table.choice("status", Status, Status.SUBMITTED))
    begun = status in (Status.PROCESSING, Status.STOPPED)
    batch = Batch(
        batch_id=batch_id,
        records=records,
        service=table.choice("service", RECORDS_KEYS, "phone"),
        age=table.duration("age", 0.0),
        status=status,
        records_processed=table.maybe_integer("records_processed", least=0, most=records - 1) if begun else None,
        reason=table.text("reason", _VISIBLE, REASON) if status is Status.STOPPED else None,
        batch_reference_id=table.maybe_text("batch_reference_id", REFERENCE.pattern),
        max_processing_time=table.maybe_duration("max_processing_time"),
        lag=table.maybe_integer("lag", least=0),
        credits=table.maybe_integer("credits", least=0),
    )
    table.end()
    return batch


def _console_start(table: _Table) -> ConsoleStart:
    """A start by someone else."""
    start = ConsoleStart(
        batch_id=table.text("batch", _ID),
        at_request=table.maybe_integer("at_request", least=1),
        before=table.maybe_choice("before", OPERATIONS[1:]),
    )
    if (start.at_request is None) == (start.before is None):
        raise WorldError(table.path, "needs one of at_request and before")
    table.end()
    return start


def _fault(table: _Table) -> Fault:
    """One scripted fault."""
    kind = table.choice("fault", KINDS.values())
    forever = table.boolean("forever", default=False)
    if forever and table.peek("times") is not None:
        raise WorldError(table.path, "must not have both times and forever")
    fault = Fault(
        effect=_effect(kind, table),
        operation=table.choice("operation", ("*", *OPERATIONS, "token"), "*"),
        batch_id=table.text("batch", _ID_OR_ANY, "*"),
        times=None if forever else table.integer("times", 1, least=1),
        act=table.maybe_boolean("act"),
    )
    table.end()
    return fault


def _effect(kind: str, table: _Table) -> Effect:
    """The effect of a fault of this kind."""
    match kind:
        case "answer":
            return Answer(
                status=table.integer("status", None, least=200, most=599),
                body=Body(table.choice("body", Body, Body.DOCUMENTED)),
                text=table.maybe_text("text", r"(?s:.*)"),
                location=table.maybe_text("location", _VISIBLE),
                rate_headers=RateHeaders(table.choice("rate_headers", RateHeaders, RateHeaders.RIGHT)),
                reference_id=table.maybe_text("reference_id", REFERENCE.pattern),
            )
        case "wrong_batch_id":
            return WrongBatchId(batch_id=table.text("batch_id", _ID, WrongBatchId().batch_id))
        case "odd_status":
            return OddStatus(value=table.maybe_text("value", r"(?s:.*)"))
        case "odd_credits":
            return OddCredits(value=table.scalar("value"))
        case "items":
            return Items(count=table.integer("count", None, least=0, most=10_000_000))
        case "list":
            return SpoiltList(how=ListSpoil(table.choice("how", ListSpoil)), batch_ids=table.texts("batch_ids", _ID))
        case "drip":
            interval = table.duration("interval", 1.0, positive=True)
            return Drip(interval=interval, whole=table.boolean("whole", default=False))
        case "drop":
            return Drop()
        case "reset":
            return Reset()
        case "hang":
            return Hang()
        case "half_body":
            return HalfBody()
        case _:
            return NotHttp()


# --- reading a mapping -----------------------------------------------------------------------------------------------


class _Table:
    """One mapping of the file. Each method removes a key and returns its value; `end` refuses the keys that are left.

    A key with null counts as missing. For a missing key, a `maybe_` method returns None and the others return their
    default. If that is None, the key is required.
    """

    def __init__(self, path: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise WorldError(path, "must be a mapping")
        for key in value:
            if not isinstance(key, str):
                raise WorldError(path, f"the key {key!r} must be text")
        self.path = path
        self._left: dict[str, Any] = dict(value)

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def peek(self, key: str) -> object:
        """The raw value of a key, without removing it."""
        return self._left.get(key)

    def items(self) -> list[tuple[str, str, Any]]:
        """Remove all keys; each as key, path and raw value."""
        taken, self._left = self._left, {}
        return [(key, self.at(key), value) for key, value in taken.items()]

    def end(self) -> None:
        """Refuse unknown keys."""
        for key in self._left:
            raise WorldError(self.at(key), "unknown key")

    def table(self, key: str) -> _Table:
        """A mapping, empty when missing."""
        value = self._left.pop(key, None)
        return _Table(self.at(key), {} if value is None else value)

    def tables(self, key: str) -> list[_Table]:
        """A list of mappings, empty when missing."""
        return [_Table(f"{self.at(key)}[{number}]", value) for number, value in enumerate(self._list(key))]

    def texts(self, key: str, pattern: str) -> tuple[str, ...]:
        """A list of texts, empty when missing."""
        return tuple(_text(f"{self.at(key)}[{number}]", text, pattern) for number, text in enumerate(self._list(key)))

    def _list(self, key: str) -> list[Any]:
        """A list, empty when missing."""
        value = self._left.pop(key, None)
        if value is not None and not isinstance(value, list | tuple):
            raise WorldError(self.at(key), "must be a list")
        return list(value or ())

    def maybe_text(self, key: str, pattern: str) -> str | None:
        """A text that matches the whole pattern."""
        value = self._left.pop(key, None)
        return None if value is None else _text(self.at(key), value, pattern)

    def text(self, key: str, pattern: str, default: str | None = None) -> str:
        """A text that matches the whole pattern."""
        return self._needed(key, self.maybe_text(key, pattern), default)

    def maybe_choice(self, key: str, choices: Iterable[str]) -> str | None:
        """One of some words."""
        value, words = self._left.pop(key, None), tuple(choices)
        return None if value is None else _choice(self.at(key), value, words)

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of some words."""
        return self._needed(key, self.maybe_choice(key, choices), default)

    def maybe_boolean(self, key: str) -> bool | None:
        """True or false."""
        value = self._left.pop(key, None)
        if value is not None and not isinstance(value, bool):
            raise WorldError(self.at(key), "must be true or false")
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return self._needed(key, self.maybe_boolean(key), default)

    def scalar(self, key: str) -> str | float | bool | None:
        """A text, a number, true, false or null."""
        value = self._left.pop(key, None)
        if value is not None and not isinstance(value, str | int | float):
            raise WorldError(self.at(key), "must be text, a number, true, false or null")
        return value

    def maybe_integer(self, key: str, *, least: int, most: int | None = None) -> int | None:
        """A whole number in a range. `most` None means unlimited."""
        value = self._left.pop(key, None)
        if value is None:
            return None
        fits = isinstance(value, int) and not isinstance(value, bool)
        if not fits or value < least or (most is not None and value > most):
            reach = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise WorldError(self.at(key), f"must be a whole number {reach}")
        return int(value)

    def integer(self, key: str, default: int | None, *, least: int, most: int | None = None) -> int:
        """A whole number in a range."""
        return self._needed(key, self.maybe_integer(key, least=least, most=most), default)

    def number(self, key: str, default: float) -> float:
        """A number that is not negative."""
        value = self._left.pop(key, None)
        return default if value is None else _number(self.at(key), value, "a number")

    def maybe_duration(self, key: str, *, positive: bool = False) -> float | None:
        """Seconds, from a number or a text such as `27d12h`."""
        value = self._left.pop(key, None)
        if value is None:
            return None
        path, wanted = self.at(key), "a duration such as 30s, 5m, 3h, 27d or 27d12h, or a number of seconds"
        if isinstance(value, str):
            found = _DURATION.fullmatch(value)
            if found is None:
                raise WorldError(path, f"must be {wanted}")
            value = sum(float(part or 0) * unit for part, unit in zip(found.groups(), _UNITS, strict=True))
        seconds = _number(path, value, wanted)
        if seconds > _LONGEST or (positive and seconds == 0):
            raise WorldError(path, f"must be more than 0 and at most {_LONGEST / 86_400:.0f}d")
        return seconds

    def duration(self, key: str, default: float, *, positive: bool = False) -> float:
        """Seconds, from a number or a text such as `27d12h`."""
        return self._needed(key, self.maybe_duration(key, positive=positive), default)

    def _needed(self, key: str, value: T | None, default: T | None) -> T:
        """The value or the default. Raises WorldError if both are None."""
        found = default if value is None else value
        if found is None:
            raise WorldError(self.at(key), "is missing")
        return found


def _text(path: str, value: object, pattern: str) -> str:
    """A text that matches the whole pattern."""
    if not isinstance(value, str):
        raise WorldError(path, "must be text")
    if not re.fullmatch(pattern, value, re.ASCII):
        raise WorldError(path, f"must match {pattern}")
    return value


def _choice(path: str, value: object, words: tuple[str, ...]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in words:
        raise WorldError(path, f"must be one of {', '.join(words)}")
    return value


def _number(path: str, value: object, wanted: str) -> float:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise WorldError(path, f"must be {wanted}, and not negative")
    return float(value)
