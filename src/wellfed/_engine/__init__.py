"""Makes batches, or watches torch make them, and notes when. The only place with processes."""
