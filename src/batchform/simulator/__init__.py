"""A simulator of the vendor's server, which offers no sandbox.

It imports nothing else of batchform and shares no constant with `api`: the two implement one contract independently.
In Python: `with simulator.serve(world) as url:`.
"""

from batchform.simulator.batches import Batch, Status
from batchform.simulator.faults import Fault
from batchform.simulator.server import Entry, Log, serve
from batchform.simulator.tokens import OAuth
from batchform.simulator.world import ConsoleStart, Decision, Request, World
from batchform.simulator.world_file import WorldError, from_values

__all__ = [
    "Batch",
    "ConsoleStart",
    "Decision",
    "Entry",
    "Fault",
    "Log",
    "OAuth",
    "Request",
    "Status",
    "World",
    "WorldError",
    "from_values",
    "serve",
]
