"""The recurrence of `model/lstm.py` for training: its gradient is written out, so that the large products are few.

Going back through the equations of `model/lstm.py`, from the last step to the first (⊙ element by element, [·] 1 or 0):

    dĥ = (dy_t + dh) ⊙ [|h_t| < projection_clip]          dm = dĥ W_Pᵀ
    dc = (dc + dm ⊙ o ⊙ (1 − tanh² c_t)) ⊙ [|c_t| < cell_clip]
    da = [dc ⊙ g ⊙ i(1−i),  dc ⊙ i ⊙ (1−g²),  dc ⊙ c_{t−1} ⊙ f(1−f),  dm ⊙ tanh c_t ⊙ o(1−o)]
    dh = da W_hᵀ,   dc = dc ⊙ f

The gradients of the weights and of the inputs are then one product each over all steps, where automatic
differentiation adds up one for every step. A clipped value is exactly the limit, which is how its mask is known.
What a step keeps for the way back lies in memory that is used again for the next window: fresh memory costs as much as a product.
Products may run in bfloat16 (sums and all else in float32), which is twice as fast on processors that have it.
Shapes: B rows, T steps, D input, P output, H cell, G = 4H gates.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elmokit.kernels.spare import Kept, Spare
from elmokit.model.lstm import LstmLayer, LstmState, Recurrence, run_lstm

_ATEN = torch.ops.aten
"""PyTorch's own derivatives of σ, tanh and clipping from their results, each in one pass."""


def training_lstm(product_dtype: torch.dtype = torch.float32) -> Recurrence:
    """Give a recurrence for training on whole windows; rows with lengths of their own go to `run_lstm`.

    Args:
        product_dtype: Of the matrix products: float32 or bfloat16.
    """
    spare = Spare()

    def run(
        layer: LstmLayer, x_BTD: Tensor, lengths_B: Tensor | None = None, state: LstmState | None = None
    ) -> tuple[Tensor, LstmState]:
        if lengths_B is not None or not x_BTD.shape[1]:
            return run_lstm(layer, x_BTD, lengths_B, state)
        h_BP, c_BH = layer.zero_state(x_BTD) if state is None else state
        constants = (layer.cell_clip, layer.projection_clip, layer.forget_bias)
        x_TBD = x_BTD.transpose(0, 1).to(layer.bias.dtype).contiguous()  # words may come in bfloat16
        arguments = (x_TBD, layer.kernel, layer.bias, layer.projection, h_BP, c_BH, constants, product_dtype, spare)
        y_TBP, last_c_BH = _TrainingLstm.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        return y_TBP.transpose(0, 1), LstmState(y_TBP[-1], last_c_BH)

    return run


class _TrainingLstm(torch.autograd.Function):
    """All steps of one layer in one direction, with the gradient above."""

    @staticmethod
    def forward(
        context: Any,
        x_TBD: Tensor,
        kernel: Tensor,
        bias: Tensor,
        projection: Tensor | None,
        h_BP: Tensor,
        c_BH: Tensor,
        constants: tuple[float | None, float | None, float],
        dtype: torch.dtype,
        spare: Spare,
    ) -> tuple[Tensor, Tensor]:
        """Run the recurrence; keep the activated gates, cells and outputs of each step."""
        cell_clip, projection_clip, forget_bias = constants
        steps, rows, inputs = x_TBD.shape
        cells = c_BH.shape[1]
        w_x, w_h, w_p = kernel[:inputs].to(dtype), kernel[inputs:].to(dtype), None if projection is None else projection.to(dtype)
        gate_bias = bias.clone()
        gate_bias[2 * cells : 3 * cells] += forget_bias
        gates_TBG = spare.take(x_TBD, steps, rows, 4 * cells)
        c_TBH, tanh_TBH = (spare.take(x_TBD, steps, rows, cells) for _ in range(2))
        # The inputs' share of the gates: one product for all steps, in place unless it is narrower than the gates.
        inputs_TBG = gates_TBG if dtype == x_TBD.dtype else spare.take(gates_TBG, *gates_TBG.shape, dtype=dtype)
        torch.mm(x_TBD.reshape(-1, inputs).to(dtype), w_x, out=inputs_TBG.view(steps * rows, -1))
        y_TBP = x_TBD.new_empty(steps, rows, h_BP.shape[1])
        h, c = h_BP, c_BH
        for t in range(steps):
            gates = gates_TBG[t].copy_(inputs_TBG[t].addmm_(h.to(dtype), w_h)).add_(gate_bias)
            i, g, f, o = gates.chunk(4, 1)
            i.sigmoid_(), g.tanh_(), gates[:, 2 * cells :].sigmoid_()
            c = torch.mul(f, c, out=c_TBH[t]).addcmul_(i, g)
            _clip_(c, cell_clip)
            m = torch.tanh(c, out=tanh_TBH[t]) * o
            y_TBP[t] = m if w_p is None else m.to(dtype) @ w_p
            h = y_TBP[t] if w_p is None else _clip_(y_TBP[t], projection_clip)
        context.save_for_backward(x_TBD, w_x, w_h, w_p, h_BP, c_BH, gates_TBG, c_TBH, tanh_TBH, y_TBP)
        context.constants, context.dtype, context.spare = constants, dtype, spare
        context.kept = Kept(spare, gates_TBG, c_TBH, tanh_TBH)
        if inputs_TBG is not gates_TBG:
            spare.give_back(inputs_TBG)
        return y_TBP, c_TBH[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, dy_TBP: Tensor, dc_BH: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through all steps, then make the weights' gradients at once."""
        x_TBD, w_x, w_h, w_p, h_BP, c_BH, gates_TBG, c_TBH, tanh_TBH, y_TBP = context.saved_tensors
        (cell_clip, projection_clip, _), dtype, spare = context.constants, context.dtype, context.spare
        steps, rows, inputs = x_TBD.shape
        wide = x_TBD.dtype
        dh_TBP = dy_TBP.clone(memory_format=torch.contiguous_format)
        da_TBG = spare.take(gates_TBG, *gates_TBG.shape, dtype=dtype)
        dc, w_h_back, w_p_back = dc_BH, w_h.T.contiguous(), None if w_p is None else w_p.T.contiguous()
        da = torch.empty_like(gates_TBG[0])
        for t in reversed(range(steps)):
            dh, dm = dh_TBP[t], dh_TBP[t]
            if w_p_back is not None:
                dh.copy_(_unclipped(dh, y_TBP[t], projection_clip))
                dm = (dh.to(dtype) @ w_p_back).to(wide)
            i, g, f, o = gates_TBG[t].chunk(4, 1)
            tanh_c, before_c = tanh_TBH[t], c_TBH[t - 1] if t else c_BH
            dc = _unclipped(_ATEN.tanh_backward(dm * o, tanh_c).add_(dc), c_TBH[t], cell_clip)
            da_i, da_g, da_f, da_o = da.chunk(4, 1)
            _ATEN.sigmoid_backward(dc * g, i, grad_input=da_i)
            _ATEN.tanh_backward(dc * i, g, grad_input=da_g)
            _ATEN.sigmoid_backward(dc * before_c, f, grad_input=da_f)
            _ATEN.sigmoid_backward(dm * tanh_c, o, grad_input=da_o)
            dc *= f
            before_dh = da_TBG[t].copy_(da) @ w_h_back
            if t:
                dh_TBP[t - 1].add_(before_dh)
        da_NG = da_TBG.view(steps * rows, -1)
        before_NP = torch.cat([h_BP.unsqueeze(0), y_TBP[:-1]]).view(steps * rows, -1)
        ones_N1 = before_NP.new_ones(len(before_NP), 1)  # its product is the biases' gradient
        d_all = (torch.cat([x_TBD.reshape(-1, inputs), before_NP, ones_N1], 1).to(dtype).T @ da_NG).to(wide)
        d_x = (da_NG @ w_x.T).to(wide).view_as(x_TBD)
        d_projection = None
        if w_p is not None:
            m_NH = (gates_TBG[..., 3 * tanh_TBH.shape[2] :] * tanh_TBH).view(steps * rows, -1).to(dtype)
            d_projection = (m_NH.T @ dh_TBP.view(steps * rows, -1).to(dtype)).to(wide)
        spare.give_back(da_TBG)
        return d_x, d_all[:-1], d_all[-1], d_projection, before_dh.to(wide), dc, None, None, None


def _clip_(x: Tensor, limit: float | None) -> Tensor:
    """Keep `x` within ± `limit`, in place."""
    return x if limit is None else x.clamp_(-limit, limit)


def _unclipped(gradient: Tensor, clipped: Tensor, limit: float | None) -> Tensor:
    """Let a gradient through where a value was not clipped."""
    return gradient if limit is None else _ATEN.hardtanh_backward(gradient, clipped, -limit, limit)
