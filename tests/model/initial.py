"""Which distribution the numbers of a tensor come from."""

from torch import Tensor


def is_uniform(x: Tensor, limit: float) -> bool:
    """Whether a large tensor may have been drawn uniformly from ± `limit`."""
    largest, spread, mean = (number.item() for number in (x.abs().max(), x.std() * 3**0.5, x.mean()))
    return 0.98 * limit < largest <= limit and 0.95 < spread / limit < 1.05 and abs(mean) < 0.06 * limit


def is_normal(x: Tensor, deviation: float) -> bool:
    """Whether a large tensor may have been drawn from N(0, `deviation`²): 4.6 % of it lie beyond twice that."""
    beyond, spread, mean = (number.item() for number in ((x.abs() > 2 * deviation).float().mean(), x.std(), x.mean()))
    return 0.95 < spread / deviation < 1.05 and 0.035 < beyond < 0.056 and abs(mean) < 0.06 * deviation
