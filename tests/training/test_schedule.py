"""The learning rate over a run."""

import pytest

from elmokit.training.schedule import SCHEDULES, constant, cosine, trapezoid


def test_the_references_rate_is_constant() -> None:
    assert {constant(used, steps) for used, steps in ((0, 0), (0.5, 100), (1, 10**6))} == {1.0}


def test_it_rises_over_the_first_steps() -> None:
    rates = [cosine(0.0, steps) for steps in range(250)]
    assert 0 < rates[0] <= 0.01
    assert rates[:200] == sorted(set(rates[:200]))
    assert rates[199:] == [1.0] * 51


def test_it_falls_along_half_a_cosine() -> None:
    rates = [cosine(used / 100, 10**4) for used in range(101)]
    assert rates == sorted(set(rates), reverse=True)
    assert (rates[0], rates[50], rates[100]) == pytest.approx((1, 0.525, 0.05))


def test_it_ends_at_its_floor_even_past_the_end() -> None:
    assert cosine(1.7, 10**4) == cosine(1.0, 10**4) == pytest.approx(0.05)


def test_warm_up_and_fall_multiply() -> None:
    fall = cosine(0.02, 10**4)
    assert cosine(0.02, 99) == pytest.approx(0.5 * fall)


def test_a_short_run_has_risen_after_a_twentieth_of_its_budget() -> None:
    assert cosine(0.025, 1) == pytest.approx(0.5, rel=0.01)
    assert cosine(0.05, 1) == cosine(0.05, 10**4)


def test_a_trapezoid_stays_and_then_falls_along_a_line() -> None:
    rates = [trapezoid(used / 100, 10**4) for used in range(101)]
    assert rates[5:51] == [1.0] * 46
    assert rates[75] == pytest.approx(0.5)
    assert rates[98:] == pytest.approx([0.05, 0.05, 0.05])
    assert trapezoid(0.0, 99) == 0.5, "it rises as the other does"


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_is_never_more_than_the_highest(name: str) -> None:
    schedule = {str(key): value for key, value in SCHEDULES.items()}[name]
    assert all(0 < schedule(used / 50, steps) <= 1 for used in range(60) for steps in (0, 10, 1000))
