"""Networks that have shapes and no values yet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks whose values are put in place afterwards: in the block that takes neither memory nor time.

    It is PyTorch's device "meta", on which normal numbers are not drawn: for them PyTorch would load its compiler, which
    takes a second or more.
    """
    with torch.device("meta"), _NoNormals():
        yield


class _NoNormals(TorchFunctionMode):
    """Leaves tensors as they are that are to be filled with normal numbers."""

    def __torch_function__(
        self, func: Callable[..., Any], _: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is nn.init.normal_:
            return (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
