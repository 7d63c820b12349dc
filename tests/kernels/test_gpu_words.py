"""The GPU's character network gives the vectors of the network in `model/`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elmokit.config import CharCnnConfig
from elmokit.kernels import gpu_words
from elmokit.kernels.gpu_lstm import GpuPrecision
from elmokit.kernels.gpu_words import GpuCharCnn
from elmokit.model.char_cnn import CharCnn
from elmokit.text.bytes import encode_words

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]
WORDS = st.lists(st.text(max_size=30) | st.sampled_from(["", "a", "bank", "银行", "x" * 43, "x" * 44, "x" * 60]), max_size=7)
CONFIGS = st.builds(
    CharCnnConfig,
    filters=st.sampled_from([((1, 3),), ((2, 5), (7, 4)), ((1, 8), (3, 8), (5, 16)), ((9, 4), (1, 2))]),
    activation=st.sampled_from(["relu", "tanh"]),
    highways=st.integers(0, 2),
    embedding_dim=st.sampled_from([1, 4, 16]),
    max_characters=st.sampled_from([9, 20, 50]),
)


def network_of(config: CharCnnConfig, device: str = "cpu", output: int | None = 6) -> CharCnn:
    """Random numbers in all parameters, biases too."""
    torch.manual_seed(3)
    network = CharCnn(config, output).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=parameter.numel() ** -0.25 if parameter.dim() > 1 else 0.3)
    return network.to(device)


def assert_close(found: torch.Tensor, expected: torch.Tensor, error: float) -> None:
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    if found.numel():
        assert (found - expected).abs().max() <= error * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-5), ("bfloat16", 0.05)])
@given(config=CONFIGS, words=WORDS)
def test_equal_to_the_network(
    precision: GpuPrecision, error: float, device: str, config: CharCnnConfig, words: list[str]
) -> None:
    network = network_of(config, device)
    chars_UW = torch.from_numpy(encode_words(words, config.max_characters)).to(device)
    with torch.no_grad():
        assert_close(GpuCharCnn(network, precision)(chars_UW), network(chars_UW), error)


@pytest.mark.parametrize("highways", [0, 1])
def test_without_projection_the_features_are_the_vector(highways: int) -> None:
    network = network_of(CharCnnConfig(filters=((1, 3), (3, 3)), highways=highways, projection=False), output=6)
    chars_UW = torch.from_numpy(encode_words(["of", "banks"]))
    with torch.no_grad():
        assert_close(GpuCharCnn(network)(chars_UW), network(chars_UW), 1e-5)


def test_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(CharCnnConfig(filters=((1, 8), (7, 16)), highways=1))
    chars_UW = torch.from_numpy(encode_words(["a", "the", "bank", "x" * 48, "", "steep", "muddy"]))
    together = GpuCharCnn(network)(chars_UW)
    monkeypatch.setattr(gpu_words, "WORDS_AT_ONCE", 3)
    assert_close(GpuCharCnn(network)(chars_UW), together, 1e-6)


@on_gpu
@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", 0.05)])
def test_at_the_published_size(precision: GpuPrecision, error: float) -> None:
    network = network_of(CharCnnConfig(), "cuda", 512)
    chars_UW = torch.from_numpy(encode_words([f"word{number}" * (number % 9) for number in range(3000)])).cuda()
    with torch.no_grad():
        assert_close(GpuCharCnn(network, precision)(chars_UW), network.cpu()(chars_UW.cpu()).cuda(), error)
