"""Runs with one known bottleneck: drawn, diagnosed, held against an oracle, and scored."""
