"""Cosines between vectors, the model's mean vector subtracted if wanted. N and M vectors, D width."""

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from elmokit.embedding.layers import Layers, select_layers


def cosines(a_ND: ArrayLike | Tensor, b_MD: ArrayLike | Tensor, mean_D: Tensor | None, dim: int) -> Any:
    """Give the cosine of each of `a_ND` with each of `b_MD`.

    Args:
        a_ND: Vectors, or a single one.
        b_MD: Vectors, or a single one.
        mean_D: What to subtract from all; None for nothing.
        dim: D, what their width must be.

    Returns:
        Cosines (N, M), 0 where a vector is zero: a tensor where `a_ND` lies if it is one, else an array.

    Raises:
        ValueError: Vectors of another width.
    """
    left_ND, right_MD = _vectors(a_ND, "a", dim), _vectors(b_MD, "b", dim)
    right_MD = right_MD.to(left_ND.device)
    if mean_D is not None:
        mean_D = mean_D.to(left_ND.device)
        left_ND, right_MD = left_ND - mean_D, right_MD - mean_D
    cosines_NM = torch.nn.functional.normalize(left_ND, dim=-1) @ torch.nn.functional.normalize(right_MD, dim=-1).T
    return cosines_NM if isinstance(a_ND, Tensor) else cosines_NM.detach().cpu().numpy()


def mean_vector(layer_means_LD: Tensor | None, layers: Layers) -> Tensor:
    """Give the mean of the vectors that these layers give.

    Args:
        layer_means_LD: Each layer's mean; None where the model has none.
        layers: Which layers.

    Raises:
        ValueError: There are no means; "all" layers, which give several vectors a token.
    """
    if layers == "all":
        raise ValueError('layers="all" gives several vectors a token; compare one layer, or their mean')
    if layer_means_LD is None:
        raise ValueError("this model has no layer means, so its vectors cannot be centered; say center=False for raw cosines")
    return select_layers(layer_means_LD.float(), layers)


def _vectors(given: ArrayLike | Tensor, name: str, dim: int) -> Tensor:
    """Vectors (N, D) in float32."""
    try:
        x_ND = torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be an array of vectors (N, {dim})") from error
    x_ND = x_ND[None] if x_ND.ndim == 1 else x_ND
    if x_ND.ndim != 2 or x_ND.shape[1] != dim:
        raise ValueError(f"{name} must be an array of vectors (N, {dim}), not of shape {tuple(x_ND.shape)}")
    return x_ND
