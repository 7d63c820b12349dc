"""A matrix that many rows are multiplied with, prepared once: y = x W + b in float32, bfloat16 or int8.

    float32     oneDNN's own layout of W
    bfloat16    the same; x and W are rounded to bfloat16, sums are float32, results bfloat16
    int8        W_kn = s_n · w_kn with whole w in ±127 and a scale for each column; x = r · q with whole q in ±127

The scale r of an input is that of a bound which x is known to keep (then it is the same for all rows), or else the row's
own largest number. So a row's result never depends on the rows beside it, and whole numbers add up exactly.

PyTorch's operators for packed weights are private to its builds: each is tried once, against the plain product, and left
alone where it is missing, wrong or known to be slow (ARM, macOS, processors without these instructions). Then plain
products take its place.
Shapes: N rows, K inputs, M outputs.
"""

import platform
from functools import cache
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16", "int8"]
"""Of the arithmetic. Sums, cells and results are float32 in all of them."""

LEVELS = 127
"""Whole numbers of int8 on each side of 0."""
ZERO_POINT = 128
"""What is added to them, since the processor multiplies unsigned by signed bytes."""
WORTH_PACKING = 1 << 18
"""Numbers of a float32 matrix from which oneDNN's packed product is faster than the plain one, its calls counted."""
X86 = ("x86_64", "amd64")
"""How Linux and macOS, and Windows, call the processors whose products of bytes are fast."""
ABSENT = (AttributeError, RuntimeError)
"""What calling an operator raises that a build does not have; that has no code for this processor, or other parameters."""
ROWS_HINT = 32
"""Rows for which oneDNN chooses its layout; measured, it serves 1 to 512 rows about as well as a layout for each."""


class Product(Protocol):
    """A prepared W and b."""

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x in the form in which it is multiplied; rows of it may be taken."""

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b of a prepared x, as float32 (N, M)."""

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y + x W of a prepared x, without b; y may be overwritten."""


class MakeProduct(Protocol):
    """Prepares a matrix: `make_product` of some precision."""

    def __call__(self, w_KM: Tensor, b_M: Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        """Prepare W and b for inputs within ± `bound`, of which a single row may come often."""


def check_precision(precision: str) -> None:
    """Refuse an unknown precision.

    Raises:
        ValueError: Lists the known ones.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")


def make_product(
    w_KM: Tensor, b_M: Tensor | None, bound: float | None = None, precision: Precision = "float32", *, single: bool = False
) -> Product:
    """Prepare a matrix for the CPU.

    Args:
        w_KM: W, float32.
        b_M: b; None for none.
        bound: No number of any x is outside ± this; None: nothing is known. Only int8 makes use of it.
        precision: Of the multiplications.
        single: Whether single rows come often. In float32 the matrix is then kept as it is too.
    """
    if precision == "float32":
        plain = PlainFloat32(w_KM, b_M)
        if w_KM.numel() < WORTH_PACKING or not packed_float32_works():
            return plain
        return SingleFloat32(PackedFloat32(w_KM, b_M), plain) if single else PackedFloat32(w_KM, b_M)
    if precision == "bfloat16":
        return PackedBFloat16(w_KM, b_M) if packed_bfloat16_works() else PlainBFloat16(w_KM, b_M)
    whole = whole_numbers(w_KM)
    packed: BytesTimes = PackedBytes(whole) if packed_int8_works() else PlainBytes(whole)
    return BoundedInt8(packed, b_M, bound) if bound is not None else RowInt8(packed, b_M)


class PlainFloat32:
    """What any PyTorch can do."""

    def __init__(self, w_KM: Tensor, b_M: Tensor | None) -> None:
        self.w_KM, self.b_M = w_KM, b_M

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        return x_NK @ self.w_KM if self.b_M is None else torch.addmm(self.b_M, x_NK, self.w_KM)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return y_NM.addmm_(x_NK, self.w_KM)


class PackedFloat32:
    """oneDNN's float32 product over weights in its own layout."""

    def __init__(self, w_KM: Tensor, b_M: Tensor | None) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(w_KM.t().contiguous(), ROWS_HINT)
        self.b_M = b_M

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        y_NM: Tensor = torch.ops.mkldnn._linear_pointwise(x_NK, self.packed, self.b_M, "none", [], "")
        return y_NM

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y + x W, the sum made on the way out of the product."""
        sum_NM: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x_NK, y_NM, self.packed, None, "add")
        return sum_NM


class SingleFloat32:
    """Packed weights for many rows, plain ones for a single row.

    The speed of a single row is that of reading W. Measured on 8 million weights, one thread reads them in 1.6 ms as they
    are, in 2.1 ms in oneDNN's layout, which is made for blocks of rows.

    Args:
        packed: For many rows.
        plain: The same product for one.
    """

    def __init__(self, packed: Product, plain: Product) -> None:
        self.packed, self.plain = packed, plain

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        return (self.plain if len(x_NK) == 1 else self.packed).times(x_NK)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y + x W; y may be overwritten."""
        return (self.plain if len(x_NK) == 1 else self.packed).onto(y_NM, x_NK)


class PlainBFloat16:
    """What any PyTorch can do."""

    def __init__(self, w_KM: Tensor, b_M: Tensor | None) -> None:
        self.w_MK, self.b_M = w_KM.t().to(torch.bfloat16).contiguous(), b_M

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Round x."""
        return x_NK.to(torch.bfloat16)

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b; b is added in float32."""
        y_NM = torch.nn.functional.linear(x_NK, self.w_MK).float()
        return y_NM if self.b_M is None else y_NM.add_(self.b_M)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return y_NM.add_(torch.nn.functional.linear(x_NK, self.w_MK))


class PackedBFloat16:
    """oneDNN's bfloat16 product over weights in its own layout."""

    def __init__(self, w_KM: Tensor, b_M: Tensor | None) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(w_KM.t().to(torch.bfloat16).contiguous(), ROWS_HINT)
        self.b_M = b_M

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Round x."""
        return x_NK.to(torch.bfloat16)

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b; b is added in float32."""
        y_NM: Tensor = self._product(x_NK).float()
        return y_NM if self.b_M is None else y_NM.add_(self.b_M)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return y_NM.add_(self._product(x_NK))

    def _product(self, x_NK: Tensor) -> Tensor:
        """Give x W in bfloat16."""
        y_NM: Tensor = torch.ops.mkldnn._linear_pointwise(x_NK, self.packed, None, "none", [], "")
        return y_NM


class Whole(NamedTuple):
    """W as whole numbers and scales."""

    w_MK: Tensor
    """int8, a row for each output."""
    scale_M: Tensor
    """What a row is multiplied with to give W's column."""


def whole_numbers(w_KM: Tensor) -> Whole:
    """Round each output's weights to ±127 steps of its own."""
    w_MK = w_KM.t().contiguous()
    scale_M = _largest(w_MK) / LEVELS
    return Whole((w_MK / scale_M[:, None]).round_().to(torch.int8), scale_M)


def _largest(x_NK: Tensor) -> Tensor:
    """The largest number of each row, whatever its sign; above 0."""
    low_N, high_N = torch.aminmax(x_NK, dim=1)
    return torch.maximum(high_N, -low_N).clamp_min_(torch.finfo(torch.float32).tiny * LEVELS)


def _bytes_of(x_NK: Tensor) -> Tensor:
    """Cut positive numbers below 256 down to whole ones, by way of int16: measured, that is four times faster than at once."""
    return x_NK.to(torch.int16).to(torch.uint8)


class BytesTimes(Protocol):
    """Products of rows of whole numbers, given as bytes with `ZERO_POINT` added."""

    def times(self, q_NK: Tensor, scale: float) -> Tensor:
        """Give scale · q W as float32."""

    def onto(self, y_NM: Tensor, q_NK: Tensor, scale: float) -> Tensor:
        """Add scale · q W to y in place."""


class PlainBytes:
    """What any PyTorch can do: the same whole numbers, multiplied as float32. It saves neither memory nor time."""

    def __init__(self, whole: Whole) -> None:
        self.w_KM, self.scale_M = whole.w_MK.t().to(torch.float32).contiguous(), whole.scale_M

    def times(self, q_NK: Tensor, scale: float) -> Tensor:
        """Give scale · q W."""
        y_NM = (q_NK.float() - ZERO_POINT) @ self.w_KM
        return y_NM.mul_(self.scale_M * scale)

    def onto(self, y_NM: Tensor, q_NK: Tensor, scale: float) -> Tensor:
        """Add scale · q W to y in place."""
        return y_NM.add_(self.times(q_NK, scale))


class PackedBytes:
    """oneDNN's product of bytes over weights in its own layout."""

    def __init__(self, whole: Whole) -> None:
        self.packed = torch.ops.onednn.qlinear_prepack(whole.w_MK, [ROWS_HINT, whole.w_MK.shape[1]])
        self.scale_M = whole.scale_M
        self.zero_M = torch.zeros(len(whole.scale_M), dtype=torch.long)

    def times(self, q_NK: Tensor, scale: float) -> Tensor:
        """Give scale · q W."""
        weights = (self.packed, self.scale_M, self.zero_M)
        y_NM: Tensor = torch.ops.onednn.qlinear_pointwise(
            q_NK, scale, ZERO_POINT, *weights, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y_NM

    def onto(self, y_NM: Tensor, q_NK: Tensor, scale: float) -> Tensor:
        """Add scale · q W to y in place: the sum is made on the way out of the product."""
        weights = (self.packed, self.scale_M, self.zero_M)
        sum_NM: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            q_NK, scale, ZERO_POINT, *weights, y_NM, None, 1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], ""
        )
        return sum_NM


class BoundedInt8:
    """int8 for inputs that keep a bound, as what was clipped does: one scale for all rows, exact in range.

    What lies outside is clipped, infinity too; NaN becomes some number within.

    Args:
        weights: W.
        b_M: b.
        bound: The bound.
    """

    def __init__(self, weights: BytesTimes, b_M: Tensor | None, bound: float) -> None:
        self.weights, self.b_M, self.scale = weights, b_M, max(bound, torch.finfo(torch.float32).tiny * LEVELS) / LEVELS
        self.half_up = torch.tensor(ZERO_POINT + 0.5, dtype=torch.float32)  # a tensor, so that scaling and adding are one pass

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Round x to bytes."""
        return _bytes_of(torch.add(self.half_up, x_NK, alpha=1 / self.scale).clamp_(1, 255))

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        y_NM = self.weights.times(x_NK, self.scale)
        return y_NM if self.b_M is None else y_NM.add_(self.b_M)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Add x W to y in place."""
        return self.weights.onto(y_NM, x_NK, self.scale)


class RowInt8:
    """int8 for inputs of any size: a scale for each row.

    Args:
        weights: W.
        b_M: b.
    """

    def __init__(self, weights: BytesTimes, b_M: Tensor | None) -> None:
        self.weights, self.b_M = weights, b_M

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
        q_NK = _bytes_of((x_NK / scale_N1).add_(ZERO_POINT + 0.5))
        return self.weights.times(q_NK, 1.0), scale_N1


@cache
def packed_float32_works() -> bool:
    """Whether oneDNN's float32 product is there and right."""
    return _works(PackedFloat32, PlainFloat32, 1e-4)


@cache
def packed_bfloat16_works() -> bool:
    """Whether oneDNN's bfloat16 product is there, right, and made by the processor itself."""
    if not hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported") or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return _works(PackedBFloat16, PlainBFloat16, 0.1)


@cache
def packed_int8_works() -> bool:
    """Whether oneDNN's product of bytes is there and exact: some processors overflow where all numbers are large.

    Elsewhere than on x86 it is exact, but may be a hundred times slower than it could: oneDNN 3.7, for one, has no code of
    its own for unsigned bytes on ARM (pytorch/pytorch pull request 147337).
    """
    if platform.machine().lower() not in X86:
        return False
    largest = Whole(torch.full((32, 64), LEVELS, dtype=torch.int8), torch.ones(32, dtype=torch.float32))
    q_NK = torch.tensor([0, 1, ZERO_POINT, 255], dtype=torch.uint8)[:, None].expand(4, 64).contiguous()
    try:
        packed = PackedBytes(largest)
        found = packed.times(q_NK, 1.0), packed.onto(torch.ones(4, 32, dtype=torch.float32), q_NK, 1.0)
    except ABSENT:
        return False
    exact = PlainBytes(largest).times(q_NK, 1.0)
    return torch.equal(found[0], exact) and torch.equal(found[1], exact + 1)


def _works(packed: type[PackedFloat32 | PackedBFloat16], plain: type[PlainFloat32 | PlainBFloat16], error: float) -> bool:
    """Compare two kinds of products on a small case."""
    x_NK, w_KM, b_M = (
        torch.linspace(-1, 1, n * m, dtype=torch.float32).sin().view(n, m) for n, m in ((5, 48), (48, 32), (1, 32))
    )
    try:
        ours, theirs, y_NM = packed(w_KM, b_M[0]), plain(w_KM, b_M[0]), torch.ones(5, 32, dtype=torch.float32)
        x_NK = ours.prepare(x_NK)
        pairs = (
            (ours.times(x_NK), theirs.times(x_NK)),
            (ours.onto(y_NM.clone(), x_NK), theirs.onto(y_NM.clone(), x_NK)),
        )
    except ABSENT:
        return False
    return all(torch.allclose(a, b, atol=error) for a, b in pairs)
