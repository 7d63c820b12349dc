"""Work in another thread, while this one reads what comes next and writes what is done; results in the order of the input.

Reading and writing stay in the caller's thread: an interrupt arrives there and nowhere else, so it can end a read that
waits, and h5py is safe from it. What computes lets go of Python's lock inside each operation, and there the two overlap.
"""

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

SWITCH_S = 0.0005
"""Seconds after which a thread that waits for Python's lock asks for it. An operation of the recurrence takes less than a
millisecond: by Python's own 5, the computing thread would do one in that time for as long as the other runs Python."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Stop(BaseException):
    """Work is to end where it stands."""


class Background:
    """A thread that does one thing after the other. An error inside the `with` block stops it in the midst of its work."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        # A daemon: where memory is out, it may be that nobody can tell it to end, and the program ends all the same.
        self._thread = threading.Thread(target=self._run, name="elmokit", daemon=True)
        self._interval = sys.getswitchinterval()

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except BaseException:  # it may have begun all the same: the lock by which its start is told needs memory too
            self._tasks.put(None)
            raise
        sys.setswitchinterval(min(self._interval, SWITCH_S))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is not None:
                # Raised in that thread, wherever its Python stands: as an interrupt is in the main thread.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(_Stop))
            self._tasks.put(None)
            self._thread.join()
        finally:
            sys.setswitchinterval(self._interval)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Have a function called after all that were submitted before."""
        future: Future[Result] = Future()
        self._tasks.put((work, future))
        return future

    def _run(self) -> None:
        """Do what is asked, until nothing more is to come."""
        with suppress(_Stop):
            while (task := self._tasks.get()) is not None:
                work, future = task
                try:
                    future.set_result(work())
                except _Stop:
                    raise
                except BaseException as error:
                    future.set_exception(error)
                del task, work, future  # results may be large


def in_order(items: Iterable[Item], submit: Callable[[Item], Future[Result]], ahead: int) -> Iterator[tuple[Item, Result]]:
    """Give each item with its result.

    Args:
        items: Each is read when the results before the last `ahead` ones have been taken.
        submit: Has the result of an item made elsewhere.
        ahead: Results that may be in the making while one is taken.

    Raises:
        Exception: Whatever was raised where a result was made.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        waiting.append((item, submit(item)))
        if len(waiting) > ahead:
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    """Wait for the item that came first; nothing here keeps its result."""
    item, future = waiting.popleft()
    return item, future.result()
