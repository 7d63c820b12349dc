"""The memory of the old programs: each row of a batch goes on where the same row of the batch before ended.

A larger batch appends rows of zeros, a smaller one uses the first rows and leaves the others as they are. L layers, B rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from elmokit.kernels.engine import Engine
from elmokit.model.bilm import BiLM, BiLMState, StackState
from elmokit.model.lstm import LstmState


class StatefulBiLM:
    """A biLM that remembers, row by row.

    Args:
        bilm: The network.
        engine: What runs it faster; None: nothing.
    """

    def __init__(self, bilm: BiLM, engine: Engine | None = None) -> None:
        self.bilm = bilm
        self.run = bilm.layers_of if engine is None else engine.layers_of
        self.state: BiLMState | None = None

    def layers_of(self, x_BTP: Tensor, lengths_B: Tensor) -> Tensor:
        """Give the layers (L + 1, B, T, D) from word vectors, and move the state of the rows that were read."""
        rows = len(x_BTP)
        if self.state is not None:
            self.state = map_states(lambda x: torch.cat([x, x.new_zeros(max(0, rows - len(x)), x.shape[1])]), self.state)
        before = self.state and map_states(lambda x: x[:rows], self.state)
        layers, after = self.run(x_BTP, lengths_B, before)
        self.state = map_states(lambda new, old: torch.cat([new, old[rows:]]).detach(), after, self.state or after)
        return layers


def map_states(function: Callable[..., Tensor], *states: BiLMState) -> BiLMState:
    """Apply a function to each tensor of a state, or to the same one of several states."""

    def stack(stacks: tuple[StackState, ...]) -> StackState:
        layers = zip(*stacks, strict=True)
        return tuple(LstmState(*(function(*tensors) for tensors in zip(*layer, strict=True))) for layer in layers)

    return BiLMState(stack(tuple(s.forward for s in states)), stack(tuple(s.backward for s in states)))
