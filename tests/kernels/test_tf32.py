"""PyTorch's settings of float32 products are as asked inside, and as they were outside."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from elmokit.kernels.tf32 import _older_precision, float32_products, tf32_asked_for

MATMUL: Any = torch.backends.cuda.matmul
CONVOLUTION: Any = getattr(torch.backends.cudnn, "conv", None)
EVERYTHING: Any = torch.backends
newer = pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="PyTorch 2.9 and later have these settings")


@pytest.fixture(autouse=True)
def _settings_are_put_back() -> Iterator[None]:
    older = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    newer = [setting.fp32_precision for setting in (EVERYTHING, MATMUL, CONVOLUTION)] if hasattr(MATMUL, "fp32_precision") else []
    yield
    torch.set_float32_matmul_precision(older[0])
    torch.backends.cudnn.allow_tf32 = older[1]
    for setting, value in zip((EVERYTHING, MATMUL, CONVOLUTION), newer, strict=False):
        setting.fp32_precision = value


@newer
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("before", ["tf32", "ieee", "none"])
def test_inside_and_outside(before: str, tf32: bool) -> None:
    MATMUL.fp32_precision = CONVOLUTION.fp32_precision = before
    outside = MATMUL.fp32_precision, CONVOLUTION.fp32_precision
    with float32_products(tf32):
        for setting in (MATMUL, CONVOLUTION):
            assert (setting.fp32_precision == "tf32") == tf32
    assert (MATMUL.fp32_precision, CONVOLUTION.fp32_precision) == outside


@pytest.mark.parametrize(("before", "asked"), [("highest", False), ("high", True), ("medium", True)])
def test_what_the_user_asked_for(before: str, asked: bool) -> None:
    torch.set_float32_matmul_precision(before)
    assert tf32_asked_for() is asked
    with float32_products(not asked):
        assert tf32_asked_for() is not asked
    assert tf32_asked_for() is asked


@newer
def test_asked_for_in_the_newer_way() -> None:
    MATMUL.fp32_precision = "tf32"
    assert tf32_asked_for()
    MATMUL.fp32_precision = "none"
    EVERYTHING.fp32_precision = "tf32"
    assert tf32_asked_for()
    EVERYTHING.fp32_precision = "ieee"
    assert not tf32_asked_for()


@newer
def test_put_back_after_an_error() -> None:
    MATMUL.fp32_precision = "ieee"
    with pytest.raises(KeyError), float32_products(tf32=True):
        raise KeyError
    assert MATMUL.fp32_precision == "ieee"


@newer
def test_what_followed_a_wider_setting_goes_on_following_it() -> None:
    MATMUL.fp32_precision = "none"
    EVERYTHING.fp32_precision = "tf32"
    with float32_products(tf32=False):
        assert MATMUL.fp32_precision == "ieee"
    assert MATMUL.fp32_precision == "tf32"
    EVERYTHING.fp32_precision = "ieee"
    assert MATMUL.fp32_precision == "ieee"


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_before_pytorch_2_9(before: str, tf32: bool) -> None:
    torch.set_float32_matmul_precision(before)
    with _older_precision(tf32):
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert torch.backends.cudnn.allow_tf32 == tf32
    assert torch.get_float32_matmul_precision() == before


def test_threads_that_want_different_things_take_turns() -> None:
    inside = threading.Event()

    def work() -> None:
        with float32_products(tf32=False):
            inside.set()

    other = threading.Thread(target=work)
    with float32_products(tf32=True), float32_products(tf32=True):  # one thread may ask again
        other.start()
        assert not inside.wait(0.05)
    assert inside.wait(5)
    other.join()
