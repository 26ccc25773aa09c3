"""What was spent, summed up by month, label and so on (pure).

Each started batch counts once, however often it is in the state (`state.merge.spending`). Its month, week and day are
those of its start in UTC; of a batch that was started elsewhere the time is often known as an upper bound only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.errors import UsageError
from batchform.state.known import Phase
from batchform.state.merge import spending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from batchform.state.known import Entry, State

TIMES: Final = {"month": "%Y-%m", "week": "%G-W%V", "day": "%Y-%m-%d"}
"""The keys that are times, and how each is written. A week is that of ISO 8601."""

KEYS: Final = (*TIMES, "service", "actor", "label:NAME")
"""What sums can be grouped by."""

ELSEWHERE: Final = "elsewhere"
"""The actor of a batch that this state did not start."""

_LABEL: Final = "label:"
_MOST_KEYS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The sums of some batches.

    `starts` counts those that were started, `adopted` how many of them elsewhere, `refused` those whose start was
    refused. `records` and `credits_charged` are sums of the known numbers; `unsized` and `credits_unknown` count the
    batches without one, and `credits_open` those whose charge can still change. `credits_charged` is None when no
    charge is known.
    """

    starts: int = 0
    records: int = 0
    unsized: int = 0
    credits_charged: int | None = None
    credits_unknown: int = 0
    credits_open: int = 0
    adopted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The sums of the batches with these values of the keys, in their order. None: the batch has no such label."""

    values: tuple[str | None, ...]
    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The groups, sorted by their values, and the sums of all."""

    by: tuple[str, ...]
    groups: tuple[Group, ...]
    total: Sums


def keys_of(given: Iterable[str]) -> tuple[str, ...]:
    """The keys of `--by`: several in one value are separated by commas.

    Raises:
        UsageError: There is no such key, one is there twice, or there are too many.
    """
    keys = tuple(key.strip() for value in given for key in value.split(","))
    for key in keys:
        if key not in KEYS[:-1] and not (key.startswith(_LABEL) and key != _LABEL):
            raise UsageError(f"`--by {key}` is not a key", f"The keys are {', '.join(KEYS)}.")
    if len(keys) > _MOST_KEYS:
        raise UsageError("`--by` has too many keys", f"It has {len(keys)}, the most is {_MOST_KEYS}.")
    if len(set(keys)) != len(keys):
        raise UsageError("`--by` has a key twice", f"It has {', '.join(keys)}.")
    return keys


def sum_up(
    state: State, by: Sequence[str], *, since: datetime | None = None, until: datetime | None = None
) -> Spending:
    """The sums of all batches that were started, or refused, in `since` <= time < `until`."""
    grouped: dict[tuple[str | None, ...], list[Entry]] = {}
    for entry in (*spending(state).values(), *_refused(state)):
        at = _at(entry)
        if (since is None or at >= since) and (until is None or at < until):
            grouped.setdefault(tuple(_value(key, entry, at, state) for key in by), []).append(entry)
    ordered = sorted(grouped.items(), key=lambda item: [(value is None, value or "") for value in item[0]])
    return Spending(
        by=tuple(by),
        groups=tuple(Group(values=values, sums=_sums(some)) for values, some in ordered),
        total=_sums([entry for some in grouped.values() for entry in some]),
    )


def _refused(state: State) -> list[Entry]:
    return [entry for entry in state.entries.values() if entry.phase is Phase.REJECTED]


def _at(entry: Entry) -> datetime:
    """When it was started or refused."""
    return entry.settled_at or entry.updated_at if entry.phase is Phase.REJECTED else entry.spent_at


def _value(key: str, entry: Entry, at: datetime, state: State) -> str | None:
    if key in TIMES:
        return at.strftime(TIMES[key])
    if key == "service":
        return state.service.value
    if key == "actor":
        return _actor(entry)
    return (entry.labels or {}).get(key.removeprefix(_LABEL))


def _actor(entry: Entry) -> str:
    """The user without the machine, because CI has another machine in each run."""
    if entry.phase not in {Phase.STARTED, Phase.REJECTED}:
        return ELSEWHERE
    return entry.who.partition("@")[0] or "unknown"


def _sums(entries: Sequence[Entry]) -> Sums:
    started = [entry for entry in entries if entry.phase is not Phase.REJECTED]
    charges = [entry.credits for entry in started if entry.credits is not None]
    return Sums(
        starts=len(started),
        records=sum(entry.records or 0 for entry in started),
        unsized=sum(entry.records is None for entry in started),
        credits_charged=sum(charges) if charges else None,
        credits_unknown=len(started) - len(charges),
        credits_open=sum(entry.credits is not None and not entry.final for entry in started),
        adopted=sum(entry.phase is not Phase.STARTED for entry in started),
        refused=len(entries) - len(started),
    )
