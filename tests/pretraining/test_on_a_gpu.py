"""Training with both directions at once is training: on a CPU with PyTorch's operators for the kernels, and on a GPU."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.pretraining.conftest import RECIPE, TINY

from elmokit.kernels.gpu_training_lstm import GpuTrainingLstm
from elmokit.kernels.train_steps import PLAIN_STEPS
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.preparing import prepare
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.recipes import RECIPES, Recipe

Options = Callable[..., PretrainOptions]
STILL = replace(RECIPE, dropout=0.0, fresh_sentences=True)
MODERN = replace(RECIPES["modern"], dropout=0.0, batch_size=4, window=6, negatives=12)

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def losses(trainer: Pretrainer, steps: int = 8) -> list[float]:
    return [trainer.step(0.0)["loss"] for _ in range(steps)]


@pytest.mark.parametrize("recipe", [STILL, MODERN, replace(STILL, negatives=None)], ids=["reference", "modern", "full softmax"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_both_directions_at_once(options: Options, recipe: Recipe, precision: Precision, bidirectional: bool) -> None:
    bilm = replace(TINY, bidirectional=bidirectional)
    plain, together = (
        prepare(options(recipe=recipe, bilm=bilm, precision=precision, accumulate=2, out=options().out.with_name(name)))
        for name in ("plain", "together")
    )
    together.model.bilm.read_stacks = GpuTrainingLstm(together.way.product_dtype, PLAIN_STEPS)
    expected = losses(plain)
    assert losses(together) == pytest.approx(expected, rel=1e-5 if precision == "float32" else 1e-2)
    assert expected[-1] != pytest.approx(expected[0], rel=1e-2), "else nothing was learned, and the first steps are all"


@on_gpu
@pytest.mark.parametrize("recipe", [STILL, MODERN], ids=["reference", "modern"])
@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_a_gpu_learns_what_a_cpu_learns(options: Options, recipe: Recipe, precision: Precision, error: float) -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    cpu, gpu = (
        prepare(options(recipe=recipe, precision=precision, device=device, out=options().out.with_name(device)))
        for device in ("cpu", "cuda")
    )
    expected = losses(cpu)
    assert losses(gpu) == pytest.approx(expected, rel=error)
    reads = gpu.model.bilm.read_stacks
    assert isinstance(reads, GpuTrainingLstm)
    assert reads._trust


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_a_run_goes_on_exactly(options: Options, precision: Precision) -> None:
    """With dropout, and though the second process records its graphs at other steps."""
    dropped = replace(MODERN, dropout=0.2)
    whole = prepare(options(recipe=dropped, precision=precision, device="cuda", out=options().out.with_name("whole")))
    losses(whole, 12)
    for steps in (5, 7):
        trainer = prepare(options(recipe=dropped, precision=precision, device="cuda"))
        losses(trainer, steps)
        trainer.save()
    assert trainer.consumed == whole.consumed
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor), name
