"""Hostile files, through the real command: one clear error each, in little memory.

`./run bench` shows how fast they are refused. Here, `HANG` only ends a run that would not end by itself.
The broad net is `tests/fuzz_config.py`: malformed files by the thousand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchform.config import advice, reader
from batchform.config.file import File
from batchform.config.problems import MAX_PROBLEMS
from batchform.config.source import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCRIPT = Path(__file__).parents[1] / "fuzz_config.py"
MEASURED = """
import os, sys
child = os.fork()
if not child:
    os.execv(sys.executable, [sys.executable, "-m", "batchform", "validate"])
_, status, used = os.wait4(child, 0)
with open("measured", "w") as file:
    print(os.waitstatus_to_exitcode(status), used.ru_maxrss, file=file)
"""
HANG = 120  # seconds


def sparse(path: Path) -> None:
    """Create a sparse file of one gibibyte."""
    with path.open("wb") as file:
        file.truncate(1 << 30)


def written(text: str) -> Callable[[Path], object]:
    """A function that writes a file with this text."""
    return lambda path: path.write_text(text, encoding="utf-8")


def lines(line: str, count: int) -> str:
    """This many lines, numbered."""
    return "".join(map(line.format, range(count)))


LADDER = "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
HEAD = "version: 1\nbatches:\n  uk:\n    batch_id: uk-1\n"
HARD = {
    "alias-bomb": (
        written("version: 1\na: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + LADDER),
        "batchform.yaml:8:12: ",
        "BF111",
    ),
    "brackets": (written("[" * 100_000), "batchform.yaml:1:33: ", "BF110"),
    "braces": (written("{a: " * 100_000), "batchform.yaml:1:129: ", "BF110"),
    "dashes": (written("- " * 100_000), "batchform.yaml:1:65: ", "BF110"),
    "sparse": (sparse, "", "BF103"),
    "fifo": (os.mkfifo, "", "BF102"),
    "digits": (written(HEAD + f"    records: {'1' * 5000}\n"), "batchform.yaml:5:14: ", "BF204"),
    "digits-as-text": (written(HEAD + f"    description: {'1' * 5000}\n"), "batchform.yaml:5:18: ", "BF209"),
    "one-word": (written("version: 1\n" + "x" * (15 << 20) + ": 1\n"), "batchform.yaml:2:1: ", "BF107"),
    "text-by-aliases": (
        written(f"version: 1\nx: &x '{'é' * 1_000_000}'\nbatches:\n" + lines("  b{}: {{batch_id: *x}}\n", 1000)),
        "batchform.yaml:99:19: ",
        "BF111",
    ),
}


def refused(path: Path) -> tuple[list[str], int]:
    """Validate the file, which must be refused: the lines of output, kilobytes of memory."""
    command = [sys.executable, "-c", MEASURED]
    ended = subprocess.run(command, cwd=path.parent, capture_output=True, check=True, text=True, timeout=HANG)
    exit_code, size = (path.parent / "measured").read_text().split()
    assert exit_code == "1"
    return ended.stderr.splitlines(), int(size) // (1024 if sys.platform == "darwin" else 1)


@pytest.mark.parametrize("name", HARD)
def test_each_ends_in_one_clear_error(name: str, tmp_path: Path) -> None:
    """In less than 100 MB, as the operating system measures."""
    make, place, code = HARD[name]
    make(tmp_path / "batchform.yaml")
    (head, *lines), kilobytes = refused(tmp_path / "batchform.yaml")
    assert (head[: 7 + len(place)], head[-7:]) == (f"Error: {place}", f"[{code}]")
    assert lines[-1] == "1 error."
    assert kilobytes < 100 * 1024


V, B = "version: 1\n", "version: 1\nbatches:\n"
MANY: dict[str, tuple[Callable[[], str], str, bool]] = {
    "duplicates": (lambda: V + "a:\n" * 1_000_000, "BF112", True),
    "keys": (lambda: lines("{}:\n", 1_000_000), "BF113", True),
    "tags": (lambda: f"a: [{'!,' * 1_000_000}]\n", "BF115", True),
    "unknown": (lambda: V + lines("key-{}:\n", 700_000), "BF202", True),
    "missing": (lambda: B + lines(" uk-{}:\n", 700_000), "BF203", True),
    "same-id": (lambda: B + lines(" b{}: {{batch_id: same}}\n", 240_000), "BF301", True),
    "version-last": (lambda: "batches:\n" + lines(" uk-{}:\n", 700_000) + V, "BF203", True),
    "begins-well": (
        lambda: B + lines(" g{0}: {{batch_id: g{0}}}\n", 4000) + lines(" b{}: {{x: 1}}\n", 240_000),
        "BF202",
        True,
    ),
    "one-batch": (lambda: f"{B} uk: {{{lines('a{}: 1,', 700_000)}}}\n", "BF202", True),
    "shared": (lambda: f"{B} a: &a {{x: 1}}\n" + lines(" b{}: *a\n", 300_000), "BF202", False),
    "empty-mappings": (lambda: f"[{'{},' * 4_000_000}]", "BF111", False),
    "empty-lists": (lambda: f"[{'[],' * 4_000_000}]", "BF111", False),
    "scalars": (lambda: f"[{'a,' * 8_000_000}]", "BF111", False),
    "unique-keys": (lambda: f"{{{lines('{}x,', 1_700_000)}}}", "BF111", False),
    "aliases": (lambda: f"[&a 1, {'*a,' * 5_000_000}]", "BF111", False),
    "anchors": (lambda: f"[{lines('&a{} x,', 1_200_000)}]", "BF111", False),
}
SHORT = {"duplicates", "keys", "same-id", "empty-mappings", "anchors"}
"""One of each kind. Only the long form of the suite runs the others."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.full]) for name in MANY]
)
def test_a_file_of_sixteen_megabytes_is_refused_in_bounded_memory(name: str, tmp_path: Path) -> None:
    """At the first thousand problems, fifty of them shown in full, or at a cap of the reader."""
    make, code, is_full = MANY[name]
    text = make()
    assert len(text) <= MAX_BYTES
    (tmp_path / "batchform.yaml").write_text(text, encoding="utf-8")
    said, kilobytes = refused(tmp_path / "batchform.yaml")
    assert any(line.endswith(f"[{code}]") for line in said)
    assert not any("needs its version" in line for line in said if name == "version-last")
    if is_full:
        assert sum(line.startswith("Error: ") for line in said) == 50
        assert f"{MAX_PROBLEMS + 1:,} errors. 50 of them are shown" in " ".join(said[-2:])
    assert kilobytes < 300 * 1024


@pytest.mark.parametrize("word", ["key", "duplicate"])
def test_the_last_problem_says_that_there_are_more(word: str, tmp_path: Path) -> None:
    """Also for problems that the judge finds. JSON has all problems."""
    line = "uk: 1\n" if word == "duplicate" else "k{}: 1\n"
    text = "version: 1\n" + "".join(line.format(number) for number in range(MAX_PROBLEMS + 5))
    (tmp_path / "batchform.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "batchform", "validate", "--format", "json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    found = json.loads(ended.stdout)["diagnostics"]
    assert len(found) == MAX_PROBLEMS + 1
    assert [entry["code"] for entry in found].count("BF118") == 1
    assert found[-1]["code"] == "BF118"


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.full)])
def test_malformed_files_never_break_it(count: int, record_property: Callable[[str, object], None]) -> None:
    """Mutations of valid files, a corpus of mistakes, token soup, random bytes: see `fuzz_config.py`."""
    seed = "20261123"
    command = [sys.executable, str(SCRIPT), "--count", str(count), "--seed", seed]
    ended = subprocess.run(command, capture_output=True, check=False, text=True)
    record_property("counted", f"malformed configurations: {(ended.stdout.splitlines() or ['nothing'])[-1]}")
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    assert f"{count:,} inputs" in ended.stdout
    assert " 0 faults" in ended.stdout


def test_a_batch_of_unknown_keys_is_not_compared_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """To guess the meant key takes longer than to read the unknown one."""
    asked: list[str] = []

    def nearest(word: str, known: Iterable[str]) -> list[str]:
        assert known
        asked.append(word)
        return []

    monkeypatch.setattr(advice, "nearest", nearest)
    text = "version: 1\nbatches:\n uk: {" + ",".join(f"a{number}: 1" for number in range(5 * MAX_PROBLEMS)) + "}\n"
    file = File(reader.parse(text.encode(), "f.yaml"))
    file.read()
    assert len(file.problems) == MAX_PROBLEMS + 1
    assert len(asked) <= 2 * MAX_PROBLEMS + 2
