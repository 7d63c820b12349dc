"""Functions run at once, each with its share of the threads."""

import threading

import pytest
import torch

from elmokit.kernels import side_by_side as module
from elmokit.kernels.side_by_side import in_one_thread, side_by_side


@pytest.fixture(autouse=True)
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_they_do_run_at_once_and_results_keep_their_order() -> None:
    barrier = threading.Barrier(2, timeout=20)  # passed only by two at a time
    assert side_by_side([lambda: (barrier.wait(), "a")[1], lambda: (barrier.wait(), "b")[1]]) == ["a", "b"]


def test_each_has_its_share_of_the_threads_and_the_callers_number_comes_back() -> None:
    assert side_by_side([torch.get_num_threads] * 2) == [1, 1]
    assert torch.get_num_threads() == 2


def test_one_alone_has_all_threads() -> None:
    assert side_by_side([torch.get_num_threads]) == [2]


def test_no_gradients_are_recorded_in_any_of_them() -> None:
    with torch.no_grad():
        assert side_by_side([torch.is_grad_enabled] * 2) == [False, False]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_comes_out_and_the_threads_come_back(failing: int) -> None:
    def fail() -> None:
        raise MemoryError("none left")

    work = [lambda: None, lambda: None]
    work[failing] = fail
    with pytest.raises(MemoryError, match="none left"):
        side_by_side(work)
    assert torch.get_num_threads() == 2
    assert side_by_side([lambda: 1, lambda: 2]) == [1, 2]


def test_inside_another_such_call_they_run_one_after_the_other() -> None:
    here: list[int] = []

    def inner() -> None:
        here.extend(side_by_side([threading.get_ident] * 2))

    side_by_side([inner, lambda: None])
    assert here == [threading.get_ident()] * 2


def test_with_one_thread_they_run_one_after_the_other() -> None:
    torch.set_num_threads(1)
    assert side_by_side([threading.get_ident] * 2) == [threading.get_ident()] * 2


@pytest.mark.parametrize("wanting", ["room", "threads"])
def test_where_another_thread_cannot_be_had_they_run_one_after_the_other(wanting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if wanting == "room":
        monkeypatch.setattr(module, "ROOM", 1 << 60)
    else:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert side_by_side([threading.get_ident] * 2) == [threading.get_ident()] * 2
    assert torch.get_num_threads() == 2


def test_in_one_thread_and_back() -> None:
    assert in_one_thread(torch.get_num_threads) == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        in_one_thread(lambda: 1 / 0)
    assert torch.get_num_threads() == 2
