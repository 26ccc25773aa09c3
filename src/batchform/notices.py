"""The warnings of a plan. None of them stops a run.

What many batches have in common is one warning, which names the first of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from batchform.model import DEADLINE, Service
from batchform.plan import (
    CLOCK_TOLERANCE,
    NEAR,
    SURELY_EXPIRED,
    Action,
    Notice,
    Obstacle,
    RecordsSource,
    expiring,
    moved,
    span,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from batchform.model import Batch, Config
    from batchform.plan import Change

_SAYS: Final = {RecordsSource.OBSERVED: "the account says", RecordsSource.KNOWN: "the state says"}
_UNSTARTED: Final = frozenset({Action.START, Action.VERIFY, Action.HOLD, Action.WAIT})


def notices_of(
    changes: Sequence[Change], config: Config, *, at: datetime, local: datetime, server: datetime
) -> list[Notice]:
    """The warnings about these changes, sorted by the name of the batch; those about all come first.

    Args:
        changes: The decisions about declared batches.
        config: The configuration.
        at: The time that ages are judged by.
        local: The local time.
        server: The server's time.
    """
    declared = {batch.batch_id: batch for batch in config.batches}
    found = [] if at == local else [_wrong_clock(local, server)]
    for change in changes:
        batch = declared[change.batch_id]
        found.extend(_about(change, batch))
        if at != local and change.action is Action.WAIT and batch.not_before is not None:
            found.extend(_one_clock_only(change.name, batch.not_before, max(local, server)))
    found.extend(_other_records(changes, declared))
    found.extend(_future(changes, declared, at))
    found.extend(_deadlines(changes, config.service, at))
    found.extend(_over(changes, config.service, at))
    return sorted(found, key=lambda notice: notice.name or "")


def _wrong_clock(local: datetime, server: datetime) -> Notice:
    minutes, side = round(abs(server - local).total_seconds() / 60), "behind" if server > local else "ahead of"
    apart = span(timedelta(minutes=minutes))
    return Notice(text=f"The local clock is {apart} {side} the server's. This plan uses the server's time.")


def _about(change: Change, batch: Batch) -> list[Notice]:
    """The warnings about one declared batch."""
    texts = []
    if change.obstacle is Obstacle.STOPPED_AFTER_START:
        why = f" ({change.server_reason})" if change.server_reason else ""
        texts.append(f"was started, but the server has stopped it{why}: its results may be incomplete.")
    if (
        change.action is Action.WAIT
        and _too_late(batch, change.submitted_at)
        and not _too_late(batch, batch.submitted_at)
    ):
        texts.append("has a `not_before` after its 28-day limit, so it can never be started.")
    return [Notice(name=change.name, text=text) for text in texts]


def _too_late(batch: Batch, submitted_at: datetime | None) -> bool:
    """Whether `not_before` is after the deadline. The configuration reports it for the declared `submitted_at`."""
    return bool(batch.not_before and submitted_at and batch.not_before > moved(submitted_at, DEADLINE))


def _one_clock_only(name: str, not_before: datetime, latest: datetime) -> list[Notice]:
    """The warning about a batch that would be started by one of two clocks that differ."""
    if latest < not_before:
        return []
    return [Notice(name=name, text="waits: its `not_before` has passed by one clock only. Correct the local clock.")]


def _other_records(changes: Sequence[Change], declared: Mapping[str, Batch]) -> list[Notice]:
    """One warning for all declared numbers of records that the account or the state contradicts."""
    wrong = sorted(
        (change.name, f"declared {told:,}, {_SAYS[change.records_source]} {change.records:,}.")
        for change in changes
        if change.action in _UNSTARTED
        and change.records_source in _SAYS
        and (told := declared[change.batch_id].records) is not None
        and change.records != told
    )
    if not wrong:
        return []
    name, what = wrong[0]
    if len(wrong) == 1:
        return [Notice(name=name, text=f"has another number of records: {what}")]
    return [Notice(text=f"{len(wrong):,} batches have another number of records. The first is {name}: {what}")]


def _future(changes: Sequence[Change], declared: Mapping[str, Batch], now: datetime) -> list[Notice]:
    """One warning for all declared times of submission that have not come yet."""
    wrong = sorted(
        change.name
        for change in changes
        if change.action in _UNSTARTED
        and (at := declared[change.batch_id].submitted_at) is not None
        and at - now > CLOCK_TOLERANCE
    )
    if len(wrong) > 1:
        many = f"{len(wrong):,} batches have a `submitted_at` in the future. The first is {wrong[0]}."
        return [Notice(text=f"{many} Correct them: ages and deadlines are counted from it.")]
    text = "has a `submitted_at` in the future. Correct it: its age and its deadline are counted from it."
    return [Notice(name=name, text=text) for name in wrong]


def _deadlines(changes: Sequence[Change], service: Service, now: datetime) -> list[Notice]:
    """One warning for all batches that must be started soon."""
    near = [
        (change.deadline, change.name)
        for change in changes
        if change.deadline is not None
        and change.deadline > now
        and expiring(change, service, now)
        and change.obstacle is not Obstacle.EXPIRED
    ]
    if not near:
        return []
    deadline, name = min(near)
    soon = span(deadline - now)
    if len(near) == 1:
        return [Notice(name=name, text=f"can be started for another {soon}. After that it must be recreated.")]
    text = (
        f"{len(near):,} batches can be started for less than {NEAR.days} days. The first is {name}, with {soon} left."
    )
    return [Notice(text=text)]


def _over(changes: Sequence[Change], service: Service, now: datetime) -> list[Notice]:
    """One warning for all batches to start that are so old that the server decides about them."""
    least = DEADLINE if service is Service.PHONE else SURELY_EXPIRED
    old = sorted(
        (change.submitted_at, change.name)
        for change in changes
        if change.action in {Action.START, Action.VERIFY}
        and change.submitted_at is not None
        and now - change.submitted_at >= least
    )
    if not old:
        return []
    at, name = old[0]
    days = (now - at).days
    if service is not Service.PHONE:
        rule = f"No limit is documented for {service.value}: the server decides."
        if len(old) == 1:
            return [Notice(name=name, text=f"is {days} days old. {rule}")]
        return [Notice(text=f"{len(old):,} batches are {least.days} days old or older, {name} is {days}. {rule}")]
    limit = f"{DEADLINE.days}-day limit. The server decides whether"
    if len(old) == 1:
        return [Notice(name=name, text=f"is at its {limit} it can still be started.")]
    return [Notice(text=f"{len(old):,} batches are at their {limit} they can still be started. The first is {name}.")]
