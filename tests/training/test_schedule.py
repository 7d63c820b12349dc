"""The learning rate over a run."""

import pytest

from elmokit.training.schedule import constant, warmup_cosine


def test_the_references_rate_is_constant() -> None:
    assert {constant(used, steps) for used, steps in ((0, 0), (0.5, 100), (1, 10**6))} == {1.0}


def test_it_rises_over_the_first_steps() -> None:
    rates = [warmup_cosine(0.0, steps) for steps in range(250)]
    assert 0 < rates[0] <= 0.01
    assert rates[:200] == sorted(set(rates[:200]))
    assert rates[199:] == [1.0] * 51


def test_it_falls_along_half_a_cosine() -> None:
    rates = [warmup_cosine(used / 100, 10**4) for used in range(101)]
    assert rates == sorted(set(rates), reverse=True)
    assert (rates[0], rates[50], rates[100]) == pytest.approx((1, 0.525, 0.05))


def test_it_ends_at_its_floor_even_past_the_end() -> None:
    assert warmup_cosine(1.7, 10**4) == warmup_cosine(1.0, 10**4) == pytest.approx(0.05)


def test_warm_up_and_fall_multiply() -> None:
    fall = warmup_cosine(0.02, 10**4)
    assert warmup_cosine(0.02, 99) == pytest.approx(0.5 * fall)


def test_a_short_run_has_risen_after_a_twentieth_of_its_budget() -> None:
    assert warmup_cosine(0.025, 1) == pytest.approx(0.5, rel=0.01)
    assert warmup_cosine(0.05, 1) == warmup_cosine(0.05, 10**4)
