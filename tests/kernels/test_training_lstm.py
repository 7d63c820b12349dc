"""The written gradient of the recurrence is that of automatic differentiation."""

import dataclasses
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels.training_lstm import training_lstm
from elmokit.model.lstm import LstmLayer, LstmState, Recurrence, run_lstm

ROWS, CELLS, WIDTH = 3, 5, 4
PLAIN = BiLMConfig(
    char_cnn=CharCnnConfig(filters=((1, 4),)),
    cell_dim=CELLS,
    projection_dim=WIDTH,
    layers=1,
    cell_clip=None,
    projection_clip=None,
)
CONFIGS = {
    "plain": PLAIN,
    "clipped": dataclasses.replace(PLAIN, cell_clip=0.4, projection_clip=0.1),
    "cells clipped": dataclasses.replace(PLAIN, cell_clip=0.4),
    "nothing added to the forget gate": dataclasses.replace(PLAIN, forget_bias=0.0),
    "outputs clipped": dataclasses.replace(PLAIN, projection_clip=0.1),
    "no projection": dataclasses.replace(PLAIN, projection_dim=None, cell_clip=0.4, projection_clip=0.1),
}


class Run(NamedTuple):
    """All that one run of a layer gives."""

    outputs: dict[str, Tensor]
    gradients: dict[str, Tensor]


def layer_of(config: BiLMConfig) -> LstmLayer:
    """A layer with random numbers in every parameter, biases too, large enough for the clips to act."""
    torch.manual_seed(5)
    layer = LstmLayer(config).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def run(recurrence: Recurrence, layer: LstmLayer, steps: int, with_state: bool, dtype: torch.dtype = torch.float64) -> Run:
    """Read random inputs and go back from random gradients of the outputs and of the state after."""
    torch.manual_seed(7)
    width = layer.kernel.shape[0] // 2
    inputs = [torch.randn(ROWS, steps, width), torch.randn(ROWS, width), torch.randn(ROWS, CELLS)]
    x, h, c = (tensor.to(dtype).requires_grad_() for tensor in inputs)
    y, after = recurrence(layer, x, None, LstmState(h, c) if with_state else None)
    outputs = {"y": y, "h": after.h_BP, "c": after.c_BH}
    leaves = {"x": x, **dict(layer.named_parameters())} | ({"h": h, "c": c} if with_state else {})
    weighted = sum((tensor * torch.randn(tensor.shape).to(dtype)).sum() for tensor in outputs.values())
    assert isinstance(weighted, Tensor)
    gradients = torch.autograd.grad(weighted, list(leaves.values()))
    return Run({name: t.detach() for name, t in outputs.items()}, dict(zip(leaves, gradients, strict=True)))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("config", CONFIGS)
def test_equal_to_run_lstm(config: str, steps: int, with_state: bool) -> None:
    layer = layer_of(CONFIGS[config])
    ours = run(training_lstm(torch.float64), layer, steps, with_state)
    expected = run(run_lstm, layer, steps, with_state)
    torch.testing.assert_close(ours.outputs, expected.outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.gradients, expected.gradients, rtol=1e-10, atol=1e-12)
    assert all(gradient.abs().max() > 0 for gradient in ours.gradients.values())


@pytest.mark.parametrize("config", CONFIGS)
def test_the_clips_of_these_tests_act(config: str) -> None:
    """Else the cases above would prove nothing about them."""
    outputs = run(run_lstm, layer_of(CONFIGS[config]), 6, False).outputs
    clips = {"c": CONFIGS[config].cell_clip, "y": CONFIGS[config].projection_clip if CONFIGS[config].projection_dim else None}
    for name, limit in clips.items():
        values = outputs[name].abs()
        if limit is None:
            assert values.max() > 0.3
        else:
            assert values.max() == limit
            assert 0.05 < (values == limit).double().mean() < 0.95


@pytest.mark.parametrize("config", CONFIGS)
def test_gradient_against_differences(config: str) -> None:
    layer, recurrence = layer_of(CONFIGS[config]), training_lstm(torch.float64)
    width = layer.kernel.shape[0] // 2
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        copy = LstmLayer.__new__(LstmLayer)
        torch.nn.Module.__init__(copy)
        copy.cell_clip, copy.projection_clip, copy.forget_bias = layer.cell_clip, layer.projection_clip, layer.forget_bias
        copy.__dict__.update({"projection": None, **dict(zip(names, weights, strict=True))})
        y, after = recurrence(copy, x, None, LstmState(h, c))
        return y, after.c_BH

    shapes = [(ROWS, 3, width), (ROWS, width), (ROWS, CELLS)]
    torch.manual_seed(3)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(function, (*inputs, *layer.parameters()))


def test_a_second_derivative_is_refused() -> None:
    layer = layer_of(PLAIN)
    x = torch.randn(ROWS, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    y, _ = training_lstm(torch.float64)(layer, x, None, None)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())


def test_bfloat16_is_close_and_gives_float32() -> None:
    config = CONFIGS["clipped"]
    layer = layer_of(config).float()
    ours = run(training_lstm(torch.bfloat16), layer, 6, True, torch.float32)
    expected = run(run_lstm, layer, 6, True, torch.float32)
    for mine, exact in ((ours.outputs, expected.outputs), (ours.gradients, expected.gradients)):
        for name, tensor in exact.items():
            assert mine[name].dtype == torch.float32
            error = (mine[name] - tensor).norm() / tensor.norm()
            assert error < 0.05, name
    assert any(not torch.equal(ours.outputs[name], expected.outputs[name]) for name in expected.outputs)


def test_states_carry_from_window_to_window() -> None:
    layer, recurrence = layer_of(CONFIGS["clipped"]), training_lstm(torch.float64)
    x = torch.randn(ROWS, 7, WIDTH, dtype=torch.float64)
    whole, _ = recurrence(layer, x, None, None)
    first, state = recurrence(layer, x[:, :3], None, None)
    second, _ = recurrence(layer, x[:, 3:], None, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-12)


def test_rows_of_unequal_length_go_to_run_lstm() -> None:
    layer = layer_of(CONFIGS["clipped"])
    x, lengths = torch.randn(ROWS, 5, WIDTH, dtype=torch.float64), torch.tensor([5, 2, 0])
    y, after = training_lstm(torch.bfloat16)(layer, x, lengths, None)
    expected, expected_after = run_lstm(layer, x, lengths, None)
    assert torch.equal(y, expected)
    assert all(map(torch.equal, after, expected_after))
    assert not y[1, 2:].any()


def test_no_steps_leave_the_state() -> None:
    layer = layer_of(PLAIN)
    state = LstmState(torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randn(ROWS, CELLS, dtype=torch.float64))
    y, after = training_lstm(torch.float64)(layer, torch.empty(ROWS, 0, WIDTH, dtype=torch.float64), None, state)
    assert y.shape == (ROWS, 0, WIDTH)
    assert after == state
