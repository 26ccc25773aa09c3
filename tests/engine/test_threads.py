"""The real wire: threads that send, and one caller that waits. No test sleeps."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from batchform.api.contract import Answer, Broken, NotSent, Reply, Request
from batchform.engine import Threads

PATIENCE = 20.0
"""Seconds after which a test has failed."""


def request(path: str = "/x") -> Request:
    """Any request."""
    return Request(method="GET", path=path, headers=(), deadline=1.0)


class Gate:
    """A sender that answers on command and counts the waiting requests."""

    def __init__(self) -> None:
        self.replies: SimpleQueue[Reply | BaseException] = SimpleQueue()
        self.entered: SimpleQueue[str] = SimpleQueue()
        self.cuts = 0

    def send(self, request: Request) -> Reply:
        """Wait until the test provides a reply."""
        self.entered.put(request.path)
        reply = self.replies.get(timeout=PATIENCE)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def cut(self) -> None:
        """Noted."""
        self.cuts += 1


def collected(wire: Threads, count: int) -> dict[int, Reply]:
    """That many replies."""
    replies: dict[int, Reply] = {}
    while len(replies) < count:
        some = wire.collect(PATIENCE)
        assert some
        replies |= dict(some)
    return replies


def test_every_ticket_gets_its_reply() -> None:
    """Each reply has the ticket of its request."""

    class Echo(Gate):
        def send(self, request: Request) -> Reply:
            return Broken(cause=request.path)

    wire = Threads(Echo(), 4)
    for ticket in range(100):
        wire.submit(ticket, request(f"/{ticket}"))
    assert collected(wire, 100) == {ticket: Broken(cause=f"/{ticket}") for ticket in range(100)}
    wire.close()


def test_as_many_threads_as_are_needed_and_no_more() -> None:
    """Three at once when three are allowed. The fourth waits for a free thread."""
    gate = Gate()
    wire = Threads(gate, 3)
    for ticket in range(4):
        wire.submit(ticket, request(f"/{ticket}"))
    assert {gate.entered.get(timeout=PATIENCE) for _ in range(3)} == {"/0", "/1", "/2"}
    assert gate.entered.empty()
    for _ in range(4):
        gate.replies.put(Answer(status=200))
    assert len(collected(wire, 4)) == 4
    wire.close()


def test_waiting_ends_with_the_time_or_a_wake() -> None:
    """Both return no reply. A wake before the wait is not lost."""
    wire = Threads(Gate(), 1)
    assert wire.collect(0.0) == []
    wire.wake()
    assert wire.collect(None) == []
    wire.close()


def test_a_wake_from_elsewhere_ends_the_wait() -> None:
    """A signal handler may call it at any moment."""
    wire = Threads(Gate(), 1)
    threading.Timer(0.0, wire.wake).start()
    assert wire.collect(None) == []


def test_a_fault_in_the_sender_stops_the_run() -> None:
    """A bug in the client raises in `collect` instead of blocking it."""
    gate = Gate()
    gate.replies.put(ZeroDivisionError("bug"))
    wire = Threads(gate, 1)
    wire.submit(1, request())
    with pytest.raises(ZeroDivisionError):
        wire.collect(PATIENCE)
    wire.close()
    for thread in wire._threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("failure", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_system_without_more_threads_uses_the_present_ones(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, most: int
) -> None:
    """Without any, every request is provably not sent, and no later one would be."""

    class Echo(Gate):
        def send(self, request: Request) -> Reply:
            return Broken(cause=request.path)

    start, started = threading.Thread.start, [0]

    def limited(thread: threading.Thread) -> None:
        if started[0] == most:
            raise failure
        started[0] += 1
        start(thread)

    wire = Threads(Echo(), 8)
    monkeypatch.setattr(threading.Thread, "start", limited)
    for ticket in range(20):
        wire.submit(ticket, request(f"/{ticket}"))
    replies = collected(wire, 20)
    if most:
        assert replies == {ticket: Broken(cause=f"/{ticket}") for ticket in range(20)}
    else:
        assert all(isinstance(reply, NotSent) and reply.is_final for reply in replies.values())
    wire.close()
    assert len(wire._threads) == most


def test_a_sender_without_memory_leaves_the_outcome_unknown() -> None:
    """The request may have left. The other requests go on."""
    gate = Gate()
    gate.replies.put(MemoryError())
    gate.replies.put(Answer(status=200))
    wire = Threads(gate, 1)
    wire.submit(1, request())
    wire.submit(2, request())
    replies = collected(wire, 2)
    assert isinstance(replies[1], Broken)
    assert isinstance(replies[2], Answer)
    wire.close()


def test_cutting_is_the_senders_affair() -> None:
    """It closes the sockets, and the replies come as broken."""
    gate = Gate()
    wire = Threads(gate, 1)
    wire.submit(7, request())
    assert gate.entered.get(timeout=PATIENCE) == "/x"
    wire.cut()
    gate.replies.put(Broken(cause="cut"))
    assert collected(wire, 1) == {7: Broken(cause="cut")}
    assert gate.cuts == 1
    wire.close()


def test_the_workers_end_with_the_wire() -> None:
    """It waits for idle workers, and none keeps the process alive."""
    gate = Gate()
    gate.replies.put(Answer(status=200))
    wire = Threads(gate, 2)
    wire.submit(1, request())
    collected(wire, 1)
    assert all(thread.daemon for thread in wire._threads)
    wire.close()
    assert not any(thread.is_alive() for thread in wire._threads)
