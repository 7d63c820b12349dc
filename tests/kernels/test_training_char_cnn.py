"""The convolution for training gives what `CharCnn.features` gives, and so does its gradient."""

import pytest
import torch
from hypothesis import given, settings
from tests.kernels.test_words import CONFIGS, WORDS
from torch import Tensor

from elmokit.config import CharCnnConfig
from elmokit.kernels import training_char_cnn as module
from elmokit.kernels.training_char_cnn import training_convolution
from elmokit.model.char_cnn import CharCnn, Convolution
from elmokit.text.readers import BYTES


def network_of(config: CharCnnConfig, convolution: Convolution | None = None) -> CharCnn:
    """A network with random numbers everywhere, the same for every convolution."""
    torch.manual_seed(3)
    network = CharCnn(config, 6, convolution).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=parameter.numel() ** -0.25 if parameter.dim() > 1 else 0.3)
    return network


def run(network: CharCnn, chars_UW: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The vectors, and the gradients of all parameters from random gradients of the vectors."""
    x_UP = network(chars_UW)
    torch.manual_seed(7)
    torch.autograd.backward(x_UP, torch.randn(x_UP.shape, dtype=torch.float64))
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return x_UP.detach(), gradients


@settings(max_examples=60)
@given(config=CONFIGS, words=WORDS)
def test_equal_to_the_network(config: CharCnnConfig, words: list[str]) -> None:
    chars_UW = torch.from_numpy(BYTES(words))
    ours = run(network_of(config, training_convolution(torch.float64)), chars_UW)
    expected = run(network_of(config), chars_UW)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


def test_however_the_words_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["a", "the", "bank", "x" * 48, "", "steep", "muddy", "ü" * 18, "of", "banks", "hahaha"] * 3
    config = CharCnnConfig(filters=((1, 8), (7, 16)), highways=1)
    chars_UW = torch.from_numpy(BYTES(words))
    together = run(network_of(config, training_convolution(torch.float64)), chars_UW)
    monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 7)
    torch.testing.assert_close(run(network_of(config, training_convolution(torch.float64)), chars_UW), together)


def test_bfloat16_is_near() -> None:
    words = ["a", "the", "bank", "x" * 48, "", "steep", "muddy", "banks"]
    config = CharCnnConfig(filters=((1, 32), (3, 64), (7, 64)), highways=0)
    chars_UW = torch.from_numpy(BYTES(words))
    found = run(network_of(config, training_convolution(torch.bfloat16)).float(), chars_UW)[0]
    expected = run(network_of(config), chars_UW)[0]
    assert float((found.double() - expected).norm() / expected.norm()) < 0.01


def test_words_of_one_length_and_none_at_all() -> None:
    network = network_of(CharCnnConfig(filters=((2, 4),), highways=0), training_convolution(torch.float64))
    assert network(torch.from_numpy(BYTES([]))).shape == (0, 6)
    assert run(network, torch.from_numpy(BYTES(["ab", "cd"])))[0].shape == (2, 6)
