"""The old programs' names on top of ours: names and conventions only, the mathematics stays in `model/` and `embedding/`."""
