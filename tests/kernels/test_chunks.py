"""Chunks cover every token once, in few different shapes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from elmokit.kernels.chunks import FEWEST_ROWS, MOST_STEPS, chunks_of, round_rows


@given(st.integers(1, 100_000))
def test_rows_are_rounded_up_to_few_numbers(rows: int) -> None:
    rounded = round_rows(rows)
    assert rows <= rounded < rows + max(FEWEST_ROWS, rows / 8)
    assert round_rows(rounded) == rounded
    if rows >= 64:
        between = {round_rows(number) for number in range(rounded // 2 + 1, rounded + 1, max(rounded // 1000, 1))}
        assert len(between) <= 17


def test_no_rows_are_rounded_to_some() -> None:
    assert round_rows(0) == FEWEST_ROWS


@given(st.lists(st.integers(0, 90), max_size=80), st.integers(1, 3000))
def test_chunks_cover_every_token(lengths: list[int], most_tokens: int) -> None:
    lengths_B = np.sort(np.array(lengths, dtype=np.int64))[::-1]
    chunks = chunks_of(lengths_B, most_tokens)
    assert [chunk.start for chunk in chunks] == [0, *np.cumsum([chunk.steps for chunk in chunks])][: len(chunks)]
    assert sum(chunk.steps for chunk in chunks) == max(lengths, default=0)
    for chunk in chunks:
        reading = int((lengths_B > chunk.start).sum())
        assert chunk.rows == round_rows(reading)
        assert round_rows(int((lengths_B > chunk.start + chunk.steps - 1).sum())) == chunk.rows
        assert chunk.steps == 1 or chunk.rows * chunk.steps <= most_tokens
        assert chunk.steps in {1 << power for power in range(MOST_STEPS.bit_length())}


def test_a_batch_of_one_length_is_few_chunks() -> None:
    chunks = chunks_of(np.full(100, 45), 10_000)
    assert [(chunk.steps, chunk.rows) for chunk in chunks] == [(32, 104), (8, 104), (4, 104), (1, 104)]


def test_rows_drop_out() -> None:
    chunks = chunks_of(np.array([40] * 8 + [8] * 120), 10_000)
    assert [(chunk.steps, chunk.rows) for chunk in chunks] == [(8, 128), (32, 8)]
