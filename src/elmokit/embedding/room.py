"""Room on disk for arrays that should not stand in memory."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20
LARGE = 64 << 20
"""Bytes from which an array goes to the disk."""


def reserve(path: Path) -> None:
    """Make the disk give a file all the space that its size promises.

    A memory map over a file with holes ends the process where the disk is full; this raises an error before.

    Raises:
        OSError: There is too little space.
    """
    with path.open("r+b") as file:
        _fill(file, path.stat().st_size)


class NpyFile:
    """A new `.npy` file of float32 numbers that is written as an array is, part by part.

    The process's memory does not grow with what has been written.

    Args:
        path: Where it is to be.
        shape: Of the array.

    Raises:
        OSError: There is too little space.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self.header: int = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).offset
        reserve(path)

    def __setitem__(self, places: Any, values: NDArray[np.float32]) -> None:
        # Mapped for as long as this takes: pages that have been written count as the process's memory until they are unmapped.
        np.memmap(self.path, np.float32, "r+", self.header, self.shape)[places] = values


def room_in(folder: Path) -> Callable[[tuple[int, ...]], NDArray[np.float32]]:
    """Give a maker of float32 arrays that keeps large ones in temporary files of a folder.

    The files have no name and vanish with the arrays.
    """

    def make(shape: tuple[int, ...]) -> NDArray[np.float32]:
        size = 4 * int(np.prod(shape))
        if size < LARGE:
            return np.empty(shape, dtype=np.float32)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(size)
            _fill(file, size)
            return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)

    return make


def allocate(file: int, size: int) -> bool:
    """Make the disk give an open file this many bytes.

    Args:
        file: Its descriptor.
        size: Bytes from its beginning; the file grows to this size if it is smaller.

    Returns:
        Whether this system can do so at all.

    Raises:
        OSError: There is too little space, or a file may not be so large.
    """
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(file, 0, max(size, 1))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # this file system cannot
            return False
        raise
    return True


def _fill(file: IO[bytes], size: int) -> None:
    """Allocate the bytes of a file that is `size` long and may have holes."""
    if allocate(file.fileno(), size):
        return
    for start in range(0, size, _CHUNK):  # read and write back: what stands there stays
        file.seek(start)
        part = file.read(min(_CHUNK, size - start))
        file.seek(start)
        file.write(part)
    file.flush()
