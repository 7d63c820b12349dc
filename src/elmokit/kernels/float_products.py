"""Prepared matrices in float32 and bfloat16: `Product`s of `products.py`.

PyTorch's operators for packed weights are private to its builds: each is tried once, against the plain product, and left
alone where it is missing or wrong.
Shapes: N rows, K inputs, M outputs.
"""

from functools import cache

import torch
from torch import Tensor

from elmokit.kernels.large_pages import in_large_pages
from elmokit.kernels.product import Product

ABSENT = (AttributeError, RuntimeError)
"""What calling an operator raises that a build does not have; that has no code for this processor, or other parameters."""
ROWS_HINT = 32
"""Rows for which oneDNN chooses its layout; measured, it serves 1 to 512 rows about as well as a layout for each."""


class PlainFloat32(Product):
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


class PackedFloat32(Product):
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


class SingleFloat32(Product):
    """Packed weights for many rows, plain ones for a single row.

    The speed of a single row is that of reading W. Measured on 8 million weights, one thread reads them in 1.6 ms as they
    are, in 2.1 ms in oneDNN's layout, which is made for blocks of rows.

    Args:
        packed: For many rows.
        plain: The same product for one.
    """

    def __init__(self, packed: PackedFloat32, plain: PlainFloat32) -> None:
        self.packed, self.plain = packed, plain

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b."""
        return self.for_rows(len(x_NK)).times(x_NK)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y + x W; y may be overwritten."""
        return self.for_rows(len(x_NK)).onto(y_NM, x_NK)

    def for_rows(self, rows: int) -> Product:
        """Give the weights for so many rows."""
        return self.plain if rows == 1 else self.packed


def long_rows(w_KM: Tensor) -> Tensor:
    """Lay W out as one row is multiplied with it fastest: along its longer side, in large pages.

    A matrix of many inputs and few outputs is read in short pieces the other way, which takes much longer.
    """
    inputs, outputs = w_KM.shape
    return in_large_pages(w_KM.contiguous()) if outputs >= inputs else in_large_pages(w_KM.t().contiguous()).t()


class PlainBFloat16(Product):
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


class PackedBFloat16(Product):
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


def _works(packed: type[PackedFloat32 | PackedBFloat16], plain: type[PlainFloat32 | PlainBFloat16], error: float) -> bool:
    """Compare two kinds of products on a small case."""
    x_NK, w_KM, b_M = (
        torch.linspace(-1, 1, n * m, dtype=torch.float32, device="cpu").sin().view(n, m) for n, m in ((5, 48), (48, 32), (1, 32))
    )
    try:
        ours, theirs, y_NM = packed(w_KM, b_M[0]), plain(w_KM, b_M[0]), w_KM.new_ones(5, 32)
        x_NK = ours.prepare(x_NK)
        pairs = (
            (ours.times(x_NK), theirs.times(x_NK)),
            (ours.onto(y_NM.clone(), x_NK), theirs.onto(y_NM.clone(), x_NK)),
        )
    except ABSENT:
        return False
    return all(torch.allclose(a, b, atol=error) for a, b in pairs)
