"""Hostile files: detected or harmless, and never a second start.

State, journal and saved plan are damaged or have false content. In the place of the state, a file beside it or a
temporary file there is a link or a pipe.

Damage is judged in-process, by the functions with which every command reads its files and makes the plan: what it would
start is what would be sent. All else, and a part of the damage, is given to the real command.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.approval import approve
from batchform.errors import BatchformError, StateError
from batchform.model import NOTHING_OBSERVED, Batch, Config, Observed, Reading, Service, Source
from batchform.plan import Action
from batchform.planner import plan
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import load_plan
from batchform.source_text import Place
from batchform.state import disk, journal, reader
from batchform.state.codec import decode_state, digest, encode_state
from batchform.state.event_codec import encode_event
from batchform.state.events import Unknown, fold
from batchform.state.known import Cause, Phase, State
from tests.e2e.harness import Warm, site, warmed
from tests.state.samples import DOWN, INTENDED, NOW, RELEASED, STARTED, events, rejected, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchform.plan import Plan
    from batchform.state.events import Event, What

    Report = Callable[[str, object], None]

FILES: Final = disk.paths("/nowhere/batchform.state.json")
ENDPOINT: Final = "https://api.example.test"
PLACE: Final = Place(file="batches.yaml", line=1, column=1, end_line=1, end_column=2)

COMMITTED: Final[dict[str, list[What]]] = {
    "3f0c1f6e-started": [INTENDED, STARTED],
    "81d2c0aa-completed": [INTENDED, STARTED, seen("completed")],
    "5b77e2d1-adopted": [seen("processing")],
    "c4a91b38-unknown": [INTENDED, Unknown(problem=DOWN)],
    "e0f6d527-rejected": [INTENDED, rejected(Cause.NOT_STARTED)],
    "97be3c14-forgotten": [INTENDED, STARTED],
}
"""What the state file holds, by batch."""

JOURNALED: Final[dict[str, list[What]]] = {
    "2a8d45f9-taken": [INTENDED, STARTED],
    "d15c7b60-open": [INTENDED],
    "6e93a8f2-released": [INTENDED, Unknown(problem=DOWN), RELEASED, INTENDED, STARTED],
    "c4a91b38-unknown": [STARTED],
}
"""What the journal of a run that died adds."""

FRESH: Final = "b8204d7c-fresh"
RAN: Final = {*COMMITTED, *JOURNALED} - {"e0f6d527-rejected"}
"""The batches that the server runs, known to the client or not."""


def made() -> tuple[bytes, bytes]:
    """The two files after honest runs."""
    state = State(lineage="1d2f3a4b-lineage", service=Service.PHONE, endpoint=ENDPOINT)
    for number, (batch, whats) in enumerate(COMMITTED.items()):
        state = fold(state, events(*whats, batch=batch, run="run-0", first=10 * number + 1))
    data = encode_state(replace(state, serial=4))
    lines = [
        journal._line(
            {
                "journal": 1,
                "lineage": state.lineage,
                "serial": 4,
                "service": "phone",
                "endpoint": ENDPOINT,
                "run": "run-dead",
            }
        )
    ]
    for number, (batch, whats) in enumerate(JOURNALED.items()):
        happened = events(*whats, batch=batch, run="run-dead", first=10 * number + 1)
        lines += [journal._line(encode_event(event)) for event in happened]
    return data, b"".join(lines)


STATE, JOURNAL = made()
BASE: Final = decode_state(STATE)
EVENTS: Final = journal.replay(JOURNAL, "").events
CONFIG: Final = Config(
    batches=tuple(
        Batch(name=batch, batch_id=batch, place=PLACE)
        for batch in sorted({*COMMITTED, *JOURNALED, FRESH} - {"97be3c14-forgotten"})
    )
)
TRUTH: Final = Observed(
    listed=True,
    readings=MappingProxyType(
        {
            batch: Reading(
                batch_id=batch,
                source=Source.LIST,
                status="processing" if batch in RAN else "submitted",
                records=10,
                date_submitted=NOW,
            )
            for batch in {*RAN, FRESH, "e0f6d527-rejected"}
        }
    ),
)


@dataclass(slots=True)
class Tally:
    """The results for the damaged files."""

    noticed: int = 0
    harmless: int = 0
    tail_lost: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """The number of files."""
        return self.noticed + self.harmless + self.tail_lost + len(self.wrong)

    def __str__(self) -> str:
        lost = f", {self.tail_lost:,} like a torn end (harmless once the account was listed)" if self.tail_lost else ""
        return (
            f"{self.tried:,} tried, {self.noticed:,} noticed, {self.harmless:,} harmless{lost}, {len(self.wrong)} wrong"
        )


def decided(state: State, observed: Observed) -> Plan:
    """The decisions."""
    return plan(CONFIG, state, observed, NOW + timedelta(hours=1), endpoint=ENDPOINT)


def starts(made_plan: Plan) -> set[str]:
    """The batches that would be started."""
    return {change.batch_id for change in made_plan.having(Action.START)}


DECIDED: Final[dict[int, tuple[set[str], set[str]]]] = {}


def decided_on(base: State, happened: tuple[Event, ...]) -> tuple[set[str], set[str]]:
    """The batches that would be started, offline and after a list call. An unchanged state is planned only once."""
    known = len(happened) if base == BASE and happened == EVENTS[: len(happened)] else -1
    if known not in DECIDED or known < 0:
        state = fold(base, happened)
        DECIDED[known] = starts(decided(state, NOTHING_OBSERVED)), starts(decided(state, TRUTH))
    return DECIDED[known]


def judge(state: bytes, lines: bytes | None, tally: Tally, what: str) -> None:
    """Read the files as every command does, and plan offline and after a list call."""
    try:
        base, leftover = reader.combine(reader.names(FILES), state, lines)
        assert base is not None
        blind, seeing = decided_on(base, leftover.events if leftover else ())
    except StateError:
        tally.noticed += 1
        return
    except Exception as error:  # noqa: BLE001  # anything else would be a traceback
        tally.wrong.append(f"{what}: {error!r}")
        return
    lost = leftover is not None and len(leftover.events) < len(EVENTS)
    if seeing & RAN or (blind & RAN and not lost):
        tally.wrong.append(f"{what}: would start {seeing & RAN or blind & RAN}")
    elif blind & RAN:
        tally.tail_lost += 1
    else:
        tally.harmless += 1


def truncations(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut at every byte."""
    for end in range(len(data)):
        yield f"cut at {end}", data[:end]


def flips(data: bytes, count: int, seed: str) -> Iterator[tuple[str, bytes]]:
    """Single inverted bits, all of them if there is room, then two to eight random bits at once."""
    drawn = random.Random(seed)
    bits = range(8 * len(data))
    singles = drawn.sample(bits, min(len(bits), count // 2))
    for bit in singles:
        yield f"bit {bit}", _flipped(data, bit)
    for _ in range(count - len(singles)):
        several = drawn.sample(bits, drawn.randint(2, 8))
        yield f"bits {several}", _flipped(data, *several)


def _flipped(data: bytes, *bits: int) -> bytes:
    damaged = bytearray(data)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def hostile_states(count: int) -> Tally:
    """The state file, with and without a journal."""
    tally = Tally()
    for what, damaged in truncations(STATE):
        judge(damaged, JOURNAL, tally, what)
    for what, damaged in flips(STATE, count, "state"):
        judge(damaged, None, tally, what)
    return tally


def hostile_journals(count: int) -> Tally:
    """The journal beside a valid state file."""
    tally = Tally()
    for what, damaged in truncations(JOURNAL):
        judge(STATE, damaged, tally, what)
    for what, damaged in flips(JOURNAL, count, "journal"):
        judge(STATE, damaged, tally, what)
    return tally


def hostile_plans(count: int) -> Tally:
    """The saved plan, which can only deny."""
    tally = Tally()
    fresh = decided(BASE, TRUTH)
    document = plan_document(replace(fresh, changes=fresh.changes[1:]), version="1.0.0")
    saved = json.dumps(document, indent=1).encode()
    offered = starts(approve(fresh, load_plan(saved)))
    assert offered
    for what, damaged in (*truncations(saved), *flips(saved, count, "plan")):
        try:
            left = starts(approve(fresh, load_plan(damaged)))
        except BatchformError:
            tally.noticed += 1
            continue
        except Exception as error:  # noqa: BLE001  # anything else would be a traceback
            tally.wrong.append(f"{what}: {error!r}")
            continue
        if left <= offered:
            tally.harmless += 1
        else:
            tally.wrong.append(f"{what}: would start {left - offered}, which nobody approved")
    return tally


SMALL, WHOLE = 8_000, 340_000
HOSTILE: Final = {"state": hostile_states, "journal": hostile_journals, "saved plan": hostile_plans}


def report(name: str, count: int, record_property: Report) -> None:
    """Try, judge and report."""
    tally = HOSTILE[name](count)
    assert tally.wrong == []
    assert tally.tried > count
    assert tally.noticed > count // 4
    record_property("counted", f"hostile files, {name}: {tally}")


@pytest.mark.parametrize("name", HOSTILE)
def test_damage_is_noticed_or_harmless(name: str, record_property: Report) -> None:
    """Files cut at every byte, and inverted bits."""
    report(name, SMALL, record_property)


@pytest.mark.full
@pytest.mark.parametrize("name", HOSTILE)
def test_every_damage_is_noticed_or_harmless(name: str, record_property: Report) -> None:
    """Every single bit, and hundreds of thousands of combinations."""
    report(name, WHOLE, record_property)


def test_without_the_digest_damage_would_not_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep finds a reader without digest and checksums."""
    monkeypatch.setattr(reader, "decode_state", lambda data: decode_state(data, trust=True))
    assert hostile_states(4_000).wrong != []


def test_without_the_checksums_damage_would_not_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the journal."""

    def trusting(line: bytes) -> Any:
        try:
            return json.loads(line.partition(b" ")[2])
        except ValueError:
            return None

    monkeypatch.setattr(journal, "_value", trusting)
    assert hostile_journals(4_000).wrong != []


# --- through the real command ----------------------------------------------------------------------------------------

FACTOR: Final = 100.0
FILE: Final = "batchform.state.json"
APPLY: Final = ("apply", "--auto-approve")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Runs commands quickly."""
    with warmed("tests.e2e.warm", FACTOR, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


def poison(path: Path, batch: str, entry: dict[str, Any] | None) -> None:
    """Write false content into the state file, with a correct digest. None removes the entry."""
    document = json.loads(path.read_bytes())
    if entry is None:
        del document["batches"][batch]
    else:
        document["batches"][batch] = entry
    document["digest"] = digest(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    decode_state(path.read_bytes())


def claim(phase: str, **more: Any) -> dict[str, Any]:
    """An entry with this claim."""
    return {"name": "one", "phase": phase, "updated_at": "2026-11-20T09:00:00Z", "run": "forged", **more}


NEVER: Final = {
    "not there": None,
    "seen": claim("seen", status="submitted"),
    "not attempted": claim("not_attempted", attempts=1),
    "released": claim("released", attempts=1, status="submitted"),
    "rejected": claim("rejected", attempts=1, cause="not_started"),
    "rejected for good": claim("rejected", attempts=1, cause="not_found"),
    "undeclared": claim("seen", declared=False),
}


@pytest.mark.parametrize("lie", NEVER)
def test_what_claims_never_to_have_started_but_did_is_adopted(tmp_path: Path, warm: Warm, lie: str) -> None:
    """The account is listed before any decision."""
    with site(tmp_path, {"batches": {"b": {"records": 10}}}) as place:
        place.declare({"one": {"batch_id": "b"}})
        assert warm.apply(place).code == 0
        poison(tmp_path / FILE, "b", NEVER[lie])
        assert "b" not in place.entries() or not place.entries()["b"].recorded_as_started
        assert warm.apply(place).code == 0
        assert len(place.requests("start")) == 1
        assert place.entries()["b"].recorded_as_started
        place.all_is_well(lambda: warm.run(place, *APPLY))


@pytest.mark.parametrize("phase", ["started", "already_started", "adopted", "stopped"])
def test_what_claims_to_be_started_but_is_not_is_a_contradiction(tmp_path: Path, warm: Warm, phase: str) -> None:
    """The contradiction is reported and the batch is never started, in any way, before `state rm`."""
    with site(tmp_path, {"batches": {"a": None, "b": {"records": 10}}}) as place:
        place.declare({"other": {"batch_id": "a"}})
        assert warm.apply(place).code == 0
        poison(tmp_path / FILE, "b", claim(phase, status="processing" if phase != "stopped" else phase, attempts=1))
        place.declare({"one": {"batch_id": "b"}, "other": {"batch_id": "a"}})
        for words in ([], ["--no-refresh"], [], ["--target", "one"]):
            ended = warm.apply(place, *words)
            assert ended.code in ({0, 3} if words == ["--no-refresh"] else {3}), ended
            assert place.requests("start", "b") == []
            assert place.entries()["b"].phase is Phase(phase)
        assert "recorded as started, but now submitted" in warm.run(place, "plan").out
        assert warm.run(place, "state", "rm", "one").code == 0
        assert warm.apply(place).code == 0
        assert len(place.requests("start", "b")) == 1
        place.all_is_well(lambda: warm.run(place, *APPLY))


def test_damaged_files_stop_the_command_before_a_byte_is_sent(tmp_path: Path, warm: Warm) -> None:
    """State, journal and saved plan: exit code 1, and no request is sent."""
    with site(tmp_path, {"batches": dict.fromkeys(["a", "b"])}) as place:
        place.declare({"one": {"batch_id": "a"}})
        assert warm.apply(place).code == 0
        place.declare({"one": {"batch_id": "a"}, "two": {"batch_id": "b"}})
        assert warm.run(place, "plan", "--out", "saved.json").code == 0
        asked = len(place.log.entries)
        state, saved = tmp_path / FILE, tmp_path / "saved.json"
        honest, lines = state.read_bytes(), tmp_path / f"{FILE}.journal"
        drawn = random.Random(8)
        for _ in range(8):
            state.write_bytes(_flipped(honest, drawn.randrange(8 * len(honest))))
            assert warm.run(place, *APPLY).code == 1
        state.write_bytes(honest)
        for damaged in (JOURNAL, b"0000 \n" + JOURNAL, _flipped(JOURNAL, 4_000)):  # of another lineage; incomplete
            lines.write_bytes(damaged)
            assert warm.run(place, *APPLY).code == 1
        lines.unlink()
        whole = saved.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"[]", whole.replace(b'"start"', b'"stop"')):
            saved.write_bytes(damaged)
            assert warm.run(place, "apply", "saved.json").code == 1
        assert len(place.log.entries) == asked
        saved.write_bytes(whole)
        assert warm.run(place, "apply", "saved.json").code == 0
        place.all_is_well(lambda: warm.run(place, *APPLY))


# --- links and pipes -------------------------------------------------------------------------------------------------

RUN: Final = "00000000deadbeef"
"""The id of every run here, so that the names of its temporary files are known. Else they are random."""

READ: Final = (FILE, f"{FILE}.lock", f"{FILE}.journal")
PLACES: Final = (*READ, f"{FILE}.backup", f".{FILE}.{RUN}.tmp", f".{FILE}.{RUN}.backup")
KINDS: Final = {
    "a link to a file outside": "../outside",
    "a link to nothing outside": "../absent",
    "a link to a device": "/dev/full",
    "a link to a pipe": "pipe",
    "a link to a file inside": "inside",
    "a link to itself": None,
    "a pipe": None,
}
SHORT: Final = {"a link to a file outside", "a link to a device", "a pipe"}
"""What the short form of the suite tries."""


def plant(path: Path, kind: str) -> None:
    """Put a link or a pipe there."""
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(KINDS[kind] or path.name)


def outside(folder: Path) -> dict[str, str]:
    """The files beside the checkout."""
    return {path.name: path.read_text() for path in folder.parent.iterdir() if path.is_file()}


@pytest.mark.parametrize("known", [pytest.param(False, marks=pytest.mark.full), True], ids=["no state yet", "a state"])
@pytest.mark.parametrize(
    "kind", [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.full) for kind in KINDS]
)
def test_a_link_or_a_pipe_is_an_error_or_replaced(
    tmp_path: Path,
    warm: Warm,
    kind: str,
    known: bool,  # noqa: FBT001  # a table
    record_property: Report,
) -> None:
    """Nothing is written through it or waits for it. After an error nothing was sent, and no outcome is lost."""
    (tmp_path / "outside").write_text("kept")
    for number, name in enumerate(PLACES):
        folder = tmp_path / str(number)
        (folder / ".git").mkdir(parents=True)
        (folder / "inside").write_text("kept")
        os.mkfifo(folder / "pipe")
        with site(folder, {"batches": dict.fromkeys(["a", "b"])}) as place:
            place.declare({"one": {"batch_id": "a"}})
            if known:
                assert warm.apply(place).code == 0
            place.declare({"one": {"batch_id": "a"}, "two": {"batch_id": "b"}})
            path = folder / name
            honest = path.read_bytes() if known and path.exists() else None
            plant(path, kind)
            starts = len(place.requests("start"))
            ended = warm.run(place, *APPLY, run_id=RUN)
            assert ended.code == (1 if name in READ else 0), (name, ended)
            assert ended.code == 0 or len(place.requests("start")) == starts, (name, ended)
            assert outside(folder) == {"outside": "kept"}
            assert (folder / "inside").read_text() == "kept"
            if ended.code != 0:
                path.unlink()
                if honest is not None:
                    path.write_bytes(honest)
            assert warm.apply(place).code == 0
            place.paid_once(["a", "b"])
            (folder / "pipe").unlink()  # the judge reads every file
            place.all_is_well(lambda: warm.run(place, *APPLY))
    record_property("counted", f"hostile files, {kind}: {len(PLACES)} places, 0 followed, 0 lost")
