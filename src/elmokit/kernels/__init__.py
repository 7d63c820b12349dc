"""Faster ways to run the recurrence of `elmokit.model.lstm`, with the same numbers."""
