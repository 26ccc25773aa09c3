"""A model of the protocol that is small enough to visit every state.

One batch, one server, and one or two folders with a state of their own; in each folder runs follow each other under its
lock. Everything that can come in another order is a step of its own, and `explore` takes them in every order: a run
dies between any two steps, an answer is lost, broken or made up by a proxy, a start reaches the server long after its
run has given up on it, a status lags behind the start, the list is stale or does not name the batch, an answer belongs
to another request, the declaration is taken out and put back. Clocks that differ make no step, because our client uses
none here; a mutant does.

Time is one rule: after a run has waited the settle time (`rest`), every start that was sent before has arrived or never
will, and shows. This is the only assumption of the protocol (`Rules.settle`).

There are two servers. The `strict` one refuses to start a started batch, as the vendor's does. The `lax` one accepts
and charges every start: then only the protocol prevents a second one.

A `Protocol` describes the client. `Protocol()` is ours; a different one is a mutant.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS: Final = 2
"""Starts that one run sends for a batch at the most. The real client sends three; the third brings nothing new."""


# --- the client ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Protocol:
    """The behaviour of the client. The defaults are ours; each comment explains the other value."""

    intends: bool = True  # False: nothing is recorded before a start is sent
    intends_first: bool = True  # False: the attempt is recorded after the start is sent
    records_unknown: bool = True  # False: an attempt without a clean answer is recorded as not made
    reads_needed: int = 2  # 1: one `submitted` is enough
    rests: bool = True  # False: the second read follows the first at once
    list_releases: bool = False  # True: `submitted` in the list settles an attempt with an unknown outcome
    reads_after_silence: bool = True  # False: without an answer, the start is sent again
    silence_is_submitted: bool = False  # True: a read without an answer counts as `submitted`
    reads_after_no: bool = True  # False: a 400 counts as not started
    half_is_accepted: bool = False  # True: an answer that begins like a success counts as one
    error_is_throttled: bool = False  # True: any failure is repeated like a 429
    forgets: bool = False  # True: what is not declared any more is dropped from the state
    verifies_after_crash: bool = True  # False: an intent without an outcome is an attempt that was not made
    locks: bool = True  # False: two runs work on one state at once
    trusts_clocks: bool = False  # True: the age of an intent, by clocks that differ, ends the wait for its request
    believes_foreign: bool = False  # True: an answer to another request counts as the answer to this start
    reads_foreign: bool = False  # True: so it does for a status read
    removes_early: bool = False  # True: what is recorded as started and still says `submitted` leaves the state


class Disk(IntEnum):
    """The batch in a state: the phases of `state.events`, as far as they differ for the model."""

    NOTHING = auto()
    INTENDED = auto()
    UNKNOWN = auto()
    UNKNOWN_NO = auto()  # the last attempt was answered 400, and no earlier one has an unknown outcome
    RELEASED = auto()
    REJECTED = auto()
    STARTED = auto()


_UNCERTAIN: Final = frozenset({Disk.INTENDED, Disk.UNKNOWN, Disk.UNKNOWN_NO})


class At(IntEnum):
    """The position of a run: its next step."""

    OVER = auto()
    LOOK = auto()  # the list call
    INTEND = auto()
    SEND = auto()
    INTEND_LATE = auto()  # of a mutant
    WAIT = auto()  # waiting for the answer to the start
    RECORD_UNKNOWN = auto()
    RECORD_NO = auto()
    RECORD_STARTED = auto()
    READ = auto()
    REST = auto()
    READ_AGAIN = auto()
    SETTLE = auto()  # the results of the reads are recorded


class Heard(IntEnum):
    """The answer on its way to a run."""

    NONE = auto()
    ACCEPTED = auto()
    HALF = auto()
    NO = auto()
    ERROR = auto()
    THROTTLED = auto()
    FOREIGN = auto()  # the answer to another request, such as a 429


@dataclass(frozen=True, slots=True)
class Run:
    """A run of apply. `attempts` is the number of sent starts.

    `said_no`: the last one was answered 400. `doubt`: an earlier one was not.
    """

    at: At = At.OVER
    attempts: int = 0
    said_no: bool = False
    doubt: bool = False
    answer: Heard = Heard.NONE


@dataclass(frozen=True, slots=True)
class Start:
    """A start on its way to the server. `by` is the run that can still receive the answer, or -1.

    `rested` are the runs that have begun to rest since it was sent. They cannot finish resting before it has arrived.
    """

    by: int
    folder: int
    rested: frozenset[int] = frozenset()


# --- the world -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """The limits of an exploration. `folders` is the folder of each run; `runs` is how often a run may begin.

    `crashes` is how many runs may die, `undeclares` how often the declaration may be removed and added again.
    """

    folders: tuple[int, ...] = (0,)
    strict: bool = False
    runs: int = 3
    crashes: int = 2
    undeclares: int = 0
    console: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """The complete state of the model."""

    disks: tuple[Disk, ...]
    runs: tuple[Run, ...]
    starts: tuple[Start, ...] = ()  # unordered, so sorted: worlds that differ only in the order are equal
    running: bool = False
    shows: bool = False
    accepted: int = 0
    accepted_of: frozenset[int] = frozenset()  # the folders whose start was accepted
    resting: frozenset[int] = frozenset()  # the runs that must see the accepted start after they have rested
    begun: int = 0
    crashes: int = 0
    undeclares: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One possible step."""

    what: str
    after: World


def explore(protocol: Protocol, setting: Setting, only: str = "", limit: int = 2_000_000) -> Explored:
    """Visit every reachable world, breadth first, until one breaks a rule (with `only`: that rule)."""
    first = World(disks=(Disk.NOTHING,) * (max(setting.folders) + 1), runs=(Run(),) * len(setting.folders))
    came: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        for step in steps(world, protocol, setting):
            if step.after in came:
                continue
            came[step.after] = (world, step.what)
            broken = breach(step.after)
            if broken and only in {"", broken}:
                return Explored(worlds=len(came), broken=broken, trace=_trace(came, step.after))
            queue.append(step.after)
        assert len(came) < limit, f"more than {limit} states"
    return Explored(worlds=len(came))


@dataclass(frozen=True, slots=True)
class Explored:
    """How many worlds were visited, the broken rule, and the shortest path to it."""

    worlds: int
    broken: str = ""
    trace: tuple[str, ...] = ()


def _trace(came: dict[World, tuple[World, str] | None], last: World) -> tuple[str, ...]:
    told = []
    before = came[last]
    while before is not None:
        told.append(before[1])
        before = came[before[0]]
    return tuple(reversed(told))


def breach(world: World) -> str:
    """The rule that this world breaks, or empty."""
    if world.accepted > 1:
        return "paid twice"
    for folder, disk in enumerate(world.disks):
        if disk is Disk.STARTED and not world.running:
            return "recorded as started, and never was"
        if folder in world.accepted_of and disk is not Disk.STARTED and disk not in _UNCERTAIN:
            return "an outcome is lost"
    return ""


# --- the steps -------------------------------------------------------------------------------------------------------


def steps(world: World, protocol: Protocol, setting: Setting) -> Iterator[Step]:
    """All possible next steps."""
    for number, run in enumerate(world.runs):
        if run.at is At.OVER:
            yield from _begin(world, number, protocol, setting)
        else:
            yield from _go_on(world, number, run, protocol, setting)
            if world.crashes < setting.crashes:
                dead = _end(replace(world, crashes=world.crashes + 1), number)
                yield Step(f"run {number} dies", dead)
    for position in range(len(world.starts)):
        yield from _arrive(world, position, setting)
    if world.running and not world.shows:
        yield Step("the start shows", replace(world, shows=True, resting=frozenset()))
    if setting.console and not world.running and not world.elsewhere:
        elsewhere = replace(world, running=True, elsewhere=True, resting=frozenset())
        yield Step("somebody else starts it", elsewhere)
    if world.undeclares < setting.undeclares and all(run.at is At.OVER for run in world.runs):
        yield from _undeclare(world, protocol)


def _begin(world: World, number: int, protocol: Protocol, setting: Setting) -> Iterator[Step]:
    """A run begins if the lock of its folder is free."""
    folder = setting.folders[number]
    held = any(run.at is not At.OVER and setting.folders[other] == folder for other, run in enumerate(world.runs))
    if world.begun < setting.runs and not (held and protocol.locks):
        begun = replace(world, begun=world.begun + 1)
        yield Step(f"run {number} begins", _with(begun, number, Run(at=At.LOOK)))


def _undeclare(world: World, protocol: Protocol) -> Iterator[Step]:
    """The declaration is removed, an apply forgets the batch, and it is declared again. Unknown outcomes stay."""
    world = replace(world, undeclares=world.undeclares + 1)
    for folder, disk in enumerate(world.disks):
        if protocol.forgets and disk not in {Disk.NOTHING, *_UNCERTAIN}:
            yield Step("taken out and put back", _on_disk(world, folder, Disk.NOTHING))


def _arrive(world: World, position: int, setting: Setting) -> Iterator[Step]:
    """A start reaches the server or is lost. The run receives the true answer or any answer of a proxy."""
    sent = world.starts[position]
    gone = replace(world, starts=world.starts[:position] + world.starts[position + 1 :])
    yield Step("a start is lost", _heard(gone, sent.by, Heard.ERROR))
    if setting.strict and world.running:
        for answer in (Heard.NO, Heard.ERROR):
            yield Step(f"a start is refused, heard: {answer.name}", _heard(gone, sent.by, answer))
        return
    for answer in (Heard.NO, Heard.ERROR, Heard.THROTTLED, Heard.HALF, Heard.FOREIGN):
        yield Step(f"a start is not taken, heard: {answer.name}", _heard(gone, sent.by, answer))
    taken = replace(
        gone,
        running=True,
        shows=world.shows,
        accepted=world.accepted + 1,
        accepted_of=world.accepted_of | {sent.folder},
        resting=world.resting | sent.rested,
    )
    for answer in (Heard.ACCEPTED, Heard.HALF, Heard.NO, Heard.ERROR, Heard.FOREIGN):
        yield Step(f"a start is accepted, heard: {answer.name}", _heard(taken, sent.by, answer))


def _heard(world: World, by: int, answer: Heard) -> World:
    """The world with this answer on its way to the run."""
    if by < 0:
        return world
    return _with(world, by, replace(world.runs[by], answer=answer))


def _go_on(world: World, number: int, run: Run, protocol: Protocol, setting: Setting) -> Iterator[Step]:
    """The possible next steps of a run."""
    folder = setting.folders[number]
    disk = world.disks[folder]
    match run.at:
        case At.LOOK:
            yield from _look(world, number, folder, protocol)
        case At.INTEND:
            after = Disk.UNKNOWN if disk in _UNCERTAIN else Disk.INTENDED
            written = _on_disk(world, folder, after) if protocol.intends and protocol.intends_first else world
            yield Step(f"run {number} intends", _with(written, number, replace(run, at=At.SEND)))
        case At.SEND:
            starts = _sorted(*world.starts, Start(by=number, folder=folder))
            late = protocol.intends and not protocol.intends_first
            sent = replace(run, at=At.INTEND_LATE if late else At.WAIT, attempts=run.attempts + 1, answer=Heard.NONE)
            yield Step(f"run {number} sends", _with(replace(world, starts=starts), number, sent))
        case At.INTEND_LATE:
            written = _on_disk(world, folder, Disk.INTENDED)
            yield Step(f"run {number} intends, late", _with(written, number, replace(run, at=At.WAIT)))
        case At.WAIT:
            yield from _wait(world, number, folder, run, protocol)
        case At.RECORD_STARTED:
            yield Step(f"run {number} records: started", _end(_on_disk(world, folder, Disk.STARTED), number))
        case At.RECORD_UNKNOWN | At.RECORD_NO:
            said_no = run.at is At.RECORD_NO
            after = Disk.UNKNOWN_NO if said_no and not run.doubt else Disk.UNKNOWN
            written = _on_disk(world, folder, after if protocol.records_unknown else Disk.RELEASED)
            yield Step(f"run {number} records: unknown", _with(written, number, replace(run, at=At.READ)))
        case At.READ | At.READ_AGAIN:
            yield from _read(world, number, run, protocol)
        case At.REST:
            waited = all(number not in start.rested for start in world.starts) and number not in world.resting
            if waited:
                yield Step(f"run {number} has rested", _with(world, number, replace(run, at=At.READ_AGAIN)))
        case At.SETTLE:
            yield _settle(world, number, run, folder)
        case At.OVER:
            return


def _look(world: World, number: int, folder: int, protocol: Protocol) -> Iterator[Step]:
    """The list, which may be stale or not contain the batch. The decision table follows."""
    disk = world.disks[folder]
    run = world.runs[number]
    uncertain = disk in _UNCERTAIN and (protocol.verifies_after_crash or disk is not Disk.INTENDED)
    if disk is Disk.STARTED:
        if protocol.removes_early and not world.shows:
            yield Step("its status lags, and it is removed", _end(_on_disk(world, folder, Disk.NOTHING), number))
        yield Step(f"run {number} keeps it", _end(world, number))
        return
    if world.shows:
        yield Step(f"run {number} finds it running", _end(_on_disk(world, folder, Disk.STARTED), number))
    verify = replace(run, at=At.READ, said_no=disk is Disk.UNKNOWN_NO, doubt=disk is Disk.RELEASED)
    if uncertain:
        yield Step(f"run {number} verifies", _with(world, number, verify))
        if protocol.list_releases:
            released = _on_disk(world, folder, Disk.RELEASED)
            yield Step(f"run {number} lists it: submitted", _with(released, number, replace(run, at=At.INTEND)))
        return
    begin = replace(run, at=At.INTEND, doubt=disk is Disk.RELEASED)
    yield Step(f"run {number} decides to start", _with(world, number, begin))


def _wait(world: World, number: int, folder: int, run: Run, protocol: Protocol) -> Iterator[Step]:
    """The answer to a start arrives, or the run stops waiting while the start is still on its way."""
    if run.answer is Heard.NONE:
        left = _sorted(*(replace(start, by=-1) if start.by == number else start for start in world.starts))
        yield from _doubtful(replace(world, starts=left), number, run, protocol, silent=True)
        return
    match run.answer:
        case Heard.ACCEPTED:
            yield Step("accepted", _with(world, number, replace(run, at=At.RECORD_STARTED)))
        case Heard.HALF if protocol.half_is_accepted:
            yield Step("half an answer", _with(world, number, replace(run, at=At.RECORD_STARTED)))
        case Heard.THROTTLED:
            if run.attempts < ATTEMPTS:
                yield Step("throttled", _with(world, number, replace(run, at=At.SEND)))
            else:
                yield Step("throttled to the end", _end(_on_disk(world, folder, Disk.RELEASED), number))
        case Heard.FOREIGN if protocol.believes_foreign and run.attempts < ATTEMPTS:
            yield Step("throttled, says another answer", _with(world, number, replace(run, at=At.SEND)))
        case Heard.ERROR if protocol.error_is_throttled and run.attempts < ATTEMPTS:
            yield Step("an error, repeated", _with(world, number, replace(run, at=At.SEND)))
        case Heard.NO:
            yield from _said_no(world, number, run, protocol)
        case _:
            yield from _doubtful(world, number, run, protocol, silent=False)


def _said_no(world: World, number: int, run: Run, protocol: Protocol) -> Iterator[Step]:
    if protocol.reads_after_no:
        yield Step("a 400", _with(world, number, replace(run, at=At.RECORD_NO, said_no=True)))
    else:
        yield Step("a 400, believed", _with(world, number, replace(run, at=At.SETTLE, said_no=True)))


def _doubtful(world: World, number: int, run: Run, protocol: Protocol, *, silent: bool) -> Iterator[Step]:
    told = "no answer" if silent else "an odd answer"
    if not protocol.reads_after_silence and run.attempts < ATTEMPTS:
        yield Step(f"{told}, sent again", _with(world, number, replace(run, at=At.SEND)))
    else:
        doubtful = replace(run, at=At.RECORD_UNKNOWN, said_no=False)
        yield Step(f"run {number} gives up: {told}", _with(world, number, doubtful))


def _read(world: World, number: int, run: Run, protocol: Protocol) -> Iterator[Step]:
    """A single status read. A lagging status is `submitted`."""
    first = run.at is At.READ
    if protocol.reads_foreign:
        told = replace(run, at=At.REST if first else At.SETTLE)
        yield Step(
            f"run {number} reads of another batch: submitted", _with(_rests(world, number, protocol), number, told)
        )
    if world.shows:
        yield Step(f"run {number} reads: running", _with(world, number, replace(run, at=At.RECORD_STARTED)))
    elif first and protocol.reads_needed > 1:
        told = replace(run, at=At.REST if protocol.rests else At.READ_AGAIN)
        yield Step(f"run {number} reads: submitted", _with(_rests(world, number, protocol), number, told))
    else:
        yield Step(f"run {number} reads again: submitted", _with(world, number, replace(run, at=At.SETTLE)))
    if protocol.silence_is_submitted:
        yield Step(f"run {number} reads nothing", _with(world, number, replace(run, at=At.SETTLE)))
    else:
        yield Step(f"run {number} reads nothing", _end(world, number))


def _rests(world: World, number: int, protocol: Protocol) -> World:
    """The world in which that run has begun to rest: it must see what was sent until now."""
    starts = _sorted(
        *(
            start if protocol.trusts_clocks and start.by < 0 else replace(start, rested=start.rested | {number})
            for start in world.starts
        )
    )
    waits = world.running and not world.shows
    return replace(world, starts=starts, resting=world.resting | ({number} if waits else frozenset()))


def _settle(world: World, number: int, run: Run, folder: int) -> Step:
    """Nothing was started: the attempt is released and may be repeated, or it was refused."""
    if run.said_no:
        written = world if run.doubt else _on_disk(world, folder, Disk.REJECTED)
        return Step(f"run {number} records: rejected", _end(written, number))
    released = _on_disk(world, folder, Disk.RELEASED)
    if run.attempts >= ATTEMPTS:
        return Step(f"run {number} releases it", _end(released, number))
    again = replace(run, at=At.INTEND, doubt=True, answer=Heard.NONE)
    return Step(f"run {number} releases it, and tries again", _with(released, number, again))


def _on_disk(world: World, folder: int, disk: Disk) -> World:
    """The world with this on disk. A started batch stays started (`state.events.BEYOND`)."""
    if world.disks[folder] is Disk.STARTED and disk is not Disk.NOTHING:
        return world
    return replace(world, disks=(*world.disks[:folder], disk, *world.disks[folder + 1 :]))


def _sorted(*starts: Start) -> tuple[Start, ...]:
    return tuple(sorted(starts, key=lambda start: (start.by, start.folder, sorted(start.rested))))


def _with(world: World, number: int, run: Run) -> World:
    return replace(world, runs=(*world.runs[:number], run, *world.runs[number + 1 :]))


def _end(world: World, number: int) -> World:
    """The run ends. Answers that are still on their way are not received."""
    starts = _sorted(
        *(
            Start(by=-1 if start.by == number else start.by, folder=start.folder, rested=start.rested - {number})
            for start in world.starts
        )
    )
    return _with(replace(world, starts=starts, resting=world.resting - {number}), number, Run())
