"""The learning rate over a run, as a factor of its highest value."""

import math
from collections.abc import Callable

Schedule = Callable[[float, int], float]
"""(share of the budget used, steps done) → factor."""


def constant(used: float, steps: int) -> float:
    """Keep the rate as it is: the reference's schedule."""
    return 1.0


def warmup_cosine(used: float, steps: int, warmup_steps: int = 200, floor: float = 0.05) -> float:
    """Rise linearly over the first steps, then fall along half a cosine to `floor` at the end of the budget.

    A short run has risen after a twentieth of its budget.
    """
    rise = min(1.0, max((steps + 1) / warmup_steps, 20 * used))
    fall = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, used)))
    return rise * fall
