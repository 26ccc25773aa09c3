"""The batchform command with another lease: `python leased.py LEASE FACTOR WORDS...`. FACTOR is that of `fast.py`.

A lease of a minute would make each test of a takeover last a minute. All that is measured against it shrinks with it,
except the deadline of a start, which stands in no test for more than milliseconds.
"""

from __future__ import annotations

import sys

from batchform.state.git import Git
from batchform.state.objects import Objects
from tests.e2e.fast import run

if __name__ == "__main__":
    Objects.lease = Git.lease = float(sys.argv.pop(1))
    Git.poll = 0.5
    Git.window = 0.0
    run(float(sys.argv.pop(1)))
