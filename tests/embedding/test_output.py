"""Numbers as they are stored: what float16 cannot hold is said, never written."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.embed import EmbedOptions, embed_file
from elmokit.embedding.output import stored
from elmokit.embedding.rows import Row

ROW = Row(7, None, "a text")


def test_float32_is_what_it_is() -> None:
    vectors = np.array([[1e30, -2.5]], np.float32)
    assert stored(vectors, ROW, "float32") is vectors


@pytest.mark.parametrize("number", [65504.0, 65519.0, -65519.0, 0.0, 1e-9])  # from 65520 on it would be rounded to infinity
def test_float16_holds_what_it_can(number: float) -> None:
    found = stored(np.full((2, 3), number, np.float32), ROW, "float16")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, number, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("number", [65520.0, -70000.0, 3e38])
def test_float16_does_not_turn_numbers_into_infinity(number: float) -> None:
    vectors = np.ones((4, 5), np.float32)
    vectors[3, 1] = number
    with pytest.raises(ValueError, match=rf"--dtype float16 holds numbers up to 65,504, row 7 has {abs(number):,.0f}"[:60]):
        stored(vectors, ROW, "float16")
    vectors[0, 0] = np.inf  # what is infinite stays so, and hides nothing
    with pytest.raises(ValueError, match="store float32"):
        stored(vectors, ROW, "float16")


def test_infinity_stays_infinity() -> None:
    assert np.array_equal(stored(np.array([np.inf, -np.inf, 1], np.float32), ROW, "float16"), np.array([np.inf, -np.inf, 1]))


@pytest.mark.parametrize("suffix", ["h5", "parquet", "jsonl"])
@pytest.mark.parametrize("pooling", ["none", "mean"])
def test_every_format_says_so(tmp_path: Path, suffix: str, pooling: str) -> None:
    """Word vectors are not clipped as the higher layers are."""
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 8),))
    elmo = Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=char_cnn, cell_dim=8, projection_dim=4)))
    with torch.no_grad():
        for name, parameter in elmo.bilm.words.named_parameters():
            if "projection" in name:
                parameter.mul_(1e8)
    source = tmp_path / "in.txt"
    source.write_text("one text\nanother\n")
    half = EmbedOptions(dtype="float16", layers=0, pooling=pooling)  # type: ignore[arg-type]  # pytest's parameters are strings
    with pytest.raises(ValueError, match="--dtype float16 holds numbers up to 65,504, row 0 has"):
        embed_file(str(source), tmp_path / f"out.{suffix}", elmo, half)
    assert list(tmp_path.iterdir()) == [source]
    embed_file(str(source), tmp_path / "out.h5", elmo, EmbedOptions(layers=0))
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.abs(file["0"]).max() > 65504
    embed_file(str(source), tmp_path / "top.h5", elmo, EmbedOptions(dtype="float16", layers="top"))
