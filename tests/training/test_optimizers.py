"""Optimizers and clipping over dense and row-sparse gradients."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elmokit.training.optimizers import clip_global_norm, modern_optimizers, reference_optimizers, set_learning_rates


@pytest.fixture(autouse=True)
def sparse_without_warnings() -> Iterator[None]:
    """PyTorch warns of sparse tensors unless told to check them or not to."""
    with torch.sparse.check_sparse_tensor_invariants(True):  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        yield


def rows_gradient(rows: list[int], values: list[list[float]], size: int) -> Tensor:
    """A sparse gradient; rows may be repeated."""
    return torch.sparse_coo_tensor(torch.tensor([rows]), torch.tensor(values), (size, len(values[0])), check_invariants=True)


def parameters_with(*gradients: Tensor) -> list[nn.Parameter]:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(gradient.shape)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return parameters


DENSE = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
REPEATED = rows_gradient([2, 0, 2], [[1.0, 2.0], [5.0, 0.0], [3.0, -2.0]], 4)


@pytest.mark.parametrize("limit", [0.7, 1e9])
@pytest.mark.parametrize("gradients", [[DENSE], [REPEATED], [DENSE, REPEATED, DENSE[0]]], ids=["dense", "sparse", "both"])
def test_clipping_is_that_of_pytorch_on_the_dense_gradient(gradients: list[Tensor], limit: float) -> None:
    ours = parameters_with(*gradients)
    dense = parameters_with(*(gradient.to_dense() for gradient in gradients))
    norm = clip_global_norm(ours, limit)
    expected = nn.utils.clip_grad_norm_(dense, limit)
    torch.testing.assert_close(norm, expected)
    for mine, theirs in zip(ours, dense, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad.to_dense(), theirs.grad)
    after = torch.cat([p.grad.to_dense().flatten() for p in ours if p.grad is not None]).norm()
    assert after.item() == pytest.approx(min(limit, norm.item()), rel=1e-5)


def test_parameters_without_gradient_do_not_count() -> None:
    ours = [*parameters_with(DENSE), nn.Parameter(torch.ones(3))]
    assert clip_global_norm(ours, 1.0).item() == 5
    assert ours[1].grad is None


def test_a_zero_gradient_stays() -> None:
    (parameter,) = parameters_with(torch.zeros(3))
    assert clip_global_norm([parameter], 1.0) == 0
    assert torch.equal(parameter.grad, torch.zeros(3)) if parameter.grad is not None else False


def test_the_reference_is_adagrad_from_1_without_epsilon() -> None:
    for gradient in (DENSE, REPEATED):
        (parameter,) = parameters_with(gradient)
        before, total = parameter.detach().clone(), torch.ones(parameter.shape)
        (optimizer,) = reference_optimizers([parameter], 0.2)
        for _ in range(3):
            optimizer.step()
            total += gradient.to_dense() ** 2
            before -= 0.2 * gradient.to_dense() / total.sqrt()
        torch.testing.assert_close(parameter.detach(), before)
        torch.testing.assert_close(optimizer.state[parameter]["sum"], total)


def test_the_modern_ones_leave_rows_alone_that_were_not_drawn() -> None:
    body, rows = parameters_with(DENSE, REPEATED)
    before = body.detach().clone(), rows.detach().clone()
    optimizers = modern_optimizers([body], [rows], 0.01)
    for _ in range(2):
        for optimizer in optimizers:
            optimizer.step()
    moved = (rows.detach() != before[1]).any(1)
    assert moved.tolist() == [True, False, True, False]
    assert (body.detach() != before[0]).all(), "weight decay and momentum move all of the body"


def test_rates_are_factors_of_the_first_ones() -> None:
    body, rows = parameters_with(DENSE, REPEATED)
    optimizers = modern_optimizers([body], [rows], 0.01)
    first = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    assert first[0] == 0.01
    for factor in (0.5, 0.25, 1.0, 0.1):
        set_learning_rates(optimizers, factor)
        assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == pytest.approx([factor * rate for rate in first])


def test_groups_have_shares_of_the_rate() -> None:
    body, low, rows, low_rows = parameters_with(DENSE, DENSE, REPEATED, REPEATED)
    groups: list[dict[str, Any]] = [{"params": [body]}, {"params": [low], "share": 0.25}]
    optimizers = modern_optimizers(groups, [{"params": [rows]}], 0.01)
    optimizers += reference_optimizers([{"params": [low_rows], "share": 0.5}], 0.2)
    for factor in (0.1, 1.0):
        set_learning_rates(optimizers, factor)
        rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        assert rates == pytest.approx([factor * rate for rate in (0.01, 0.0025, 0.25, 0.1)])
