"""Which rows do which steps together: sentences that have ended are dropped, yet few different shapes come up.

Rows stand longest first. A chunk is some steps of the first so many rows; the number of rows is rounded up, and the
number of steps is a power of two, so that a recorded chunk serves many batches.
"""

from typing import NamedTuple

import numpy as np

from elmokit.kernels.lstm_kernel import Lengths

FEWEST_ROWS = 8
"""Fewer cost the same: the time is that of reading the weights."""
MOST_STEPS = 32
"""Steps of a chunk: enough to make its start a trifle."""


class Chunk(NamedTuple):
    """Steps that are done together."""

    start: int
    """The first step."""
    steps: int
    rows: int
    """The first so many rows; the last of them may have ended already, or may not be there."""


def round_rows(rows: int) -> int:
    """Round up to one of eight numbers between a power of two and the next: at most an eighth too many, from 64 on."""
    unit = max(FEWEST_ROWS, 1 << max((rows - 1).bit_length() - 4, 0))
    return max(-(-rows // unit) * unit, FEWEST_ROWS)


def chunks_of(lengths_B: Lengths, most_tokens: int) -> list[Chunk]:
    """Divide a batch.

    Args:
        lengths_B: Tokens of each row, the longest row first.
        most_tokens: Rows × steps of a chunk at the most, unless one step is more already.
    """
    steps = int(lengths_B.max(initial=0))
    reading_T = np.searchsorted(-lengths_B, -np.arange(steps))  # how many rows have a token left at each step
    chunks: list[Chunk] = []
    start = 0
    while start < steps:
        rows = round_rows(int(reading_T[start]))
        most = min(MOST_STEPS, max(most_tokens // rows, 1), _steps_with(rows, reading_T, start))
        chunks.append(Chunk(start, 1 << (most.bit_length() - 1), rows))
        start += chunks[-1].steps
    return chunks


def _steps_with(rows: int, reading_T: Lengths, start: int) -> int:
    """How many steps from `start` on are done with so many rows."""
    for t in range(start, min(start + MOST_STEPS, len(reading_T))):
        if round_rows(int(reading_T[t])) != rows:
            return t - start
    return min(MOST_STEPS, len(reading_T) - start)
