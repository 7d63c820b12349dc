"""Loads damaged copies of a file one after the other, in a process that may die of it.

    python hostile.py FILE FIRST cuts|flips NUMBER MODEL

Prints the number of each copy before it is loaded, then what came of it. See `test_hostile_hdf5.py`.
"""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from tests.checkpoints.damage import bytes_changed, cuts

from elmokit.checkpoints.load import load_checkpoint
from elmokit.errors import FormatError


def outcome(model: Path) -> str:
    """Load; anything but a `FormatError` or a whole and finite model is a fault."""
    try:
        checkpoint = load_checkpoint(model)
    except FormatError as error:
        return "refused" if str(error).startswith(str(model.parent)) else f"FAULT: does not name the file: {error}"
    whole = all(tensor.isfinite().all() for tensor in checkpoint.bilm.values())
    return "loaded" if whole else "FAULT: loaded, but not finite"


def main() -> None:
    file, first, kind, number, model = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])
    copies: Iterator[Path] = cuts(file, number) if kind == "cuts" else bytes_changed(file, number)
    warnings.simplefilter("ignore")
    for count, _ in enumerate(copies):
        if count >= first:
            print(count, flush=True)
            print(outcome(model), flush=True)


if __name__ == "__main__":
    main()
