"""One limit, and how much of it is used."""

import math
import re

import pytest

from elmokit.training.budget import Budget, Progress

DONE = Progress(steps=30, tokens=600, passes=0.5, seconds=900)


@pytest.mark.parametrize(
    ("budget", "used"),
    [
        (Budget(steps=40), 0.75),
        (Budget(tokens=600), 1.0),
        (Budget(epochs=0.25), 2.0),
        (Budget(hours=2.5), 0.1),
    ],
)
def test_the_share_used(budget: Budget, used: float) -> None:
    assert budget.used(DONE) == pytest.approx(used)
    assert budget.used(Progress()) == 0


@pytest.mark.parametrize("limits", [{}, {"steps": 3, "hours": 1.0}, {"tokens": 1, "epochs": 1, "steps": 1}])
def test_there_is_exactly_one(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="exactly one of --tokens, --steps, --epochs and --hours"):
        Budget(**limits)


@pytest.mark.parametrize("limits", [{"steps": 0}, {"tokens": -5}, {"epochs": 0.0}, {"hours": -1.0}, {"hours": math.nan}])
def test_it_is_above_0(limits: dict[str, int]) -> None:
    (value,) = limits.values()
    with pytest.raises(ValueError, match=re.escape(f"must be above 0, not {value}")):
        Budget(**limits)
