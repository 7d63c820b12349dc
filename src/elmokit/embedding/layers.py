"""Which of a token's L + 1 layers are wanted, and how its tokens' vectors become one.

L layers (the word vectors, layer 0, counted), T tokens, D width; "…" stands for any axes.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Layers = Literal["mean", "top", "all"] | int
"""The plain mean of all layers, the last one, all of them on a new first axis, or one by its number (0: the word vectors)."""

Pooling = Literal["mean", "max"]
"""How the vectors of several tokens become one."""


def check_layers(layers: Layers, count: int) -> None:
    """Refuse what does not name layers of a model.

    Args:
        layers: What the user asked for.
        count: How many layers there are.

    Raises:
        ValueError: Says what may be asked for.
    """
    if isinstance(layers, int) and not isinstance(layers, bool):
        if layers < 0:
            raise ValueError(
                f'layers={layers}: a negative layer means different things in different programs; say "mean" or "top"'
            )
        if layers >= count:
            raise ValueError(f"layers={layers}: this model has the layers 0 to {count - 1}")
    elif layers not in ("mean", "top", "all"):
        raise ValueError(f'layers must be "mean", "top", "all" or a number from 0 to {count - 1}, not {layers!r}')


def select_layers(layers_LX: Tensor, layers: Layers) -> Tensor:
    """Give the layers asked for: (…) of (L, …), or (L, …) for "all"."""
    if layers == "all":
        return layers_LX
    if layers == "mean":
        return layers_LX.mean(0)
    return layers_LX[-1 if layers == "top" else layers]


def check_pooling(pooling: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: Lists the known ones.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, not {pooling!r}")


def pool(x_TD: Tensor, pooling: Pooling) -> Tensor:
    """Make one vector (…, D) of tokens' vectors (…, T, D); zeros if there is no token."""
    if not x_TD.shape[-2]:
        return x_TD.new_zeros((*x_TD.shape[:-2], x_TD.shape[-1]))
    return x_TD.mean(-2) if pooling == "mean" else x_TD.amax(-2)


def unit_length(x_D: Tensor) -> Tensor:
    """Scale vectors (…, D) to length 1; zeros stay zeros."""
    return torch.nn.functional.normalize(x_D, dim=-1)
