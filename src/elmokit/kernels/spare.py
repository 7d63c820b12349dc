"""Memory that training uses again from window to window.

Windows are all of one size, and fresh memory costs as much as a product: the system clears each page when it is first touched.
"""

from typing import Any

import torch
from torch import Tensor


class Spare:
    """Tensors that are not in use, by shape and type."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[Any, ...], list[Tensor]] = {}

    def take(self, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Give a tensor with any numbers in it, on the device of `like` and of its type unless told."""
        dtype = dtype or like.dtype
        found = self._tensors.get((shape, dtype, like.device))
        return found.pop() if found else like.new_empty(shape, dtype=dtype)

    def give_back(self, *tensors: Tensor) -> None:
        """Take tensors back that nothing reads any more."""
        for tensor in tensors:
            self._tensors.setdefault((tuple(tensor.shape), tensor.dtype, tensor.device), []).append(tensor)


class Kept:
    """Tensors that go back to the spare ones when the graph that needs them is gone: keep it in the graph's context.

    Args:
        spare: Where they go.
        tensors: Which nothing outside the graph reads.
    """

    def __init__(self, spare: Spare, *tensors: Tensor) -> None:
        self.spare, self.tensors = spare, tensors

    def __del__(self) -> None:
        self.spare.give_back(*self.tensors)
