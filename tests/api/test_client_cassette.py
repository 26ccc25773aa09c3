"""The client under vcrpy, on one thread: the recording, and a replay without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import vcr  # type: ignore[import-untyped]  # it has no types
import yaml

from batchform.api.client import Client
from batchform.api.contract import Accepted, Broken, Read, read_meaning, start_meaning, start_request, status_request
from batchform.model import Service
from tests.api.servers import RawServer, always, answer

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "3f0c1f6e-token-9a7e"
BODY = b'{"result": {"batch_id": "abc-1", "status": "processing"}}'


def without_token(request: Any) -> Any:
    """The part of a request that is recorded."""
    request.headers.pop("Auth-Token", None)
    return request


def test_a_cassette_records_and_replays(tmp_path: Path) -> None:
    """The replies are equal both times, with two requests on one connection and no token on disk."""
    tape = tmp_path / "tape.yaml"
    start, read = start_request(Service.PHONE, "abc-1", "ref-1"), status_request(Service.PHONE, "abc-1")
    recorder = vcr.VCR(before_record_request=without_token)
    with RawServer(always(answer(200, BODY, "X-Rate-Limit-Remaining: 7\r\n"))) as server:
        with recorder.use_cassette(str(tape)), Client(server.endpoint, TOKEN) as client:
            recorded = [client.send(start), client.send(read)]
        assert (server.connections, len(server.requests)) == (1, 2)
        assert all(TOKEN.encode() in head for head in server.requests)
    assert TOKEN not in tape.read_text()
    assert len(yaml.safe_load(tape.read_text())["interactions"]) == 2
    with recorder.use_cassette(str(tape), record_mode="none"), Client(server.endpoint, TOKEN) as client:
        replayed = [client.send(start), client.send(read)]
        assert isinstance(client.send(start), Broken)  # already replayed, and no server is contacted instead
    for replies in (recorded, replayed):
        assert start_meaning(replies[0], "abc-1") == Accepted(status="processing")
        assert isinstance(read_meaning(replies[1], "abc-1"), Read)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
def test_failures_replay_too(status: int, tmp_path: Path) -> None:
    """The status and the body are kept."""
    tape = tmp_path / "tape.yaml"
    start = start_request(Service.PHONE, "abc-1", "ref-1")
    recorder = vcr.VCR(before_record_request=without_token)
    meanings = []
    with RawServer(always(answer(status, b'{"error": {"title": "t", "detail": "d"}}'))) as server:
        for _ in range(2):
            with recorder.use_cassette(str(tape)), Client(server.endpoint, TOKEN) as client:
                meanings.append(start_meaning(client.send(start), "abc-1"))
    assert meanings[0] == meanings[1]
    assert len(server.requests) == 1
