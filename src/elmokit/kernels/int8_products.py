"""Prepared matrices in int8: `Product`s of `products.py`.

    W_kn = s_n · w_kn with whole w in ±127 and a scale for each column;   x = r · q with whole q in ±127

PyTorch's operators for bytes are private to its builds: each is tried once, against the plain product, and left alone where
it is missing, wrong or known to be slow (ARM, macOS, processors without these instructions).
Shapes: N rows, K inputs, M outputs.
"""

import platform
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from elmokit.kernels.float_products import ABSENT, ROWS_HINT
from elmokit.kernels.large_pages import in_large_pages
from elmokit.kernels.product import Product

LEVELS = 127
"""Whole numbers of int8 on each side of 0."""
ZERO_POINT = 128
"""What is added to them for products of many rows, since the processor multiplies unsigned by signed bytes."""
X86 = ("x86_64", "amd64")
"""How Linux and macOS, and Windows, call the processors whose products of bytes are fast."""
ROUNDS = 3 << 22
"""From 2^23 on float32 has whole numbers alone. A small number is rounded, half to even, by adding this, and then stands in
the lowest bits: it is had by reading them, with no pass for rounding and none for cutting down."""


class Whole(NamedTuple):
    """W as whole numbers and scales."""

    w_MK: Tensor
    """int8, a row for each output."""
    scale_M: Tensor
    """What a row is multiplied with to give W's column, or that and the inputs' scale."""


def whole_numbers(w_KM: Tensor) -> Whole:
    """Round each output's weights to ±127 steps of its own."""
    w_MK = w_KM.t().contiguous()
    scale_M = _largest(w_MK) / LEVELS
    return Whole((w_MK / scale_M[:, None]).round_().to(torch.int8), scale_M)


def _largest(x_NK: Tensor) -> Tensor:
    """The largest number of each row, whatever its sign; above 0."""
    return torch.maximum(x_NK.amax(1), -x_NK.amin(1)).clamp_min_(_not_zero(0.0))  # `aminmax` takes 20 times as long


def _not_zero(bound: float) -> float:
    """Give a bound whose steps float32 can tell from 0."""
    return max(bound, torch.finfo(torch.float32).tiny * LEVELS)


class BytesTimes(Protocol):
    """Products of rows of whole numbers."""

    def times(self, q_NK: Tensor) -> Tensor:
        """Give q W + b as float32."""

    def onto(self, y_NM: Tensor, q_NK: Tensor) -> Tensor:
        """Add q W to y in place, without b."""


class PlainBytes:
    """What any PyTorch can do: the same whole numbers, multiplied as float32. It saves neither memory nor time.

    Whole numbers are bytes with `ZERO_POINT` added.
    """

    def __init__(self, whole: Whole, b_M: Tensor | None = None) -> None:
        self.w_KM, self.scale_M, self.b_M = whole.w_MK.t().to(torch.float32).contiguous(), whole.scale_M, b_M

    def times(self, q_NK: Tensor) -> Tensor:
        """Give q W + b."""
        y_NM = self._product(q_NK)
        return y_NM if self.b_M is None else y_NM.add_(self.b_M)

    def onto(self, y_NM: Tensor, q_NK: Tensor) -> Tensor:
        """Add q W to y in place."""
        return y_NM.add_(self._product(q_NK))

    def _product(self, q_NK: Tensor) -> Tensor:
        """Give q W."""
        return ((q_NK.float() - ZERO_POINT) @ self.w_KM).mul_(self.scale_M)


class PackedBytes:
    """oneDNN's product of bytes over weights in its own layout. Whole numbers are bytes with `ZERO_POINT` added."""

    def __init__(self, whole: Whole, b_M: Tensor | None = None) -> None:
        self.packed = torch.ops.onednn.qlinear_prepack(whole.w_MK, [ROWS_HINT, whole.w_MK.shape[1]])
        self.scale_M, self.b_M = whole.scale_M, b_M
        self.zero_M = torch.zeros_like(whole.scale_M, dtype=torch.long)

    def times(self, q_NK: Tensor) -> Tensor:
        """Give q W + b: the sum is made on the way out of the product."""
        weights = (self.packed, self.scale_M, self.zero_M)
        y_NM: Tensor = torch.ops.onednn.qlinear_pointwise(
            q_NK, 1.0, ZERO_POINT, *weights, self.b_M, 1.0, 0, torch.float32, "none", [], ""
        )
        return y_NM

    def onto(self, y_NM: Tensor, q_NK: Tensor) -> Tensor:
        """Add q W to y in place, on the way out too."""
        weights = (self.packed, self.scale_M, self.zero_M)
        sum_NM: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            q_NK, 1.0, ZERO_POINT, *weights, y_NM, None, 1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], ""
        )
        return sum_NM


class SignedBytes(NamedTuple):
    """Whole numbers as they are, for PyTorch's product of signed bytes."""

    w_KM: Tensor
    """int8, in large pages."""
    scale_M: Tensor
    """What sums are multiplied with."""
    b_M: Tensor | None
    """b."""


def signed_bytes(whole: Whole, b_M: Tensor | None = None) -> SignedBytes:
    """Prepare whole numbers for `SingleInt8`."""
    return SignedBytes(in_large_pages(whole.w_MK).t(), whole.scale_M, b_M)


class SingleInt8(Product):
    """PyTorch's product of signed bytes for exactly one row: its calls cost less than `PackedBytes`', from two rows on more.

    The same numbers, bit for bit. Nothing is allocated in a step but what `times` gives.

    Args:
        weights: W and b; the scales are those of W and of x, multiplied.
        bound: Of x.
    """

    def __init__(self, weights: SignedBytes, bound: float) -> None:
        self.bound, self.weights = bound, weights
        inputs, outputs = weights.w_KM.shape
        self.rounds, self.steps = _rounding(bound, 0)
        self.q_1K, self.rounded_1K = weights.w_KM.new_empty(1, inputs), weights.scale_M.new_empty(1, inputs)
        self.lowest_1K = self.rounded_1K.view(torch.int32)
        self.sums_1M, self.scaled_1M = (weights.scale_M.new_empty(1, outputs, dtype=d) for d in (torch.int32, torch.float32))

    def prepare(self, x_1K: Tensor) -> Tensor:
        """Round x."""
        torch.add(self.rounds, x_1K, alpha=self.steps, out=self.rounded_1K)
        return self.q_1K.copy_(self.lowest_1K)

    def times(self, q_1K: Tensor) -> Tensor:
        """Give x W + b."""
        y_1M = torch._int_mm(q_1K, self.weights.w_KM, out=self.sums_1M) * self.weights.scale_M
        return y_1M if self.weights.b_M is None else y_1M.add_(self.weights.b_M)

    def onto(self, y_1M: Tensor, q_1K: Tensor) -> Tensor:
        """Add x W to y in place; multiplied first and then added, as `PackedBytes` does."""
        torch._int_mm(q_1K, self.weights.w_KM, out=self.sums_1M)
        return y_1M.add_(torch.mul(self.sums_1M, self.weights.scale_M, out=self.scaled_1M))


class BoundedInt8(Product):
    """int8 for inputs that keep a bound, as what was clipped does: one scale for all rows, exact in range.

    Inputs must keep it: what lies outside gives numbers without a meaning.

    Args:
        w_KM: W.
        b_M: b.
        bound: The bound.
        single: Whether single rows come often. The matrix is then kept as it is too.
    """

    def __init__(self, w_KM: Tensor, b_M: Tensor | None, bound: float, single: bool = False) -> None:
        self.bound: float = bound
        self.rounds, self.steps = _rounding(bound, ZERO_POINT)
        whole = whole_numbers(w_KM)
        whole = whole._replace(scale_M=whole.scale_M / self.steps)
        self.many = bytes_times(whole, b_M)
        signed = single and len(w_KM) > 1 and signed_int8_works()  # of a single input PyTorch 2.13 gives wrong products
        self.one = signed_bytes(whole, b_M) if signed else None

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Round x, and add `ZERO_POINT`."""
        return torch.add(self.rounds, x_NK, alpha=self.steps).view(torch.int32).to(torch.uint8)

    def times(self, q_NK: Tensor) -> Tensor:
        """Give x W + b."""
        return self.many.times(q_NK)

    def onto(self, y_NM: Tensor, q_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return self.many.onto(y_NM, q_NK)

    def for_rows(self, rows: int) -> Product:
        """Give the weights for so many rows."""
        return SingleInt8(self.one, self.bound) if rows == 1 and self.one is not None else self


def _rounding(bound: float, zero_point: int) -> tuple[Tensor, float]:
    """Give what rounds x: a tensor to add, so that scaling and adding are one pass, and the steps by which x is scaled."""
    return torch.tensor(ROUNDS + zero_point, dtype=torch.float32, device="cpu"), LEVELS / _not_zero(bound)


class RowInt8(Product):
    """int8 for inputs of any size: a scale for each row.

    Args:
        w_KM: W.
        b_M: b.
    """

    def __init__(self, w_KM: Tensor, b_M: Tensor | None) -> None:
        self.weights, self.b_M = bytes_times(whole_numbers(w_KM)), b_M

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is: bytes and scales, which belong together, are made by `times`."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        y_NM, scale_N1 = self._unscaled(x_NK)
        return y_NM.mul_(scale_N1) if self.b_M is None else torch.addcmul(self.b_M, y_NM, scale_N1, out=y_NM)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return y_NM.addcmul_(*self._unscaled(x_NK))

    def _unscaled(self, x_NK: Tensor) -> tuple[Tensor, Tensor]:
        """Give q W of each row's whole numbers, and the rows' scales."""
        scale_N1 = _largest(x_NK)[:, None] / LEVELS
        q_NK = (x_NK / scale_N1).add_(ROUNDS + ZERO_POINT).view(torch.int32).to(torch.uint8)
        return self.weights.times(q_NK), scale_N1


def bytes_times(whole: Whole, b_M: Tensor | None = None) -> BytesTimes:
    """Prepare whole numbers for this machine."""
    return PackedBytes(whole, b_M) if packed_int8_works() else PlainBytes(whole, b_M)


@cache
def packed_int8_works() -> bool:
    """Whether oneDNN's product of bytes is there and exact: some processors overflow where all numbers are large.

    Elsewhere than on x86 it is exact, but may be a hundred times slower than it could: oneDNN 3.7, for one, has no code of
    its own for unsigned bytes on ARM (pytorch/pytorch pull request 147337).
    """
    with torch.device("cpu"):  # whatever the user's own default is
        q_NK = torch.tensor([0, 1, ZERO_POINT, 255], dtype=torch.uint8)[:, None].expand(4, 64).contiguous()
        return _exact(PackedBytes, q_NK, q_NK)


@cache
def signed_int8_works() -> bool:
    """Whether PyTorch's product of a row of signed bytes is there and exact."""
    with torch.device("cpu"):
        return all(
            _exact(_signed, torch.full((1, 64), q, dtype=torch.int8), torch.full((1, 64), q + ZERO_POINT, dtype=torch.uint8))
            for q in (LEVELS, -LEVELS)
        )


def _signed(whole: Whole) -> BytesTimes:
    """Prepare whole numbers for a single row of whole numbers."""
    return SingleInt8(signed_bytes(whole), LEVELS)


def _exact(kind: Callable[[Whole], BytesTimes], q_NK: Tensor, plain_NK: Tensor) -> bool:
    """Whether products over the largest weights are exact; `plain_NK`: the whole numbers in the form of `PlainBytes`."""
    if platform.machine().lower() not in X86:
        return False
    largest = Whole(torch.full((32, 64), LEVELS, dtype=torch.int8), torch.ones(32, dtype=torch.float32))
    try:
        weights = kind(largest)
        found = weights.times(q_NK), weights.onto(torch.ones(len(q_NK), 32, dtype=torch.float32), q_NK)
    except ABSENT:
        return False
    exact = PlainBytes(largest).times(plain_NK)
    return torch.equal(found[0], exact) and torch.equal(found[1], exact + 1)
