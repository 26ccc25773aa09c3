"""What batchform makes of the recorded exchanges, replayed with sockets off.

vcrpy is not thread-safe, so there is one client here, on one thread; concurrency is tested against the simulator.
"""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from batchform.api.client import Client
from batchform.api.contract import (
    Accepted,
    Answer,
    Broken,
    Doubtful,
    Listing,
    Missing,
    NoAnswer,
    Read,
    Refused,
    Throttled,
    list_meaning,
    rate_of,
    read_meaning,
    start_meaning,
)
from batchform.api.endpoint import Endpoint
from batchform.api.results import Results, results_meaning
from batchform.model import Source
from tests.cassettes import record
from tests.cassettes.scenarios import ALL, BATCH, REFUSED_TOKENS, RESULTS, START, Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.api.contract import ListMeaning, ReadMeaning, Reply, StartMeaning
    from batchform.api.results import ResultsMeaning

TABLE: Final = {
    200: ("",),
    400: ("a", "b", "c", "d", "e", "f", "g", "h"),
    401: ("",),
    403: ("a", "b", "c", "d"),
    404: ("",),
    406: ("",),
    408: ("",),
    415: ("",),
    429: ("",),
    500: ("",),
    503: ("",),
}
"""The documented answers to a start, and the situations named for each. Source: CONTRACT "Start"."""

TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

NOWHERE: Final = Endpoint(scheme="http", host="127.0.0.1", port=9)
TOKENS: Final = {scenario.token for scenario in ALL} | set(REFUSED_TOKENS)


def replayed(scenario: Scenario) -> Reply:
    """The recorded reply, through the client."""
    tape = record.recorder(record.SIMULATOR).use_cassette(str(record.CASSETTES / f"{scenario.name}.yaml"))
    with tape as played, Client(NOWHERE, scenario.token) as client:
        reply = client.send(scenario.request)
        assert isinstance(client.send(scenario.request), Broken)  # it is played once, and nobody is asked instead
    assert played.all_played
    return reply


def meaning_of(scenario: Scenario, reply: Reply) -> StartMeaning | ReadMeaning | ListMeaning | ResultsMeaning:
    """The reply, read as the answer to what was asked."""
    if scenario in START:
        return start_meaning(reply, BATCH)
    if scenario in RESULTS:
        return results_meaning(reply, BATCH, items=True)
    return list_meaning(reply) if scenario.name.startswith("list-") else read_meaning(reply, BATCH)


@pytest.mark.usefixtures("socket_disabled")
@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_each_recording_means_what_it_should(scenario: Scenario) -> None:
    """By its status and its shape, never by its text."""
    reply = replayed(scenario)
    assert isinstance(reply, Answer)
    assert reply.status == scenario.row[0]
    assert rate_of(reply).limit == 150
    assert rate_of(reply).date_epoch is not None
    meaning = meaning_of(scenario, reply)
    assert isinstance(meaning, scenario.meaning)
    match meaning:
        case Accepted():
            assert meaning.status == "processing"
        case Doubtful() | Refused() | Missing() | NoAnswer():
            assert meaning.problem.status == reply.status
            assert meaning.problem.title == TITLES[reply.status]
            assert meaning.problem.detail
        case Read():
            assert meaning.reading.status == scenario.name.removeprefix("status-")
            assert (meaning.reading.batch_id, meaning.reading.source) == (BATCH, Source.READ)
            assert meaning.reading.records == 9800
            assert meaning.reading.date_submitted is not None
            assert (meaning.reading.date_ended is not None) is (meaning.reading.status in {"completed", "stopped"})
        case Listing():
            shown = [] if scenario.name == "list-empty" else ["completed", "processing", "stopped", "submitted"]
            assert sorted(str(reading.status) for reading in meaning.readings.values()) == shown
            assert {reading.source for reading in meaning.readings.values()} <= {Source.LIST}
        case Results():
            ends = {"stopped": (1, 2), "processing": (0, 0)}
            assert (meaning.credits_charged, meaning.count) == ends.get(meaning.status, (2, 2))
            assert sum(meaning.statistics.values()) == meaning.count == len(list(meaning.items()))
            assert all(("metadata" in item) is scenario.name.endswith("-metadata") for item in meaning.items())
        case Throttled():
            assert rate_of(reply).remaining == 0
        case _:
            pytest.fail(f"no scenario expects {meaning}")


def test_every_row_and_situation_of_the_table_is_recorded() -> None:
    """A table that grows asks for a recording."""
    wanted = {(status, letter) for status, letters in TABLE.items() for letter in letters}
    assert {scenario.row for scenario in START} == wanted
    assert {path.stem for path in record.CASSETTES.glob("*.yaml")} == {scenario.name for scenario in ALL}


def test_every_recording_is_explained() -> None:
    """The page beside the cassettes names each, and tells which of them the real service can give, and at what cost."""
    page = (record.CASSETTES / "README.md").read_text(encoding="utf-8")
    real, _, contents = page.partition("## Contents")
    assert set(re.findall(r"`((?:start|status|list|results)-[a-z0-9-]+)`", contents)) == {one.name for one in ALL}
    named = set(re.findall(r"`((?:start|status|list|results)-[a-z0-9-]+)`", real))
    assert named == {one.name for one in ALL if one.needs is not None}
    scripted = {one.name for one in ALL if one.did.startswith("fault:")}
    assert scripted == set(re.findall(r"\| `([a-z0-9-]+)` \|[^|]*\| \*\*scripted", contents))


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_no_recording_holds_a_token(scenario: Scenario) -> None:
    """Nor any header that could carry one, nor a batch_id of anybody's."""
    text = (record.CASSETTES / f"{scenario.name}.yaml").read_text(encoding="utf-8")
    assert [token for token in TOKENS if token in text] == []
    (exchange,) = yaml.safe_load(text)["interactions"]
    assert {"auth-token", "authorization", "x-app-key", "cookie"} & {
        key.lower() for key in exchange["request"]["headers"]
    } == set()
    assert "set-cookie" not in {key.lower() for key in exchange["response"]["headers"]}
    if scenario.name.startswith(("start-", "status-")) and scenario.row != (400, "a"):
        assert f"/{BATCH}" in exchange["request"]["uri"]


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_recording_again_changes_nothing(scenario: Scenario, tmp_path: Path) -> None:
    """Client and simulator still do what was recorded, to the byte. Recordings of the real service stay as they are."""
    kept = (record.CASSETTES / f"{scenario.name}.yaml").read_text(encoding="utf-8")
    if record.SIMULATOR not in kept:
        pytest.skip("a recording of the real service")
    record.from_simulator(scenario, tmp_path)
    assert (tmp_path / f"{scenario.name}.yaml").read_text(encoding="utf-8") == kept


@pytest.mark.usefixtures("socket_disabled")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["start-404"], "Not confirmed", id="nobody types yes"),
        pytest.param(["start-200"], "needs a batch that was not started; SPENDS", id="no batch is named"),
        pytest.param(["start-404", "--batch", "x"], "needs no batch", id="a batch where none may be risked"),
        pytest.param(["start-503"], "cannot be had", id="not on purpose"),
        pytest.param([], "", id="all of them"),
    ],
)
def test_the_real_service_is_not_asked_by_accident(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sockets are off: had anything been sent, this would not end with a plain message."""
    monkeypatch.setenv("BATCHFORM_ENDPOINT", "https://api.experianaperture.io")
    monkeypatch.setenv("BATCHFORM_AUTH_TOKEN", "a-token-that-stays-here")
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    before = sorted((path, path.stat().st_mtime_ns) for path in record.CASSETTES.iterdir())
    with pytest.raises(SystemExit) as ended:
        record.main(words)
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert said in err
    assert "Nothing was sent" in err
    assert sorted((path, path.stat().st_mtime_ns) for path in record.CASSETTES.iterdir()) == before
