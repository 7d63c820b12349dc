"""The full softmax for training gives what `SoftmaxHead.losses` gives, and so does its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elmokit.kernels import training_full_softmax as module
from elmokit.kernels.training_full_softmax import training_full_softmax
from elmokit.model.softmax import FullLosses, SoftmaxHead

WIDTH = 5


def run(full: FullLosses, size: int, asked: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """The losses, and the gradients of the vectors and of the head from random gradients of the losses."""
    generator = torch.Generator().manual_seed(size * 1000 + asked)
    head = SoftmaxHead(size, WIDTH).to(dtype)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    h_NP = torch.randn(asked, WIDTH, dtype=dtype, generator=generator).requires_grad_()
    losses_N = full(head, h_NP, torch.randint(size, (asked,), generator=generator))
    torch.autograd.backward(losses_N, torch.randn(asked, dtype=dtype, generator=generator))
    gradients = h_NP.grad, head.weight.grad, head.bias.grad
    assert all(gradient is not None for gradient in gradients)
    return losses_N.detach(), *(gradient for gradient in gradients if gradient is not None)


@settings(max_examples=60)
@given(size=st.integers(1, 60), asked=st.integers(0, 30))
def test_equal_to_the_head(size: int, asked: int) -> None:
    torch.testing.assert_close(run(training_full_softmax(torch.float64), size, asked), run(SoftmaxHead.losses, size, asked))


def test_however_the_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    together = run(training_full_softmax(torch.float64), 50, 30)
    monkeypatch.setattr(module, "SCORES_AT_A_TIME", 170)
    torch.testing.assert_close(run(training_full_softmax(torch.float64), 50, 30), together)


def test_bfloat16_is_near() -> None:
    found = run(training_full_softmax(torch.bfloat16), 200, 40, torch.float32)
    expected = run(SoftmaxHead.losses, 200, 40, torch.float32)
    for ours, exact in zip(found, expected, strict=True):
        assert float((ours - exact).norm() / exact.norm()) < 0.02


def test_memory_is_used_again() -> None:
    losses = training_full_softmax()
    head, h_NP, targets_N = SoftmaxHead(40, WIDTH), torch.randn(8, WIDTH, requires_grad=True), torch.arange(8)
    for _ in range(2):
        torch.autograd.backward(losses(head, h_NP, targets_N).sum())
    expected = torch.autograd.grad(head.losses(h_NP, targets_N).sum(), h_NP)[0]
    assert h_NP.grad is not None
    torch.testing.assert_close(h_NP.grad, 2 * expected)
