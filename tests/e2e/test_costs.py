"""A world with known charges: the history sums up exactly what it charged, whatever happened to the state."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from batchform.model import Service
from batchform.state.codec import encode_state
from batchform.state.events import Event, Intended, Started, fold
from batchform.state.known import Evidence, State, Story
from tests.e2e.harness import Site, Warm, kill, site, warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCHES: Final = 40
TEAMS: Final = ("crm", "fraud")
STATE: Final = "batchform.state.json"
PHONES: Final = "441632960"
"""What the numbers in the results of the simulator begin with."""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all tests of this file."""
    with warmed("tests.e2e.warm", 1.0, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


class Known:
    """What the world charged: the month, the team, the records and the credits of each batch."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.rows = [self._row(number) for number in range(BATCHES)]
        self.labels = {f"b{number:02}": {"team": team} for number, (_, team, *_) in enumerate(self.rows)}

    def _row(self, number: int) -> tuple[datetime, str, int, int]:
        ended = self.now.replace(day=15, hour=12, minute=0, second=0, microsecond=0)
        for _ in range(number % 3 + 1):  # the three months before this one
            ended = (ended.replace(day=1) - timedelta(days=1)).replace(day=15)
        return ended, TEAMS[number % 7 > 2], 100 + number, 1000 + 13 * number

    @property
    def world(self) -> dict[str, Any]:
        """The world: each batch ended in its month, and has its own charge."""
        return {
            f"b{number:02}": {
                "status": "completed",
                "records": records,
                "credits": charge,
                "age": f"{2 * (self.now - ended).total_seconds():.0f}s",  # it ended halfway
            }
            for number, (ended, _, records, charge) in enumerate(self.rows)
        }

    def sums(self, *keys: str) -> Counter[tuple[str, ...]]:
        """The credits by month, team, or both."""
        found: Counter[tuple[str, ...]] = Counter()
        for ended, team, _, charge in self.rows:
            values = {"month": f"{ended:%Y-%m}", "label:team": team}
            found[tuple(values[key] for key in keys)] += charge
        return found

    def started(self, place: Site) -> State:
        """A state in which we started all of them, ten minutes before they ended."""
        empty = State(lineage="l", service=Service.PHONE, endpoint=place.url)
        events: list[Event] = []
        for number, (ended, _, records, _charge) in enumerate(self.rows):
            name = f"b{number:02}"
            for what in (
                Intended(reference_id=name, records=records, labels=self.labels[name]),
                Started(status="processing", evidence=Evidence.ANSWER),
            ):
                at = ended - timedelta(minutes=10)
                events.append(Event(run="r1", seq=len(events) + 1, at=at, batch_id=name, name=name, what=what))
        return fold(empty, events, {"r1": Story(command="apply", who="ann@laptop")})

    def declare(self, place: Site) -> None:
        """All of them, with their teams."""
        place.declare({name: {"batch_id": name, "labels": labels} for name, labels in self.labels.items()})


@pytest.fixture
def known() -> Known:
    """The world's own numbers."""
    return Known()


def told(place: Site, warm: Warm, form: str, *words: str) -> dict[tuple[str, ...], int]:
    """The credits of each group that this format shows."""
    out = warm.run(place, "history", "--by", "month", "--by", "label:team", "--format", form, *words).out
    if form == "json":
        groups = json.loads(out)["groups"]
        return {(group["month"], group["label:team"]): group["credits_charged"] for group in groups}
    if form == "csv":
        rows = csv.DictReader(io.StringIO(out))
        return {(row["month"], row["label:team"]): int(row["credits_charged"]) for row in rows}
    cells = (
        r"\|`([-\d]+)`\|`(\w+)`\|[\d,]+\|[\d,]+\|([\d,]+)"
        if form == "markdown"
        else r"([-\d]+) +(\w+) +[\d,]+ +[\d,]+ +([\d,]+)"
    )
    found = re.findall(rf"^{cells}", out, re.MULTILINE)
    return {(month, team): int(number.replace(",", "")) for month, team, number in found}


def check(place: Site, warm: Warm, known: Known, *words: str) -> None:
    """Each format has exactly the world's sums, by one key and by both."""
    for form in ("text", "csv", "json", "markdown"):
        assert told(place, warm, form, *words) == dict(known.sums("month", "label:team")), form
    for key in ("month", "label:team"):
        document = json.loads(warm.run(place, "history", "--by", key, "--json", *words).out)
        assert {(group[key],): group["credits_charged"] for group in document["groups"]} == dict(known.sums(key))
        assert (document["total"]["starts"], document["total"]["credits_unknown"]) == (BATCHES, 0)
        assert document["total"]["records"] == sum(records for _, _, records, _ in known.rows)
    for path in place.folder.rglob("*"):
        assert path.is_dir() or PHONES not in path.read_text(encoding="utf-8"), path
    assert PHONES not in "".join(place.spoken)


def test_the_history_has_exactly_the_sums_of_the_world(tmp_path: Path, warm: Warm, known: Known) -> None:
    """One call for each batch, also after a refresh that died in the middle, and never a second one."""
    with site(tmp_path, {"batches": known.world, "speed": 0}, latency=0.05) as place:
        known.declare(place)
        (tmp_path / STATE).write_bytes(encode_state(known.started(place)))
        dying = place.begin("refresh", "--credits")
        place.log.wait_for_operation("results", times=12)
        kill(dying)
        assert len(place.requests("results")) < BATCHES
        ended = warm.run(place, "refresh", "--credits")
        assert ended.code == 0, ended
        assert "from an interrupted run" in ended.err
        check(place, warm, known)
        asked = Counter(entry.batch_id for entry in place.requests("results"))
        assert len(asked) == BATCHES
        assert sum(asked.values()) <= BATCHES + 2, "only those in flight are read again"
        actors = json.loads(warm.run(place, "history", "--by", "actor", "--json").out)["groups"]
        assert [(group["actor"], group["starts"]) for group in actors] == [("ann", BATCHES)]
        again = warm.run(place, "refresh", "--credits", "--json")
        assert json.loads(again.out)["charges"]["read"] == 0


def test_a_lost_state_that_was_rebuilt_has_the_same_sums(tmp_path: Path, warm: Warm, known: Known) -> None:
    """The batches are adopted: the charges are known, and they were started elsewhere."""
    with site(tmp_path, {"batches": known.world, "speed": 0, "credits_as_text": True}) as place:
        known.declare(place)
        assert warm.run(place, "refresh", "--credits").code == 0
        check(place, warm, known)
        (group,) = json.loads(warm.run(place, "history", "--by", "actor", "--json").out)["groups"]
        assert (group["actor"], group["adopted"], group["starts"]) == ("elsewhere", BATCHES, BATCHES)


def test_a_merge_of_two_copies_counts_nothing_twice(tmp_path: Path, warm: Warm, known: Known) -> None:
    """Each copy knows the charges of one team and some of the other. The merge knows all, once."""
    with site(tmp_path, {"batches": known.world, "speed": 0}) as place:
        known.declare(place)
        data = encode_state(known.started(place))
        for copy, team in zip(("one.json", "two.json"), TEAMS, strict=True):
            (tmp_path / copy).write_bytes(data)
            words = ("--target", f"label:team={team}", "--target", "b0*")
            assert warm.run(place, "refresh", "--credits", "--state", copy, *words).code == 0
        assert warm.run(place, "state", "merge", "one.json", "two.json", "--out", "both.json").code == 0
        check(place, warm, known, "--state", "both.json")
        known_of_one = told(place, warm, "json", "--state", "one.json")
        assert known_of_one != dict(known.sums("month", "label:team"))


def test_only_some_months(tmp_path: Path, warm: Warm, known: Known) -> None:
    """`--since` and `--until` name whole days, months or years; the end is part of it."""
    with site(tmp_path, {"batches": known.world, "speed": 0}) as place:
        known.declare(place)
        assert warm.run(place, "refresh", "--credits").code == 0
        first, second, third = sorted(month for (month,) in known.sums("month"))
        for words, months in (
            (("--since", second), [second, third]),
            (("--until", second), [first, second]),
            (("--since", f"{second}-15", "--until", f"{second}-15"), [second]),
            (("--since", f"{second}-16", "--until", f"{third}-14"), []),
            (("--until", "2020"), []),
        ):
            found = json.loads(warm.run(place, "history", "--by", "month", "--json", *words).out)
            assert [group["month"] for group in found["groups"]] == months
        assert (
            warm.run(place, "history", "--by", "month", "--until", "2020").out == "Nothing was started in this time.\n"
        )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--by", "year"], "`--by year` is not a key"),
        (["--by", "label:"], "`--by label:` is not a key"),
        (["--by", "month", "--by", "month"], "twice"),
        (["--by", "month,week,day,service,actor"], "too many keys"),
        (["--since", "2026-10"], "need `--by`"),
        (["--by", "month", "--last", "3"], "`--last` counts runs"),
        (["--json", "--format", "csv"], "contradict each other"),
        (["--by", "month", "--since", "2026-13"], "is not a date"),
        (["--by", "month", "--since", "october"], "is not a date"),
        (["--by", "month", "--since", "9999-12-31"], "is not a date"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, warm: Warm, words: list[str], says: str) -> None:
    """The message names what to write instead."""
    with site(tmp_path, {}) as place:
        (tmp_path / STATE).write_bytes(encode_state(State(lineage="l", service=Service.PHONE, endpoint=place.url)))
        ended = warm.run(place, "history", *words)
        assert ended.code == 1
        assert says in " ".join(ended.err.split())
