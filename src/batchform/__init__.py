"""batchform: declare which bulk batches should be processing; plan, apply, and never pay for a start twice."""

__version__ = "0.1.0.dev0"
