"""Memory in large pages, for weights of which every step of a single row reads all.

Of the processor's usual pages of 4 KB a matrix of the original size has thousands, and each must be found anew. Linux gives
pages of 2 MB to who asks for them (`transparent_hugepage`, if it is not switched off); elsewhere nothing is asked.
"""

import mmap

import torch
from torch import Tensor

WORTH_IT = 2 << 20
"""Bytes from which a tensor is large."""


def in_large_pages(x: Tensor) -> Tensor:
    """Give a copy of a large contiguous tensor there; a small one as it is, and any where the system has no such pages."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is None or x.nbytes < WORTH_IT:
        return x
    room = mmap.mmap(-1, x.nbytes)
    try:
        room.madvise(advice)
    except OSError:  # a kernel without them
        return x
    return torch.frombuffer(room, dtype=x.dtype).view(x.shape).copy_(x)
