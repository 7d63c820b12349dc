"""Between the products of a training step on a GPU: what is done number by number, forward and back.

    gates          a = x-part + h-part + b;  i, f, o = σ(a), g = tanh(a)      in place of the x-part
                   c = clip(f · c' + i · g),  m = o · tanh(c)
    outputs        y = clip(Σ parts of m W_P)                                 float32, and rounded for the next product
    back_outputs   dĥ = (dy + Σ parts of da W_hᵀ) ⊙ [|y| < projection_clip]
    back_gates     da from dm = dĥ W_Pᵀ, in place of the gates; dc            the equations of `training_lstm`

A product with many inputs and few outputs would keep few multiprocessors busy. It is made in parts, some inputs each, which
lie beside each other and are added up here. There are two ways to do all this, with the same signatures: PyTorch's own
operators, here, which say what is meant and serve the tests; and Triton's kernels (`train_kernels`), which read and write
every number once.
Shapes: R rows, S directions, P output, H cell, G = 4H gates in the order i, g, f, o, K parts. All tensors are contiguous.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_ATEN = torch.ops.aten
"""PyTorch's own derivatives of σ, tanh and clipping from their results."""


class TrainSteps(NamedTuple):
    """One way to do what stands at the head of this file."""

    gates: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float | None], None]
    """(gates_RSG, h_RSG, bias_SG, before_RSH, c_RSH, m_RSH, cell_clip): see `plain_gates`."""
    outputs: Callable[[Tensor, Tensor, Tensor, float | None], None]
    """(parts_RSKP, y_RSP, h_RSP, projection_clip): see `plain_outputs`."""
    back_outputs: Callable[[Tensor, Tensor, Tensor, Tensor, float | None], None]
    """(dy_RSP, parts_RSKP, y_RSP, dh_RSP, projection_clip): see `plain_back_outputs`."""
    back_gates: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float | None], None]
    """(gates_RSG, before_RSH, c_RSH, dm_RSH, dc_RSH, cell_clip): see `plain_back_gates`."""


def plain_gates(
    gates_RSG: Tensor, h_RSG: Tensor, bias_SG: Tensor, before_RSH: Tensor, c_RSH: Tensor, m_RSH: Tensor, cell_clip: float | None
) -> None:
    """Move the cells, and give what they let out.

    Args:
        gates_RSG: The inputs' share of the gates; becomes the activated gates.
        h_RSG: The last outputs' share.
        bias_SG: b, with what is added to the forget gate.
        before_RSH: The cells before.
        c_RSH: Where the cells after are written.
        m_RSH: Where the result is written.
        cell_clip: The bound of the cells; None for none.
    """
    i, g, f, o = (gates_RSG.to(bias_SG.dtype) + h_RSG + bias_SG).chunk(4, -1)
    i, g, f, o = i.sigmoid(), g.tanh(), f.sigmoid(), o.sigmoid()
    gates_RSG.copy_(torch.cat([i, g, f, o], -1))
    c_RSH.copy_(f * before_RSH + i * g)
    if cell_clip is not None:
        c_RSH.clamp_(-cell_clip, cell_clip)
    m_RSH.copy_(o * torch.tanh(c_RSH))


def plain_outputs(parts_RSKP: Tensor, y_RSP: Tensor, h_RSP: Tensor, projection_clip: float | None) -> None:
    """Add up the parts of a projection and clip the sum.

    Args:
        parts_RSKP: The parts.
        y_RSP: Where the sum is written, as float32.
        h_RSP: Where it is written as products read it.
        projection_clip: Its bound; None for none.
    """
    y_RSP.copy_(parts_RSKP.to(y_RSP.dtype).sum(2))
    if projection_clip is not None:
        y_RSP.clamp_(-projection_clip, projection_clip)
    h_RSP.copy_(y_RSP)


def plain_back_outputs(dy_RSP: Tensor, parts_RSKP: Tensor, y_RSP: Tensor, dh_RSP: Tensor, projection_clip: float | None) -> None:
    """Give the gradient before the clip of outputs.

    Args:
        dy_RSP: The gradient from outside.
        parts_RSKP: The parts of that from the step after.
        y_RSP: The clipped outputs.
        dh_RSP: Where the result is written.
        projection_clip: Their bound; None for none.
    """
    sum_RSP = dy_RSP + parts_RSKP.to(dy_RSP.dtype).sum(2)
    dh_RSP.copy_(_unclipped(sum_RSP, y_RSP, projection_clip))


def plain_back_gates(
    gates_RSG: Tensor, before_RSH: Tensor, c_RSH: Tensor, dm_RSH: Tensor, dc_RSH: Tensor, cell_clip: float | None
) -> None:
    """Give the gradients of the gates' arguments, and of the cells before.

    Args:
        gates_RSG: The activated gates; become the gradients of their arguments.
        before_RSH: The cells before.
        c_RSH: The cells after.
        dm_RSH: The gradient of what they let out.
        dc_RSH: That of the cells after, from the step after; becomes that of the cells before.
        cell_clip: The bound of the cells; None for none.
    """
    i, g, f, o = gates_RSG.to(dc_RSH.dtype).chunk(4, -1)
    dm, tanh_c = dm_RSH.to(dc_RSH.dtype), torch.tanh(c_RSH)
    dc = _unclipped(dc_RSH + _ATEN.tanh_backward(dm * o, tanh_c), c_RSH, cell_clip)
    da_i, da_g = _ATEN.sigmoid_backward(dc * g, i), _ATEN.tanh_backward(dc * i, g)
    da_f, da_o = _ATEN.sigmoid_backward(dc * before_RSH, f), _ATEN.sigmoid_backward(dm * tanh_c, o)
    dc_RSH.copy_(dc * f)
    gates_RSG.copy_(torch.cat([da_i, da_g, da_f, da_o], -1))  # last: f may be a part of them


PLAIN_STEPS = TrainSteps(plain_gates, plain_outputs, plain_back_outputs, plain_back_gates)
"""With PyTorch's own operators."""


def _unclipped(gradient: Tensor, clipped: Tensor, limit: float | None) -> Tensor:
    """Let a gradient through where a value was not clipped."""
    return gradient if limit is None else _ATEN.hardtanh_backward(gradient, clipped, -limit, limit)
