"""Which state may be used for which service and endpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batchform.errors import StateError
from batchform.model import Service
from batchform.state.disk import paths
from batchform.state.journal import Header, Journal
from batchform.state.known import State, check_belongs
from batchform.state.local import hold
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, events

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = {
    "service": replace(EMPTY, service=Service.EMAIL),
    "endpoint": replace(EMPTY, endpoint="https://eu.example.test"),
}


@pytest.mark.parametrize("endpoint", [EMPTY.endpoint, None], ids=["same endpoint", "no endpoint"])
def test_a_state_of_the_same_service_and_endpoint_is_accepted(endpoint: str | None) -> None:
    """Offline commands have no endpoint to compare."""
    check_belongs(EMPTY, EMPTY.service, endpoint)


@pytest.mark.parametrize("what", OTHERS)
def test_a_state_of_another_service_or_endpoint_is_refused(what: str) -> None:
    """The message names what differs and says that nothing was sent."""
    with pytest.raises(StateError, match=f"belongs to another {what}") as error:
        check_belongs(OTHERS[what], EMPTY.service, EMPTY.endpoint)
    assert "Nothing was sent." in error.value.detail


def test_without_an_endpoint_the_service_is_still_compared() -> None:
    """An offline plan with the state of another service would be wrong, too."""
    with pytest.raises(StateError, match="another service"):
        check_belongs(OTHERS["service"], EMPTY.service, None)


def _hold(path: Path, fresh: State, run: str) -> None:
    with hold(path, fresh=fresh, run=run, holder={}, now=NOW) as store:
        store.record(events(INTENDED, STARTED, run=run))
        store.commit(NOW)


@pytest.mark.parametrize("what", OTHERS)
def test_hold_refuses_a_state_of_another_service_or_endpoint(tmp_path: Path, what: str) -> None:
    """A caller without the command line is as safe: the file stays as it is."""
    path = tmp_path / "state.json"
    _hold(path, OTHERS[what], "run-1")
    before = path.read_bytes()
    with pytest.raises(StateError, match=f"another {what}"):
        _hold(path, EMPTY, "run-2")
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", OTHERS)
def test_hold_refuses_a_journal_of_another_service_or_endpoint(tmp_path: Path, what: str) -> None:
    """A run may die before its first commit: then the journal alone says where its events belong."""
    other, path = OTHERS[what], tmp_path / "state.json"
    header = Header(lineage=other.lineage, serial=0, service=other.service, endpoint=other.endpoint, run="run-1")
    journal = Journal(paths(path).journal, header)
    journal.append(events(INTENDED))
    journal.close()
    with pytest.raises(StateError, match=f"another {what}"):
        _hold(path, EMPTY, "run-2")
    assert paths(path).journal.exists()
    assert not path.exists()
