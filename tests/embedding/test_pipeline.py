"""Work in another thread: in order, bounded, and stopped where it stands."""

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from elmokit.embedding.pipeline import Background, in_order


class Result:
    """Something that a weak reference can watch."""


def test_results_come_in_the_order_of_the_items() -> None:
    with Background() as background:
        found = list(in_order(range(20), lambda n: background.submit(lambda: n * n), ahead=3))
    assert found == [(n, n * n) for n in range(20)]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_items_are_read_when_they_are_needed(ahead: int) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for n in range(10):
            read.append(n)
            yield n

    with Background() as background:
        for n, _ in in_order(items(), lambda n: background.submit(lambda: None), ahead):
            assert len(read) == min(n + 1 + ahead, 10)


def test_work_goes_on_while_its_result_before_is_used() -> None:
    """Two threads that wait for each other: each needs the other to be at work at the same time."""
    meeting = threading.Barrier(2)
    with Background() as background:
        results = in_order([0, 1], lambda n: background.submit(lambda: n and meeting.wait(timeout=30)), ahead=1)
        assert next(results) == (0, 0)
        meeting.wait(timeout=30)
        assert next(results)[0] == 1


def test_nothing_keeps_a_result_that_was_taken() -> None:
    with Background() as background:
        for _, result in in_order(range(3), lambda n: background.submit(Result), ahead=1):
            watched = weakref.ref(result)
            del result
            gc.collect()
            assert watched() is None


def test_an_error_is_raised_where_its_result_is_taken() -> None:
    def work(n: int) -> int:
        if n == 2:
            raise ValueError(f"no {n}")
        return n

    taken = []

    def take() -> None:
        with Background() as background:
            for n, _ in in_order(range(5), lambda n: background.submit(partial(work, n)), ahead=1):
                taken.append(n)

    with pytest.raises(ValueError, match="no 2"):
        take()
    assert taken == [0, 1]


def test_an_error_here_stops_work_in_its_midst() -> None:
    started, ended, later = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        for _ in range(6000):
            time.sleep(0.01)
        ended.set()

    def interrupted() -> None:
        with Background() as background:
            background.submit(work)
            background.submit(later.set)
            started.wait()
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 20
    assert not ended.is_set()
    assert not later.is_set()
    assert "elmokit" not in {thread.name for thread in threading.enumerate()}


def test_without_an_error_all_work_is_done() -> None:
    done: list[int] = []
    with Background() as background:
        for n in range(3):
            background.submit(partial(done.append, n))
    assert done == [0, 1, 2]


def test_the_switch_interval_is_set_back() -> None:
    before = sys.getswitchinterval()
    with Background():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_a_start_that_fails_half_way_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where memory is out when the thread runs already; it would keep the program from ending."""
    start, begun = threading.Thread.start, []

    def failing(thread: threading.Thread) -> None:
        start(thread)
        begun.append(thread)
        raise MemoryError

    monkeypatch.setattr(threading.Thread, "start", failing)
    with pytest.raises(MemoryError), Background():
        pass
    (thread,) = begun
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert thread.daemon, "else a thread that nobody could tell to end would keep the program from ending"
