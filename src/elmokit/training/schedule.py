"""The learning rate over a run, as a factor of its highest value.

constant    the reference's
cosine      rises over the first steps, then falls along half a cosine
trapezoid   rises, stays, and falls along a straight line over the last part: a budget may be raised until then

A rise takes `WARMUP_STEPS` steps; a short run has risen after a twentieth of its budget. A fall ends at `FLOOR`.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

ScheduleName = Literal["constant", "cosine", "trapezoid"]
Schedule = Callable[[float, int], float]
"""(share of the budget used, steps done) → factor."""

WARMUP_STEPS = 200
FLOOR = 0.05
FALL = 0.5
"""Share of the budget over which a trapezoid falls."""


def constant(used: float, steps: int) -> float:
    """Keep the rate as it is."""
    return 1.0


def cosine(used: float, steps: int) -> float:
    """Rise, then fall along half a cosine from the very start to the end."""
    return _rise(used, steps) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, used))))


def trapezoid(used: float, steps: int) -> float:
    """Rise, stay, and fall along a straight line over the last `FALL` of the budget."""
    return _rise(used, steps) * max(FLOOR, min(1.0, (1 - used) / FALL))


def _rise(used: float, steps: int) -> float:
    return min(1.0, max((steps + 1) / WARMUP_STEPS, 20 * used))


FALLS_FROM: Mapping[ScheduleName, float] = MappingProxyType({"constant": 0.0, "cosine": 0.0, "trapezoid": 1 - FALL})
"""Share of the budget from which the rate falls; before, a loss that stays says little."""
SCHEDULES: Mapping[ScheduleName, Schedule] = MappingProxyType(
    {"constant": constant, "cosine": cosine, "trapezoid": trapezoid},
)
