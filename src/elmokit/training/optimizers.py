"""Optimizers over dense and row-sparse gradients, and the clipping of both by one global norm."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, AdamW, Optimizer
from torch.optim.optimizer import ParamsT

from elmokit.training.row_adagrad import RowAdagrad


def reference_optimizers(parameters: ParamsT, learning_rate: float) -> list[Optimizer]:
    """Adagrad as bilm-tf has it: accumulators start at 1, nothing is added to the root."""
    return [Adagrad(parameters, lr=learning_rate, initial_accumulator_value=1.0, eps=0.0)]


def modern_optimizers(body: ParamsT, rows: ParamsT, learning_rate: float) -> list[Optimizer]:
    """AdamW for the body, Adagrad with a rate for each row for tables of which a step touches few rows.

    Args:
        body: Parameters with dense gradients, or groups of them.
        rows: Tables (or groups) with row-sparse gradients, where Adam would decay the moments of rows that were not drawn.
        learning_rate: AdamW's; Adagrad's is 25 times as high.
    """
    groups: list[Any] = list(body)
    return [
        AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=_on_a_gpu(groups)),
        RowAdagrad(rows, lr=25 * learning_rate),
    ]


def _on_a_gpu(parameters: Sequence[Any]) -> bool | None:
    """Whether all are there, where one kernel does for many of them; None: no."""
    tensors = [tensor for group in parameters for tensor in (group["params"] if isinstance(group, dict) else [group])]
    return all(tensor.is_cuda for tensor in tensors) or None


@torch.no_grad()
def clip_global_norm(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `limit`; give the norm before.

    Repeated rows of sparse gradients are summed first, so that the norm is that of the true gradient.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values())
        else:
            gradients.append(parameter.grad)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    scale = torch.clamp(limit / norm, max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)
    return norm


def set_learning_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set each group's rate to `factor` times the rate that it was built with, and times its "share" if it has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group.get("share", 1.0) * group.setdefault("base_lr", group["lr"])
