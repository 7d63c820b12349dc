"""What a prepared matrix can do: the interface of `products.py`, where such matrices are made.

Shapes: N rows, K inputs, M outputs.
"""

from typing import Protocol

from torch import Tensor


class Product(Protocol):
    """A prepared W and b."""

    bound: float | None = None
    """What the inputs must keep within ±: beyond it nothing is promised. None: there is no bound."""

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x in the form in which it is multiplied; rows of it may be taken."""

    def times(self, x_NK: Tensor) -> Tensor:
        """Give x W + b of a prepared x, as float32 (N, M)."""

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y + x W of a prepared x, without b; y may be overwritten."""

    def for_rows(self, rows: int) -> "Product":
        """Give the form for so many rows at a time, as a loop takes it that makes many steps.

        It may write into room of its own: for one thread, and what it prepares holds until it prepares the next.
        """
        return self


class MakeProduct(Protocol):
    """Prepares a matrix: `make_product` of some precision."""

    def __call__(self, w_KM: Tensor, b_M: Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        """Prepare W and b for inputs within ± `bound`, of which a single row may come often."""
