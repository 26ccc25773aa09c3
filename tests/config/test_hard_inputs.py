"""Files made to hurt, through the real command: one clear error each, at once and in little memory.

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

from batchform.config import advice, reading
from batchform.config.file import File
from batchform.config.problems import MAX_PROBLEMS

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
    print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss, file=file)
"""


def sparse(path: Path) -> None:
    """A gibibyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(1 << 30)


def written(text: str) -> Callable[[Path], object]:
    """What writes a file with this text."""
    return lambda path: path.write_text(text, encoding="utf-8")


LADDER = "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
HEAD = "version: 1\nbatches:\n  uk:\n    batch_id: uk-1\n"
GOOD = "".join(f" g{n}: {{batch_id: g{n}, records: 1}}\n" for n in range(4_000))
HARD = {
    "alias-bomb": (
        written("version: 1\na: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + LADDER),
        "batchform.yaml:8:28: ",
        "BF111",
    ),
    "brackets": (written("[" * 100_000), "batchform.yaml:1:33: ", "BF110"),
    "braces": (written("{a: " * 100_000), "batchform.yaml:1:129: ", "BF110"),
    "dashes": (written("- " * 100_000), "batchform.yaml:1:65: ", "BF110"),
    "sparse": (sparse, "", "BF103"),
    "fifo": (os.mkfifo, "", "BF102"),
    "digits": (written(HEAD + f"    records: {'1' * 5000}\n"), "batchform.yaml:5:14: ", "BF204"),
    "digits-as-text": (written(HEAD + f"    description: {'1' * 5000}\n"), "batchform.yaml:5:18: ", "BF205"),
    "one-word": (written("version: 1\n" + "x" * (15 << 20) + ": 1\n"), "batchform.yaml:2:1: ", "BF107"),
}


@pytest.mark.parametrize("name", HARD)
def test_each_ends_in_one_clear_error_at_once(name: str, tmp_path: Path) -> None:
    """Under a second of processor time and 100 MB, by what the system counted for the process."""
    make, place, code = HARD[name]
    make(tmp_path / "batchform.yaml")
    ended = subprocess.run([sys.executable, "-c", MEASURED], cwd=tmp_path, capture_output=True, check=True, text=True)
    exit_code, seconds, size = (tmp_path / "measured").read_text().split()
    head, *lines = ended.stderr.splitlines()
    assert (exit_code, head[: 7 + len(place)], head[-7:]) == ("1", f"Error: {place}", f"[{code}]")
    assert lines[-1] == "1 error."
    assert float(seconds) < 1
    assert int(size) // (1024 if sys.platform == "darwin" else 1) < 100 * 1024


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version: 1\n" + "a:\n" * 1_000_000, "BF112"),
        ("".join(f"{number}:\n" for number in range(1_000_000)), "BF113"),
        (f"a: [{'!,' * 1_000_000}]\n", "BF115"),
        ("version: 1\n" + "".join(f"key-{number}:\n" for number in range(1_000_000)), "BF202"),
        ("version: 1\nbatches:\n" + "".join(f" uk-{number}:\n" for number in range(1_000_000)), "BF203"),
        ("version: 1\nbatches:\n" + "".join(f" b{n}: {{batch_id: same}}\n" for n in range(500_000)), "BF301"),
        ("batches:\n" + "".join(f" uk-{number}:\n" for number in range(1_000_000)) + "version: 1\n", "BF203"),
        (
            "version: 1\nbatches:\n" + GOOD + "".join(f" b{n}: {{batch_id: b{n}, x: 1}}\n" for n in range(400_000)),
            "BF202",
        ),
        ("version: 1\nbatches:\n uk: {" + ",".join(f"a{n}: 1" for n in range(1_000_000)) + "}\n", "BF202"),
    ],
    ids=["duplicates", "keys", "tags", "unknown", "missing", "same-id", "version-last", "begins-well", "one-batch"],
)
def test_a_million_faults_end_as_soon_as_there_are_too_many(text: str, code: str, tmp_path: Path) -> None:
    """The first thousand are told, fifty of them in full, and the rest of the file is not looked at."""
    (tmp_path / "batchform.yaml").write_text(text, encoding="utf-8")
    ended = subprocess.run([sys.executable, "-c", MEASURED], cwd=tmp_path, capture_output=True, check=True, text=True)
    exit_code, seconds, _ = (tmp_path / "measured").read_text().split()
    assert exit_code == "1"
    assert ended.stderr.count("\nError: ") + 1 == 50
    assert f"[{code}]" in ended.stderr
    assert "A configuration says its version" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"{MAX_PROBLEMS + 1:,} errors. 50 of them are shown")
    assert float(seconds) < 1


@pytest.mark.parametrize("word", ["key", "duplicate"])
def test_the_last_problem_says_that_there_are_more(word: str, tmp_path: Path) -> None:
    """Of the shape of a file, too; JSON has all that were found."""
    line = "uk: 1\n" if word == "duplicate" else "k{}: 1\n"
    text = "version: 1\n" + "".join(line.format(number) for number in range(MAX_PROBLEMS + 5))
    (tmp_path / "batchform.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "batchform", "validate", "--format", "json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    found = json.loads(ended.stdout)["diagnostics"]
    assert len(found) == MAX_PROBLEMS + 1
    assert [entry["code"] for entry in found].count("BF118") == 1
    assert found[-1]["code"] == "BF118"


@pytest.mark.parametrize("count", [250, pytest.param(10_000, marks=pytest.mark.full)])
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
    """Guessing what each was meant to be takes longer than reading it."""
    asked: list[str] = []

    def nearest(word: str, known: Iterable[str]) -> list[str]:
        assert known
        asked.append(word)
        return []

    monkeypatch.setattr(advice, "nearest", nearest)
    text = "version: 1\nbatches:\n uk: {" + ",".join(f"a{number}: 1" for number in range(5 * MAX_PROBLEMS)) + "}\n"
    file = File(reading.parse(text.encode(), "f.yaml"))
    file.read()
    assert len(file.problems) == MAX_PROBLEMS + 1
    assert len(asked) <= 2 * MAX_PROBLEMS + 2
