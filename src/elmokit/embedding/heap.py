"""How the C library keeps memory that was freed: a setting for a process that does nothing but embed."""

import ctypes
from contextlib import suppress

LARGE_BLOCK = 4 << 20
"""Bytes from which a block goes back to the system as soon as it is free."""


def return_large_blocks() -> None:
    """Let the C library give large blocks back to the system as soon as they are free.

    glibc raises that threshold with each large block freed, up to 32 MiB, and then keeps such blocks in a heap that
    breaks into ever smaller pieces: over a million tokens peak memory grew by a fifth.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another C library: it has no such setting
        ctypes.CDLL(None).mallopt(mmap_threshold, LARGE_BLOCK)
