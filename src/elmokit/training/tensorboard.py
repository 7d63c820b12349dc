"""A run's numbers for TensorBoard, by the library's own writer."""

from pathlib import Path
from typing import Any

from elmokit.errors import MissingExtraError


class TensorBoardLog:
    """Writes the numbers of each record as scalars; see `elmokit.training.log.Log`.

    Args:
        folder: Where the event files go, a new one at each start.
        steps: Where the run goes on; what an earlier start wrote of later steps is hidden.

    Raises:
        MissingExtraError: The library `tensorboard` is not there.
    """

    def __init__(self, folder: Path, steps: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("--tensorboard", "tensorboard") from error
        self._writer: Any = SummaryWriter(folder, purge_step=steps + 1)

    def write(self, **record: Any) -> None:
        """Take the numbers of one record, those of a mapping by its own name and theirs."""
        steps = record.pop("steps")
        for name, value in _flat(record).items():
            self._writer.add_scalar(name, value, steps)
        self._writer.flush()


def _flat(record: dict[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of a record, with the names on the way to them."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            numbers |= _flat(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            numbers[before + name] = value
    return numbers
