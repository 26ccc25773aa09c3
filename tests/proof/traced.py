"""The fast command with a given run id: `python -m tests.proof.traced RUN FACTOR WORDS...`.

strace can watch only known paths, and the names of temporary files contain the run id.
"""

from __future__ import annotations

import sys

from batchform.cli import environment
from tests.e2e.fast import run

if __name__ == "__main__":
    chosen = sys.argv.pop(1)
    environment.new_run = lambda: chosen
    run(float(sys.argv.pop(1)))
