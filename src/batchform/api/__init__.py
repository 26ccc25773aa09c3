"""ACTUAL: the requests to the server, the meaning of its answers, and the client that sends."""
