"""KNOWN: what has been done, as events on disk and the state they fold to."""
