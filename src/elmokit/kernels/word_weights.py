"""The weights of `model/char_cnn.py` in as few matrices as they can be: all filters in one, each highway's two in one.

Shapes: E character dimension, W window of a filter, K = E · widest window, F filters of all widths.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway


class WordWeights:
    """A character network's weights, float32: copies, from which kernels take what they keep.

    Args:
        network: Where they are from; it stays as it is.
    """

    @torch.no_grad()
    def __init__(self, network: CharCnn) -> None:
        self.widest = max(width for width, _ in network.config.filters)
        """Characters in the window of the widest filter."""
        self.table_CE = network.embedding.weight.detach()
        """The characters' vectors."""
        self.filters_KF, self.bias_F = filter_columns(network, self.widest)
        """A column for each filter, and the filters' biases."""
        self.highways = [_joined(module) for module in network.highways if isinstance(module, Highway)]
        """Weights (F, 2F) and biases (2F) of each: what transforms, then the gates."""
        last = network.projection
        self.projection = (last.weight.detach().t(), last.bias.detach()) if isinstance(last, nn.Linear) else None
        """Weights (F, P) and biases; None where there is none."""


def filter_columns(network: CharCnn, widest: int) -> tuple[Tensor, Tensor]:
    """Give filters_KF, a column for each filter, and bias_F.

    A window's characters follow each other, E numbers each; past the width of a narrow filter its column is 0.
    """
    convolutions = [module for module in network.convolutions if isinstance(module, nn.Conv1d)]
    columns = torch.cat([_widened(module.weight, widest) for module in convolutions], 1)
    return columns, torch.cat([module.bias for module in convolutions if module.bias is not None])


def window_blocks(windows_U: list[int], at_once: int) -> Iterator[slice]:
    """Cut words that stand shortest first: each block's windows, if all had as many as its last word, are multiplied together."""
    start = 0
    for word, windows in enumerate(windows_U):
        if word > start and (word + 1 - start) * windows > at_once:
            yield slice(start, word)
            start = word
    if start < len(windows_U):
        yield slice(start, len(windows_U))


def activate(x_UF: Tensor, activation: str) -> Tensor:
    """Give filters' maxima their activation, in place."""
    return x_UF.relu_() if activation == "relu" else x_UF.tanh_()


def mix(x_UF: Tensor, both_U2F: Tensor) -> Tensor:
    """Give a highway's output, of its input and of its product with both matrices; the product is overwritten."""
    transformed_UF, gate_UF = both_U2F.chunk(2, 1)
    return torch.lerp(x_UF, transformed_UF.relu_(), gate_UF.sigmoid_())


def _widened(w_FEW: Tensor, widest: int) -> Tensor:
    """Give filters of one width as columns (K, F)."""
    return pad(w_FEW, (0, widest - w_FEW.shape[2])).permute(2, 1, 0).flatten(0, 1)


def _joined(highway: Highway) -> tuple[Tensor, Tensor]:
    """Make one matrix of a highway's two."""
    parts = (highway.transform, highway.carry)
    return torch.cat([part.weight.detach() for part in parts]).t(), torch.cat([part.bias.detach() for part in parts])
