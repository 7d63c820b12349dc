"""The sampled softmax of `model/softmax.py` for training: scores are made, used and forgotten some rows at a time.

    z_s = h·W_s + b_s − log Q_s,   z_w the same of the target       p_s = exp(z_s) / (exp(z_w) + Σ exp(z_s))
    loss = −log p_w
    dh = g (Σ p_s W_s + (p_w − 1) W_w)
    dW_s = Σ_n g p_s h,   db_s = Σ_n g p_s       dW_w = g (p_w − 1) h,   db_w = g (p_w − 1)

Only the probabilities are kept for the way back.
Shapes: N predictions, P width of one direction, S candidates.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from elmokit.kernels.spare import Kept, Spare
from elmokit.model.softmax import Candidates, SampledLosses, SoftmaxHead, log_expected_count, places_among

SCORES_AT_A_TIME = 2**19
"""2 MB: they stay in the processor's cache between the product and the probabilities."""
SCORES_ON_A_GPU = 2**27
"""512 MB: what counts there is that its launches are few."""


def training_softmax(product_dtype: torch.dtype = torch.float32) -> SampledLosses:
    """Give what `SoftmaxHead.sampled_losses` gives, with a gradient of its own.

    Args:
        product_dtype: Of the matrix products: float32 or bfloat16.
    """
    spare = Spare()

    def sampled_losses(head: SoftmaxHead, h_NP: Tensor, targets_N: Tensor, candidates: Candidates) -> Tensor:
        ids_S, tries = candidates.ids_S.to(targets_N.device), candidates.tries
        n, size = len(targets_N), len(head.bias)
        ids_R = torch.cat([targets_N, ids_S])
        rows_RP = F.embedding(ids_R, head.weight, sparse=True)
        biases_R = head.bias[ids_R] - log_expected_count(ids_R, tries, size)
        hits_N = places_among(targets_N, ids_S, size)
        arguments = (h_NP, rows_RP[:n], biases_R[:n], rows_RP[n:], biases_R[n:], hits_N, product_dtype, spare)
        losses_N: Tensor = _SampledLosses.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        return losses_N

    return sampled_losses


class _SampledLosses(torch.autograd.Function):
    """The losses, with the gradient above."""

    @staticmethod
    def forward(
        context: Any,
        h_NP: Tensor,
        own_NP: Tensor,
        own_bias_N: Tensor,
        rows_SP: Tensor,
        bias_S: Tensor,
        hits_N: Tensor,
        dtype: torch.dtype,
        spare: Spare,
    ) -> Tensor:
        """Score some predictions at a time; keep the candidates' probabilities."""
        own_N = (h_NP * own_NP).sum(1) + own_bias_N
        h, rows_PS = h_NP.to(dtype), rows_SP.to(dtype).T
        p_NS, log_total_N = spare.take(h, len(h), len(rows_SP)), torch.empty_like(own_N)
        at_once = max(1, (SCORES_AT_A_TIME if h.device.type == "cpu" else SCORES_ON_A_GPU) // len(rows_SP))
        for start in range(0, len(h), at_once):
            part = slice(start, start + at_once)
            z = (h[part] @ rows_PS).to(own_N.dtype).add_(bias_S)
            # Of a target that is no candidate the first score is written as it was: no GPU has to be waited for.
            place_N1, hit_N1 = hits_N[part, None].clamp(min=0), hits_N[part, None] >= 0
            z.scatter_(1, place_N1, z.gather(1, place_N1).masked_fill_(hit_N1, -math.inf))
            own, most = own_N[part], torch.maximum(z.amax(1), own_N[part])
            total = z.sub_(most.unsqueeze(1)).exp_().sum(1) + torch.exp(own - most)
            torch.div(z, total.unsqueeze(1), out=p_NS[part])
            log_total_N[part] = most + torch.log(total)
        losses_N = log_total_N - own_N
        context.kept = Kept(spare, p_NS)
        context.save_for_backward(h_NP, own_NP, rows_PS, p_NS, losses_N)
        return losses_N

    @staticmethod
    @once_differentiable
    def backward(context: Any, g_N: Tensor) -> tuple[Tensor | None, ...]:
        """Two products with the probabilities, and the targets' own part."""
        h_NP, own_NP, rows_PS, p_NS, losses_N = context.saved_tensors
        own_N = g_N * torch.expm1(-losses_N)
        g_N1, own_N1 = g_N.unsqueeze(1), own_N.unsqueeze(1)
        dh_NP = g_N1 * (p_NS @ rows_PS.T).to(h_NP.dtype) + own_N1 * own_NP
        weighted = torch.cat([g_N1 * h_NP, g_N1], 1).to(p_NS.dtype)  # the last column makes the biases' gradient
        d_rows = (p_NS.T @ weighted).to(h_NP.dtype)
        return dh_NP, own_N1 * h_NP, own_N, d_rows[:, :-1], d_rows[:, -1], None, None, None
