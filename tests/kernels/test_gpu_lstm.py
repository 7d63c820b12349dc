"""What the GPU's kernel computes is what `run_lstm` computes; on the CPU the same code runs with the plain gate step."""

import dataclasses
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels.gate_step import plain_gate_step
from elmokit.kernels.gpu_lstm import GpuLstm, GpuPrecision
from elmokit.kernels.lstm_kernel import Lengths
from elmokit.kernels.step_graphs import Work
from elmokit.model.lstm import LstmLayer, LstmState, run_lstm

Results = list[tuple[Tensor, LstmState]]

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]


def config_of(cells: int, width: int | None, cell_clip: float | None, projection_clip: float | None) -> BiLMConfig:
    characters = CharCnnConfig(filters=((1, 4),))
    return BiLMConfig(
        char_cnn=characters, cell_dim=cells, projection_dim=width, cell_clip=cell_clip, projection_clip=projection_clip
    )


CLIPPED = config_of(24, 8, 0.6, 0.2)


def layers_of(config: BiLMConfig, device: str = "cpu", std: float = 0.4) -> list[LstmLayer]:
    """The two directions of a layer, with numbers large enough for the clips to act."""
    torch.manual_seed(5)
    layers = [LstmLayer(config).to(device) for _ in range(2)]
    for layer in layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return layers


def inputs_of(config: BiLMConfig, steps: int, rows: int, device: str = "cpu", seed: int = 7) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(steps, rows, config.output_dim, device=device) for _ in range(2)]


def states_of(config: BiLMConfig, rows: int, device: str = "cpu") -> list[LstmState]:
    torch.manual_seed(9)
    shapes = (rows, config.output_dim), (rows, config.cell_dim)
    return [LstmState(*(torch.randn(shape, device=device) * 0.1 for shape in shapes)) for _ in range(2)]


def expected(
    layers: Sequence[LstmLayer], x_STBD: Sequence[Tensor], lengths: Lengths | None, states: Sequence[LstmState | None]
) -> Results:
    results: Results = []
    for layer, x_TBD, state in zip(layers, x_STBD, states, strict=True):
        lengths_B = None if lengths is None else torch.from_numpy(lengths).to(x_TBD.device)
        with torch.no_grad():
            y_BTP, after = run_lstm(layer, x_TBD.transpose(0, 1), lengths_B, state)
        results.append((y_BTP.transpose(0, 1), after))
    return results


def assert_close(ours: Results, theirs: Results, error: float) -> None:
    for mine, exact in zip(ours, theirs, strict=True):
        for found, right in zip((mine[0], *mine[1]), (exact[0], *exact[1]), strict=True):
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, right, rtol=0, atol=error)


def assert_equal(ours: Results, theirs: Results) -> None:
    assert_close(ours, theirs, 0)


@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_equal_to_run_lstm(device: str, data: st.DataObject) -> None:
    clips = st.sampled_from([None, 0.1, 0.5])
    width = data.draw(st.sampled_from([None, 1, 3, 8]))
    config = config_of(data.draw(st.integers(1, 20)), width, data.draw(clips), data.draw(clips))
    layers = layers_of(config, device, std=0.3)  # larger ones let roundings grow from step to step
    rows, steps = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 9))
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=rows, max_size=rows))
    x_STBD = inputs_of(config, steps, rows, device)
    states: list[LstmState | None] = list(states_of(config, rows, device))
    for direction in data.draw(st.sets(st.integers(0, 1))):
        states[direction] = None
    kernel = GpuLstm(layers, gate_bytes=data.draw(st.sampled_from([1, 2000, 1 << 20])))
    lengths_B = None if lengths is None else np.array(lengths, dtype=np.int64)
    for _ in range(data.draw(st.integers(1, 3))):  # with recordings the third time is another than the first
        assert_close(kernel.run(x_STBD, lengths_B, states), expected(layers, x_STBD, lengths_B, states), 1e-5)


@pytest.mark.parametrize("width", [8, None])
def test_the_clips_of_these_tests_act(width: int | None) -> None:
    """Else the cases above would prove nothing about them."""
    config = dataclasses.replace(CLIPPED, projection_dim=width)
    results = GpuLstm(layers_of(config)).run(inputs_of(config, 6, 4), None, [None, None])
    for result in results:
        assert result is not None
        values = [(result[1].c_BH.abs(), 0.6)] + ([(result[0].abs(), 0.2)] if width else [])
        for found, limit in values:
            assert found.max() == torch.tensor(limit)
            assert 0.05 < (found == limit).double().mean() < 0.95


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_is_close(device: str) -> None:
    """Its bound: an output is off by no more than some roundings of 2⁻⁹, of numbers up to about 1."""
    config = config_of(64, 16, 3.0, 3.0)
    layers, x, lengths = layers_of(config, device, std=0.3), inputs_of(config, 12, 9, device), np.arange(9) + 4
    states = states_of(config, 9, device)
    ours = GpuLstm(layers, "bfloat16").run(x, lengths, states)
    exact = expected(layers, x, lengths, states)
    assert_close(ours, exact, 0.08)
    for mine, right in zip(ours, exact, strict=True):
        assert mine is not None
        assert right is not None
        assert not torch.equal(mine[0], right[0])
        cosines = torch.cosine_similarity(mine[0], right[0], dim=-1)[right[0].abs().sum(-1) > 0]
        assert cosines.mean() > 0.9995


def run_plain(kernel: GpuLstm, x: Sequence[Tensor], lengths: Lengths) -> Results:
    return kernel.run(x, lengths, [None, None])


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_whole_or_in_parts(precision: GpuPrecision) -> None:
    """A state carries all that is needed, in every precision."""
    layers, x = layers_of(CLIPPED), inputs_of(CLIPPED, 7, 5)
    kernel = GpuLstm(layers, precision)
    (whole, after), _ = kernel.run(x, None, [None, None])
    (first, state), other = kernel.run([part[:3] for part in x], None, [None, None])
    (second, last), _ = kernel.run([part[3:] for part in x], None, [state, other[1]])
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(map(torch.equal, last, after))


def test_nothing_of_earlier_calls_is_left() -> None:
    """Not even infinities, with fewer rows and steps than before, rows without tokens and numbers of rows that are rounded up."""
    layers = layers_of(CLIPPED)
    kernel = GpuLstm(layers)
    bad = [torch.full((9, 30, 8), torch.nan), torch.full((9, 30, 8), torch.inf)]
    broken, _ = kernel.run(bad, None, [None, None])
    assert broken[0].isnan().all()
    x, lengths = inputs_of(CLIPPED, 5, 11), np.array([5, 0, 3, 3, 0, 1, 5, 4, 2, 2, 1])
    assert_equal(run_plain(kernel, x, lengths), run_plain(GpuLstm(layers), x, lengths))


def test_a_broken_row_breaks_no_other() -> None:
    layers, x, lengths = layers_of(CLIPPED), inputs_of(CLIPPED, 5, 4), np.array([2, 5, 5, 3])
    right = run_plain(GpuLstm(layers), x, lengths)
    for part in x:
        part[1:, 2] = torch.nan
    for mine, exact in zip(run_plain(GpuLstm(layers), x, lengths), right, strict=True):
        others = [0, 1, 3]
        assert torch.equal(mine[0][:, others], exact[0][:, others])
        assert mine[0][1:, 2].isnan().all()


def test_recordings_read_and_write_the_tensors_of_today() -> None:
    """Replays are played here by what was recorded, on the tensors of then: a larger room must make all of them anew."""
    layers = layers_of(CLIPPED)
    kernel, played = GpuLstm(layers), []

    def record(work: Work) -> Work:
        return lambda: played.append(work())

    kernel._recorder = lambda: record
    for rows in (3, 3, 3, 40, 40, 3, 3, 40, 7, 7):
        x, lengths = inputs_of(CLIPPED, 6, rows, seed=rows), np.arange(rows) % 7
        assert_close(run_plain(kernel, x, lengths), expected(layers, x, lengths, [None, None]), 1e-5)
        assert_equal(run_plain(kernel, x, lengths), run_plain(GpuLstm(layers), x, lengths))
    assert len(played) > 20


def test_inference_mode_or_not() -> None:
    """What was made inside is of use outside, and the other way round."""
    layers, x, lengths = layers_of(CLIPPED), inputs_of(CLIPPED, 4, 3), np.array([4, 2, 1])
    with torch.inference_mode():
        kernel = GpuLstm(layers)
        inside = run_plain(kernel, x, lengths)
    assert_equal(run_plain(kernel, x, lengths), inside)
    with torch.inference_mode():
        assert_equal(run_plain(kernel, x, lengths), inside)


@pytest.mark.parametrize("device", DEVICES)
def test_several_threads_at_once(device: str) -> None:
    layers = layers_of(CLIPPED, device)
    kernel = GpuLstm(layers)
    cases = [(inputs_of(CLIPPED, 5, rows, device), np.arange(rows) % 6) for rows in (3, 17, 8, 40)]
    right = [run_plain(GpuLstm(layers), *case) for case in cases]
    if device == "cuda":
        torch.cuda.synchronize()  # what other streams are to read has been written
    errors: list[BaseException] = []

    def work(first: int) -> None:
        stream = partial(torch.cuda.stream, torch.cuda.Stream()) if device == "cuda" and first % 2 else nullcontext  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        try:
            for turn in range(12):
                number = (first + turn) % len(cases)
                with stream():
                    assert_close(run_plain(kernel, *cases[number]), right[number], 1e-6)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bfloat16, not 'int8'"):
        GpuLstm(layers_of(CLIPPED), "int8")  # type: ignore[arg-type]  # that is the point


def test_on_a_cpu_the_gate_step_is_the_plain_one() -> None:
    assert GpuLstm(layers_of(CLIPPED)).gate_step is plain_gate_step


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_recordings_change_no_bit(precision: GpuPrecision) -> None:
    config = config_of(512, 64, 3.0, 3.0)
    layers, lengths = layers_of(config, "cuda", std=0.1), np.arange(100) % 40
    recorded, plain = GpuLstm(layers, precision), GpuLstm(layers, precision, graphs=False)
    for seed in range(4):
        x = inputs_of(config, 40, 100, "cuda", seed)
        assert_equal(run_plain(recorded, x, lengths), run_plain(plain, x, lengths))
    assert recorded._room is not None
    assert recorded._room.graphs is not None
    assert recorded._room.graphs.recorded()


@on_gpu
@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-5), ("tf32", 1e-2), ("bfloat16", 1e-1)])
def test_at_the_original_size(precision: GpuPrecision, error: float) -> None:
    config = config_of(4096, 512, 3.0, 3.0)
    layers, lengths = layers_of(config, "cuda", std=0.02), np.arange(70) % 25 + 1
    kernel = GpuLstm(layers, precision)
    for _ in range(3):
        x = inputs_of(config, 25, 70, "cuda")
        assert_close(run_plain(kernel, x, lengths), expected(layers, x, lengths, [None, None]), error)


@on_gpu
def test_changing_numbers_of_rows() -> None:
    layers = layers_of(CLIPPED, "cuda", std=0.3)
    kernel = GpuLstm(layers)
    for rows in (5, 300, 5, 64, 65, 300, 1, 700, 5, 300):
        x, lengths = inputs_of(CLIPPED, 33, rows, "cuda"), np.arange(rows) % 34
        assert_close(run_plain(kernel, x, lengths), expected(layers, x, lengths, [None, None]), 1e-5)


@on_gpu
def test_a_gpu_has_the_kernel_where_triton_is() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA builds for Linux")
    assert GpuLstm(layers_of(CLIPPED, "cuda")).gate_step is not plain_gate_step
