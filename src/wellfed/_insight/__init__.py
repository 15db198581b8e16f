"""Turns a trace into a verdict. Pure: no clock, no files, no randomness of its own, no torch."""
