"""Whether a faster way to train a layer gives what the plain way gives: outputs and gradients of one window.

    error(r) = ‖r − r'‖ / ‖r'‖        r' the plain way's in float32
    trusted  if for every result error(faster) ≤ 3 · error(plain, in the precision asked for) + 0.001

So nothing has to be known of how far bfloat16 may err with some weights on some text: the plain way shows it. On a CPU, with
random weights of all sizes, the faster way erred up to 1.5 times as much as the plain one: it keeps gates in bfloat16 too.
Shapes: S directions, B rows, T steps, D input, P output, H cell.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from elmokit.kernels.training_lstm import training_lstm
from elmokit.model.lstm import LstmLayer, LstmState

RunLayer = Callable[[Sequence[LstmLayer], Sequence[Tensor], Sequence[LstmState | None]], Sequence[tuple[Tensor, LstmState]]]
"""Runs the same layer of all directions over whole rows: outputs y_BTP, and states after."""

MORE_THAN_PLAIN, IN_ANY_CASE = 3.0, 1e-3
"""Of the plain way's error, and what is allowed beside."""
TIMES = 3
"""The faster way's windows: its work is done, recorded and replayed."""


def disagreement(run: RunLayer, layers: Sequence[LstmLayer], x_SBTD: Sequence[Tensor], product_dtype: torch.dtype) -> str | None:
    """Compare a faster way with the plain one. No random number is drawn, so that dropout goes on as it would have.

    Args:
        run: The faster way.
        layers: Their weights.
        x_SBTD: A window's inputs.
        product_dtype: Of the products.

    Returns:
        What is not as it should be; None if all is.
    """
    layers = [copy.deepcopy(layer).requires_grad_() for layer in layers]
    x_SBTD = [x_BTD.detach().to(layers[0].bias.dtype) for x_BTD in x_SBTD]
    with torch.autocast(x_SBTD[0].device.type, enabled=False), torch.enable_grad():
        exact = _results(_plain(layers[0].bias.dtype), layers, x_SBTD)
        near = _results(_plain(product_dtype), layers, x_SBTD)
        allowed = {name: MORE_THAN_PLAIN * _error(near[name], right) + IN_ANY_CASE for name, right in exact.items()}
        del near
        for _ in range(TIMES):
            for name, found in _results(run, layers, x_SBTD).items():
                error = _error(found, exact[name])
                if not error <= allowed[name]:  # not a number is wrong too
                    return f"{name} differs from the plain way's by {error:.1e} of its norm, where {allowed[name]:.1e} may be"
    return None


def _plain(product_dtype: torch.dtype) -> RunLayer:
    """Give the plain way: one direction after the other."""
    recurrence = training_lstm(product_dtype)

    def run(
        layers: Sequence[LstmLayer], x_SBTD: Sequence[Tensor], states: Sequence[LstmState | None]
    ) -> list[tuple[Tensor, LstmState]]:
        given = zip(layers, x_SBTD, states, strict=True)
        return [recurrence(layer, x_BTD, None, state) for layer, x_BTD, state in given]

    return run


def _results(run: RunLayer, layers: Sequence[LstmLayer], x_SBTD: Sequence[Tensor]) -> dict[str, Tensor]:
    """Give the outputs of a window, from states that are not empty, and the gradients of all that they depend on."""
    leaves: dict[str, Tensor] = {}
    states: list[LstmState | None] = []
    inputs: list[Tensor] = []
    for direction, (layer, x_BTD) in enumerate(zip(layers, x_SBTD, strict=True)):
        zeros = layer.zero_state(x_BTD)
        state = LstmState(*(_waves(part).mul_(0.5).requires_grad_() for part in zeros))
        states.append(state)
        inputs.append(x_BTD.clone().requires_grad_())
        own = {"inputs": inputs[-1], "outputs before": state.h_BP, "cells before": state.c_BH, **dict(layer.named_parameters())}
        leaves |= {f"the gradient of the {name} of direction {direction}": leaf for name, leaf in own.items()}
    found = run(layers, inputs, states)
    outputs = {
        f"the {name} of direction {direction}": tensor
        for direction, (y_BTP, after) in enumerate(found)
        for name, tensor in (("outputs", y_BTP), ("outputs after", after.h_BP), ("cells after", after.c_BH))
    }
    gradients = torch.autograd.grad(list(outputs.values()), list(leaves.values()), [_waves(y) for y in outputs.values()])
    return {name: y.detach() for name, y in outputs.items()} | dict(zip(leaves, gradients, strict=True))


def _waves(like: Tensor) -> Tensor:
    """Numbers of all signs within ±1, the same at every call."""
    return torch.arange(like.numel(), device=like.device, dtype=like.dtype).mul_(0.7).sin_().view_as(like)


def _error(found: Tensor, right: Tensor) -> float:
    """How far a result is off, in norms."""
    return float((found - right).norm() / right.norm().clamp(min=torch.finfo(right.dtype).tiny))
