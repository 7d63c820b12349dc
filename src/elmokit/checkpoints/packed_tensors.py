"""A safetensors file in memory, with the methods of `safetensors.safe_open` that our folder's reader uses."""

from typing import Any, NamedTuple, Self

import torch
from safetensors.torch import load
from torch import Tensor

_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64"}


class _Slice(NamedTuple):
    """What is known of a tensor."""

    tensor: Tensor

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self.tensor.shape)

    def get_dtype(self) -> str:
        """Its type, as the format names it."""
        return _NAMES.get(self.tensor.dtype, str(self.tensor.dtype))


class PackedTensors:
    """The tensors of a file that was read from an archive.

    Args:
        data: Its bytes.

    Raises:
        SafetensorError: They are no safetensors file.
    """

    def __init__(self, data: bytes) -> None:
        self.tensors = load(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def keys(self) -> list[str]:
        """The tensors' names."""
        return list(self.tensors)

    def get_slice(self, name: str) -> _Slice:
        """What is known of a tensor."""
        return _Slice(self.tensors[name])

    def get_tensor(self, name: str) -> Tensor:
        """A tensor."""
        return self.tensors[name]
