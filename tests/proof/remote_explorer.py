"""A model of a remote state (`state.remote`), small enough to visit every state of it.

Two registers with conditional writes (journal, state), one batch, and runs that die, pause and wake. Each thing that
can happen in another order is a step of its own, and `explore` takes them in every order: a write that is lost or takes
place after its run has given up on it, an answer that never comes, a start that arrives late, a lease that passes.

Time is one step: a full lease has gone by. It makes the present journal `quiet` (it may be taken over) and every run's
certainty old. The settle time is one rule: who has rested has waited until each start that was on its way when the rest
began has arrived. A run that is paused is a run that takes no step; it may wake at any later time.

A tag matters only by whether it is the present one. So a run has `journal_valid` and `state_valid`: what it knows is
what is there. A write has `valid`: its condition would hold now, None for a write without one. Every other write makes
them false for ever, because no content is written twice.

A `Protocol` says in one word each what the client does. `Protocol()` is ours, and what differs from it is a mutant.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Protocol:
    """What the client does. Every default is what ours does; the comments say what another value means."""

    fences: bool = True  # False: the journal is written without a condition
    swaps: bool = True  # False: the state is written without a condition
    intends_first: bool = True  # False: the intent is written after the start has left
    folds: bool = True  # False: a dead run's journal is overwritten without becoming part of the state
    commits_first: bool = True  # False: the journal is closed before the state is written
    silence_is_no: bool = True  # False: a write without an answer is taken for done
    reads_back: bool = True  # False: a refusal is believed, though it may answer our own write
    waits: bool = True  # False: takes over whenever it likes
    checks: bool = True  # False: a start leaves however old the certainty is
    from_begin: bool = True  # False: certainty counts from the answer to a write
    verifies: bool = True  # False: an intent without an outcome was not made
    unique: bool = True  # False: two writes may have the same content, and so the same tag
    state_after: bool = True  # False: the state is read before the journal is ours
    owes: bool = True  # False: who took over by force does not wait a lease before it releases an attempt
    rests: bool = True  # False: the second read follows the first at once


@dataclass(frozen=True, slots=True)
class Setting:
    """The world, and how much may go wrong in it.

    `losses` counts answers to writes that never come; `times` how often a lease may pass; `force` how often a run that
    lives is unlocked. With `gap` a run may be paused for a lease between its last look and its send. `strict`: the
    server refuses to start what runs.
    """

    runs: int = 2
    crashes: int = 1
    losses: int = 1
    times: int = 2
    strict: bool = False
    gap: bool = False
    force: int = 0
    ignores: bool = False  # the store ignores conditions
    attempts: int = 2
    answers: bool = True  # an answer of the server may be lost


class Phase(IntEnum):
    """What is known of the batch."""

    NOTHING = 0
    INTENDED = 1
    UNKNOWN = 2
    RELEASED = 3
    STARTED = 4


class Kind(StrEnum):
    """An event."""

    INTENDED = "intended"
    UNKNOWN = "unknown"
    RELEASED = "released"
    STARTED = "started"


_UNCERTAIN: Final = (Phase.INTENDED, Phase.UNKNOWN)
_STEP: Final[Mapping[Kind, Mapping[Phase, Phase]]] = {
    Kind.INTENDED: {
        Phase.NOTHING: Phase.INTENDED,
        Phase.RELEASED: Phase.INTENDED,
        Phase.INTENDED: Phase.UNKNOWN,
        Phase.UNKNOWN: Phase.UNKNOWN,
        Phase.STARTED: Phase.STARTED,
    },
    Kind.UNKNOWN: {phase: Phase.STARTED if phase is Phase.STARTED else Phase.UNKNOWN for phase in Phase},
    Kind.RELEASED: {phase: phase if phase in {Phase.NOTHING, Phase.STARTED} else Phase.RELEASED for phase in Phase},
    Kind.STARTED: dict.fromkeys(Phase, Phase.STARTED),
}

JOURNAL: Final = "journal"
STATE: Final = "state"


class Event(NamedTuple):
    """An event of a run."""

    run: int
    seq: int
    kind: Kind


class Journal(NamedTuple):
    """What stands in the journal; `quiet` once it has not changed for a lease."""

    run: int
    open: bool
    events: tuple[Event, ...]
    quiet: bool = False


class State(NamedTuple):
    """What stands in the state: the phase, and how far each run is folded in."""

    phase: Phase
    seqs: tuple[int, ...]


class Write(NamedTuple):
    """A write that a run waits for, and what comes `then`."""

    register: str
    content: Journal | State
    then: str


class Run(NamedTuple):
    """One run. `at` is where in its program it is; `landed`: its write is what is there now."""

    at: str = "idle"
    journal_valid: bool = False
    state_valid: bool = False
    base: State | None = None
    events: tuple[Event, ...] = ()
    seq: int = 0
    attempts: int = 0
    fresh: bool = False
    fresh_if_done: bool = False
    write: Write | None = None
    landed: bool = False
    heard: str = ""
    owes: bool = False


class Pending(NamedTuple):
    """A write on its way. `live`: its run waits for the answer; `old`: its run has begun another one since."""

    register: str
    by: int
    content: Journal | State
    valid: bool | None
    live: bool
    old: bool


class Start(NamedTuple):
    """A start on its way; `rested`: the runs whose rest began while it was."""

    by: int
    live: bool
    rested: tuple[int, ...]


class World(NamedTuple):
    """Everything."""

    journal: Journal | None
    state: State | None
    runs: tuple[Run, ...]
    writes: tuple[Pending, ...] = ()
    starts: tuple[Start, ...] = ()
    running: bool = False
    accepted: int = 0
    begun: int = 0
    crashes: int = 0
    losses: int = 0
    times: int = 0
    force: int = 0


Step = tuple[str, World]


class Explored(NamedTuple):
    """How many worlds were visited, what is broken (empty: nothing), and the steps that lead there."""

    worlds: int
    broken: str
    trace: tuple[str, ...]


def explore(protocol: Protocol, setting: Setting, only: str = "") -> Explored:
    """Visit every world, or stop at the first that is broken (`only`: in this way)."""
    return _Explorer(protocol, setting).explore(only)


def _fold(state: State | None, events: Iterable[Event], runs: int) -> State:
    phase, known = state or State(Phase.NOTHING, (0,) * runs)
    seqs = list(known)
    for event in events:
        if event.seq > seqs[event.run]:
            seqs[event.run] = event.seq
            phase = _STEP[event.kind][phase]
    return State(phase, tuple(seqs))


def _sorted_writes(writes: Iterable[Pending]) -> tuple[Pending, ...]:
    return tuple(sorted(writes, key=repr))


def _sorted_starts(starts: Iterable[Start]) -> tuple[Start, ...]:
    return tuple(sorted(starts))


def _with(world: World, number: int, run: Run) -> World:
    return world._replace(runs=(*world.runs[:number], run, *world.runs[number + 1 :]))


class _Explorer:
    """One protocol in one setting."""

    def __init__(self, protocol: Protocol, setting: Setting) -> None:
        self.protocol, self.setting = protocol, setting

    def explore(self, only: str) -> Explored:
        first = World(None, None, (Run(),) * self.setting.runs)
        came: dict[World, tuple[World, str] | None] = {first: None}
        queue = deque([first])
        while queue:
            world = queue.popleft()
            for what, after in self.steps(world):
                if after in came:
                    continue
                came[after] = (world, what)
                broken = self.broken(after)
                if broken and only in {"", broken}:
                    return Explored(len(came), broken, _trace(came, after))
                queue.append(after)
        return Explored(len(came), "", ())

    def broken(self, world: World) -> str:
        """The promise that this world breaks."""
        if world.accepted > 1:
            return "paid twice"
        known = self.fold(world.state, world.journal.events if world.journal else ()).phase
        if world.accepted and known is not Phase.STARTED and known not in _UNCERTAIN:
            return "an outcome is lost"
        if known is Phase.STARTED and not world.running:
            return "recorded as started, and never was"
        return ""

    def fold(self, state: State | None, events: Iterable[Event] = ()) -> State:
        return _fold(state, events, self.setting.runs)

    # --- What can happen in a world ---

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen next."""
        for number, run in enumerate(world.runs):
            if run.at == "idle":
                if world.begun == number:
                    base = None if self.protocol.state_after else self.fold(world.state)
                    begun = run._replace(at="look", base=base, state_valid=not self.protocol.state_after)
                    yield f"run {number} begins", _with(world._replace(begun=number + 1), number, begun)
            elif run.at != "over":
                yield from self.go(world, number, run)
                if world.crashes < self.setting.crashes:
                    yield f"run {number} dies", _end(world._replace(crashes=world.crashes + 1), number)
        yield from self.writes(world)
        yield from self.starts(world)
        if world.times < self.setting.times and (self.setting.gap or all(run.at != "gap" for run in world.runs)):
            journal = world.journal._replace(quiet=True) if world.journal else None
            runs = tuple(run._replace(fresh=False, fresh_if_done=False, owes=False) for run in world.runs)
            yield "a lease passes", world._replace(times=world.times + 1, journal=journal, runs=runs)

    def writes(self, world: World) -> Iterator[Step]:
        """A write arrives at the store."""
        for at, write in enumerate(world.writes):
            after = world._replace(writes=world.writes[:at] + world.writes[at + 1 :])
            holds = self.setting.ignores or write.valid is not False
            if holds:
                after = self.land(after, write)
            if write.live:
                heard = after.runs[write.by]._replace(heard="yes" if holds else "no")
                yield f"write of run {write.by} to {write.register}: {heard.heard}", _with(after, write.by, heard)
            elif holds:
                yield f"LATE write of run {write.by} to {write.register}", after

    def land(self, world: World, write: Pending) -> World:
        """A write takes place: all other knowledge of the register is outdated."""
        is_journal = write.register == JOURNAL
        unseen = False
        if is_journal:
            assert isinstance(write.content, Journal)
            present = world.journal
            unseen = not self.protocol.unique and present is not None and present._replace(quiet=False) == write.content
            content = write.content._replace(quiet=present.quiet) if unseen and present else write.content
            world = world._replace(journal=content)
        else:
            assert isinstance(write.content, State)
            world = world._replace(state=write.content)
        runs = []
        for number, run in enumerate(world.runs):
            ours = run.write is not None and run.write.register == write.register
            if not unseen:
                run = run._replace(landed=run.landed and not ours)  # noqa: PLW2901  # the run after this write
                run = run._replace(journal_valid=False) if is_journal else run._replace(state_valid=False)  # noqa: PLW2901  # the same
            if number == write.by and ours and not write.old and run.at in {"wait", "back"}:
                run = run._replace(landed=True)  # noqa: PLW2901  # the same
            runs.append(run)
        others = world.writes
        if not unseen:
            others = tuple(
                one._replace(valid=None if one.valid is None else False) if one.register == write.register else one
                for one in others
            )
        kept = _sorted_writes(one for one in others if one.live or one.valid is not False)
        return world._replace(runs=tuple(runs), writes=kept)

    def starts(self, world: World) -> Iterator[Step]:
        """A start arrives at the server."""
        for at, start in enumerate(world.starts):
            after = world._replace(starts=world.starts[:at] + world.starts[at + 1 :])
            if self.setting.strict and world.running:
                yield f"start of run {start.by} refused", _heard(after, start, "error")
                continue
            taken = after._replace(running=True, accepted=world.accepted + 1)
            yield f"start of run {start.by} ACCEPTED", _heard(taken, start, "accepted")
            if start.live and self.setting.answers:
                yield f"start of run {start.by} ACCEPTED, not heard", _heard(taken, start, "error")
            yield f"start of run {start.by} not taken", _heard(after, start, "error")

    # --- What a run does next ---

    def go(self, world: World, number: int, run: Run) -> Iterator[Step]:
        match run.at:
            case "look":
                yield from self.look(world, number, run._replace(journal_valid=True))
            case "wait":
                yield from self.wait(world, number, run)
            case "back":
                yield from self.back(world, number, run)
            case "read state":
                yield from self.decide(world, number, run)
            case "intend" if self.protocol.intends_first:
                yield f"run {number} intends", self.record(world, number, run, Kind.INTENDED, "check")
            case "intend":
                yield f"run {number} goes on, intent not written", _with(world, number, run._replace(at="check"))
            case "check" if run.fresh or not self.protocol.checks:
                yield f"run {number} is sure", _with(world, number, run._replace(at="gap"))
            case "check":
                renewed = Journal(number, open=True, events=run.events)
                yield f"run {number} asks again", self.issue(world, number, run, Write(JOURNAL, renewed, "check"))
            case "gap":
                yield from self.send(world, number, run)
            case "answer":
                yield from self.answer(world, number, run)
            case "read" | "read again":
                yield from self.read(world, number, run)
            case "rest":
                if all(number not in start.rested for start in world.starts):
                    yield f"run {number} has rested", _with(world, number, run._replace(at="read again"))
            case "close":
                yield f"run {number} commits", self.commit(world, number, run)
            case _:
                raise AssertionError(run.at)

    def look(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """Read the journal: take it if it is free, or quiet, or by force."""
        journal = world.journal
        ours = Journal(number, open=True, events=())
        if journal is None or not journal.open:
            yield (
                f"run {number} finds the journal free",
                self.issue(world, number, run, Write(JOURNAL, ours, "held")),
            )
            return
        if journal.run == number:
            return
        ways = [False] if journal.quiet or not self.protocol.waits else []
        ways += [True] if world.force < self.setting.force else []
        for by_force in ways:
            after = world._replace(force=world.force + by_force)
            taker = run._replace(owes=by_force and self.protocol.owes)
            word = "unlocks by force" if by_force else "takes over"
            folded = self.fold(world.state, journal.events)
            if self.protocol.folds and folded != self.fold(world.state):
                taker = taker._replace(state_valid=True)
                yield (
                    f"run {number} {word}, folds {len(journal.events)} in",
                    self.issue(after, number, taker, Write(STATE, folded, "take")),
                )
            else:
                yield f"run {number} {word}", self.issue(after, number, taker, Write(JOURNAL, ours, "held"))

    def wait(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """Wait for the answer to a write."""
        back = run._replace(at="back")
        if run.heard == "yes":
            yield from self.done(world, number, run)
        elif run.heard == "no":
            after = _with(world, number, back) if self.protocol.reads_back else _end(world, number)
            yield f"run {number} is told no", after
        elif world.losses < self.setting.losses:
            lost = world._replace(losses=world.losses + 1)
            if not any(write.by == number and write.live for write in world.writes):
                yield f"run {number} hears nothing of a write that took place", _with(lost, number, back)
                return
            writes = _sorted_writes(
                write._replace(live=False) if write.by == number else write
                for write in world.writes
                if write.by != number or write.valid is not False
            )
            lost = lost._replace(writes=writes)
            if self.protocol.silence_is_no:
                yield f"run {number} hears nothing", _with(lost, number, back)
            else:
                yield from self.done(lost, number, run)

    def back(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """Read back what is there, and judge by that alone."""
        assert run.write is not None
        register, _, then = run.write
        is_journal = register == JOURNAL
        if run.landed:
            known = run._replace(journal_valid=True) if is_journal else run._replace(state_valid=True)
            yield from self.done(world, number, known)
        elif run.journal_valid if is_journal else run.state_valid:
            if sum(write.by == number for write in world.writes) < 2:
                yield f"run {number} writes again", _again(world, number, run)
        elif is_journal:
            if world.journal is not None and world.journal.run == number and world.journal.open:
                known = run._replace(journal_valid=True)
                yield f"run {number} finds an earlier write of its own", self.issue(world, number, known, run.write)
            elif then == "held":
                yield f"run {number} was not first", _with(world, number, run._replace(at="look", events=()))
            else:
                yield f"run {number} is fenced", _end(world, number)
        elif then == "take":
            yield f"run {number} was not first", _with(world, number, run._replace(at="look"))
        else:
            known = run._replace(base=self.fold(world.state), state_valid=True)
            yield f"run {number} folds again", self.commit(world, number, known)

    def decide(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """Read the state, and decide what becomes of the batch."""
        if self.protocol.state_after:
            run = run._replace(base=self.fold(world.state), state_valid=True)
        assert run.base is not None
        if run.base.phase is Phase.STARTED:
            yield f"run {number} keeps it", self.commit(world, number, run)
        elif run.base.phase in _UNCERTAIN and self.protocol.verifies:
            yield f"run {number} verifies", _with(world, number, run._replace(at="read"))
        else:
            yield f"run {number} decides to start", _with(world, number, run._replace(at="intend"))

    def send(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """The start leaves."""
        sent = world._replace(starts=_sorted_starts((*world.starts, Start(number, live=True, rested=()))))
        run = run._replace(at="answer", attempts=run.attempts + 1, heard="")
        if self.protocol.intends_first:
            yield f"run {number} SENDS", _with(sent, number, run)
        else:
            yield f"run {number} SENDS, then intends", self.record(sent, number, run, Kind.INTENDED, "answer")

    def answer(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """The start was answered, or is given up on."""
        if run.heard == "accepted":
            yield f"run {number} records: started", self.record(world, number, run, Kind.STARTED, "close")
        elif run.heard or self.setting.answers:
            starts = _sorted_starts(
                start._replace(live=False) if start.by == number else start for start in world.starts
            )
            given_up = world._replace(starts=starts)
            word = "an error" if run.heard else "no answer"
            yield f"run {number} records: unknown ({word})", self.record(given_up, number, run, Kind.UNKNOWN, "read")

    def read(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """Read the status of the batch, twice before an attempt is released."""
        if run.owes:
            return  # a lease has to pass before the first read
        if world.running:
            yield f"run {number} reads: running", self.record(world, number, run, Kind.STARTED, "close")
        elif run.at == "read" and self.protocol.rests:
            starts = _sorted_starts(
                start._replace(rested=tuple(sorted({*start.rested, number}))) for start in world.starts
            )
            rests = _with(world._replace(starts=starts), number, run._replace(at="rest"))
            yield f"run {number} reads: submitted; rests", rests
        else:
            then = "intend" if run.attempts < self.setting.attempts else "close"
            yield (
                f"run {number} reads again: submitted; releases",
                self.record(world, number, run, Kind.RELEASED, then),
            )

    # --- Writing ---

    def issue(self, world: World, number: int, run: Run, write: Write) -> World:
        """Begin a write."""
        is_journal = write.register == JOURNAL
        conditional = self.protocol.fences if is_journal else self.protocol.swaps
        valid = (run.journal_valid if is_journal else run.state_valid) if conditional else None
        writes = [
            one._replace(old=True) if (one.by, one.register) == (number, write.register) else one
            for one in world.writes
        ]
        pending = Pending(write.register, number, write.content, valid, live=True, old=False)
        world = world._replace(writes=_sorted_writes([*writes, pending]))
        waits = run._replace(at="wait", write=write, heard="", fresh_if_done=True, landed=False)
        return _with(world, number, waits)

    def record(self, world: World, number: int, run: Run, kind: Kind, then: str) -> World:
        """Write the journal with one event more."""
        events = (*run.events, Event(number, run.seq + 1, kind))
        run = run._replace(seq=run.seq + 1, events=events)
        return self.issue(world, number, run, Write(JOURNAL, Journal(number, open=True, events=events), then))

    def commit(self, world: World, number: int, run: Run) -> World:
        """Write the state, if anything has changed; then close the journal."""
        closed = Journal(number, open=False, events=())
        if not self.protocol.commits_first and run.at != "closed":
            return self.issue(world, number, run, Write(JOURNAL, closed, "closed"))
        state = self.fold(run.base, run.events)
        if state != run.base:
            return self.issue(world, number, run, Write(STATE, state, "committed"))
        if self.protocol.commits_first:
            return self.issue(world, number, run, Write(JOURNAL, closed, "end"))
        return _end(world, number)

    def done(self, world: World, number: int, run: Run) -> Iterator[Step]:
        """A write took place."""
        assert run.write is not None
        register, content, then = run.write
        if register == JOURNAL:
            fresh = run.fresh_if_done if self.protocol.from_begin else True
            run = run._replace(journal_valid=run.journal_valid or run.landed, fresh=fresh)
        else:
            assert isinstance(content, State)
            run = run._replace(state_valid=run.state_valid or run.landed, base=content)
        run = run._replace(write=None, heard="", landed=False)
        match then:
            case "held":
                yield f"run {number} holds the journal", _with(world, number, run._replace(at="read state"))
            case "take":
                ours = Journal(number, open=True, events=())
                yield f"run {number} has folded it in", self.issue(world, number, run, Write(JOURNAL, ours, "held"))
            case "committed" if self.protocol.commits_first:
                closed = Journal(number, open=False, events=())
                yield f"run {number} has committed", self.issue(world, number, run, Write(JOURNAL, closed, "end"))
            case "closed":
                yield f"run {number} has closed", self.commit(world, number, run._replace(at="closed"))
            case "end" | "committed":
                yield f"run {number} ends", _end(world, number)
            case _:
                yield f"run {number}: written", _with(world, number, run._replace(at=then))


def _trace(came: Mapping[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    trace = []
    step = came[world]
    while step is not None:
        trace.append(step[1])
        step = came[step[0]]
    return tuple(reversed(trace))


def _heard(world: World, start: Start, what: str) -> World:
    if not start.live:
        return world
    return _with(world, start.by, world.runs[start.by]._replace(heard=what))


def _again(world: World, number: int, run: Run) -> World:
    """The same bytes once more, under the same tag."""
    assert run.write is not None
    pending = Pending(run.write.register, number, run.write.content, valid=True, live=True, old=False)
    waits = run._replace(at="wait", heard="", fresh_if_done=True)
    return _with(world._replace(writes=_sorted_writes([*world.writes, pending])), number, waits)


def _end(world: World, number: int) -> World:
    """The run is over: nobody hears what it still has on its way."""
    writes = _sorted_writes(
        write._replace(live=False) if write.by == number else write
        for write in world.writes
        if write.by != number or write.valid
    )
    starts = _sorted_starts(
        start._replace(live=start.live and start.by != number, rested=tuple(n for n in start.rested if n != number))
        for start in world.starts
    )
    return _with(world._replace(writes=writes, starts=starts), number, Run(at="over"))
