"""Torch's own loader, watched while it works: spans, and what they are noted with."""
