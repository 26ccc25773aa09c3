"""The fast command under a run id of the caller's choosing: `python -m tests.proof.traced RUN FACTOR WORDS...`.

strace can watch only paths that are known beforehand, and the names of temporary files hold the id of the run.
"""

from __future__ import annotations

import sys

from batchform.cli import environment
from tests.e2e.fast import run

if __name__ == "__main__":
    chosen = sys.argv.pop(1)
    environment.new_run = lambda: chosen
    run(float(sys.argv.pop(1)))
