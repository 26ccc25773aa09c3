"""Every scripted fault, over a real socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from batchform.simulator import Log, World, from_values, serve, server
from batchform.simulator.faults import FOREIGN_ID
from tests.simulator.calls import BATCHES, NOW, TOKEN, Clock, Watched, address, call, connected, raw, raw_start

STATUS = f"{BATCHES}/b1"


def world(*faults: dict[str, Any], **options: Any) -> World:
    """A world with two submitted batches and these faults."""
    values = {"token": TOKEN, "batches": {"b1": {"records": 100}, "b2": {}}, "faults": list(faults)}
    return from_values(values | options)


# --- when ------------------------------------------------------------------------------------------------------------


def test_faults_come_in_order_and_are_used_up() -> None:
    """The first fault occurs twice, the second once, and then the answer is right."""
    there = world(
        {"operation": "start", "batch": "b1", "fault": "answer", "status": 503, "times": 2},
        {"operation": "start", "batch": "b1", "fault": "answer", "status": 500},
    )
    with serve(there) as url:
        assert [call(url)[0] for _ in range(5)] == [503, 503, 500, 200, 400]
    assert there.accepted == {"b1": 1}


def test_a_fault_can_last_for_ever() -> None:
    """The next fault never occurs."""
    there = world({"operation": "start", "fault": "answer", "status": 503, "forever": True})
    with serve(there) as url:
        assert {call(url)[0] for _ in range(20)} == {503}


@pytest.mark.parametrize(
    ("fault", "spoilt"),
    [
        ({"operation": "start", "batch": "b2"}, {"start b2"}),
        ({"operation": "start"}, {"start b1", "start b2"}),
        ({"batch": "b1"}, {"start b1", "status b1"}),
        ({"operation": "list"}, {"list"}),
        ({}, {"start b1", "start b2", "status b1", "list"}),
    ],
    ids=["operation and batch", "operation", "batch", "list", "any"],
)
def test_a_fault_concerns_its_operation_and_batch_only(fault: dict[str, Any], spoilt: set[str]) -> None:
    """A path without an operation never has a fault."""
    calls = {
        "start b1": ("POST", f"{BATCHES}/b1/start"),
        "start b2": ("POST", f"{BATCHES}/b2/start"),
        "status b1": ("GET", STATUS),
        "list": ("GET", BATCHES),
        "nothing": ("GET", "/"),
    }
    there = world({"fault": "answer", "status": 599, "forever": True} | fault)
    with serve(there) as url:
        assert {name for name, (method, path) in calls.items() if call(url, method, path)[0] == 599} == spoilt


def test_a_throttled_request_uses_up_no_fault() -> None:
    """The rate limit applies before any fault."""
    clock = Clock()
    there = world({"operation": "start", "fault": "answer", "status": 503}, rate={"limit": 1, "window": 60})
    with serve(there, clock=clock) as url:
        assert call(url, "GET", STATUS)[0] == 200
        assert call(url)[0] == 429
        clock.now += 60
        assert call(url)[0] == 503


# --- what ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 299, 400, 401, 403, 404, 406, 408, 415, 418, 429, 500, 503, 599])
@pytest.mark.parametrize("act", [False, True])
def test_any_status_acted_or_not(status: int, act: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The status does not show whether the batch was started."""
    there = world({"operation": "start", "fault": "answer", "status": status, "act": act})
    with serve(there) as url:
        got, _, body = call(url)
    assert got == status
    assert set(json.loads(body)) == {"error"}
    assert there.accepted == ({"b1": 1} if act else {})


BODIES = {
    "documented": lambda body: set(json.loads(body)["error"]) == {"type", "title", "detail", "instance"},
    "empty": lambda body: body == b"",
    "html": lambda body: body.startswith(b"<!DOCTYPE html>"),
    "capitalised": lambda body: set(json.loads(body)["error"]) == {"Type", "Title", "Detail", "Instance"},
    "huge": lambda body: len(body) > 10 * 1024 * 1024 and "error" in json.loads(body),
    "garbage": lambda body: body.startswith(b"\x00\xff\xfe"),
    "string": lambda body: isinstance(json.loads(body)["error"], str),
    "unwrapped": lambda body: set(json.loads(body)) == {"type", "title", "detail", "instance"},
}


@pytest.mark.parametrize(("body", "fits"), BODIES.items(), ids=BODIES.keys())
def test_any_body(body: str, fits: Any) -> None:
    """Each body has its kind and is complete."""
    with serve(world({"fault": "answer", "status": 500, "body": body})) as url:
        status, headers, received = call(url)
    assert status == 500
    assert headers["Content-Length"] == str(len(received))
    assert fits(received)


def test_a_literal_body() -> None:
    """The text is sent unchanged."""
    with serve(world({"fault": "answer", "status": 502, "text": "<b>ünwell</b>"})) as url:
        assert call(url)[2] == "<b>ünwell</b>".encode()


def test_a_status_without_a_body_leaves_the_connection_in_step() -> None:
    """A 204 has no body in any case."""
    with serve(world({"fault": "answer", "status": 204})) as url, connected(url) as connection:
        for expected in (204, 200):
            connection.request("GET", STATUS, headers={"Auth-Token": TOKEN})
            response = connection.getresponse()
            response.read()
            assert response.status == expected


@pytest.mark.parametrize("status", [302, 307, 308])
def test_redirects(status: int) -> None:
    """The location is as configured."""
    there = world({"fault": "answer", "status": status, "location": "http://127.0.0.1:9/elsewhere", "body": "empty"})
    with serve(there) as url:
        got, headers, _ = call(url)
    assert (got, headers["Location"]) == (status, "http://127.0.0.1:9/elsewhere")


RATES = {
    "right": ("150", "0", str(int(NOW) + 60)),
    "past": ("150", "0", str(int(NOW) - 3540)),
    "far": ("150", "0", str(int(NOW) + 86_460)),
    "missing": (None, None, None),
    "garbage": ("many", "-1", "soon"),
}


@pytest.mark.parametrize(("kind", "shown"), RATES.items(), ids=RATES.keys())
def test_odd_rate_headers(kind: str, shown: tuple[str | None, ...]) -> None:
    """The 429 is a fault, not the limit."""
    there = world({"fault": "answer", "status": 429, "rate_headers": kind})
    with serve(there, clock=Clock()) as url:
        status, headers, _ = call(url)
    assert status == 429
    assert tuple(headers.get(f"X-Rate-Limit-{name}") for name in ("Limit", "Remaining", "Reset")) == shown


@pytest.mark.parametrize("operation", ["start", "status"])
def test_wrong_batch_id(operation: str) -> None:
    """It is a success for another batch."""
    there = world({"operation": operation, "fault": "wrong_batch_id"}, {"fault": "wrong_batch_id", "batch_id": "b2"})
    method, path = ("POST", f"{STATUS}/start") if operation == "start" else ("GET", STATUS)
    with serve(there) as url:
        assert json.loads(call(url, method, path)[2])["result"]["batch_id"] == FOREIGN_ID
        _, _, body = call(url, "GET", STATUS)
    assert json.loads(body)["result"]["batch_id"] == "b2"


@pytest.mark.parametrize("value", [None, "paused"])
def test_odd_status(value: str | None) -> None:
    """The status is null or unrecognised, but the batch is started."""
    there = world({"operation": "start", "fault": "odd_status", "value": value})
    with serve(there) as url:
        status, _, body = call(url)
    assert (status, json.loads(body)["result"]) == (200, {"batch_id": "b1", "status": value})
    assert there.accepted == {"b1": 1}


def test_without_acting_the_answer_reads_as_if_it_had() -> None:
    """The answer contains a result and an error."""
    there = world({"operation": "start", "fault": "odd_status", "value": "processing", "act": False})
    with serve(there) as url:
        assert json.loads(call(url)[2]) == {"result": {"batch_id": "b1", "status": "processing"}}
        assert json.loads(call(url, "GET", STATUS)[2])["result"]["status"] == "submitted"
    assert not there.accepted


def test_a_refusal_stays_what_it_is() -> None:
    """It has no batch id or status to replace."""
    with serve(world({"fault": "odd_status"}, {"fault": "list", "how": "null_batches"})) as url:
        assert call(url, Auth_Token="wrong")[0] == 401
        assert call(url, "GET", BATCHES, Auth_Token="wrong")[0] == 401


def foreign_ids(batches: Any) -> list[str]:
    """The ids in a list."""
    return [batch["batch_id"] for batch in batches]


LISTS: dict[str, tuple[dict[str, Any], Any]] = {
    "truncated": (
        {"how": "truncated", "batch_ids": ["b1"]},
        lambda batches: foreign_ids(batches) == ["b2"],
    ),
    "null_batches": ({"how": "null_batches"}, lambda batches: batches is None),
    "unordered": ({"how": "unordered"}, lambda batches: foreign_ids(batches) == ["b2", "b1"]),
    "null_fields": (
        {"how": "null_fields"},
        lambda batches: foreign_ids(batches) == ["b1", "b2"] and batches[0]["status"] is batches[0]["records"] is None,
    ),
    "foreign": ({"how": "foreign"}, lambda batches: foreign_ids(batches) == [FOREIGN_ID, "b1", "b2"]),
    "foreign, named": (
        {"how": "foreign", "batch_ids": ["x", "y"]},
        lambda batches: foreign_ids(batches) == ["x", "y", "b1", "b2"],
    ),
    "unknown_status": (
        {"how": "unknown_status"},
        lambda batches: [batch["status"] for batch in batches] == ["paused", "paused"],
    ),
}


@pytest.mark.parametrize(("fault", "fits"), LISTS.values(), ids=LISTS.keys())
def test_lists_that_mislead(fault: dict[str, Any], fits: Any) -> None:
    """This happens once; the next list is right."""
    with serve(world({"operation": "list", "fault": "list"} | fault)) as url:
        first, second = (json.loads(call(url, "GET", BATCHES)[2])["result"]["batches"] for _ in range(2))
    assert fits(first)
    assert foreign_ids(second) == ["b1", "b2"]


# --- how it travels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("drop", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ("not_http", http.client.BadStatusLine),
    ],
)
def test_no_answer_acted_or_not(fault: str, raised: type[Exception], act: bool) -> None:  # noqa: FBT001 - as above
    """The client reads no status, but the log shows whether the batch was started."""
    there, log = world({"operation": "start", "fault": fault, "act": act}), Log()
    with serve(there, log=log) as url:
        with pytest.raises(raised) as caught:
            call(url)
        assert caught.type is raised
        assert call(url, "GET", STATUS)[0] == 200
    assert there.accepted == ({"b1": 1} if act else {})
    assert (log.entries[0].status, log.entries[0].accepted) == (None, act)
    assert log.entries[0].did == f"fault: {fault} ({'acted: started' if act else 'not acted'})"


@pytest.mark.parametrize("act", [False, True])
def test_half_a_body(act: bool) -> None:  # noqa: FBT001 - as above
    """The headers announce more than is sent."""
    there = world({"operation": "start", "fault": "half_body", "act": act})
    with serve(there) as url, pytest.raises(http.client.IncompleteRead) as caught:
        call(url)
    assert b'{"result": {"batch_id"' in caught.value.partial
    assert there.accepted == ({"b1": 1} if act else {})


@pytest.mark.parametrize("act", [False, True])
def test_hang_until_the_client_leaves(act: bool) -> None:  # noqa: FBT001 - as above
    """Nothing is sent, but the world has acted."""
    there, log = world({"operation": "start", "fault": "hang", "act": act}), Watched()
    with serve(there, log=log) as url:
        with socket.create_connection(address(url), timeout=10) as connection:
            connection.sendall(raw_start())
            assert log.written.wait(10)
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
        assert there.accepted == ({"b1": 1} if act else {})


@pytest.mark.parametrize("fault", [{"fault": "hang"}, {"fault": "drip", "interval": "1h"}], ids=str)
def test_stopping_ends_what_hangs_and_drips(fault: dict[str, Any]) -> None:
    """The client sees the close at once."""
    there, log = world(fault), Watched()
    with serve(there, log=log) as url:
        connection = socket.create_connection(address(url), timeout=10)
        connection.sendall(raw_start())
        assert log.written.wait(10)
        if fault["fault"] == "drip":
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    with connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("whole", [False, True])
def test_drip(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - as above
    """The bytes are sent one by one after the interval, and together they are the answer."""
    pauses: list[float] = []
    monkeypatch.setattr(server.Server, "_pause", lambda _, seconds: pauses.append(seconds))
    there = world({"operation": "start", "fault": "drip", "interval": 0.5, "whole": whole})
    with serve(there) as url:
        received = raw(url, raw_start())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["result"]["status"] == "processing"
    assert pauses.count(0.5) == (len(received) if whole else len(body))
