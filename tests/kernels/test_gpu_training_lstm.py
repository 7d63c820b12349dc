"""Both directions at once give what `training_lstm` gives for each: outputs, states and all gradients.

On a CPU the same code runs with PyTorch's own operators between the products (`train_steps`), and in Triton's interpreter
with the kernels (`test_train_kernels.py`); the tests marked so need a GPU.
"""

import dataclasses
import gc
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels import gpu_training_lstm
from elmokit.kernels.gpu_training_check import _plain, _results, disagreement
from elmokit.kernels.gpu_training_lstm import GpuTrainingLstm
from elmokit.kernels.train_steps import PLAIN_STEPS, TrainSteps
from elmokit.kernels.training_lstm import training_lstm
from elmokit.model.bilm import LstmStack, StackState, one_by_one
from elmokit.model.lstm import LstmLayer, LstmState

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CONFIG = BiLMConfig(
    char_cnn=CharCnnConfig(filters=((1, 4),)),
    cell_dim=32,
    projection_dim=8,
    layers=2,
    cell_clip=0.4,
    projection_clip=0.7,  # bfloat16 has no such number
)


def stacks_of(config: BiLMConfig, dtype: torch.dtype, device: str = "cpu", dropout: float = 0.0) -> list[LstmStack]:
    """Stacks with random numbers in every parameter, large enough for the clips to act."""
    torch.manual_seed(5)
    stacks = [LstmStack(config, training_lstm(dtype), dropout).to(device, dtype) for _ in range(config.directions)]
    for stack in stacks:
        for parameter in stack.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return stacks


def layers_of(stacks: list[LstmStack], number: int = 0) -> list[LstmLayer]:
    return [layer for stack in stacks if isinstance(layer := stack.layers[number], LstmLayer)]


def inputs_of(stacks: list[LstmStack], rows: int, steps: int, seed: int = 7) -> list[Tensor]:
    kernel = layers_of(stacks)[0].kernel
    torch.manual_seed(seed)
    return [torch.randn(rows, steps, len(kernel) // 2).to(kernel) for _ in stacks]


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4))
configs = st.builds(
    lambda cells, width, cell_clip, projection_clip, bias, both: dataclasses.replace(
        CONFIG,
        cell_dim=cells,
        projection_dim=width,
        cell_clip=cell_clip,
        projection_clip=projection_clip,
        forget_bias=bias,
        bidirectional=both,
    ),
    st.sampled_from([3, 32, 64]),
    st.sampled_from([None, 1, 8]),
    st.sampled_from([None, 0.4, 1.0]),
    st.sampled_from([None, 0.3]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(configs, shapes)
def test_equal_to_training_lstm(config: BiLMConfig, shape: tuple[int, int]) -> None:
    stacks = stacks_of(config, torch.float64)
    ways = GpuTrainingLstm(torch.float64, PLAIN_STEPS).run, _plain(torch.float64)
    ours, expected = (_results(way, layers_of(stacks), inputs_of(stacks, *shape)) for way in ways)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def read(
    way: GpuTrainingLstm | None, stacks: list[LstmStack], x_SBTP: list[Tensor], states: list[StackState | None]
) -> tuple[list[Tensor], list[StackState]]:
    """Read rows; give the outputs and the gradients of what comes of them, and the states after."""
    leaves = [x.clone().requires_grad_() for x in x_SBTP]
    readings = list((way or one_by_one)(stacks, leaves, states))
    outputs = [y for found, _ in readings for y in found]
    torch.autograd.backward(sum((y.sin().sum() for y in outputs), torch.zeros(())))
    parameters = [parameter for stack in stacks for parameter in stack.parameters()]
    gradients = [leaf.grad for leaf in leaves + parameters if leaf.grad is not None]
    for parameter in parameters:
        parameter.grad = None
    states_after = [tuple(LstmState(h.detach(), c.detach()) for h, c in after) for _, after in readings]
    return [y.detach() for y in outputs] + gradients, states_after


@pytest.mark.parametrize("skips", [True, False])
def test_stacks_and_their_states_from_window_to_window(skips: bool) -> None:
    stacks = stacks_of(dataclasses.replace(CONFIG, skip_connections=skips), torch.float64)
    way = GpuTrainingLstm(torch.float64, PLAIN_STEPS)
    ours: list[StackState | None] = [None, None]
    theirs = ours
    for window in range(3):
        x_SBTP = inputs_of(stacks, 3, 4, seed=window)
        (found, ours_after), (expected, theirs_after) = read(way, stacks, x_SBTP, ours), read(None, stacks, x_SBTP, theirs)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(ours_after, theirs_after, rtol=1e-9, atol=1e-12)
        ours, theirs = list(ours_after), list(theirs_after)
    (rooms,) = way._rooms.values()
    assert len(rooms) == 2, "one for each layer, and again for each window"


def test_bfloat16_errs_about_as_much_as_the_plain_way() -> None:
    stacks = stacks_of(dataclasses.replace(CONFIG, cell_dim=128, projection_dim=32), torch.float32)
    for parameter in (parameter for stack in stacks for parameter in stack.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    layers, x_SBTD = layers_of(stacks), inputs_of(stacks, 16, 10)
    assert disagreement(GpuTrainingLstm(torch.bfloat16, PLAIN_STEPS).run, layers, x_SBTD, torch.bfloat16) is None


def test_words_in_bfloat16_get_their_gradient_so() -> None:
    stacks = stacks_of(CONFIG, torch.float32)
    x_SBTP = [x.bfloat16().requires_grad_() for x in inputs_of(stacks, 2, 3)]
    with torch.autocast("cpu", torch.bfloat16):
        readings = list(GpuTrainingLstm(torch.bfloat16, PLAIN_STEPS)(stacks, x_SBTP, [None, None]))
    torch.autograd.backward(sum((found[-1].sum() for found, _ in readings), torch.zeros(())))
    assert all(found[-1].dtype == torch.float32 for found, _ in readings)
    assert all(x.grad is not None and x.grad.dtype == torch.bfloat16 for x in x_SBTP)


def test_dropout_falls_on_the_inputs_of_every_layer() -> None:
    stacks = stacks_of(CONFIG, torch.float64, dropout=0.5)
    way, x_SBTP = GpuTrainingLstm(torch.float64, PLAIN_STEPS), inputs_of(stacks, 3, 4)
    once, again = (read(way, stacks, x_SBTP, [None, None])[0] for _ in range(2))
    assert not any(torch.equal(*pair) for pair in zip(once, again, strict=True))
    for stack in stacks:
        stack.eval()
    torch.testing.assert_close(
        read(way, stacks, x_SBTP, [None, None]), read(None, stacks, x_SBTP, [None, None]), rtol=1e-9, atol=1e-12
    )


def test_several_windows_before_any_is_gone_back_through() -> None:
    stacks = stacks_of(CONFIG, torch.float64)
    way, windows = GpuTrainingLstm(torch.float64, PLAIN_STEPS), [inputs_of(stacks, 2, 3, seed) for seed in range(3)]
    leaves = [[x.requires_grad_() for x in window] for window in windows]
    runs = [way.run(layers_of(stacks), window, [None, None]) for window in leaves]
    together = [torch.autograd.grad([y.sum() for y, _ in run], window) for run, window in zip(runs, leaves, strict=True)]
    for found, window in zip(together, leaves, strict=True):
        alone = torch.autograd.grad([y.sum() for y, _ in way.run(layers_of(stacks), window, [None, None])], window)
        torch.testing.assert_close(found, alone, rtol=0, atol=0)


def test_a_window_is_gone_back_through_once() -> None:
    stacks = stacks_of(CONFIG, torch.float64)
    x_SBTD = [x.requires_grad_() for x in inputs_of(stacks, 2, 3)]
    (y, _), _ = GpuTrainingLstm(torch.float64, PLAIN_STEPS).run(layers_of(stacks), x_SBTD, [None, None])
    torch.autograd.grad(y.sum(), x_SBTD[0], retain_graph=True)
    with pytest.raises(RuntimeError, match="has been gone back through already"):
        torch.autograd.grad(y.sum(), x_SBTD[0])


def test_rooms_come_back_where_no_gradient_is_asked_for_and_go_where_shapes_change() -> None:
    stacks = stacks_of(CONFIG, torch.float64)
    way = GpuTrainingLstm(torch.float64, PLAIN_STEPS)
    way.run(layers_of(stacks), inputs_of(stacks, 2, 3), [None, None])
    gc.collect()
    assert [len(rooms) for rooms in way._rooms.values()] == [1]
    way.run(layers_of(stacks), inputs_of(stacks, 3, 3), [None, None])
    gc.collect()
    assert [(key[0].rows, len(rooms)) for key, rooms in way._rooms.items()] == [(3, 1)]


def test_without_gradients_the_plain_way_is_taken() -> None:
    stacks = stacks_of(CONFIG, torch.float64)
    way, x_SBTP = GpuTrainingLstm(torch.float64, PLAIN_STEPS), inputs_of(stacks, 2, 3)
    with torch.no_grad():
        assert all(len(found) == 2 for found, _ in way(stacks, x_SBTP, [None, None]))
    assert not way._rooms


def forgets_to_clip(gates: Tensor, before: Tensor, after: Tensor, dm: Tensor, dc: Tensor, clip: float | None) -> None:
    PLAIN_STEPS.back_gates(gates, before, after, dm, dc, None)


def gives_no_numbers(parts: Tensor, y: Tensor, h: Tensor, clip: float | None) -> None:
    y.fill_(torch.nan)


def fails(parts: Tensor, y: Tensor, h: Tensor, clip: float | None) -> None:
    raise ZeroDivisionError("as a kernel's compiler may")


WRONG = {
    "wrong": (PLAIN_STEPS._replace(back_gates=forgets_to_clip), "the gradient of the .* of direction 0 differs"),
    "no number": (PLAIN_STEPS._replace(outputs=gives_no_numbers), "by nan of its norm"),
    "failing": (PLAIN_STEPS._replace(outputs=fails), "ZeroDivisionError: as a kernel's compiler may"),
}


@pytest.mark.parametrize(("steps", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_once_and_not_used(steps: TrainSteps, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_training_lstm, "_kernel_steps", lambda: steps)
    stacks = stacks_of(CONFIG, torch.float32)
    way, x_SBTP = GpuTrainingLstm(torch.float32), inputs_of(stacks, 3, 4)
    expected = read(None, stacks, x_SBTP, [None, None])
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match=f"training goes on without the kernels for GPUs.*{said}"):
        found = read(way, stacks, x_SBTP, [None, None])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(way, stacks, x_SBTP, [None, None])


def test_what_is_right_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_training_lstm, "_kernel_steps", lambda: PLAIN_STEPS)
    stacks = stacks_of(CONFIG, torch.float32)
    way = GpuTrainingLstm(torch.float32)
    read(way, stacks, inputs_of(stacks, 3, 4), [None, None])
    assert way._rooms


@on_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_windows_are_replayed_on_what_they_hold(dtype: torch.dtype) -> None:
    """Other inputs, states and weights at every window: a recording that had kept any would be wrong."""
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    stacks = stacks_of(dataclasses.replace(CONFIG, cell_dim=256, projection_dim=64), torch.float32, "cuda")
    way = GpuTrainingLstm(dtype)
    states: list[StackState | None] = [None, None]
    for window in range(5):
        for parameter in (parameter for stack in stacks for parameter in stack.parameters()):
            torch.nn.init.normal_(parameter, std=0.05 + 0.02 * window)
        x_SBTP = inputs_of(stacks, 13, 6, seed=window)
        (found, after), (expected, _) = read(way, stacks, x_SBTP, states), read(None, stacks, x_SBTP, states)
        for mine, right in zip(found, expected, strict=True):
            assert (mine - right).norm() <= (1e-4 if dtype == torch.float32 else 0.1) * right.norm()
        states = list(after)
    (rooms,) = way._rooms.values()
    assert [room.graphs.recorded() for room in rooms if room.graphs is not None] == [["forward", "back"]] * 2


@on_gpu
def test_on_a_gpu_two_runs_are_the_same() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    runs = []
    for _ in range(2):
        stacks = stacks_of(CONFIG, torch.float32, "cuda")
        way = GpuTrainingLstm(torch.bfloat16)
        runs.append([read(way, stacks, inputs_of(stacks, 16, 5, seed), [None, None])[0] for seed in range(4)])
    torch.testing.assert_close(*runs, rtol=0, atol=0)
