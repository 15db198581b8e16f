"""Runs that take one cost after another away, on a copy of the loader that was watched."""
