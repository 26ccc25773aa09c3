"""Fetches the results of ended batches, one request each, and hands each answer on before the next one is kept.

An answer can be large, and its items are people's. So only one conversation holds it, until `take` returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from batchform.engine import Task
from batchform.errors import Exit
from batchform.model import ServerProblem, Status
from batchform.protocol import Order, Rules, results
from batchform.status import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchform.api.results import Results
    from batchform.engine import Engine
    from batchform.model import Service
    from batchform.protocol import Conversation
    from batchform.status import Snapshot, Standing

IN_FLIGHT: Final = 2
"""The requests that are in flight at once. Each answer may take twice `contract.RESULTS_BYTES` of memory."""

ENDED: Final = (Stage.COMPLETED, Stage.STOPPED)
"""The stages of a batch that has results."""


class Kind(StrEnum):
    """What became of the results of one batch."""

    WRITTEN = "written"
    KEPT = "kept"
    """Its file exists already. Nothing was sent."""
    READ = "read"
    """Only the statistics were wanted."""
    UNFINISHED = "unfinished"
    """The batch has not ended, or was never started."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The results of one declared batch. `results` has no items; `file` is empty if there is none."""

    standing: Standing
    kind: Kind
    results: Results | None = None
    problem: ServerProblem | None = None
    file: str = ""


def fetch(
    service: Service,
    batches: Iterable[Standing],
    engine: Engine,
    take: Callable[[Standing, Results], str] | None,
    *,
    metadata: bool = False,
) -> dict[str, Fetched]:
    """Fetch the results of batches that have ended. Returns them by batch_id.

    A batch without a request has no result: then `engine.end` says why the run ended early.

    Args:
        service: The service of the batches.
        batches: The batches.
        engine: Sends the requests.
        take: Keeps the items of a batch and returns the name of the file. None if no items are wanted.
        metadata: Whether the items should have all fields.
    """
    return engine.run_tasks(
        Task(key=one.change.batch_id, conversation=_one(service, one, take, metadata=metadata)) for one in batches
    )


def _one(
    service: Service, batch: Standing, take: Callable[[Standing, Results], str] | None, *, metadata: bool
) -> Conversation[Fetched]:
    order = Order(service=service, batch_id=batch.change.batch_id, reference_id="")
    found = yield from results(order, Rules(), items=take is not None, metadata=metadata)
    if isinstance(found, ServerProblem):
        return Fetched(standing=batch, kind=Kind.UNREADABLE, problem=found)
    known = found.without_items()
    if found.status not in (Status.COMPLETED, Status.STOPPED):  # the list was ahead of this answer
        return Fetched(standing=batch, kind=Kind.UNFINISHED, results=known)
    if take is None:
        return Fetched(standing=batch, kind=Kind.READ, results=known)
    if found.count is None:
        problem = ServerProblem(status=200, title="The answer has no list of items")
        return Fetched(standing=batch, kind=Kind.UNREADABLE, results=known, problem=problem)
    return Fetched(standing=batch, kind=Kind.WRITTEN, results=known, file=take(batch, found))


def verdict(fetched: Iterable[Fetched], snapshot: Snapshot, *, waited: bool) -> Exit:
    """The exit code. Batches on hold need no results."""
    missing = [
        one
        for one in fetched
        if one.kind is Kind.UNREADABLE or (one.kind is Kind.UNFINISHED and one.standing.stage is not Stage.HELD)
    ]
    if waited and snapshot.under_way:
        return Exit.TIMEOUT
    return Exit.INCOMPLETE if missing else Exit.DONE
