"""Short functions for what a plan is made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from batchform.model import Batch, Config, Guard, GuardName, Observed, Reading, ServerProblem, Service, Source
from batchform.planner import plan
from batchform.source_text import Place
from batchform.state.known import Cause, Entry, Phase, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from batchform.plan import Change, Plan

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
PLACE = Place(file="batches.yaml", line=1, column=1, end_line=1, end_column=2)
ENDPOINT = "https://api.example"


def ago(**spans: float) -> datetime:
    """That long before NOW."""
    return NOW - timedelta(**spans)


def ahead(**spans: float) -> datetime:
    """That long after NOW."""
    return NOW + timedelta(**spans)


def batch(name: str = "b", **said: Any) -> Batch:
    """A declared batch whose id is its name, unless said otherwise."""
    words: dict[str, Any] = {"name": name, "batch_id": name, "place": PLACE}
    return Batch(**words | said)


def entry(phase: Phase, name: str = "b", **known: Any) -> Entry:
    """What the state holds of a batch."""
    words: dict[str, Any] = {"batch_id": name, "name": name, "phase": phase, "updated_at": ago(hours=1), "run": "r0"}
    return Entry(**words | known)


def started(name: str = "b", **known: Any) -> Entry:
    """A batch that was started by us."""
    words: dict[str, Any] = {"status": "processing", "attempts": 1}
    return entry(Phase.STARTED, name, **words | known)


def rejected(cause: Cause, **known: Any) -> Entry:
    """A batch that the server did not start."""
    problem = ServerProblem(status=400, title="Bad Request")
    words: dict[str, Any] = {"cause": cause, "problem": problem, "attempts": 1}
    return entry(Phase.REJECTED, **words | known)


def listed(status: str | None, name: str = "b", **said: Any) -> Reading:
    """An entry of the list call."""
    return Reading(batch_id=name, source=Source.LIST, status=status, **said)


def read(status: str | None, name: str = "b", **said: Any) -> Reading:
    """The answer to a single status read."""
    return Reading(batch_id=name, source=Source.READ, status=status, **said)


def not_found(name: str = "b") -> Reading:
    """A single status read with the answer 404 or 400."""
    return Reading(batch_id=name, source=Source.READ, found=False)


def config(*batches: Batch, service: Service = Service.PHONE, guards: Iterable[Guard] = ()) -> Config:
    """A configuration of these batches."""
    return Config(service=service, batches=batches, guards=tuple(guards))


def guard(name: GuardName, limit: int) -> Guard:
    """A guard."""
    return Guard(name=name, limit=limit, place=PLACE)


def state(*entries: Entry) -> State:
    """A state of these entries."""
    known = MappingProxyType({each.batch_id: each for each in entries})
    return State(lineage="l", serial=7, service=Service.PHONE, endpoint=ENDPOINT, entries=known)


def observed(*readings: Reading, listed: bool = True, skew: timedelta | None = None, asked: bool = False) -> Observed:
    """The readings of these batches."""
    found = MappingProxyType({each.batch_id: each for each in readings})
    return Observed(listed=listed, readings=found, skew=skew, asked=asked)


def planned(
    wanted: Config,
    known: State | None = None,
    seen: Observed | None = None,
    *,
    now: datetime = NOW,
    selected: Collection[str] | None = None,
    overridden: Collection[GuardName] = (),
) -> Plan:
    """The plan, at NOW unless given otherwise."""
    return plan(wanted, known, seen or Observed(), now, endpoint=ENDPOINT, selected=selected, overridden=overridden)


def only(made: Plan) -> Change:
    """The one change of a plan."""
    assert len(made.changes) == 1
    return made.changes[0]
