"""Starting up, and plans that find nothing to do."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from batchform.config.loader import load
from batchform.model import Service
from batchform.state.codec import encode_state
from batchform.state.events import Event, Intended, Started, fold
from batchform.state.known import Evidence, State
from tests.bench import peers
from tests.bench.measure import Spent, in_turns, megabytes, spend
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from batchform.state.events import What
    from tests.bench.table import Table

OURS: Final = (sys.executable, "-m", "batchform")
_PLAN: Final = (*OURS, "plan", "--detailed-exitcode")


def settled(folder: Path, count: int) -> None:
    """A configuration and the state in which everything it declares was started."""
    peers.declare(folder, count)
    happened: list[What] = [Intended(reference_id="november"), Started(status="processing", evidence=Evidence.ANSWER)]
    at = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)
    pairs = [(batch, what) for batch in load([folder / "batchform.yaml"]).batches for what in happened]
    events = [
        Event(run="r1", seq=seq, at=at, batch_id=batch.batch_id, name=batch.name, what=what)
        for seq, (batch, what) in enumerate(pairs, start=1)
    ]
    empty = State(lineage="l", service=Service.PHONE, endpoint="https://api.experianaperture.io")
    folder.joinpath("batchform.state.json").write_bytes(encode_state(fold(empty, events)))


def startup(table: Table, folder: Path, rounds: int) -> None:
    """Commands that only print."""
    peers.declare(folder / "one", 1)
    run: Mapping[str, Callable[[], Spent]] = {
        "pass": partial(spend, (sys.executable, "-c", "pass"), folder),
        "--version": partial(spend, (*OURS, "--version"), folder),
        "--help": partial(spend, (*OURS, "--help"), folder),
        "completion": partial(
            spend, OURS, folder, _BATCHFORM_COMPLETE="bash_complete", COMP_WORDS="batchform pl", COMP_CWORD="1"
        ),
    }
    spent = in_turns(rounds, run)
    for what in ("--version", "--help", "completion"):
        table.add(
            Row(what=what, peer="python -c pass", ours=spent[what].seconds, theirs=spent["pass"].seconds, goal=4.5)
        )


def plans(table: Table, folder: Path, rounds: int, *, quick: bool) -> None:
    """Plans that find nothing to do, and files that are hard to refuse."""
    thousand(table, folder, rounds)
    ten_thousand(table, folder, rounds, terraform=not quick)
    if not quick:
        a_hundred_thousand(table, folder, rounds)
    worst(table, folder, rounds)


def _prepared(folder: Path, count: int, terraform: Sequence[str]) -> dict[str, Callable[[], Spent]]:
    """Everybody's plan of so many."""
    settled(folder / "ours", count)
    found: dict[str, Callable[[], Spent]] = {
        "ours": partial(spend, _PLAN, folder / "ours"),
        "by hand": partial(spend, peers.by_hand(folder / "ours"), folder / "ours"),
    }
    if peers.has("octodns"):
        words = peers.octodns(folder / "octodns", count)
        found["octodns"] = partial(spend, words, folder / "octodns")
    if peers.there_is("terraform"):
        for kind in terraform:
            (peers.terraform_blocks if kind == "blocks" else peers.terraform_for_each)(folder / kind, count)
            found[kind] = partial(spend, peers.TERRAFORM_PLAN, folder / kind)
    return found


def _against(spent: Mapping[str, Spent], name: str, missing: str = "") -> dict[str, Any]:
    """The figures of a row: our seconds, and the peer's, or why there are none."""
    other = spent.get(name)
    return {
        "ours": spent["ours"].seconds,
        "theirs": other.seconds if other else None,
        "note": "" if other else missing,
    }


_BY_HAND: Final = "CSafeLoader + jsonschema, by hand"
_NO_TERRAFORM: Final = "no terraform on PATH"
_NO_OCTODNS: Final = "octodns is not installed"


def thousand(table: Table, folder: Path, rounds: int) -> None:
    """1,000 batches."""
    spent = in_turns(rounds, _prepared(folder / "1000", 1_000, ["blocks", "for_each"]))
    what = "plan, 1,000 batches, no changes"
    table.add(Row(what=what, peer=_BY_HAND, goal=1.3, **_against(spent, "by hand")))
    table.add(Row(what=what, peer="octodns", goal=0.5, **_against(spent, "octodns", _NO_OCTODNS)))
    table.add(Row(what=what, peer="terraform, a block each", goal=0.25, **_against(spent, "blocks", _NO_TERRAFORM)))
    table.add(Row(what=what, peer="terraform, for_each", **_against(spent, "for_each", _NO_TERRAFORM)))


def ten_thousand(table: Table, folder: Path, rounds: int, *, terraform: bool) -> None:
    """10,000 batches. Terraform takes its time, and a gigabyte."""
    spent = in_turns(rounds, _prepared(folder / "10000", 10_000, ["blocks"] if terraform else []))
    what = "plan, 10,000 batches, no changes"
    table.add(Row(what=what, peer=_BY_HAND, goal=1.0, **_against(spent, "by hand")))
    table.add(Row(what=what, peer="octodns", goal=0.2, **_against(spent, "octodns", _NO_OCTODNS)))
    missing = _NO_TERRAFORM if terraform else "not in --quick"
    table.add(Row(what=what, peer="terraform, a block each", goal=0.1, **_against(spent, "blocks", missing)))
    blocks = spent.get("blocks")
    table.add(
        Row(
            what=f"{what}: memory",
            peer="terraform, a block each",
            ours=megabytes(_PLAN, folder / "10000" / "ours"),
            theirs=megabytes(peers.TERRAFORM_PLAN, folder / "10000" / "blocks") if blocks else None,
            unit="MB",
            goal=0.1,
            note="" if blocks else missing,
        )
    )


def a_hundred_thousand(table: Table, folder: Path, rounds: int) -> None:
    """100,000 batches, against 10,000."""
    settled(folder / "100000", 100_000)
    small, large = folder / "10000" / "ours", folder / "100000"
    spent = in_turns(rounds, {"small": partial(spend, _PLAN, small), "large": partial(spend, _PLAN, large)})
    table.add(
        Row(
            what="plan, 100,000 batches, no changes",
            peer="batchform, 10,000",
            ours=spent["large"].seconds,
            theirs=spent["small"].seconds,
            goal=12,
        )
    )


_LARGEST: Final = 16 << 20
"""Bytes: the largest configuration file that is read."""

_HARD: Final = {
    "mappings": ("version: 1\nbatches: [", "{},", "]\n"),
    "lists": ("version: 1\nbatches: [", "[],", "]\n"),
    "numbers": ("version: 1\nbatches: [", "0,", "]\n"),
    "aliases": ("version: 1\nbatches: [&a {},", "*a,", "]\n"),
    "names without a batch": ("version: 1\nbatches:\n", "  b%d:\n", ""),
    "unknown keys": ("version: 1\nbatches:\n a:\n", "  k%d: 1\n", ""),
    "duplicate keys": ("version: 1\nbatches:\n a:\n", "  hold: 1\n", ""),
    "one long text": ("version: 1\nbatches:\n a:\n  batch_id: ", "x", "\n"),
    "unquoted words": ("version: 1\nbatches:\n", "  b%d: {batch_id: 1e5}\n", ""),
    "brackets": ("", "[", ""),
}
"""Files of 16 MiB that are wrong all over: beginning, what is repeated, end. `%d` stands for a number."""


def worst(table: Table, folder: Path, rounds: int) -> None:
    """The hardest file to refuse: seconds and memory."""
    folder = folder / "worst"
    folder.mkdir()
    validate = (*OURS, "validate")
    slowest, heaviest = ("", 0.0), ("", 0.0)
    for name, (begin, unit, end) in _HARD.items():
        folder.joinpath("batchform.yaml").write_text(_repeated(begin, unit, end), encoding="utf-8")
        seconds = in_turns(min(rounds, 3), {name: partial(spend, validate, folder, codes=(1,))})[name].seconds
        slowest = max(slowest, (name, seconds), key=lambda one: one[1])
        heaviest = max(heaviest, (name, megabytes(validate, folder, code=1)), key=lambda one: one[1])
    for (name, figure), unit, limit in ((slowest, "s", 2.0), (heaviest, "MB", 300.0)):
        table.add(
            Row(
                what=f"worst file of 16 MiB ({name})",
                peer=f"{limit:g} {unit}",
                ours=figure,
                theirs=limit,
                unit=unit,
                goal=1.0,
            )
        )


def _repeated(begin: str, unit: str, end: str) -> str:
    """The text: `unit` as often as fits."""
    room = _LARGEST - len(begin) - len(end)
    if "%d" not in unit:
        return begin + unit * (room // len(unit)) + end
    return begin + "".join(unit % number for number in range(room // (len(unit) + 5))) + end
