"""The fast character network gives the vectors of the network in `model/`."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.config import CharCnnConfig, CodePointsConfig, WordTableConfig
from elmokit.kernels import words as module
from elmokit.kernels.products import Precision, make_product
from elmokit.kernels.words import FastCharCnn, fast_words
from elmokit.model.char_cnn import CharCnn
from elmokit.model.word_and_characters import WordAndCharacters
from elmokit.model.word_embedding import WordEmbedding
from elmokit.text.readers import BYTES

ERROR: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.12}
WORDS = st.lists(
    st.text(max_size=70) | st.sampled_from(["", "a", "bank", "银行", "x" * 43, "x" * 44, "x" * 60]), min_size=1, max_size=12
)
CONFIGS = st.builds(
    CharCnnConfig,
    filters=st.sampled_from([((1, 3),), ((2, 5), (7, 4)), ((1, 8), (3, 8), (5, 16)), ((50, 4), (1, 2))]),
    activation=st.sampled_from(["relu", "tanh"]),
    highways=st.integers(0, 2),
    embedding_dim=st.sampled_from([1, 4, 16]),
)


def networks(config: CharCnnConfig, precision: Precision, output: int | None = 6) -> tuple[CharCnn, FastCharCnn]:
    torch.manual_seed(3)
    network = CharCnn(config, output).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=parameter.numel() ** -0.25 if parameter.dim() > 1 else 0.3)
    return network, FastCharCnn(network, partial(make_product, precision=precision))


@pytest.mark.parametrize("precision", ERROR)
@settings(max_examples=60)
@given(config=CONFIGS, words=WORDS)
def test_equal_to_the_network(precision: Precision, config: CharCnnConfig, words: list[str]) -> None:
    network, fast = networks(config, precision)
    chars_UW = torch.from_numpy(BYTES(words))
    with torch.no_grad():
        expected, found = network(chars_UW), fast(chars_UW)
    scale = max(1.0, float(expected.abs().max()))
    assert ((found - expected).abs() <= ERROR[precision] * scale).all()


@pytest.mark.parametrize("precision", ERROR)
def test_in_any_company_however_they_are_cut(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["a", "the", "bank", "x" * 48, "", "steep", "muddy", "ü" * 18, "of", "banks"] * 3
    _, fast = networks(CharCnnConfig(filters=((1, 8), (7, 16)), highways=1), precision)
    chars_UW = torch.from_numpy(BYTES(words))
    with torch.no_grad():
        together = fast(chars_UW)
        monkeypatch.setattr(module, "WORDS_AT_ONCE", 4)
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 7)
        for row, vector in enumerate(together):
            alone = fast(chars_UW[row : row + 1])[0]
            if precision == "int8" and len(words[row]) < 40:  # a long word's convolutions are float32
                assert torch.equal(alone, vector), words[row]
            torch.testing.assert_close(alone, vector, atol=0.01 if precision == "bfloat16" else 1e-5, rtol=0)


def test_a_network_of_code_points_without_a_projection() -> None:
    config = CharCnnConfig(
        filters=((1, 3), (3, 3)),
        activation="tanh",
        projection=False,
        max_characters=9,
        code_points=CodePointsConfig(characters=30, padding=2),
    )
    network, fast = networks(config, "float32", None)
    chars_UW = torch.full((8, 9), 2)
    for length in range(8):
        chars_UW[length, : length + 1] = torch.arange(3, length + 4)
    with torch.no_grad():
        torch.testing.assert_close(fast(chars_UW), network(chars_UW), atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ERROR)
def test_a_table_and_characters_together(precision: Precision) -> None:
    torch.manual_seed(3)
    cnn = CharCnnConfig(filters=((1, 3), (3, 5)), highways=1)
    network = WordAndCharacters(WordTableConfig(words=9, dim=4, projection=True), cnn, 6).eval()
    fast = fast_words(network, partial(make_product, precision=precision))
    ids_UW = torch.cat([torch.tensor([[8], [0], [3]]), torch.from_numpy(BYTES(["a", "bank", "x" * 60]))], 1)
    with torch.no_grad():
        assert ((fast(ids_UW) - network(ids_UW)).abs() <= ERROR[precision]).all()


def test_a_table_alone_needs_no_kernel() -> None:
    table = WordEmbedding(WordTableConfig(words=9, dim=6), 6)
    assert fast_words(table, make_product) is table


def test_no_words_at_all() -> None:
    _, fast = networks(CharCnnConfig(filters=((1, 3),)), "float32")
    assert fast(torch.empty(0, 50, dtype=torch.long)).shape == (0, 6)
