"""The Triton kernels of a training step do what the plain steps do: in Triton's interpreter on a CPU, and on a GPU.

Triton decides whether it interprets when a kernel is defined, so the interpreter has a process of its own: this file, run
as a program.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.kernels.train_steps import PLAIN_STEPS

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") else "cuda"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 2),
    st.sampled_from([1, 5, 24, 256, 300]),
    st.integers(1, 4),
    st.sampled_from([None, 1, 0.5]),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.integers(0, 9),
)
def compare_steps(rows: int, directions: int, cells: int, parts: int, clip: float | None, dtype: torch.dtype, seed: int) -> None:
    """Do each of the four in both ways, in memory that holds no numbers where results go."""
    from elmokit.kernels.train_kernels import KERNEL_STEPS

    torch.manual_seed(seed)
    r, s, h, p = rows, directions, cells, 1 + cells // 3

    def some(*shape: int, of: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.randn(shape).to(DEVICE, of)

    def none(*shape: int, of: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.full(shape, torch.nan, device=DEVICE, dtype=of)

    clipped = some(r, s, h) if clip is None else some(r, s, h).clamp_(-clip, clip)
    outputs = some(r, s, p) if clip is None else some(r, s, p).clamp_(-clip, clip)
    gates, h_gates = some(r, s, 4 * h, of=dtype), some(r, s, 4 * h, of=dtype)
    parts_RSKP = some(r, s, parts, p, of=dtype)
    cases = {
        "gates": (gates, h_gates, some(s, 4 * h), some(r, s, h), none(r, s, h), none(r, s, h, of=dtype)),
        "outputs": (parts_RSKP, none(r, s, p), none(r, s, p, of=dtype)),
        "back_outputs": (some(r, s, p), parts_RSKP, outputs, none(r, s, p, of=dtype)),
        "back_gates": (gates.tanh(), some(r, s, h), clipped, some(r, s, h, of=dtype), some(r, s, h)),
    }
    for name, arguments in cases.items():
        found, expected = ([tensor.clone() for tensor in arguments] for _ in range(2))
        getattr(KERNEL_STEPS, name)(*found, clip)
        getattr(PLAIN_STEPS, name)(*expected, clip)
        for mine, right in zip(found, expected, strict=True):
            precise = right.dtype == torch.float32
            torch.testing.assert_close(mine, right, rtol=1e-5 if precise else 2**-7, atol=2e-5 if precise else 2**-8)


def compare_layers() -> None:
    """Train a layer with the kernels and in the plain way."""
    from tests.kernels.test_gpu_training_lstm import CONFIG, inputs_of, layers_of, stacks_of

    from elmokit.kernels.gpu_training_check import disagreement
    from elmokit.kernels.gpu_training_lstm import GpuTrainingLstm
    from elmokit.kernels.train_kernels import KERNEL_STEPS

    for dtype in (torch.float32, torch.bfloat16):
        stacks = stacks_of(CONFIG, torch.float32, DEVICE)
        steps = KERNEL_STEPS if DEVICE == "cpu" else None  # on a GPU the first window is the comparison
        way = GpuTrainingLstm(dtype, steps)
        wrong = disagreement(way.run, layers_of(stacks), inputs_of(stacks, 5, 3), dtype) if steps else None
        assert wrong is None, wrong
        assert steps or way._trusted(stacks, inputs_of(stacks, 5, 3))


def test_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, Path(__file__)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    compare_steps()
    compare_layers()


if __name__ == "__main__":
    compare_steps()
    compare_layers()
    print("the same")
