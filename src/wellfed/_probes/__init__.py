"""Asks the machine and the data; each probe is one function that never raises."""
