"""What every engine has to do, and `replace`, which makes certainty of it."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from batchform.state.address import Bucket
from batchform.state.objects import Objects
from batchform.state.registers import Down, Held, Taken, Unsure, Why, obtain, replace
from tests.proof.toll import Toll
from tests.state.engines import BUCKET, ENGINES, engine, environment, server
from tests.state.memory import FAILED, FAULTS, FORBIDDEN, HANGS, LATE, LOST, REFUSED_BUT_DONE, Memory, Time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchform.state.registers import Registers, Tag


@pytest.fixture(params=ENGINES)
def new(request: pytest.FixtureRequest) -> Iterator[Callable[[], Registers]]:
    """Registers under one fresh key, as many times as they are asked for."""
    with engine(request.param) as make:
        yield make


def refused(write: Callable[[], Tag]) -> None:
    """The write is refused, and plainly so."""
    with pytest.raises(Unsure) as caught:
        write()
    assert caught.value.why in {Why.REFUSED, Why.ABSENT}


# --- Every engine ----------------------------------------------------------------------------------------------------


def test_nothing_is_there_at_first(new: Callable[[], Registers]) -> None:
    """What was never written is proven absent."""
    assert new().read("") is None


def test_a_name_is_created_once(new: Callable[[], Registers]) -> None:
    """The second who creates it is refused, and the first content stays."""
    one, other = new(), new()
    tag = one.write("", b"one", None)
    assert other.read("") == Held(b"one", tag)
    refused(lambda: other.write("", b"two", None))
    assert one.read("") == Held(b"one", tag)


def test_only_who_knows_the_present_tag_replaces(new: Callable[[], Registers]) -> None:
    """An outdated tag is refused; a tag under which nothing stands, too."""
    one, other = new(), new()
    first = one.write("", b"one", None)
    second = other.write("", b"two", first)
    assert second != first
    refused(lambda: one.write("", b"three", first))
    refused(lambda: one.write(".journal", b"three", first))
    assert one.read("") == Held(b"two", second)
    assert one.read(".journal") is None


def test_names_are_apart(new: Callable[[], Registers]) -> None:
    """A write of one name leaves the tags of the others."""
    one = new()
    tag = one.write("", b"state", None)
    one.write(".journal", b"journal", None)
    assert one.write("", b"state again", tag)


def test_four_megabytes_come_back_whole(new: Callable[[], Registers]) -> None:
    """The state of the largest account."""
    data = bytes(range(256)) * 16384
    one = new()
    tag = one.write("", data, None)
    assert new().read("") == Held(data, tag)


def test_of_eight_racers_one_wins(new: Callable[[], Registers]) -> None:
    """The condition and its write are one step."""
    for _ in range(3):
        one = new()
        held = one.read("")
        base = one.write("", f"base{held}".encode(), None if held is None else held.tag)
        start = threading.Barrier(8)
        wins: list[int] = []

        def race(number: int, base: Tag = base, start: threading.Barrier = start, wins: list[int] = wins) -> None:
            mine = new()
            start.wait()
            try:
                mine.write("", b"racer %d" % number, base)
            except Unsure:
                return
            wins.append(number)

        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1
        assert (one.read("") or Held(b"", "")).data == b"racer %d" % wins[0]


def test_replace_is_sure_and_tells_who_was_first(new: Callable[[], Registers]) -> None:
    """It returns the tag of what is there now, or what stands there in its place."""
    one, other = new(), new()
    tag = replace(one, "", b"one", None, patience=5)
    assert one.read("") == Held(b"one", tag)
    other.write("", b"two", tag)
    with pytest.raises(Taken) as caught:
        replace(one, "", b"three", tag, patience=5)
    assert caught.value.now == other.read("")


def test_a_store_that_ignores_conditions_is_seen() -> None:
    """s3rver takes every write: the same suite has to fail there."""
    with engine("s3rver") as make:
        one = make()
        tag = one.write("", b"one", None)
        one.write("", b"two", tag)
        assert one.write("", b"three", tag)


@pytest.mark.parametrize("fault", ["500", "503", "lost", "gone"])
def test_the_library_tries_nothing_again(fault: str) -> None:
    """After a lost answer its second try would be refused, although the first one took place."""
    pytest.importorskip("obstore", reason="it has no wheel for this machine")
    with Toll(server("moto")) as toll, environment("moto", toll.port):
        one = Objects(Bucket(scheme="s3", bucket=BUCKET, key=f"{uuid.uuid4().hex}/state.json"))
        toll.begin(1, fault)
        with pytest.raises(Unsure) as caught:
            one.write("", b"one", None)
        assert toll.count == 1
        assert caught.value.why in {Why.OTHER, Why.SILENT}


# --- Replace, with every fault ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_replace_knows_what_took_place_whatever_the_answer_was(fault: str) -> None:
    """After any one fault the content is there once, and its tag is known."""
    store = Memory()
    store.faults.append(fault)
    tag = replace(store, "", b"one", None, patience=60, clocks=store.time.clocks)
    assert store.space.held[""] == Held(b"one", tag)


def test_a_late_write_of_the_same_bytes_is_no_harm() -> None:
    """It is refused, because the tag that it names is gone."""
    store = Memory()
    store.faults.append(LATE)
    tag = replace(store, "", b"one", None, patience=60, clocks=store.time.clocks)
    store.land()
    assert store.space.held[""] == Held(b"one", tag)


@pytest.mark.parametrize("fault", [LOST, REFUSED_BUT_DONE])
def test_a_lost_answer_is_not_believed_when_the_read_fails_too(fault: str) -> None:
    """The next try is refused, and the read after it proves the write."""
    store = Memory()
    store.faults.append(fault)
    store.reads.extend([FAILED])
    tag = replace(store, "", b"one", None, patience=60, clocks=store.time.clocks)
    assert store.space.held[""] == Held(b"one", tag)


@pytest.mark.parametrize("fault", [FAILED, HANGS])
def test_after_its_patience_the_store_is_down(fault: str) -> None:
    """Tries go on for that long, further and further apart, and not longer than one try more."""
    store = Memory()
    store.faults.extend([fault] * 1000)
    store.reads.extend([fault] * 1000)
    began = store.time.now
    with pytest.raises(Down) as caught:
        replace(store, "", b"one", None, patience=60, clocks=store.time.clocks)
    assert caught.value.writing
    assert 45 < store.time.now - began <= 90
    assert len(store.writes) < 25


def test_what_waiting_does_not_change_ends_soon() -> None:
    """A missing right is told at once, not after a minute."""
    store = Memory()
    store.faults.extend([FORBIDDEN] * 100)
    store.reads.extend([FORBIDDEN] * 100)
    began = store.time.now
    with pytest.raises(Down):
        replace(store, "", b"one", None, patience=60, clocks=store.time.clocks)
    with pytest.raises(Down) as caught:
        obtain(store, "", 60, store.time.clocks)
    assert not caught.value.writing
    assert store.time.now - began < 10


def test_a_read_is_tried_again() -> None:
    """One that fails says nothing of what is there."""
    store = Memory(time=Time())
    store.reads.extend([FAILED, HANGS])
    assert obtain(store, "", 60, store.time.clocks) is None
