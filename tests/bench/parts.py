"""Parts that must not grow faster than what they are given."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchform.api.contract import Answer, Listing, list_meaning
from batchform.model import Service
from batchform.state.events import Event, Intended, Started
from batchform.state.known import Evidence, State
from batchform.state.local import hold
from tests.bench.measure import in_turns, timed
from tests.bench.peers import batch_id
from tests.bench.table import Row

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.state.events import What
    from tests.bench.table import Table

_NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
_FRESH = State(lineage="l", service=Service.PHONE, endpoint="https://api.example")
_GROUP = 16


def journal(table: Table, folder: Path, rounds: int) -> None:
    """What making an outcome durable costs, in a run of 100 and of 10,000."""
    costs: dict[int, list[float]] = {100: [], 10_000: []}
    for number in range(rounds):
        for count, seconds in costs.items():
            runs = 2_000 // min(count, 2_000)  # a run of 100 is over in no time, and says little alone
            seconds.append(
                sum(_recorded(folder / f"journal-{count}-{number}-{run}", count) for run in range(runs)) / runs
            )
    small, large = (sorted(seconds)[rounds // 2] * 1e6 for seconds in costs.values())
    table.add(
        Row(
            what="journal, an outcome of 10,000",
            peer="one of 100",
            ours=large,
            theirs=small,
            unit="us",
            goal=1.2,
        )
    )


def _recorded(folder: Path, count: int) -> float:
    """Seconds for each outcome, sixteen made durable together as when sixteen are under way."""
    folder.mkdir()
    begun: What = Intended(reference_id="r")
    ended: What = Started(status="processing", evidence=Evidence.ANSWER)
    events = [
        Event(run="r1", seq=seq, at=_NOW, batch_id=batch_id(seq // 2), name=f"batch-{seq // 2}", what=what)
        for seq, what in enumerate([begun, ended] * count, start=1)
    ]
    with hold(folder / "batchform.state.json", fresh=_FRESH, run="r1", holder={}, now=_NOW) as store:
        store.record(events[:1])  # the file is made
        began = time.perf_counter()
        for first in range(1, len(events), _GROUP):
            store.record(events[first : first + _GROUP])
        seconds = time.perf_counter() - began
        store.commit(_NOW)
    return seconds / count


def listing(table: Table, rounds: int) -> None:
    """The list of an account that holds 100,000 batches, of which 10,000 are declared; and all of them."""
    count = 100_000
    listed = [
        {
            "batch_id": batch_id(number),
            "status": "submitted",
            "reason": None,
            "batch_reference_id": f"part-{number}",
            "records": 9800,
            "records_processed": 0,
            "date_submitted": "2026-11-20T09:00:00.004005Z",
            "date_started": None,
            "date_ended": None,
        }
        for number in range(count)
    ]
    body = json.dumps({"result": {"batches": listed}}).encode()
    del listed
    answer = Answer(status=200, headers=(), body=body)

    def read(step: int) -> None:
        meaning = list_meaning(answer, {batch_id(number) for number in range(0, count, step)})
        assert isinstance(meaning, Listing)
        assert len(meaning.readings) == count // step

    spent = in_turns(
        rounds,
        {"json": timed(lambda: json.loads(body)), "some": timed(lambda: read(10)), "all": timed(lambda: read(1))},
    )
    for name, what, goal in (("some", "10,000 of them declared", 3.0), ("all", "all declared", 5.0)):
        table.add(
            Row(
                what=f"list of 100,000, {what}",
                peer="json.loads",
                ours=spent[name].seconds,
                theirs=spent["json"].seconds,
                goal=goal,
            )
        )
