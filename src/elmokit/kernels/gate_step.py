"""Between the products of a step: gates → cells → what they let out, for all rows and directions at once.

    a = x-part + h-part + b                    the two products and the bias, added in float32
    c ← clip(σ(f) · c + σ(i) · tanh(g))        in place, float32
    m = σ(o) · tanh(c)                         in the precision of the products

Rows that have no token left at this step keep their cells, and their m is 0: so their output is 0 too, whatever stands
in the buffers. There are two ways to do this with one signature, `GateStep`: the plain one here, and a single Triton kernel
(`gate_kernel`), which reads and writes every number once. Triton comes with PyTorch's CUDA builds for Linux, and wants a C
compiler when it first meets a kernel; where either is missing, the plain way serves.
Shapes: S directions, R rows, H cell, G = 4H gates in the published order i, g, f, o.
"""

import importlib.util
from contextlib import nullcontext
from functools import cache
from typing import Protocol

import torch
from torch import Tensor


class GateStep(Protocol):
    """One step of all rows."""

    def __call__(
        self,
        x_SRG: Tensor,
        h_SRG: Tensor,
        bias_SG: Tensor,
        c_SRH: Tensor,
        left_R: Tensor,
        step: int,
        cell_clip: float | None,
        m_SRH: Tensor,
    ) -> None:
        """Move the cells and give what they let out.

        Args:
            x_SRG: The inputs' share of the gates, each direction contiguous.
            h_SRG: The last outputs' share, contiguous; may be overwritten.
            bias_SG: b, float32, with what is added to the forget gate.
            c_SRH: Cells, float32, each direction contiguous; changed in place.
            left_R: int32; a row reads at this step if its number is above `step`.
            step: Which step this is.
            cell_clip: The bound of the cells; None for none.
            m_SRH: Where the result is written; contiguous.
        """


def plain_gate_step(
    x_SRG: Tensor,
    h_SRG: Tensor,
    bias_SG: Tensor,
    c_SRH: Tensor,
    left_R: Tensor,
    step: int,
    cell_clip: float | None,
    m_SRH: Tensor,
) -> None:
    """Do a `GateStep` with PyTorch's own operators."""
    i, g, f, o = (x_SRG.float() + h_SRG + bias_SG.unsqueeze(1)).chunk(4, -1)
    new_c_SRH = torch.sigmoid(f) * c_SRH + torch.sigmoid(i) * torch.tanh(g)
    if cell_clip is not None:
        new_c_SRH.clamp_(-cell_clip, cell_clip)
    reads_R1 = (left_R > step).unsqueeze(1)
    m_SRH.copy_(torch.where(reads_R1, torch.sigmoid(o) * torch.tanh(new_c_SRH), 0.0))  # a product with 0 would keep NaN
    c_SRH.copy_(torch.where(reads_R1, new_c_SRH, c_SRH))


def gate_step_for(device: torch.device) -> GateStep:
    """Choose the quickest way that works on a device."""
    if device.type == "cuda" and _kernel_works(device):
        from elmokit.kernels.gate_kernel import kernel_gate_step  # Triton is not everywhere

        return kernel_gate_step
    return plain_gate_step


@cache
def _kernel_works(device: torch.device) -> bool:
    """Whether the Triton kernel is there and right, tried once on a small case."""
    if importlib.util.find_spec("triton") is None:
        return False
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # Triton takes the current device
        return _kernel_agrees(device)


def _kernel_agrees(device: torch.device) -> bool:
    """Whether the Triton kernel gives the numbers of the plain way."""
    gates = torch.linspace(-3, 3, 2 * 5 * 4 * 24, device=device).sin().view(2, 5, 96)
    left_R = torch.tensor([2, 2, 1, 2, 0], dtype=torch.int32, device=device)
    found = []
    try:
        from elmokit.kernels.gate_kernel import kernel_gate_step

        for way in (kernel_gate_step, plain_gate_step):
            c_SRH, m_SRH = gates[..., :24].contiguous(), gates.new_full((2, 5, 24), 9.0)
            way(gates, gates.flip(1), gates[:, 0].contiguous(), c_SRH, left_R, 1, 0.9, m_SRH)
            found.append(torch.stack([c_SRH, m_SRH]))
    except Exception:  # no compiler, a driver too old, a version that has changed: Triton has an error of its own for each
        return False
    return torch.allclose(found[0], found[1], atol=1e-5)
