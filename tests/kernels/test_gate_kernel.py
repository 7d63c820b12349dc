"""The Triton kernel does what the plain gate step does: in Triton's interpreter on a CPU, and on a GPU where there is one.

Triton decides whether it interprets when a kernel is defined, so the interpreter has a process of its own: this file, run
as a program.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from elmokit.kernels.gate_step import _kernel_works, plain_gate_step


def compare(cases: int, device: str) -> None:
    """Do a step in both ways, in random shapes, with rows that are at their end and NaN where nothing may be read."""
    from elmokit.kernels.gate_kernel import kernel_gate_step

    draw = random.Random(3)
    for case in range(cases):
        torch.manual_seed(case)
        directions, rows, cells = draw.randint(1, 2), draw.randint(1, 13), draw.choice([1, 5, 24, 256, 300])
        dtype = draw.choice([torch.float32, torch.bfloat16])
        clip = draw.choice([None, 1, 0.5])
        step = draw.randint(0, 2)
        left_R = torch.tensor([draw.randint(0, 3) for _ in range(rows)], dtype=torch.int32)
        x_SNRG = torch.randn(directions, 3, rows, 4 * cells).mul_(2).to(dtype)
        h_SRG = torch.randn(directions, rows, 4 * cells).mul_(2).to(dtype)
        x_SNRG[:, :, left_R <= step] = torch.nan
        h_SRG[:, left_R <= step] = torch.nan
        bias_SG, room_SRH = torch.randn(directions, 4 * cells), torch.randn(directions, rows + 3, cells)
        tensors = [tensor.to(device) for tensor in (x_SNRG[:, 1:], h_SRG, bias_SG, room_SRH, left_R)]
        found = []
        for way in (kernel_gate_step, plain_gate_step):
            x, h, bias, room, left = (tensor.clone() for tensor in tensors)
            m_SRH = torch.full((directions, rows, cells), torch.nan, dtype=dtype, device=device)
            way(x[:, 1], h, bias, room[:, :rows], left, step, clip, m_SRH)
            found.append((room, m_SRH.float()))
        (room, m), (plain_room, plain_m) = found
        torch.testing.assert_close(room, plain_room, rtol=0, atol=1e-6)
        torch.testing.assert_close(m, plain_m, rtol=0, atol=1e-6 if dtype == torch.float32 else 2**-8)
    assert _kernel_works(torch.device(device))


def test_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, Path(__file__)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    compare(60, "cuda")


if __name__ == "__main__":
    compare(60, "cpu")
    print("the same")
