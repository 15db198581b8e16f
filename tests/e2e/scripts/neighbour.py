"""Lies beside a script that imports it."""
