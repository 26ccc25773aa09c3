"""Looking at the account: one list call, then single status reads where the list left doubt.

What is settled about uncertain attempts is recorded as events at once; what was merely seen is returned as `Observed`,
for the plan to judge. Which batches need a single read is not decided here: they are the ones the plan would VERIFY.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchform.api.contract import Listing
from batchform.engine import Conversation
from batchform.errors import ServerError
from batchform.model import BEYOND_START, NOTHING_OBSERVED, Observed
from batchform.plan import Action, is_expired, plan
from batchform.protocol import Order, Rules, Verdict, check_rules, confirmed, list_all, look, settle
from batchform.state.known import BEYOND, Phase, check_belongs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime, timedelta

    from batchform.engine import Engine
    from batchform.model import Config, ServerProblem, Service
    from batchform.plan import Change
    from batchform.state.known import Entry, State

_LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at: the configuration, the batches asked about (None: all), and the state as it grows."""

    config: Config
    selected: Collection[str] | None
    endpoint: str
    state: Callable[[], State]


def observe(subject: Subject, engine: Engine, rules: Rules, now: datetime, *, refresh: bool) -> Observed:
    """What the server says of the batches asked about; uncertain attempts are settled on the way.

    Args:
        subject: What to look at.
        engine: Sends and records.
        rules: How patient to be.
        now: The local time.
        refresh: Whether to list the account. Without, only uncertain attempts are read.

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
    talks = [
        _talk(change, subject, state=state, observed=observed, rules=rules, now=view.at)
        for change in _doubtful(view.changes, state, observed)
    ]
    results = engine.converse(talks)
    readings = dict(observed.readings)
    for batch_id, verdict in results.items():
        if isinstance(verdict, Verdict) and verdict.reading is not None:
            readings[batch_id] = verdict.reading
    return replace(observed, readings=MappingProxyType(readings), skew=engine.skew)


def _doubtful(changes: tuple[Change, ...], state: State, observed: Observed) -> Iterator[Change]:
    """The batches to talk about: those the plan would verify, and uncertain attempts that the list has settled."""
    for change in changes:
        entry = state.entries.get(change.batch_id)
        settled = entry is not None and entry.uncertain and change.batch_id in observed.readings
        if change.action is Action.VERIFY or settled:
            yield change


def _talk(
    change: Change, subject: Subject, *, state: State, observed: Observed, rules: Rules, now: datetime
) -> Conversation:
    entry = state.entries.get(change.batch_id)
    order = Order(
        service=subject.config.service,
        batch_id=change.batch_id,
        reference_id="",
        expired=is_expired(subject.config.service, change.submitted_at, now),
    )
    if entry is None or not entry.uncertain:
        talk = look(order, rules, was_started=entry is not None and entry.phase in BEYOND)
    else:
        problem = entry.problem if entry.phase is Phase.UNKNOWN else None
        reading = observed.readings.get(change.batch_id)
        if reading is not None and reading.status in BEYOND_START:
            talk = confirmed(reading, problem=problem, doubt=entry.doubt)
        else:
            talk = settle(order, _patient(rules, entry, now), problem=problem, doubt=entry.doubt)
    return Conversation(key=change.batch_id, talk=talk, batch_id=change.batch_id, name=change.name)


def _patient(rules: Rules, entry: Entry, now: datetime) -> Rules:
    """The rules for what an earlier run left open: its last request may still be on its way to the server.

    Clocks of two machines may differ, so an intent from the future counts as if it were from now.
    """
    age = (now - entry.intended_at).total_seconds() if entry.intended_at is not None else 0.0
    # safety: a request that lands after the reads would be a second start
    return replace(rules, settle=rules.settle + min(rules.in_flight, max(0.0, rules.in_flight - age)))


def account(service: Service, engine: Engine, rules: Rules, wanted: Collection[str] | None = None) -> Listing | None:
    """What the account holds of the wanted batches (None: of all), by one list call.

    None when the run is ending, whose end says why.

    Raises:
        ServerError: It could not be listed. Nothing was started.
    """
    results = engine.converse([Conversation(key=_LIST, talk=list_all(service, rules, wanted))])
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
        f"The list call ended in: {said.rstrip('.')}. No batch was started. Try again later; where a command has"
        " --no-refresh, that goes on without the list, and trusts the state.",
    )


def _listed(subject: Subject, engine: Engine, rules: Rules) -> Observed:
    """The list call's readings, of the batches that are declared or known; the account may hold thousands more."""
    wanted = {batch.batch_id for batch in subject.config.batches} | set(subject.state().entries)
    listing = account(subject.config.service, engine, rules, wanted)
    return NOTHING_OBSERVED if listing is None else listed(listing, engine.skew)


def listed(listing: Listing, skew: timedelta | None) -> Observed:
    """What is observed when the account was listed, and nothing else."""
    return Observed(listed=True, readings=MappingProxyType(dict(listing.readings)), skew=skew)
