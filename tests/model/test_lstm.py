"""One layer of one direction."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.model import equations
from tests.model.initial import is_uniform

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.model.lstm import LstmLayer, LstmState, run_lstm

CLIPPED = BiLMConfig(
    char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=6, projection_dim=4, layers=1, cell_clip=0.4, projection_clip=0.2
)
CONFIGS = {
    "clipped": CLIPPED,
    "without clips": dataclasses.replace(CLIPPED, cell_clip=None, projection_clip=None),
    "without projection": dataclasses.replace(CLIPPED, projection_dim=None),
    "nothing added to the forget gate": dataclasses.replace(CLIPPED, forget_bias=0.0),
}
LENGTHS = [5, 3, 0, 1]


def layer_of(config: BiLMConfig) -> LstmLayer:
    torch.manual_seed(2)
    layer = LstmLayer(config).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    return layer


def state_of(config: BiLMConfig) -> LstmState:
    torch.manual_seed(3)
    sizes = (config.output_dim, config.cell_dim)
    return LstmState(*(torch.randn(len(LENGTHS), size, dtype=torch.float64) for size in sizes))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_equations_row_by_row(name: str, with_state: bool) -> None:
    config = CONFIGS[name]
    layer, before = layer_of(config), state_of(config) if with_state else None
    x_BTD = torch.randn(len(LENGTHS), 5, config.output_dim, dtype=torch.float64)
    with torch.no_grad():
        y_BTP, after = run_lstm(layer, x_BTD, torch.tensor(LENGTHS), before)
    for row, length in enumerate(LENGTHS):
        state = (before.h_BP[row].numpy(), before.c_BH[row].numpy()) if before else None
        outputs, (h, c) = equations.lstm(layer, x_BTD[row, :length].numpy(), state)
        np.testing.assert_allclose(
            y_BTP[row, :length].numpy(), outputs.reshape(length, config.output_dim), rtol=1e-10, atol=1e-12
        )
        assert not y_BTP[row, length:].any()
        np.testing.assert_allclose(after.h_BP[row].numpy(), h, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(after.c_BH[row].numpy(), c, rtol=1e-10, atol=1e-12)


def test_clips_act() -> None:
    layer = layer_of(CLIPPED)
    x_BTD = torch.randn(4, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        y_BTP, after = run_lstm(layer, x_BTD)
        layer.cell_clip = layer.projection_clip = None
        free_BTP, free_after = run_lstm(layer, x_BTD)
    assert y_BTP.abs().max() == 0.2
    assert after.c_BH.abs().max() == 0.4
    assert free_BTP.abs().max() > 0.2
    assert free_after.c_BH.abs().max() > 0.4


def test_all_tokens_are_read_where_no_lengths_are_given() -> None:
    layer = layer_of(CLIPPED)
    x_BTD = torch.randn(2, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        y_BTP, after = run_lstm(layer, x_BTD)
        same_BTP, same_after = run_lstm(layer, x_BTD, torch.tensor([5, 5]))
    assert torch.equal(y_BTP, same_BTP)
    assert all(map(torch.equal, after, same_after))


def test_no_tokens_leave_the_state() -> None:
    state = state_of(CLIPPED)
    y_BTP, after = run_lstm(layer_of(CLIPPED), torch.empty(4, 0, 4, dtype=torch.float64), None, state)
    assert y_BTP.shape == (4, 0, 4)
    assert after == state


def test_initial_values() -> None:
    torch.manual_seed(0)
    layer = LstmLayer(BiLMConfig(cell_dim=128, projection_dim=32))
    assert is_uniform(layer.kernel, (6 / (64 + 512)) ** 0.5)
    assert layer.projection is not None
    assert is_uniform(layer.projection, (6 / (128 + 32)) ** 0.5)
    assert not layer.bias.any()
    assert LstmLayer(dataclasses.replace(BiLMConfig(cell_dim=8), projection_dim=None)).projection is None
