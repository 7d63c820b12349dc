"""Sentences and documents → context vectors → files."""
