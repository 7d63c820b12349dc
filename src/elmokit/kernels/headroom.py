"""Whether memory has room for what comes next, asked before it begins.

Where memory ends in the midst of its work, PyTorch raises an error; but oneDNN, which makes machine code for each new shape
of a product, may take a null pointer for memory and end the process. So what is large asks first, and the error is raised
here, where nothing has begun.
"""

import mmap

ROOM = 128 << 20
"""Bytes that must be left for what nobody counts: oneDNN's machine code, the heaps of threads, Python's own objects."""


def check_room(size: int) -> None:
    """Take as much memory as is wanted and give it back untouched: that costs some microseconds, and no memory.

    Args:
        size: Bytes that are about to be needed, beside `ROOM`.

    Raises:
        MemoryError: The system does not give so much.
    """
    try:
        mmap.mmap(-1, ROOM + size).close()
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{(ROOM + size) / 1e6:,.0f} MB are not to be had") from error
