"""Everything people and programs read: plans, states, events and problems as text and JSON. Pure."""
