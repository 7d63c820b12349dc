"""The CPU's kernel computes what `run_lstm` does, and each row for itself."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.kernels import cpu_lstm, products
from elmokit.kernels.cpu_lstm import CpuLstm
from elmokit.kernels.product import Product
from elmokit.kernels.products import Precision, make_product
from elmokit.kernels.side_by_side import side_by_side
from elmokit.model.lstm import LstmLayer, LstmState, run_lstm

ERROR: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.03, "int8": 0.06}
"""Largest differences that we promise: of outputs and states after up to 12 steps, at weights N(0, 1/inputs)."""
MEAN_ERROR: dict[Precision, float] = {"float32": 1e-6, "bfloat16": 0.0015, "int8": 0.006}

CONFIGS = st.builds(
    BiLMConfig,
    char_cnn=st.just(CharCnnConfig(filters=((1, 4),), projection=True)),
    cell_dim=st.sampled_from([1, 3, 16, 40]),
    projection_dim=st.sampled_from([None, 2, 16, 24]),
    layers=st.just(1),
    cell_clip=st.sampled_from([None, 0.3, 3.0]),
    projection_clip=st.sampled_from([0.2, 1.0, 3.0]),
    forget_bias=st.sampled_from([0.0, 1.0]),
)
LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=9)


def layers_of(config: BiLMConfig, seed: int) -> list[LstmLayer]:
    torch.manual_seed(seed)
    layers = [LstmLayer(config), LstmLayer(config)]
    for layer in layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=parameter.shape[0] ** -0.5 if parameter.dim() > 1 else 0.5)
    return layers


def inputs_of(config: BiLMConfig, lengths: Sequence[int], seed: int) -> tuple[torch.Tensor, LstmState]:
    draw = torch.Generator().manual_seed(seed)
    x_TBD = torch.randn(max(lengths), len(lengths), config.output_dim, generator=draw)
    h_BP = torch.randn(len(lengths), config.output_dim, generator=draw)
    limit = 1.0 if config.projection_dim is None else config.projection_clip
    return x_TBD, LstmState(
        h_BP.clamp(-limit, limit) if limit else h_BP, torch.randn(len(lengths), config.cell_dim, generator=draw)
    )


def kernel_of(layers: Sequence[LstmLayer], precision: Precision, bound: float | None = None) -> CpuLstm:
    def make(w_KM: torch.Tensor, b_M: torch.Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(products, "WORTH_PACKING", 0)  # so that these small ones go through the packed product too
            return make_product(w_KM, b_M, bound, precision, single=single)

    return CpuLstm(layers, make, bound)


@pytest.mark.parametrize("precision", ERROR)
@settings(max_examples=60)
@given(config=CONFIGS, lengths=LENGTHS, with_state=st.booleans(), seed=st.integers(0, 99))
def test_equal_to_run_lstm(precision: Precision, config: BiLMConfig, lengths: list[int], with_state: bool, seed: int) -> None:
    layers = layers_of(config, seed)
    x_TBD, state = inputs_of(config, lengths, seed)
    states = [state if with_state else None, None]
    with torch.no_grad():
        results = kernel_of(layers, precision).run([x_TBD, 2 * x_TBD], np.array(lengths), states)
        for layer, x, before, done in zip(layers, (x_TBD, 2 * x_TBD), states, results, strict=True):
            expected, after = run_lstm(layer, x.transpose(0, 1), torch.tensor(lengths), before)
            pairs = [(done[0].transpose(0, 1), expected), (done[1].h_BP, after.h_BP), (done[1].c_BH, after.c_BH)]
            for ours, theirs in pairs:
                difference = (ours - theirs).abs()
                assert ours.shape == theirs.shape
                assert (difference <= ERROR[precision]).all(), float(difference.max())
            for row, length in enumerate(lengths):
                assert not done[0][length:, row].any(), "outputs past a row's end are zero"


@pytest.mark.parametrize("precision", ERROR)
def test_the_error_on_average(precision: Precision) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=64, projection_dim=32, layers=1)
    layers = layers_of(config, 0)
    x_TBD, _ = inputs_of(config, [40] * 20, 0)
    with torch.no_grad():
        [done, _] = kernel_of(layers, precision).run([x_TBD, x_TBD], None, [None, None])
        expected, _ = run_lstm(layers[0], x_TBD.transpose(0, 1))
    error = float((done[0].transpose(0, 1) - expected).abs().mean())
    assert error <= MEAN_ERROR[precision]
    if precision != "float32":
        assert error > 1e-5, "it does compute in this precision"


@pytest.mark.parametrize("precision", ERROR)
@settings(max_examples=30)
@given(
    lengths=LENGTHS,
    rows=st.sampled_from([1, 2, 3, 128]),
    inputs=st.sampled_from([1, 4, 128]),
    cells=st.sampled_from([1, 40, 1 << 18]),
)
def test_alone_and_in_any_batch_however_it_is_cut(
    precision: Precision, lengths: list[int], rows: int, inputs: int, cells: int
) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    kernel = kernel_of(layers_of(config, 1), precision, bound=None)
    x_TBD, state = inputs_of(config, lengths, 1)
    with torch.no_grad():
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("ROWS", rows), ("INPUTS_AT_ONCE", inputs), ("CELLS_AT_ONCE", cells)):
                patch.setattr(cpu_lstm, name, value)
            [together, _] = kernel.run([x_TBD, x_TBD], np.array(lengths), [state, None])
        for row, length in enumerate(lengths):
            part = slice(row, row + 1)
            own_state = LstmState(state.h_BP[part], state.c_BH[part])
            [alone, _] = kernel.run([x_TBD[:length, part]] * 2, np.array([length]), [own_state, None])
            for ours, theirs in (
                (together[0][:length, part], alone[0]),
                (together[1].h_BP[part], alone[1].h_BP),
                (together[1].c_BH[part], alone[1].c_BH),
            ):
                if precision == "int8":
                    assert torch.equal(ours, theirs), "bit for bit: whole numbers add up exactly"
                else:
                    torch.testing.assert_close(ours, theirs, atol=1e-6 if precision == "float32" else 0.03, rtol=0)


@pytest.mark.parametrize("precision", ERROR)
@settings(max_examples=30)
@given(lengths=LENGTHS, vocabulary=st.integers(1, 30), inputs=st.sampled_from([1, 4, 128]), seed=st.integers(0, 99))
def test_words_that_are_known_to_be_the_same_change_nothing(
    precision: Precision, lengths: list[int], vocabulary: int, inputs: int, seed: int
) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    kernel = kernel_of(layers_of(config, 1), precision)
    draw = np.random.default_rng(seed)
    words = [draw.integers(vocabulary, size=(max(lengths), len(lengths))) for _ in range(2)]
    vectors = torch.from_numpy(draw.normal(size=(vocabulary, 12)).astype(np.float32))
    ended = torch.arange(max(lengths))[:, None] >= torch.tensor(lengths)
    x_STBD = [vectors[numbers].masked_fill(ended[..., None], 0.0) for numbers in words]
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_lstm, "INPUTS_AT_ONCE", inputs)
        unknown = kernel.run(x_STBD, np.array(lengths), [None, None])
        known = kernel.run(x_STBD, np.array(lengths), [None, None], words)
    for (ours, state), (theirs, other) in zip(known, unknown, strict=True):
        for a, b in ((ours, theirs), (state.h_BP, other.h_BP), (state.c_BH, other.c_BH)):
            if precision == "int8":
                assert torch.equal(a, b)
            else:
                torch.testing.assert_close(a, b, atol=1e-6 if precision == "float32" else 0.03, rtol=0)


@pytest.mark.parametrize(("room", "multiplied"), [(1 << 20, 3), (0, 20)])
def test_a_repeated_word_is_multiplied_once_if_there_is_room(room: int, multiplied: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    kernel = CpuLstm(layers_of(config, 1), make_product)
    rows: list[int] = []

    def noted(x_ND: torch.Tensor) -> torch.Tensor:
        rows.append(len(x_ND))
        return x_ND

    monkeypatch.setattr(cpu_lstm, "WORDS_BYTES", room)
    monkeypatch.setattr(kernel.directions[0].from_input, "prepare", noted)
    words = np.arange(20).reshape(10, 2) % 3
    x_TBD = torch.randn(3, 12)[torch.from_numpy(words)]
    with torch.no_grad():
        kernel.run([x_TBD, x_TBD], None, [None, None], [words, words])
    assert sum(rows) == multiplied


def test_the_caller_s_state_and_inputs_stay_as_they_are() -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    x_TBD, state = inputs_of(config, [5, 5], 1)
    kept = [part.clone() for part in (x_TBD, *state)]
    with torch.no_grad():
        kernel_of(layers_of(config, 1), "float32").run([x_TBD, x_TBD], None, [state, state])
    assert all(torch.equal(a, b) for a, b in zip((x_TBD, *state), kept, strict=True))


def test_directions_side_by_side_give_what_they_give_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    kernel = kernel_of(layers_of(config, 1), "float32")
    x_TBD, _ = inputs_of(config, [7, 3, 7], 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            one = kernel.run([x_TBD, -x_TBD], np.array([7, 3, 7]), [None, None])
            monkeypatch.setattr(cpu_lstm, "ROWS_SIDE_BY_SIDE", 1)
            calls: list[int] = []

            def counted(work: list[Callable[[], object]]) -> list[object]:
                calls.append(len(work))
                return side_by_side(work)

            monkeypatch.setattr(cpu_lstm, "side_by_side", counted)
            other = kernel.run([x_TBD, -x_TBD], np.array([7, 3, 7]), [None, None])
    finally:
        torch.set_num_threads(threads)
    assert calls == [2]
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a[0], b[0], atol=1e-6, rtol=0)  # a product on fewer threads may add up in another order


@pytest.mark.parametrize(("rows", "apart", "expected"), [(1, True, 2), (1, False, 0), (2, True, 0), (16, False, 2)])
def test_which_rows_run_side_by_side(rows: int, apart: bool, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    kernel = CpuLstm(layers_of(config, 1), make_product, apart=apart)
    calls: list[int] = []

    def counted(work: list[Callable[[], object]]) -> list[object]:
        calls.append(len(work))
        return [run() for run in work]

    monkeypatch.setattr(cpu_lstm, "PRODUCTS_TO_DIVIDE", 1)
    monkeypatch.setattr(cpu_lstm, "side_by_side", counted)
    x_TBD, _ = inputs_of(config, [3] * rows, 1)
    with torch.no_grad():
        kernel.run([x_TBD, x_TBD], None, [None, None])
    assert sum(calls) == expected


def test_what_a_single_row_reads_is_said_when_weights_are_prepared() -> None:
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1)
    asked: list[tuple[torch.Size, bool]] = []

    def make(w_KM: torch.Tensor, b_M: torch.Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        asked.append((w_KM.shape, single))
        return make_product(w_KM, b_M, bound)

    CpuLstm(layers_of(config, 1)[:1], make)
    assert asked == [((12, 80), False), ((12, 80), True), ((20, 12), True)]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_given_state_outside_the_clip_is_clipped(precision: Precision) -> None:
    """int8 has no numbers for it; what a biLM gives never lies there."""
    config = BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1, projection_clip=1.0)
    x_TBD, state = inputs_of(config, [5], 1)
    outside = LstmState(torch.where(state.h_BP > 0, 1.0, -1.0) * 1.7, state.c_BH)
    inside = LstmState(outside.h_BP.clamp(-1, 1), state.c_BH)
    with torch.no_grad():
        kernel = kernel_of(layers_of(config, 1), precision)
        [found, _], [expected, _] = (kernel.run([x_TBD, x_TBD], None, [given, None]) for given in (outside, inside))
    assert torch.equal(found[0], expected[0]) == (precision == "int8")


def test_a_clip_left_out_would_be_noticed() -> None:
    config = BiLMConfig(
        char_cnn=CharCnnConfig(filters=((1, 4),)), cell_dim=20, projection_dim=12, layers=1, cell_clip=0.1, projection_clip=0.05
    )
    free = dataclasses.replace(config, cell_clip=None, projection_clip=None)
    x_TBD, _ = inputs_of(config, [7], 1)
    with torch.no_grad():
        [clipped, _] = kernel_of(layers_of(config, 1), "float32").run([x_TBD, x_TBD], None, [None, None])
        [unclipped, _] = kernel_of(layers_of(free, 1), "float32").run([x_TBD, x_TBD], None, [None, None])
    assert clipped[0].abs().max() <= 0.05
    assert clipped[1].c_BH.abs().max() <= 0.1
    assert unclipped[0].abs().max() > 0.1
