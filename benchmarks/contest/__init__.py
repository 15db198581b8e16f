"""Loaders against each other: a measured run, the search for torch's best, and what came out."""
