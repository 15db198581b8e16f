"""Chooses how batches are made. Thinks only: what it knows was measured by others.

Case ─ space ─► Choice, Choice ...         legal plans, each with its forecast
Choices, Readings ─ ask ─► Ask | Stop      which to try next, or which is best
"""
