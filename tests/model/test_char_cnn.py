"""Characters → word vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.model import equations
from tests.model.initial import is_normal, is_uniform

from elmokit.config import Activation, CharCnnConfig
from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway
from elmokit.text.bytes import encode_words

WORDS = ["", "a", "bank", "<S>", "</S>", "naïve", "银行", "incomprehensibilities", "x" * 60]
FILTERS = ((1, 3), (2, 2), (7, 4))


def cnn_of(config: CharCnnConfig, width: int = 5) -> CharCnn:
    """Random numbers in all parameters, biases too."""
    torch.manual_seed(1)
    module = CharCnn(config, width).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("highways", [0, 1, 2])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_equations(activation: Activation, highways: int) -> None:
    module = cnn_of(CharCnnConfig(embedding_dim=3, filters=FILTERS, activation=activation, highways=highways))
    chars_UW = encode_words(WORDS)
    with torch.no_grad():
        ours = module(torch.from_numpy(chars_UW)).numpy()
    expected = np.array([equations.word_vector(module, list(row)) for row in chars_UW])
    assert ours.shape == (len(WORDS), 5)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_without_projection_the_features_are_the_vector() -> None:
    module = cnn_of(CharCnnConfig(embedding_dim=3, filters=FILTERS, highways=1, projection=False), width=9)
    chars_UW = encode_words(WORDS)
    with torch.no_grad():
        ours = module(torch.from_numpy(chars_UW)).numpy()
    np.testing.assert_allclose(ours, [equations.word_vector(module, list(row)) for row in chars_UW], rtol=1e-10, atol=1e-12)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.sampled_from([7, 9, 20, 50]))
def test_leaving_idle_padding_out_changes_no_number(words: list[str], max_characters: int) -> None:
    module = cnn_of(CharCnnConfig(embedding_dim=3, filters=FILTERS, highways=0, max_characters=max_characters))
    chars_UW = torch.from_numpy(encode_words(words, max_characters))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        trimmed = module(chars_UW)
        patch.setattr(CharCnn, "_without_idle_padding", lambda self, chars_UW: chars_UW.long())
        whole = module(chars_UW)
    torch.testing.assert_close(trimmed, whole, rtol=0, atol=1e-14)


def test_short_words_are_convolved_over_few_places() -> None:
    """Else a word of one letter would cost as much as one of fifty."""
    seen: list[int] = []
    module = cnn_of(CharCnnConfig(embedding_dim=3, filters=FILTERS))
    module.embedding.register_forward_hook(lambda *call: seen.append(call[-1].shape[1]))
    with torch.no_grad():
        module(torch.from_numpy(encode_words(["abc"])))
        module(torch.from_numpy(encode_words(["abc", "x" * 48])))
    assert 5 + 7 <= seen[0] < 20
    assert seen[1] == 50


def test_no_words() -> None:
    module = cnn_of(CharCnnConfig(embedding_dim=3, filters=FILTERS, highways=1))
    assert module(torch.from_numpy(encode_words([]))).shape == (0, 5)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_initial_values(activation: Activation) -> None:
    torch.manual_seed(0)
    config = CharCnnConfig(embedding_dim=16, filters=((3, 256), (5, 200)), activation=activation, highways=2)
    module = CharCnn(config, 64)
    assert is_uniform(module.embedding.weight, 1.0)
    for (width, _), convolution in zip(config.filters, module.convolutions, strict=True):
        weight, bias = convolution.weight, convolution.bias
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bias, torch.Tensor)
        assert is_uniform(weight, 0.05) if activation == "relu" else is_normal(weight, (width * 16) ** -0.5)
        assert not bias.any()
    for highway in module.highways:
        assert isinstance(highway, Highway)
        assert is_normal(highway.transform.weight, 456**-0.5)
        assert is_normal(highway.carry.weight, 456**-0.5)
        assert not highway.transform.bias.any()
        assert (highway.carry.bias == -2).all()
    assert isinstance(module.projection, torch.nn.Linear)
    assert is_normal(module.projection.weight, 456**-0.5)
    assert not module.projection.bias.any()
