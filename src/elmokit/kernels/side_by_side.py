"""Which threads work on what: both directions at once, each on its half of the cores, or all in one thread.

PyTorch divides every operator among all threads and waits for the last of them, hundreds of times a sentence: measured,
that is dozens of times slower as soon as another program has one of the cores. Two directions have nothing to wait for:
run in a thread each, with half of PyTorch's threads, they meet only at the end. Small products are not worth dividing.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from elmokit.kernels.headroom import check_room

Result = TypeVar("Result")

ROOM = 128 << 20
"""Bytes that another thread takes: its stack, a heap of its own, what oneDNN writes of machine code."""

_THREADS_CHANGE = threading.Lock()
"""PyTorch's number of threads is that of the thread which sets it, and of all that begin later: whoever changes it must be
alone, and a thread of the user's own that begins meanwhile keeps the smaller number until it sets another."""


def side_by_side(work: Sequence[Callable[[], Result]]) -> list[Result]:
    """Call functions at once, with a fair share of PyTorch's threads each; one after the other where threads are too few.

    Args:
        work: What to call; the first is called in the thread of the caller.

    Returns:
        What they give, in their order.
    """
    threads = torch.get_num_threads()
    if len(work) == 1 or threads < len(work) or not _room_for_a_thread() or not _THREADS_CHANGE.acquire(blocking=False):
        return [run() for run in work]
    try:
        torch.set_num_threads(threads // len(work))  # threads that begin from here on take this number too
        with ThreadPoolExecutor(len(work) - 1) as pool:
            try:
                others = [pool.submit(_without_gradients, run) for run in work[1:]]
            except RuntimeError:  # no thread is to be had: for want of memory, or there are too many
                return [run() for run in work]
            return [work[0](), *(other.result() for other in others)]
    finally:
        torch.set_num_threads(threads)
        _THREADS_CHANGE.release()


def _room_for_a_thread() -> bool:
    """Whether memory has room for another thread."""
    try:
        check_room(ROOM)
    except MemoryError:
        return False
    return True


def in_one_thread(work: Callable[[], Result]) -> Result:
    """Call a function while PyTorch divides nothing among threads, if nobody else is changing their number."""
    threads = torch.get_num_threads()
    if threads == 1 or not _THREADS_CHANGE.acquire(blocking=False):
        return work()
    try:
        torch.set_num_threads(1)
        return work()
    finally:
        torch.set_num_threads(threads)
        _THREADS_CHANGE.release()


def _without_gradients(run: Callable[[], Result]) -> Result:
    """Call a function; a new thread records gradients unless it is told not to."""
    with torch.no_grad():
        return run()
