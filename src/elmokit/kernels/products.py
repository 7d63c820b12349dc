"""A matrix that many rows are multiplied with, prepared once: y = x W + b in float32, bfloat16 or int8.

    float32     oneDNN's own layout of W
    bfloat16    the same; x and W are rounded to bfloat16, sums are float32, results bfloat16
    int8        W_kn = s_n · w_kn with whole w in ±127 and a scale for each column; x = r · q with whole q in ±127

The scale r of an input is that of a bound which x is known to keep (then it is the same for all rows), or else the row's
own largest number. So a row's result never depends on the rows beside it, and whole numbers add up exactly.

PyTorch's operators for packed weights are private to its builds: each is tried once, and where it does not serve, plain
products take its place (`float_products.py`, `int8_products.py`).
Shapes: N rows, K inputs, M outputs.
"""

from typing import Literal, get_args

from torch import Tensor

from elmokit.kernels.float_products import (
    PackedBFloat16,
    PackedFloat32,
    PlainBFloat16,
    PlainFloat32,
    SingleFloat32,
    long_rows,
    packed_bfloat16_works,
    packed_float32_works,
)
from elmokit.kernels.int8_products import BoundedInt8, RowInt8
from elmokit.kernels.product import Product

Precision = Literal["float32", "bfloat16", "int8"]
"""Of the arithmetic. Sums, cells and results are float32 in all of them."""

WORTH_PACKING = 1 << 18
"""Numbers of a float32 matrix from which oneDNN's packed product is faster than the plain one, its calls counted."""


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
        bound: No number of any x may be outside ± this; None: nothing is known. Only int8 makes use of it.
        precision: Of the multiplications.
        single: Whether single rows come often. In float32 and int8 the matrix is then kept as it is too.
    """
    if precision == "float32":
        if w_KM.numel() < WORTH_PACKING or not packed_float32_works():
            return PlainFloat32(w_KM, b_M)
        packed = PackedFloat32(w_KM, b_M)
        return SingleFloat32(packed, PlainFloat32(long_rows(w_KM), b_M)) if single else packed
    if precision == "bfloat16":
        return PackedBFloat16(w_KM, b_M) if packed_bfloat16_works() else PlainBFloat16(w_KM, b_M)
    return BoundedInt8(w_KM, b_M, bound, single) if bound is not None else RowInt8(w_KM, b_M)
