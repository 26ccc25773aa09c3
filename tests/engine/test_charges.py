"""Reading charges beside starts: starts go first, and half of the rate limit is left to other runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from batchform.api.contract import Answer
from batchform.charges import MOST
from batchform.engine import Task
from batchform.model import Observed, Service
from batchform.observe import Subject, charges
from batchform.protocol import Order, charge, start
from batchform.state.events import Charged
from batchform.state.known import Entry, Phase
from tests.engine.lab import ENDPOINT, FRESH, NOW, RULES, Fate, Lab, Server, batch_of, config, ids

if TYPE_CHECKING:
    from batchform.api.contract import Request


def ended(batch_id: str) -> Entry:
    """A batch that was completed."""
    return Entry(
        batch_id=batch_id,
        name=batch_id,
        phase=Phase.STARTED,
        status="completed",
        started_at=NOW,
        ended_at=NOW,
        updated_at=NOW,
        run="r0",
    )


def told(request: Request, _number: int) -> Fate:
    """Results take a second, all else a tenth."""
    if not request.path.endswith("/results"):
        return Fate()
    body = {"result": {"batch_id": batch_of(request), "status": "completed", "credits_charged": 5}}
    return Fate(1.0, reply=Answer(status=200, body=json.dumps(body).encode()))


def lab_of(names: list[str], *, limit: int | None = 150) -> Lab:
    """A lab whose state has these batches as completed."""
    return Lab(
        Server([*names, *ids(40)], limit=limit),
        fate=told,
        base=replace(FRESH, entries={name: ended(name) for name in names}),
    )


def of(lab: Lab, names: list[str]) -> list[Task]:
    """Tasks that read charges."""
    return [
        Task(
            key=name,
            conversation=charge(
                Order(service=Service.PHONE, batch_id=name, reference_id=""), RULES, ended(name), lab.clock.now()
            ),
            batch_id=name,
            name=name,
        )
        for name in names
    ]


def starts(names: list[str]) -> list[Task]:
    """Tasks that start."""
    return [
        Task(
            key=name,
            conversation=start(Order(service=Service.PHONE, batch_id=name, reference_id=f"{name}-ref"), RULES),
            batch_id=name,
            name=name,
        )
        for name in names
    ]


def is_results(request: Request) -> bool:
    """Whether it asks for results."""
    return request.path.endswith("/results")


def test_starts_go_first() -> None:
    """The charges come first in the list of tasks, and are read when there is no start left to send."""
    names = [f"e{number}" for number in range(20)]
    lab = lab_of(names)
    engine = lab.engine()
    engine.run_tasks([*of(lab, names), *starts(ids(40))])
    kinds = [is_results(request) for _, request in lab.sent if is_results(request) or request.method == "POST"]
    assert len(kinds) == 60
    assert not any(kinds[:8])
    assert sum(kinds[:40]) < 20, "most starts leave before most charges"
    lab.check_all_started(ids(40))
    assert all(lab.entry(name).credits == 5 for name in names)


def test_half_of_each_window_is_left_to_other_runs() -> None:
    """With 150 a minute, at most 75 results a minute, two at once."""
    names = [f"e{number}" for number in range(200)]
    lab = lab_of(names)
    lab.fate = lambda request, number: replace(told(request, number), latency=0.01)
    lab.engine().run_tasks(of(lab, names))
    times = [at for at, request in lab.sent if is_results(request)]
    assert len(times) == 200
    windows = [sum(int(at // 60) == minute for at in times) for minute in range(int(times[-1] // 60) + 1)]
    assert max(windows) == 75
    assert lab.most_flying == 2
    assert lab.server.throttled == 0


def test_an_early_end_leaves_the_rest_unread() -> None:
    """What was read is on disk, and the others have no result."""
    names = [f"e{number}" for number in range(20)]
    lab = lab_of(names)
    engine = lab.engine()
    lab.after(3.5, lambda: engine.interrupt(15))
    results = engine.run_tasks(of(lab, names))
    read = [event.batch_id for event in lab.durable if isinstance(event.what, Charged)]
    assert 0 < len(read) < 20
    assert set(results) == set(read)
    assert lab.server.throttled == 0


def test_a_refresh_reads_at_most_so_many_and_goes_on_with_the_others() -> None:
    """The next one reads what is left, and no charge is read twice."""
    names = [f"e{number:03}" for number in range(MOST + 20)]
    lab = lab_of(names, limit=None)
    lab.fate = lambda request, number: replace(told(request, number), latency=0.01)
    subject = Subject(config=config([]), selected=None, endpoint=ENDPOINT, state=lab.state)
    first = charges(subject, Observed(), lab.engine(), RULES, lab.clock.now())
    assert (first.read, first.left, first.credits) == (MOST, 20, 5 * MOST)
    second = charges(subject, Observed(), lab.engine(), RULES, lab.clock.now())
    assert (second.read, second.left) == (20, 0)
    asked = [batch_of(request) for _, request in lab.sent]
    assert sorted(asked) == names
    third = charges(subject, Observed(), lab.engine(), RULES, lab.clock.now())
    assert (third.read, third.unanswered, third.left) == (0, 0, 0)


def test_a_batch_that_is_still_processing_is_not_recorded() -> None:
    """Its results say 0."""
    lab = lab_of(["e0"])
    body = {"result": {"batch_id": "e0", "status": "processing", "credits_charged": 0}}
    lab.fate = lambda _request, _number: Fate(reply=Answer(status=200, body=json.dumps(body).encode()))
    subject = Subject(config=config([]), selected=None, endpoint=ENDPOINT, state=lab.state)
    found = charges(subject, Observed(), lab.engine(), RULES, lab.clock.now())
    assert (found.read, found.unanswered) == (0, 1)
    assert lab.durable == []
