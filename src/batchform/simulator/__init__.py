"""A faithful stand-in for the vendor's server, which offers no sandbox.

It knows only itself and the vendor's documents: it shares no constant with `api`, so the two are two readings of one
contract.
"""
