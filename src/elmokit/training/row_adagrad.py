"""Adagrad with one rate for each row of a table (as in TorchRec and FBGEMM): a number a row to remember, not a row.

    s_r ← s_r + mean_p g_rp²          W_r ← W_r − lr · g_r / (√s_r + ε)

A row without a gradient stays as it is, and so does what is remembered of it: Adam would let its moments decay.
Shapes: R rows, P numbers in each; K rows that have a gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class RowAdagrad(Optimizer):
    """Updates tables (R, P) by sparse gradients, of which it touches only the rows that they have, or by dense ones.

    Args:
        tables: Parameters of two dimensions.
        lr: The rate.
        initial: What each row begins with, as if there had been a gradient of that mean square.
        eps: ε.
    """

    def __init__(self, tables: ParamsT, lr: float, initial: float = 1e-6, eps: float = 1e-10) -> None:
        super().__init__(tables, {"lr": lr, "initial": initial, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # PyTorch's overloads say a loss for a closure; None is all that is taken
        """Update all tables that have a gradient.

        Args:
            closure: Must be None: gradients are there.
        """
        assert closure is None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group)

    def _update(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Update one table."""
        state = self.state[table]
        if not state:
            state["sum_R"] = table.new_full((len(table),), group["initial"])
        sum_R: Tensor = state["sum_R"]
        if gradient.is_sparse:
            gradient = gradient.coalesce()  # each row once
            rows_K, g_KP = gradient.indices()[0], gradient.values()
            sum_K = sum_R[rows_K] + g_KP.square().mean(1)
            sum_R[rows_K] = sum_K
            step_KP = g_KP / (sum_K.sqrt() + group["eps"]).unsqueeze(1)
            table.index_add_(0, rows_K, step_KP, alpha=-group["lr"])
        else:
            sum_R += gradient.square().mean(1)
            table.addcdiv_(gradient, (sum_R.sqrt() + group["eps"]).unsqueeze(1).expand_as(gradient), value=-group["lr"])
