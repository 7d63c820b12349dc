"""How a GPU multiplies float32: truly, or with factors rounded to TF32's 10 bits of mantissa, several times as fast.

PyTorch knows this as settings of the whole process; by default its products are true and its convolutions are not. Here
both are set for a while and put back as they were. Two threads that want different things take turns.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_SETTING = threading.RLock()
"""The settings are one for the whole process: whoever relies on them must be alone."""


def tf32_asked_for() -> bool:
    """Whether the user's settings of PyTorch ask for TF32 in products, in whatever way they were made."""
    with _SETTING:
        products: Any = torch.backends.cuda.matmul
        if hasattr(products, "fp32_precision"):  # where it was used, the older question is answered by an error
            return bool(products.fp32_precision == "tf32")
        return torch.get_float32_matmul_precision() != "highest"


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """Have products and convolutions of float32 done in one way while this is entered.

    What is started on a device meanwhile keeps its way, whenever it runs.

    Args:
        tf32: Whether factors are rounded to TF32.
    """
    with _SETTING, ExitStack() as until_done:
        if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # PyTorch 2.9 and later
            convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # PyTorch's own lack of types
            for setting in (torch.backends.cuda.matmul, convolutions):
                until_done.enter_context(_precision(setting, tf32))
        else:
            until_done.enter_context(_older_precision(tf32))
        yield


@contextmanager
def _precision(setting: Any, tf32: bool) -> Iterator[None]:
    """Set one of PyTorch's `fp32_precision`, which are "tf32", "ieee", or "none" for what a wider setting says."""
    before = setting.fp32_precision
    if (before == "tf32") == tf32:
        yield
        return
    setting.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        setting.fp32_precision = "none"  # it may have been read from the wider setting, which it goes on following then
        if setting.fp32_precision != before:
            setting.fp32_precision = before


@contextmanager
def _older_precision(tf32: bool) -> Iterator[None]:
    """Do the same before PyTorch 2.9."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
