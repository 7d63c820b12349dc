from pathlib import Path

import numpy as np
import pytest
from benchmarks.wic import Vectors, cosines, fit_threshold, read_part
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray


def accuracy(threshold: float, values: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    return float(((values > threshold) == same).mean())


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=12))
def test_no_threshold_is_better_than_the_fitted_one(pairs: list[tuple[int, bool]]) -> None:
    values = np.array([value / 5 for value, _ in pairs])
    same = np.array([label for _, label in pairs])
    tried = [accuracy(threshold, values, same) for threshold in np.arange(-1.1, 1.2, 0.1)]
    assert accuracy(fit_threshold(values, same), values, same) == pytest.approx(max(tried))


def test_threshold_lies_between_the_two_kinds() -> None:
    assert fit_threshold(np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, False])) == pytest.approx(0.5)


def test_cosines_of_a_layer_of_the_mean_and_centered() -> None:
    first = np.array([[[1, 0], [1, 1]]], np.float32)
    second = np.array([[[0, 1], [1, 1]]], np.float32)
    vectors = Vectors(first, second, np.array([[0, 0], [1, 0]], np.float32))
    assert cosines(vectors, 0, None) == pytest.approx(0)
    assert cosines(vectors, 1, None) == pytest.approx(1)
    assert cosines(vectors, None, None) == pytest.approx(4 / 5)  # (2, 1) and (1, 2)
    assert cosines(vectors, None, vectors.mean_LD) == pytest.approx(2 / np.sqrt(2 * 4))  # (1, 1) and (0, 2)


def test_read_part(tmp_path: Path) -> None:
    (tmp_path / "dev.data.txt").write_text("board\tN\t2-1\tRoom and board .\tHe nailed boards .\n")
    (tmp_path / "dev.gold.txt").write_text("F\n")
    part = read_part(tmp_path, "dev")
    assert part.sentences == [(["Room", "and", "board", "."], ["He", "nailed", "boards", "."])]
    assert part.places == [(2, 1)]
    assert not part.same_N[0]
    (tmp_path / "dev.gold.txt").write_text("F\nT\n")
    with pytest.raises(ValueError, match=r"1 pairs in dev\.data\.txt, 2 labels"):
        read_part(tmp_path, "dev")


def test_places_of_the_shared_dev_part(shared: Path) -> None:
    part = read_part(shared / "data/wic", "dev")
    assert len(part.same_N) == 638
    assert all(i < len(a) and j < len(b) for (a, b), (i, j) in zip(part.sentences, part.places, strict=True))
