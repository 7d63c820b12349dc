"""`TrainSteps` as Triton kernels: each number is read and written once, nothing in between leaves the registers.

Of the original model's layer (4096 cells, both directions, 384 rows, bfloat16) a step forward or back moves
107 MB, next to which the outputs' kernels are small. A program does `ROWS` × `COLUMNS` cells or outputs, a row being one of
one direction.

Import this module only where Triton is installed. Shapes: see `train_steps`.
"""
# A kernel's arguments are pointers, blocks and constants of Triton's compiler, for which there are no Python types to write.
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl
from torch import Tensor

from elmokit.kernels.gate_kernel import _sigmoid, _tanh
from elmokit.kernels.train_steps import TrainSteps

ROWS, COLUMNS = 4, 256


@triton.jit
def _read(numbers, inside):
    return tl.load(numbers, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _write(numbers, values, inside):
    tl.store(numbers, values.to(numbers.dtype.element_ty), mask=inside)


@triton.jit
def _argument(gates, h, bias, first: tl.constexpr, inside):
    return _read(gates + first, inside) + _read(h + first, inside) + _read(bias + first, inside)


@triton.jit
def _cells(rows, CELLS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Give a program's rows, columns, and which of these places there are."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)  # 32 bits count too few numbers for a large batch
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return row[:, None], column[None, :], (row < rows)[:, None] & (column < CELLS)[None, :]


@triton.jit(do_not_specialize=["rows"])
def _gates_kernel(
    gates,
    h,
    bias,
    before,
    after,
    m,
    rows,
    clip,
    CLIPS: tl.constexpr,
    DIRECTIONS: tl.constexpr,
    CELLS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, column, inside = _cells(rows, CELLS, ROWS, COLUMNS)
    gates += row * (4 * CELLS) + column
    h += row * (4 * CELLS) + column
    bias += row % DIRECTIONS * (4 * CELLS) + column
    cell = row * CELLS + column
    i = _sigmoid(_argument(gates, h, bias, 0, inside))
    g = _tanh(_argument(gates, h, bias, CELLS, inside))
    f = _sigmoid(_argument(gates, h, bias, 2 * CELLS, inside))
    o = _sigmoid(_argument(gates, h, bias, 3 * CELLS, inside))
    c = f * _read(before + cell, inside) + i * g
    if CLIPS:
        c = tl.clamp(c, -clip, clip, propagate_nan=tl.PropagateNan.ALL)  # as PyTorch's
    _write(gates, i, inside)
    _write(gates + CELLS, g, inside)
    _write(gates + 2 * CELLS, f, inside)
    _write(gates + 3 * CELLS, o, inside)
    _write(after + cell, c, inside)
    _write(m + cell, o * _tanh(c), inside)


@triton.jit(do_not_specialize=["rows"])
def _outputs_kernel(
    parts,
    y,
    h,
    rows,
    clip,
    CLIPS: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, column, inside = _cells(rows, WIDTH, ROWS, COLUMNS)
    output = row * WIDTH + column
    total = _sum_of_parts(parts + row * (PARTS * WIDTH) + column, inside, PARTS, WIDTH)
    if CLIPS:
        total = tl.clamp(total, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    _write(y + output, total, inside)
    _write(h + output, total, inside)


@triton.jit(do_not_specialize=["rows"])
def _back_outputs_kernel(
    dy,
    parts,
    y,
    dh,
    rows,
    clip,
    CLIPS: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, column, inside = _cells(rows, WIDTH, ROWS, COLUMNS)
    output = row * WIDTH + column
    total = _read(dy + output, inside) + _sum_of_parts(parts + row * (PARTS * WIDTH) + column, inside, PARTS, WIDTH)
    if CLIPS:
        total = _unclipped(total, _read(y + output, inside), clip)
    _write(dh + output, total, inside)


@triton.jit
def _sum_of_parts(first, inside, PARTS: tl.constexpr, WIDTH: tl.constexpr):
    total = _read(first, inside)
    for part in tl.static_range(1, PARTS):
        total += _read(first + part * WIDTH, inside)
    return total


@triton.jit
def _unclipped(gradient, clipped, limit):
    return tl.where((clipped <= -limit) | (clipped >= limit), 0.0, gradient)


@triton.jit(do_not_specialize=["rows"])
def _back_gates_kernel(
    gates,
    before,
    after,
    dm,
    dc,
    rows,
    clip,
    CLIPS: tl.constexpr,
    CELLS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row, column, inside = _cells(rows, CELLS, ROWS, COLUMNS)
    gates += row * (4 * CELLS) + column
    cell = row * CELLS + column
    i = _read(gates, inside)
    g = _read(gates + CELLS, inside)
    f = _read(gates + 2 * CELLS, inside)
    o = _read(gates + 3 * CELLS, inside)
    c = _read(after + cell, inside)
    tanh_c = _tanh(c)
    d_m = _read(dm + cell, inside)
    d_c = _read(dc + cell, inside) + d_m * o * (1.0 - tanh_c * tanh_c)
    if CLIPS:
        d_c = _unclipped(d_c, c, clip)
    _write(gates, d_c * g * i * (1.0 - i), inside)
    _write(gates + CELLS, d_c * i * (1.0 - g * g), inside)
    _write(gates + 2 * CELLS, d_c * _read(before + cell, inside) * f * (1.0 - f), inside)
    _write(gates + 3 * CELLS, d_m * tanh_c * o * (1.0 - o), inside)
    _write(dc + cell, d_c * f, inside)


def kernel_gates(
    gates_RSG: Tensor, h_RSG: Tensor, bias_SG: Tensor, before_RSH: Tensor, c_RSH: Tensor, m_RSH: Tensor, cell_clip: float | None
) -> None:
    """Do `plain_gates` with the kernel."""
    _check(gates_RSG, h_RSG, bias_SG, before_RSH, c_RSH, m_RSH)
    rows, directions, cells = m_RSH.shape
    grid = _grid(rows * directions, cells)
    tensors = (gates_RSG, h_RSG, bias_SG, before_RSH, c_RSH, m_RSH)
    _gates_kernel[grid](*tensors, rows * directions, *_clip(cell_clip), directions, cells, ROWS, COLUMNS)


def kernel_outputs(parts_RSKP: Tensor, y_RSP: Tensor, h_RSP: Tensor, projection_clip: float | None) -> None:
    """Do `plain_outputs` with the kernel."""
    _check(parts_RSKP, y_RSP, h_RSP)
    rows, directions, parts, width = parts_RSKP.shape
    grid = _grid(rows * directions, width)
    _outputs_kernel[grid](parts_RSKP, y_RSP, h_RSP, rows * directions, *_clip(projection_clip), parts, width, ROWS, COLUMNS)


def kernel_back_outputs(dy_RSP: Tensor, parts_RSKP: Tensor, y_RSP: Tensor, dh_RSP: Tensor, projection_clip: float | None) -> None:
    """Do `plain_back_outputs` with the kernel."""
    _check(dy_RSP, parts_RSKP, y_RSP, dh_RSP)
    rows, directions, parts, width = parts_RSKP.shape
    grid = _grid(rows * directions, width)
    _back_outputs_kernel[grid](
        dy_RSP, parts_RSKP, y_RSP, dh_RSP, rows * directions, *_clip(projection_clip), parts, width, ROWS, COLUMNS
    )


def kernel_back_gates(
    gates_RSG: Tensor, before_RSH: Tensor, c_RSH: Tensor, dm_RSH: Tensor, dc_RSH: Tensor, cell_clip: float | None
) -> None:
    """Do `plain_back_gates` with the kernel."""
    _check(gates_RSG, before_RSH, c_RSH, dm_RSH, dc_RSH)
    rows, directions, cells = dc_RSH.shape
    grid = _grid(rows * directions, cells)
    tensors = (gates_RSG, before_RSH, c_RSH, dm_RSH, dc_RSH)
    _back_gates_kernel[grid](*tensors, rows * directions, *_clip(cell_clip), cells, ROWS, COLUMNS)


KERNEL_STEPS = TrainSteps(kernel_gates, kernel_outputs, kernel_back_outputs, kernel_back_gates)
"""With Triton's kernels."""


def _grid(rows: int, cells: int) -> tuple[int, int]:
    """Programs for so many cells."""
    return triton.cdiv(rows, ROWS), triton.cdiv(cells, COLUMNS)


def _clip(limit: float | None) -> tuple[float, bool]:
    """A bound, and whether there is one. An int would be compiled in."""
    return (0.0, False) if limit is None else (float(limit), True)


def _check(*tensors: Tensor) -> None:
    """See that all tensors lie as the kernels take them."""
    assert all(tensor.is_contiguous() for tensor in tensors), "steps are contiguous"
