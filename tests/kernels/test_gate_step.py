"""The plain gate step, and how the way to do it is chosen."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from elmokit.kernels import gate_step
from elmokit.kernels.gate_step import gate_step_for, plain_gate_step

CPU = torch.device("cpu")


def test_the_equation() -> None:
    torch.manual_seed(1)
    x, h, bias, c = torch.randn(2, 3, 20), torch.randn(2, 3, 20), torch.randn(2, 20), torch.randn(2, 3, 5)
    before, m = c.clone(), torch.full((2, 3, 5), torch.nan)
    plain_gate_step(x, h, bias, c, torch.tensor([4, 3, 2], dtype=torch.int32), 2, 0.5, m)
    i, g, f, o = (x + h + bias[:, None]).double().chunk(4, -1)
    cells = (before / (1 + torch.exp(-f)) + torch.tanh(g) / (1 + torch.exp(-i))).clamp(-0.5, 0.5)
    out = torch.tanh(cells) / (1 + torch.exp(-o))
    torch.testing.assert_close(c[:, :2], cells[:, :2].float())
    torch.testing.assert_close(m[:, :2], out[:, :2].float())
    assert (cells.abs() == 0.5).any()
    assert torch.equal(c[:, 2], before[:, 2])
    assert not m[:, 2].any()


def test_a_row_at_its_end_takes_no_notice_of_what_is_in_the_buffers() -> None:
    bad, c, m = torch.full((1, 2, 8), torch.nan), torch.ones(1, 2, 2), torch.full((1, 2, 2), torch.nan)
    plain_gate_step(bad, bad.clone(), torch.zeros(1, 8), c, torch.tensor([0, 1], dtype=torch.int32), 0, None, m)
    assert c[0, 0].tolist() == [1, 1]
    assert m[0, 0].tolist() == [0, 0]
    assert c[0, 1].isnan().all()


def test_a_cpu_takes_the_plain_way() -> None:
    assert gate_step_for(CPU) is plain_gate_step


def off_by_a_little(*arguments: Tensor) -> None:
    plain_gate_step(*arguments)  # type: ignore[arg-type]  # as many, of the same types
    arguments[-1].add_(1e-3)


def without_a_compiler(*_: Tensor) -> None:
    raise RuntimeError("Failed to find C compiler")


@pytest.mark.parametrize(("kernel", "works"), [(plain_gate_step, True), (off_by_a_little, False), (without_a_compiler, False)])
def test_the_kernel_is_tried_before_it_is_relied_on(kernel: object, works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "elmokit.kernels.gate_kernel", SimpleNamespace(kernel_gate_step=kernel))
    assert gate_step._kernel_works.__wrapped__(CPU) is works


def test_without_triton_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert gate_step._kernel_works.__wrapped__(CPU) is False
