"""Refreshes: one list call, then single status reads of the batches that the plan would VERIFY.

Outcomes of unknown attempts are recorded as events at once. All other readings are returned as `Observed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.api.contract import Listing
from batchform.charges import MOST, summed, to_read
from batchform.engine import Task
from batchform.errors import ServerError
from batchform.model import BEYOND_START, NOTHING_OBSERVED, Observed
from batchform.plan import SURELY_EXPIRED, Action, Obstacle, is_expired
from batchform.planner import plan
from batchform.protocol import Order, Rules, Verdict, charge, check_rules, confirm, list_all, patient, refresh, verify
from batchform.state.known import BEYOND, Phase, check_belongs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime, timedelta

    from batchform.charges import Charges
    from batchform.engine import Engine
    from batchform.model import Config, ServerProblem, Service
    from batchform.plan import Change
    from batchform.state.known import State

_LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What to refresh: the configuration, the selected batches (None: all), and a function that returns the state."""

    config: Config
    selected: Collection[str] | None
    endpoint: str
    state: Callable[[], State]


def observe(subject: Subject, engine: Engine, rules: Rules, now: datetime, *, refresh: bool) -> Observed:
    """Read the selected batches from the server, and verify attempts whose outcome is unknown.

    Args:
        subject: What to refresh.
        engine: Sends and records.
        rules: Waits and numbers of tries.
        now: The local time.
        refresh: Whether to list the account. Without, unknown attempts and the batches to start are read singly.

    Raises:
        ServerError: The account could not be listed. Nothing was started.
        StateError: The state belongs to another service or endpoint. Nothing was sent.
        UsageError: The rules are too short. Nothing was sent.
    """
    check_belongs(subject.state(), subject.config.service, subject.endpoint)
    check_rules(rules, subject.endpoint)
    observed = _listed(subject, engine, rules) if refresh else NOTHING_OBSERVED
    state = subject.state()
    view = plan(subject.config, state, observed, now, endpoint=subject.endpoint, selected=subject.selected)
    results = engine.run_tasks(
        _task(change, subject, state=state, observed=observed, rules=rules, at=(now, view.at))
        for change in _to_read(view.changes, state, observed)
    )
    readings = dict(observed.readings)
    for batch_id, verdict in results.items():
        if isinstance(verdict, Verdict) and verdict.reading is not None:
            readings[batch_id] = verdict.reading
    asked = not refresh and engine.end is None
    return replace(observed, readings=MappingProxyType(readings), skew=engine.skew, asked=asked)


def charges(subject: Subject, observed: Observed, engine: Engine, rules: Rules, now: datetime) -> Charges:
    """Read the charges that are not final, at most `MOST`, and record them.

    Each is durable when its answer has come. So after a crash the next refresh goes on with the others.
    """
    due = to_read(subject.state(), observed, subject.selected, now)
    results = engine.run_tasks(
        Task(
            key=entry.batch_id,
            conversation=charge(
                Order(service=subject.config.service, batch_id=entry.batch_id, reference_id=""), rules, entry, now
            ),
            batch_id=entry.batch_id,
            name=entry.name,
        )
        for entry in due[:MOST]
    )
    return summed(results.values(), due=len(due))


def _to_read(changes: tuple[Change, ...], state: State, observed: Observed) -> Iterator[Change]:
    """The batches that the plan would VERIFY, and those with an unknown attempt that the list has.

    Without a list, also the batches that the plan would START, and those that were not found before.
    """
    for change in changes:
        entry = state.entries.get(change.batch_id)
        is_listed = entry is not None and entry.uncertain and change.batch_id in observed.readings
        # safety: it may have been started elsewhere
        unlisted = not observed.listed and (change.action is Action.START or change.obstacle is Obstacle.NOT_FOUND)
        if change.action is Action.VERIFY or is_listed or unlisted:
            yield change


def _task(
    change: Change, subject: Subject, *, state: State, observed: Observed, rules: Rules, at: tuple[datetime, ...]
) -> Task:
    entry = state.entries.get(change.batch_id)
    order = Order(
        service=subject.config.service,
        batch_id=change.batch_id,
        reference_id="",
        expired=is_expired(subject.config.service, change.submitted_at, at[-1]),
        # safety: by both clocks, because a released batch may be started again
        over=is_expired(subject.config.service, change.submitted_at, min(at), SURELY_EXPIRED),
    )
    if entry is None or not entry.uncertain:
        conversation = refresh(order, rules, was_started=entry is not None and entry.phase in BEYOND)
    else:
        problem = entry.problem if entry.phase is Phase.UNKNOWN else None
        reading = observed.readings.get(change.batch_id)
        if reading is not None and reading.status in BEYOND_START:
            conversation = confirm(reading, problem=problem, doubt=entry.doubt)
        else:
            conversation = verify(order, patient(rules), problem=problem, doubt=entry.doubt)
    return Task(key=change.batch_id, conversation=conversation, batch_id=change.batch_id, name=change.name)


def account(service: Service, engine: Engine, rules: Rules, wanted: Collection[str] | None = None) -> Listing | None:
    """List the wanted batches of the account (None: all).

    None when the run ends early. `engine.end` says why.

    Raises:
        ServerError: The account could not be listed. Nothing was started.
    """
    results = engine.run_tasks([Task(key=_LIST, conversation=list_all(service, rules, wanted))])
    listing = results.get(_LIST)
    if isinstance(listing, Listing):
        return listing
    if engine.end is not None or listing is None:
        return None
    raise unlisted(listing)


def unlisted(problem: ServerProblem) -> ServerError:
    """The error for an account that could not be listed."""
    got = f"{problem.status} {problem.title}" if problem.status else problem.title
    said = f"{got}: {problem.detail}" if problem.detail else got
    return ServerError(
        "The account could not be read",
        f"The list call failed: {said.rstrip('.')}. No batch was started. `batchform doctor` shows which"
        " step fails. Some commands have `--no-refresh`, which uses the state without the list.",
    )


def _listed(subject: Subject, engine: Engine, rules: Rules) -> Observed:
    """List the batches that are declared or in the state. The account may hold thousands more."""
    wanted = {batch.batch_id for batch in subject.config.batches} | set(subject.state().entries)
    listing = account(subject.config.service, engine, rules, wanted)
    return NOTHING_OBSERVED if listing is None else listed(listing, engine.skew)


def listed(listing: Listing, skew: timedelta | None) -> Observed:
    """The observed of a list call."""
    return Observed(listed=True, readings=MappingProxyType(dict(listing.readings)), skew=skew)
