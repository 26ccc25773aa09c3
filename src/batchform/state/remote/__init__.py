"""A state in a store that machines share: its journal is the lock, the lease, the fence and the log.

Three registers (`state.registers`): the state, its journal, its backup. The run that replaces the journal by a header
of its own holds the state. Every later write of the journal names the tag of the one before, so the first write of
another run stops this one: a tag never comes back, because run and beat make each content unique. Nothing is listed or
deleted, and no unlocking is needed: a journal that has not changed for a lease is folded into the state and taken over.

What keeps money safe, beside what holds for any state:

- An intent is in the store before its request leaves (`store.Remote.record`).
- A start leaves only while no other run can have taken over (`lease.Lease.sure`, asked by the client at the last
  moment). Certainty counts from the beginning of a write that took place. It lasts a third of a lease, a start a third
  at the most, and who watches waits a whole one (`takeover`).
- A run that was replaced writes nothing more. What it received goes to a file (`spill`).

`access` reads and writes the registers, `reader` shows the state and its holder without holding it.
`tests/proof/test_remote_model.py` explores this protocol in every order, and what breaks when a part is left out.
"""
