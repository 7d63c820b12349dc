"""Damages files the same way each time: cuts and changed bytes, put right again afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from elmokit.errors import FormatError

T = TypeVar("T")


def unless_refused(load: Callable[[], T], naming: object) -> T | None:
    """Give what `load` gives; None after the one error that damage may lead to, whose message names the file."""
    try:
        return load()
    except FormatError as error:
        message = str(error)
    assert str(naming) in message
    return None


def cuts(path: Path, number: int) -> Iterator[Path]:
    """Cut a file at `number` places from its beginning to its last byte, one after the other."""
    whole = path.read_bytes()
    for size in np.unique(np.linspace(0, len(whole) - 1, number).astype(int)):
        path.write_bytes(whole[:size])
        yield path
    path.write_bytes(whole)


def bytes_changed(path: Path, number: int, seed: int = 0) -> Iterator[Path]:
    """Change one byte of a file, `number` times at another place."""
    whole = path.read_bytes()
    random = np.random.default_rng(seed)
    for place, change in zip(random.integers(0, len(whole), number), random.integers(1, 256, number), strict=True):
        changed = bytearray(whole)
        changed[place] ^= change
        path.write_bytes(changed)
        yield path
    path.write_bytes(whole)
