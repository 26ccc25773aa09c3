"""ACTUAL: what to ask the server, what its answers mean, and the one client that sends."""
