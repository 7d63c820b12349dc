"""The processes that train one model together, by plain `torch.distributed`: each has a rank, from 0.

Started by `torchrun`, which tells each process its rank; alone, everything here does nothing.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

# Before any group exists: the defaults of its functions hold on to the group of the moment they are imported, and the first
# step of an optimizer imports them. The group's threads would then outlive the interpreter, which now and then aborts it.
import torch.distributed.nn.functional
from torch import Tensor

PATIENCE = timedelta(days=1)
"""How long ranks wait for each other: while the first one reads a large corpus, the others have nothing to do."""


class Ranks:
    """This process's place among those that train together.

    Args:
        rank: Its number; that of rank 0 writes and speaks for all.
        count: How many there are.
        device: Where what they tell each other must lie: "cpu" for gloo, a GPU for NCCL.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: str = "cpu") -> None:
        self.rank = rank
        self.count = count
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Give this rank's part of some rows.

        Raises:
            ValueError: They cannot be divided evenly.
        """
        if rows % self.count:
            raise ValueError(f"--batch-size ({rows}) must be a multiple of the number of processes ({self.count})")
        each = rows // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def add_(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all ranks in place of each tensor: in one message for each type."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            for tensor, part in zip(same, torch.split(flat, [tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Give the tensors of all ranks, which have the same shape, in the order of ranks."""
        if self.count == 1:
            return [tensor]
        own = tensor.contiguous().to(self.device)
        tensors = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(tensors, own)
        return [told.to(tensor.device) for told in tensors]

    def agree(self, numbers: Sequence[float]) -> list[float]:
        """Give all ranks the numbers of rank 0: what depends on a clock is decided once."""
        if self.count == 1:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(told, 0)
        return [float(number) for number in told]

    def any(self, flag: bool) -> bool:
        """Tell all ranks whether one of them says so."""
        if self.count == 1:
            return flag
        told = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(told)
        return bool(told.item())

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()
"""A process that trains by itself."""


def first_process() -> bool:
    """Tell whether this process speaks for all."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started; alone without it.

    Args:
        device: "cpu" talks by gloo, "cuda" by NCCL, each process with a GPU of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def check_alone(option: str) -> None:
    """Refuse what one process must do by itself.

    Args:
        option: What asks for it.

    Raises:
        ValueError: `torchrun` has started several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            f"{option} tries steps in one process: first `elmo pretrain … --dry-run`, without torchrun; then "
            f"`torchrun … -m elmokit pretrain …` without {option}, with the size, vocabulary and dropout that were printed"
        )
