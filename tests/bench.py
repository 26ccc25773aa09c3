"""`./run bench`: performance as ratios, measured in one run on one machine. Machines are noisy; ratios are less so.

Each row alternates the command with its yardstick and compares the medians. `--quick` takes fewer rounds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_YAML_ALONE = "import yaml; yaml.load(open('batchform.yaml'), Loader=yaml.CSafeLoader)"


def declare(folder: Path, count: int) -> None:
    """Write a configuration of so many batches, with a few keys each."""
    lines = ["version: 1", "batches:"]
    for number in range(count):
        lines += [
            f"  batch-{number:06}:",
            f"    batch_id: 3f0c1f6e-2a55-4d0e-9a7e-{number:012}",
            f"    description: November refresh, part {number}",
            "    labels: {region: uk, team: crm}",
            "    records: 9800",
        ]
    folder.joinpath("batchform.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def seconds(words: Sequence[str], folder: Path) -> float:
    """How long a cold process takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def compare(title: str, words: Sequence[str], yardstick: Sequence[str], folder: Path, rounds: int) -> None:
    """Print one row."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(words, folder))
        theirs.append(seconds(yardstick, folder))
    own, other = statistics.median(ours), statistics.median(theirs)
    sys.stdout.write(f"{title:<52} {own:8.3f} s  {other:8.3f} s  {own / other:6.2f}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of seven")
    rounds = 3 if parser.parse_args().quick else 7
    sys.stdout.write(f"{'':<52} {'ours':>10}  {'yardstick':>10}  {'ratio':>6}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        declare(folder, 1)
        compare("--version / python -c pass", ["-m", "batchform", "--version"], ["-c", "pass"], folder, rounds)
        compare("--help / python -c pass", ["-m", "batchform", "--help"], ["-c", "pass"], folder, rounds)
        for count in (1_000, 10_000):
            declare(folder, count)
            title = f"plan of {count:,} batches / yaml.CSafeLoader alone"
            compare(title, ["-m", "batchform", "plan"], ["-c", _YAML_ALONE], folder, rounds)


if __name__ == "__main__":
    main()
