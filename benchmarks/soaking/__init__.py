"""A long run in which everything goes wrong on purpose; see `benchmarks/soak.py`."""
