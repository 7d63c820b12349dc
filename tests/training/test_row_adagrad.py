"""One rate for each row: by the formula, with sparse gradients and with dense ones."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elmokit.training.checkpoint import optimizer_tensors, restore_optimizers
from elmokit.training.row_adagrad import RowAdagrad


def run(table: Tensor, gradients: list[Tensor], sparse: bool, lr: float = 0.1) -> tuple[Tensor, RowAdagrad]:
    parameter = torch.nn.Parameter(table.clone())
    optimizer = RowAdagrad([parameter], lr)
    for gradient in gradients:
        # In two parts, so that rows repeat, as those of a look-up do.
        parameter.grad = ((gradient / 2).to_sparse(1) + (gradient / 2).to_sparse(1)) if sparse else gradient
        optimizer.step()
    return parameter.detach(), optimizer


def test_by_hand() -> None:
    gradients = [torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.0, 5.0], [1.0, 1.0]])]
    table, _ = run(torch.zeros(2, 2), gradients, sparse=False)
    first, second = math.sqrt(12.5), math.sqrt(25)
    expected = [[-0.1 * 3 / first, -0.1 * (4 / first + 5 / second)], [-0.1, -0.1]]
    torch.testing.assert_close(table, torch.tensor(expected), rtol=1e-5, atol=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), steps=st.integers(1, 4))
def test_sparse_gradients_give_what_dense_ones_give(seed: int, rows: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, 3, generator=generator)
    gradients = [
        torch.randn(rows, 3, generator=generator) * (torch.rand(rows, 1, generator=generator) < 0.5) for _ in range(steps)
    ]
    torch.testing.assert_close(run(table, gradients, True)[0], run(table, gradients, False)[0])


def test_a_row_without_a_gradient_stays_and_so_does_its_rate() -> None:
    gradient = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    table, optimizer = run(torch.ones(3, 2), [gradient] * 3, sparse=True)
    assert torch.equal(table[1], torch.ones(2))
    (state,) = optimizer.state.values()
    assert state["sum_R"].shape == (3,)
    assert state["sum_R"][1] == pytest.approx(1e-6)


def test_it_goes_on_from_a_checkpoint() -> None:
    gradients = list(torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)))
    whole, _ = run(torch.ones(3, 2), gradients, sparse=False)
    half, optimizer = run(torch.ones(3, 2), gradients[:2], sparse=False)
    parameter = torch.nn.Parameter(half)
    again = RowAdagrad([parameter], 0.1)
    restore_optimizers([again], {name: tensor.clone() for name, tensor in optimizer_tensors([optimizer]).items()})
    for gradient in gradients[2:]:
        parameter.grad = gradient
        again.step()
    assert torch.equal(parameter, whole)
