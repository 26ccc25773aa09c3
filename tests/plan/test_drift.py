"""Drift is a different action, obstacle or size of a start, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchform.drift import drift, known_plan
from batchform.state.known import Cause, Entry, Phase
from tests.plan.words import (
    ago,
    batch,
    config,
    entry,
    listed,
    not_found,
    observed,
    planned,
    read,
    rejected,
    started,
    state,
)

if TYPE_CHECKING:
    from batchform.model import Reading

SEEN = entry(Phase.SEEN, status="submitted", records=5)
COMPLETED, STOPPED = started(status="completed"), started(status="stopped")


@pytest.mark.parametrize(
    ("known", "reading", "drifted"),
    [
        pytest.param(None, listed("submitted", date_submitted=ago(days=1)), False, id="new, submitted"),
        pytest.param(None, listed("processing"), True, id="new, found processing"),
        pytest.param(SEEN, listed("submitted", records=5, date_submitted=ago(days=1)), False, id="as known"),
        pytest.param(SEEN, listed("submitted", records=6, date_submitted=ago(days=1)), True, id="another size"),
        pytest.param(started(), listed("completed"), False, id="completed"),
        pytest.param(started(records=5), listed("processing", records=6), False, id="another size, after the start"),
        pytest.param(started(), listed("stopped"), True, id="stopped"),
        pytest.param(STOPPED, listed("stopped"), False, id="stopped as known"),
        pytest.param(COMPLETED, read("submitted"), True, id="contradiction"),
        pytest.param(started(contradiction=True), read("submitted"), False, id="contradiction confirmed"),
        pytest.param(rejected(Cause.BAD_ID), not_found(), False, id="bad id as known"),
        pytest.param(entry(Phase.SEEN, submitted_at=ago(days=40)), listed("queued"), True, id="another obstacle"),
    ],
)
def test_what_is_drift(known: Entry | None, reading: Reading, *, drifted: bool) -> None:
    """Progress is none, and neither is a contradiction that a read confirms."""
    wanted, before = config(batch()), state(known) if known is not None else None
    now = planned(wanted, before, observed(reading))
    found = drift(known_plan(wanted, before, now, None), now)
    assert bool(found) == drifted
    assert all(one.is_size == (reading.records == 6) for one in found)
