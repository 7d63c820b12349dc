"""`GateStep` as one Triton kernel: each number is read and written once, nothing in between leaves the registers.

For a row and a direction a step moves 8H numbers of gates and H cells in, H cells and H of m out: 106 kB of the original
model's in bfloat16, where PyTorch's operators one by one would move several times as much. Rows that have no token left are not
even read. A program does `ROWS` × `COLUMNS` cells, so that the bias is fetched once for several rows.

Import this module only where Triton is installed. Shapes: see `gate_step`.
"""
# A kernel's arguments are pointers, blocks and constants of Triton's compiler, for which there are no Python types to write.
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 4, 256
"""Cells of one program: few enough that a batch of 64 rows keeps every multiprocessor busy."""


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def _gate(x, h, bias, reads, within):
    products = tl.load(x, mask=reads, other=0.0).to(tl.float32) + tl.load(h, mask=reads, other=0.0).to(tl.float32)
    return products + tl.load(bias, mask=within, other=0.0)[None, :]


@triton.jit(do_not_specialize=["rows", "step"])
def _gate_kernel(
    x,
    h,
    bias,
    c,
    left,
    m,
    x_direction,
    c_direction,
    rows,
    step,
    cell_clip,
    CLIPS: tl.constexpr,
    CELLS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    direction = tl.program_id(2).to(tl.int64)
    within = column < CELLS
    inside = (row < rows)[:, None] & within[None, :]
    reads = (tl.load(left + row, mask=row < rows, other=0) > step)[:, None] & within[None, :]
    wide = row.to(tl.int64)[:, None]  # a large batch has more numbers than 32 bits count
    gate = wide * (4 * CELLS) + column[None, :]
    cell = wide * CELLS + column[None, :]
    x += direction * x_direction + gate
    h += direction * rows * (4 * CELLS) + gate
    c += direction * c_direction + cell
    bias += direction * (4 * CELLS) + column
    i = _sigmoid(_gate(x, h, bias, reads, within))
    g = _tanh(_gate(x + CELLS, h + CELLS, bias + CELLS, reads, within))
    f = _sigmoid(_gate(x + 2 * CELLS, h + 2 * CELLS, bias + 2 * CELLS, reads, within))
    o = _sigmoid(_gate(x + 3 * CELLS, h + 3 * CELLS, bias + 3 * CELLS, reads, within))
    new = f * tl.load(c, mask=reads, other=0.0) + i * g
    if CLIPS:
        new = tl.clamp(new, -cell_clip, cell_clip, propagate_nan=tl.PropagateNan.ALL)  # as PyTorch's
    tl.store(c, new, mask=reads)
    out = tl.where(reads, o * _tanh(new), 0.0)
    tl.store(m + direction * rows * CELLS + cell, out.to(m.dtype.element_ty), mask=inside)


def kernel_gate_step(
    x_SRG: Tensor,
    h_SRG: Tensor,
    bias_SG: Tensor,
    c_SRH: Tensor,
    left_R: Tensor,
    step: int,
    cell_clip: float | None,
    m_SRH: Tensor,
) -> None:
    """Do a `GateStep` with the kernel."""
    directions, rows, cells = m_SRH.shape
    assert x_SRG.stride()[1:] == (4 * cells, 1), "a direction's inputs lie together"
    assert c_SRH.stride()[1:] == (cells, 1), "a direction's cells lie together"
    assert h_SRG.is_contiguous(), "what a product has just written"
    assert m_SRH.is_contiguous(), "what a product will read"
    assert bias_SG.is_contiguous(), "prepared so"
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(cells, COLUMNS), directions)
    clip = 0.0 if cell_clip is None else float(cell_clip)  # an int would be compiled in
    strides = (x_SRG.stride(0), c_SRH.stride(0))
    _gate_kernel[grid](
        x_SRG, h_SRG, bias_SG, c_SRH, left_R, m_SRH, *strides, rows, step, clip, cell_clip is not None, cells, ROWS, COLUMNS
    )
