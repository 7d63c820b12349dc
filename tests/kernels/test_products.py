"""Prepared matrices give the plain product, to the rounding of their precision, and each row for itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.kernels import int8_products, products
from elmokit.kernels.float_products import (
    PackedBFloat16,
    PackedFloat32,
    PlainBFloat16,
    PlainFloat32,
    SingleFloat32,
    packed_bfloat16_works,
    packed_float32_works,
)
from elmokit.kernels.int8_products import (
    LEVELS,
    BoundedInt8,
    PackedBytes,
    PlainBytes,
    SingleInt8,
    Whole,
    packed_int8_works,
    signed_bytes,
    signed_int8_works,
)
from elmokit.kernels.product import Product
from elmokit.kernels.products import make_product

BOUND = 3.0
Make = Callable[[torch.Tensor, torch.Tensor | None, float | None], Product]
MAKERS: dict[str, Make] = {
    "float32": partial(make_product, precision="float32"),
    "packed float32": lambda w, b, bound: PackedFloat32(w, b),
    "bfloat16": partial(make_product, precision="bfloat16"),
    "plain bfloat16": lambda w, b, bound: PlainBFloat16(w, b),
    "int8": partial(make_product, precision="int8"),
    "single int8": partial(make_product, precision="int8", single=True),
    "plain int8": lambda w, b, bound: plain_int8(w, b, bound),
}


def plain_int8(w: torch.Tensor, b: torch.Tensor | None, bound: float | None) -> Product:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_products, "bytes_times", PlainBytes)
        return make_product(w, b, bound, "int8")


def steps(name: str, x: torch.Tensor, bound: float | None) -> float:
    """By how much one number of x or W may be off: half a step of its own scale."""
    if "float32" in name:
        return 1e-7
    if "bfloat16" in name:
        return 2.0**-8
    largest = bound or float(x.abs().max())
    return largest / LEVELS / 2


@settings(max_examples=40)
@given(
    rows=st.integers(1, 9), inputs=st.integers(1, 70), outputs=st.integers(1, 40), bounded=st.booleans(), seed=st.integers(0, 99)
)
@pytest.mark.parametrize("name", MAKERS)
def test_equal_to_the_plain_product(name: str, rows: int, inputs: int, outputs: int, bounded: bool, seed: int) -> None:
    if name == "packed float32" and not packed_float32_works():
        pytest.skip("this machine has no packed float32")
    draw = torch.Generator().manual_seed(seed)
    x, w, b, y = (
        torch.randn(*shape, generator=draw) for shape in ((rows, inputs), (inputs, outputs), (outputs,), (rows, outputs))
    )
    bound = BOUND if bounded else None
    x = x.clamp(-BOUND, BOUND) if bounded else x
    product = MAKERS[name](w, b, bound)
    prepared = product.prepare(x)
    # Errors of x times W, of W times x, and of both: their sums over the inputs.
    x_off, w_off = torch.full_like(x, steps(name, x, bound)), w.abs().amax(0) / LEVELS / 2 if "int8" in name else w.abs() * 2**-8
    if "bfloat16" in name:
        x_off = x.abs() * 2**-8
    if name.endswith("float32"):
        x_off, w_off = x.abs() * 1e-6, w.abs() * 0
    allowed = x_off @ w.abs() + (x.abs() + x_off) @ (w_off.expand_as(w)) + 1e-5
    allowed = allowed + ((x @ w).abs() + allowed) * (2**-8 if "bfloat16" in name else 1e-6)
    assert ((product.times(prepared) - (x @ w + b)).abs() <= allowed).all()
    assert ((product.onto(y.clone(), prepared) - (x @ w + y)).abs() <= allowed).all()
    assert product.times(prepared).dtype == torch.float32


@settings(max_examples=20)
@given(rows=st.integers(2, 40), outputs=st.sampled_from([8, 33, 64]), bounded=st.booleans(), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["int8", "single int8", "plain int8"])
def test_an_int8_row_is_the_same_alone_bit_for_bit(name: str, rows: int, outputs: int, bounded: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, w, b = (torch.randn(*shape, generator=draw) for shape in ((rows, 48), (48, outputs), (outputs,)))
    x[0] *= 100  # a row far larger than its neighbors
    x = x.clamp(-BOUND, BOUND) if bounded else x
    product = MAKERS[name](w, b, BOUND if bounded else None)
    together = product.times(product.prepare(x))
    summed = product.onto(torch.ones(rows, outputs), product.prepare(x))
    for one in (product, product.for_rows(1)):
        for row in range(rows):
            alone = one.prepare(x[row : row + 1])
            assert torch.equal(one.times(alone)[0], together[row])
            assert torch.equal(one.onto(torch.ones(1, outputs), alone)[0], summed[row])


def test_a_single_row_in_float32_has_weights_of_its_own_layout() -> None:
    if not packed_float32_works():
        pytest.skip("this machine has no packed float32")
    w, b, x = torch.randn(6, 5), torch.randn(5), torch.randn(3, 6)
    product = SingleFloat32(PackedFloat32(w, b), PlainFloat32(w, b))
    for rows in (x, x[:1]):
        torch.testing.assert_close(product.times(product.prepare(rows)), rows @ w + b)
        torch.testing.assert_close(product.onto(torch.ones(len(rows), 5), rows), rows @ w + 1)
    del product.plain
    product.times(x)
    with pytest.raises(AttributeError, match="plain"):
        product.times(x[:1])


@pytest.mark.parametrize("bound", [None, 2.0])
def test_zeros_and_tiny_numbers_stay_finite(bound: float | None) -> None:
    for value in (0.0, 1e-40):
        product = make_product(torch.full((4, 2), value), None, bound, "int8")
        found = product.times(product.prepare(torch.full((3, 4), value)))
        assert torch.isfinite(found).all()
        assert found.abs().max() < 1e-6


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, int8, not 'int4'"):
        products.check_precision("int4")


PROBES = {
    "float32": (packed_float32_works, PlainFloat32),
    "bfloat16": (packed_bfloat16_works, PlainBFloat16),
    "int8": (packed_int8_works, PlainBytes),
}


def test_small_matrices_are_not_worth_packing() -> None:
    large = torch.ones(512, products.WORTH_PACKING // 512)
    assert isinstance(make_product(large[1:], None), PlainFloat32)
    if packed_float32_works():
        assert isinstance(make_product(large, None), PackedFloat32)
        assert isinstance(make_product(large, None, single=True), SingleFloat32)


@pytest.mark.parametrize("precision", PROBES)
def test_where_an_operator_is_missing_the_plain_product_takes_its_place(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, plain = PROBES[precision]

    def missing(*_: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    with monkeypatch.context() as patch:
        for packed in (PackedFloat32, PackedBFloat16, PackedBytes):
            patch.setattr(packed, "__init__", missing)
        probe.cache_clear()
        patch.setattr(products, "WORTH_PACKING", 0)
        product = MAKERS[precision](torch.eye(4), None, 1.0)
        assert isinstance(product.many if isinstance(product, BoundedInt8) else product, plain)
        found = product.times(product.prepare(torch.full((1, 4), 0.5)))
    probe.cache_clear()
    torch.testing.assert_close(found, torch.full((1, 4), 0.5), atol=1 / 127, rtol=0)


def test_a_single_row_of_bytes_goes_its_own_way() -> None:
    product = make_product(torch.eye(4), None, 1.0, "int8", single=True)
    assert isinstance(product.for_rows(1), SingleInt8 if signed_int8_works() else BoundedInt8)
    assert product.for_rows(2) is product
    # Each loop has room of its own: two threads may read a row each.
    x_1K, y_1K = torch.eye(4)[:1], torch.eye(4)[1:2]
    first, second = product.for_rows(1), product.for_rows(1)
    prepared = first.prepare(x_1K)
    second.times(second.prepare(y_1K))
    torch.testing.assert_close(first.times(prepared), x_1K)


@pytest.mark.parametrize(("kind", "probe"), [(PackedBytes, packed_int8_works), (SingleInt8, signed_int8_works)])
def test_an_operator_that_overflows_is_found_out(kind: Any, probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors that add pairs of products in 16 bits."""

    class Saturating(kind):  # type: ignore[misc]  # of either kind
        def times(self, q_NK: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = super().times(q_NK)
            return found.clamp(-(2**15), 2**15)

    if not probe():
        pytest.skip("this processor has no such product to spoil")
    monkeypatch.setattr(int8_products, kind.__name__, Saturating)
    probe.cache_clear()
    assert not probe()
    probe.cache_clear()


def test_bytes_are_exact_at_their_largest() -> None:
    if not (packed_int8_works() and signed_int8_works()):
        pytest.skip("this processor has no packed int8")
    whole = Whole(torch.full((8, 4096), -LEVELS, dtype=torch.int8), torch.full((8,), 2.0))
    expected = torch.full((1, 8), -127.0 * 127 * 4096 * 2)
    assert torch.equal(PackedBytes(whole).times(torch.full((1, 4096), 255, dtype=torch.uint8)), expected)
    assert torch.equal(SingleInt8(signed_bytes(whole), 1.0).times(torch.full((1, 4096), 127, dtype=torch.int8)), expected)
