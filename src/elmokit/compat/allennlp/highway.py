"""AllenNLP's highway layers: both products in one matrix, and a gate that weighs the part that passes.

    [n | g] = x W + b        y = σ(g) · x + (1 − σ(g)) · activation(n)

Ours (`model/highway.py`) is the same with −g. F features, any shape before them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Highway(nn.Module):
    """Several highway layers, one after the other.

    Args:
        input_dim: F.
        num_layers: How many.
        activation: What the transformed part goes through.
    """

    def __init__(self, input_dim: int, num_layers: int = 1, activation: Callable[[Tensor], Tensor] = nn.functional.relu) -> None:
        super().__init__()
        self._input_dim = input_dim
        self._layers = nn.ModuleList(nn.Linear(input_dim, 2 * input_dim) for _ in range(num_layers))
        self._activation = activation
        for layer in self._layers:
            assert isinstance(layer, nn.Linear)
            nn.init.constant_(layer.bias[input_dim:], 1.0)  # at first most of the input passes

    def forward(self, inputs: Tensor) -> Tensor:
        """Give y, of the shape of `inputs`."""
        for layer in self._layers:
            transformed, gate = layer(inputs).chunk(2, -1)
            inputs = torch.lerp(self._activation(transformed), inputs, torch.sigmoid(gate))
        return inputs
