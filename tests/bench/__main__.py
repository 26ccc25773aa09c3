"""The command line of the bench."""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

from batchform.cli.main import COLLECT_AFTER
from tests.bench import parts, plans, starts, stores
from tests.bench.table import Table, say


def main() -> None:
    """Measure, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(prog="./run bench", description="Performance, as ratios measured in one run.")
    parser.add_argument("--quick", action="store_true", help="three rounds, without what takes long: a minute")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default=Path("bench.json"), help="where to write the figures"
    )
    asked = parser.parse_args()
    quick, rounds = asked.quick, 3 if asked.quick else 5
    gc.set_threshold(COLLECT_AFTER)  # as the command has it
    table, began = Table(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="batchform-bench-") as name:
        folder = Path(name)
        table.begin()
        plans.startup(table, folder, 4 * rounds)
        plans.plans(table, folder, rounds, quick=quick)
        starts.throughput(table, folder, rounds)
        starts.sequential(table, folder, rounds, quick=quick)
        starts.many(table, folder)
        starts.paced(table)
        stores.throughput(table, folder, rounds)
        stores.paced(table)
        stores.pushed(table)
        if not quick:
            starts.paced_for_real(table, folder)
        parts.journal(table, folder, rounds)
        parts.listing(table, rounds)
    table.end()
    say(f"{time.monotonic() - began:.0f} s in all.")
    table.write(asked.json)
    say(f"The figures stand in {asked.json}.")


if __name__ == "__main__":
    main()
