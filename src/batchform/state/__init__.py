"""KNOWN: the events of all runs, on disk, and the state that they fold to."""
