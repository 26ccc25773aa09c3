"""A faithful stand-in for the vendor's server, which offers no sandbox.

It knows only itself and the vendor's documents: it shares no constant with `api`, so the two are two readings of one
contract. In Python: `with simulator.serve(world) as url:`.
"""

from batchform.simulator.batches import Batch, Status
from batchform.simulator.faults import Fault
from batchform.simulator.server import Entry, Log, run, serve
from batchform.simulator.world import ConsoleStart, Decision, Request, World
from batchform.simulator.world_file import WorldError, from_values

__all__ = [
    "Batch",
    "ConsoleStart",
    "Decision",
    "Entry",
    "Fault",
    "Log",
    "Request",
    "Status",
    "World",
    "WorldError",
    "from_values",
    "run",
    "serve",
]
