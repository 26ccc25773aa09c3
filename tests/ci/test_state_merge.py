"""`batchform state merge`, as the workflows call it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from batchform.state.codec import decode_state
from batchform.state.events import Event, Intended
from batchform.state.journal import Header, Journal
from tests.e2e.harness import Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[Site]:
    """Two copies of one state: ours has started `a`, theirs `b`."""
    known = {name: {"records": 10, "age": "2d"} for name in ("base", "a", "b")}
    with site(tmp_path, {"batches": known}, speed=0.0) as made:
        for name in ("base", "a", "b"):
            made.declare({name: {"batch_id": name}}, name=f"{name}.yaml")
        apply = ("apply", "--auto-approve", "--state")
        assert made.run(*apply, "base.json", "-f", "base.yaml", fast=True).code == 0
        for name, side in (("a", "ours"), ("b", "theirs")):
            shutil.copy(tmp_path / "base.json", tmp_path / f"{side}.json")
            assert made.run(*apply, f"{side}.json", "-f", "base.yaml", "-f", f"{name}.yaml", fast=True).code == 0
        yield made


def phases(data: bytes) -> dict[str, str]:
    """The phase of each entry of a state."""
    return {key: entry.phase.value for key, entry in decode_state(data).entries.items()}


def test_it_prints_a_state_with_the_starts_of_both(forked: Site) -> None:
    """In both orders, it prints the same valid state file on stdout."""
    one, other = (
        forked.run("state", "merge", "ours.json", "theirs.json"),
        forked.run("state", "merge", "theirs.json", "ours.json"),
    )
    assert one.code == 0, one
    assert one.out == other.out
    assert phases(one.out.encode()) == dict.fromkeys(("base", "a", "b"), "started")


def test_it_writes_to_out_and_a_second_merge_changes_nothing(forked: Site) -> None:
    """--out may be one of the two; the state before is kept as the backup."""
    before = (forked.folder / "ours.json").read_bytes()
    done = forked.run("state", "merge", "ours.json", "theirs.json", "--out", "ours.json")
    assert (done.code, done.out) == (0, ""), done
    merged = (forked.folder / "ours.json").read_bytes()
    assert set(phases(merged)) == {"base", "a", "b"}
    assert (forked.folder / "ours.json.backup").read_bytes() == before
    assert forked.run("state", "merge", "ours.json", "theirs.json", "--out", "ours.json").code == 0
    assert (forked.folder / "ours.json").read_bytes() == merged
    assert (
        "No changes."
        in forked.run("plan", "--state", "ours.json", "-f", "base.yaml", "-f", "a.yaml", "-f", "b.yaml").out
    )


def test_what_only_the_file_of_out_knows_stays(forked: Site) -> None:
    """Two old copies merged over a newer state would forget its starts. A different state is refused."""
    old = (forked.folder / "ours.json").read_bytes()
    for name in ("old.json", "older.json"):
        (forked.folder / name).write_bytes(old)
    newer = (forked.folder / "theirs.json").read_bytes()
    (forked.folder / "out.json").write_bytes(newer)
    assert forked.run("state", "merge", "old.json", "older.json", "--out", "out.json").code == 0
    assert set(phases((forked.folder / "out.json").read_bytes())) == {"base", "a", "b"}
    assert forked.run("apply", "--auto-approve", "--state", "alien.json", "-f", "b.yaml", fast=True).code == 0
    before = (forked.folder / "alien.json").read_bytes()
    refused = forked.run("state", "merge", "old.json", "older.json", "--out", "alien.json")
    assert refused.code == 1
    assert "two different states" in refused.err
    assert (forked.folder / "alien.json").read_bytes() == before


def test_a_missing_state_and_a_foreign_one_are_errors(forked: Site) -> None:
    """Nothing is written, and the message says that nothing was merged."""
    gone = forked.run("state", "merge", "ours.json", "gone.json", "--out", "out.json")
    assert gone.code == 1
    assert "gone.json does not exist. Check the path" in gone.err
    assert "--state" not in gone.err  # merge has no such option
    document = json.loads((forked.folder / "theirs.json").read_text())
    assert forked.run("apply", "--auto-approve", "--state", "alien.json", "-f", "b.yaml", fast=True).code == 0
    assert json.loads((forked.folder / "alien.json").read_text())["lineage"] != document["lineage"]
    alien = forked.run("state", "merge", "ours.json", "alien.json", "--out", "out.json")
    assert alien.code == 1
    assert "two different states" in alien.err
    assert list(forked.folder.glob("out.json*")) == []  # not even a lock file


def test_a_lone_journal_is_a_copy_too(tmp_path: Path) -> None:
    """A killed first run leaves a journal without a state file. An empty journal adds nothing; no file is an error."""
    with site(tmp_path, {"batches": {"a": {"records": 10, "age": "2d"}}}, speed=0.0) as place:
        place.declare({"a": {"batch_id": "a"}})
        assert place.run("apply", "--auto-approve", "--state", "ours.json", fast=True).code == 0
        known = decode_state((tmp_path / "ours.json").read_bytes())
        header = Header(lineage=known.lineage, serial=0, service=known.service, endpoint=known.endpoint, run="r")
        journal = Journal(tmp_path / "killed.json.journal", header)
        journal.append(
            [Event(run="r", seq=1, at=datetime.now(UTC), batch_id="b", name="b", what=Intended(reference_id="r.1"))]
        )
        journal.close()
        (tmp_path / "empty.json.journal").touch()
        for names in (("ours.json", "killed.json"), ("killed.json", "ours.json")):
            assert phases(place.run("state", "merge", *names).out.encode()) == {"a": "started", "b": "intended"}
        assert phases(place.run("state", "merge", "ours.json", "empty.json").out.encode()) == {"a": "started"}
        nothing = place.run("state", "merge", "empty.json", "gone.json")
        assert nothing.code == 1
        assert "does not exist" in nothing.err
