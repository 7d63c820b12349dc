"""The full softmax of `model/softmax.py` for training: scores are made, used and forgotten some rows at a time.

    z_v = h·W_v + b_v       p_v = exp(z_v) / Σ_u exp(z_u)       loss = −log p_w
    e_v = p_v − [v = w]
    dh = g Σ_v e_v W_v      dW_v = Σ_n g e_v h,   db_v = Σ_n g e_v

Only e is kept for the way back. Shapes: N predictions, P width of one direction, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elmokit.kernels.spare import Kept, Spare
from elmokit.model.softmax import FullLosses, SoftmaxHead

SCORES_AT_A_TIME = 2**19
"""2 MB: they stay in the processor's cache between the product and the probabilities."""
SCORES_ON_A_GPU = 2**27
"""512 MB: what counts there is that its launches are few."""


def training_full_softmax(product_dtype: torch.dtype = torch.float32) -> FullLosses:
    """Give what `SoftmaxHead.losses` gives, with a gradient of its own.

    Args:
        product_dtype: Of the matrix products: float32 or bfloat16.
    """
    spare = Spare()

    def losses(head: SoftmaxHead, h_NP: Tensor, targets_N: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return head.losses(h_NP, targets_N)
        arguments = (h_NP, head.weight, head.bias, targets_N, product_dtype, spare)
        losses_N: Tensor = _Losses.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        return losses_N

    return losses


class _Losses(torch.autograd.Function):
    """The losses, with the gradient above."""

    @staticmethod
    def forward(
        context: Any, h_NP: Tensor, weight_VP: Tensor, bias_V: Tensor, targets_N: Tensor, dtype: torch.dtype, spare: Spare
    ) -> Tensor:
        """Score some predictions at a time; keep how far each probability is from what it should be."""
        h, weight = h_NP.to(dtype), weight_VP.to(dtype)
        e_NV, losses_N = spare.take(h, len(h), len(weight)), h_NP.new_empty(len(h), dtype=bias_V.dtype)
        at_once = max(1, (SCORES_AT_A_TIME if h.device.type == "cpu" else SCORES_ON_A_GPU) // len(weight))
        for start in range(0, len(h), at_once):
            part = slice(start, start + at_once)
            z = (h[part] @ weight.T).to(bias_V.dtype).add_(bias_V)
            most = z.amax(1, keepdim=True)
            own = z.gather(1, targets_N[part, None])
            total = z.sub_(most).exp_().sum(1, keepdim=True)
            torch.div(z, total, out=e_NV[part])
            losses_N[part] = (most + torch.log(total) - own).squeeze(1)
        e_NV.scatter_add_(1, targets_N[:, None], e_NV.new_full((len(h), 1), -1.0))
        context.kept = Kept(spare, e_NV)
        context.save_for_backward(h_NP, weight, e_NV)
        return losses_N

    @staticmethod
    @once_differentiable
    def backward(context: Any, g_N: Tensor) -> tuple[Tensor | None, ...]:
        """Two products with e; the last column of the second one makes the biases' gradient."""
        h_NP, weight, e_NV = context.saved_tensors
        g_N1 = g_N.unsqueeze(1)
        dh_NP = g_N1 * (e_NV @ weight).to(h_NP.dtype)
        weighted = torch.cat([g_N1 * h_NP, g_N1], 1).to(e_NV.dtype)
        d_rows = (e_NV.T @ weighted).to(g_N.dtype)
        return dh_NP, d_rows[:, :-1], d_rows[:, -1], None, None, None
