"""The sampled softmax for training gives what `SoftmaxHead.sampled_losses` gives, and so does its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elmokit.kernels import training_softmax as module
from elmokit.kernels.training_softmax import training_softmax
from elmokit.model.softmax import SampledLosses, SoftmaxHead, draw_candidates

WIDTH = 5


def run(sampled: SampledLosses, size: int, number: int, asked: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """The losses, and the gradients of the vectors and of the head from random gradients of the losses."""
    generator = torch.Generator().manual_seed(size * 1000 + asked)
    head = SoftmaxHead(size, WIDTH).to(dtype)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    h_NP = torch.randn(asked, WIDTH, dtype=dtype, generator=generator).requires_grad_()
    targets_N = torch.randint(size, (asked,), generator=generator)
    losses_N = sampled(head, h_NP, targets_N, draw_candidates(size, number, generator))
    torch.autograd.backward(losses_N, torch.randn(asked, dtype=dtype, generator=generator))
    assert head.weight.grad is not None
    assert head.weight.grad.is_sparse, "only rows that were drawn or asked for are updated"
    assert head.bias.grad is not None
    assert h_NP.grad is not None
    return losses_N.detach(), h_NP.grad, head.weight.grad.to_dense(), head.bias.grad


@settings(max_examples=60)
@given(data=st.data(), size=st.integers(1, 60), asked=st.integers(0, 30))
def test_equal_to_the_head(data: st.DataObject, size: int, asked: int) -> None:
    number = data.draw(st.integers(1, size), "candidates")
    ours = run(training_softmax(torch.float64), size, number, asked)
    expected = run(SoftmaxHead.sampled_losses, size, number, asked)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)  # log Q is float32 in both


def test_however_the_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    together = run(training_softmax(torch.float64), 50, 20, 30)
    monkeypatch.setattr(module, "SCORES_AT_A_TIME", 70)
    torch.testing.assert_close(run(training_softmax(torch.float64), 50, 20, 30), together)


def test_bfloat16_is_near() -> None:
    found = run(training_softmax(torch.bfloat16), 200, 100, 40, torch.float32)
    expected = run(SoftmaxHead.sampled_losses, 200, 100, 40, torch.float32)
    for ours, exact in zip(found, expected, strict=True):
        assert float((ours - exact).norm() / exact.norm()) < 0.02
