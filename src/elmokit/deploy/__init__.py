"""Putting a model to work: what it does on this machine, and in which form it does it best."""
