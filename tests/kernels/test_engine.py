"""The engine: when it prepares weights, and that what it gives is the biLM's."""

import copy
import logging
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmokit.config import BiLMConfig, CharCnnConfig, WordTableConfig
from elmokit.kernels.engine import PREPARE_FROM, Engine, Kernels, cpu_kernels, gpu_kernels, input_bound
from elmokit.kernels.float_products import packed_bfloat16_works, packed_float32_works
from elmokit.kernels.int8_products import packed_int8_works, signed_int8_works
from elmokit.kernels.product import Product
from elmokit.kernels.products import Precision, make_product
from elmokit.model.bilm import BiLM, BiLMState
from elmokit.text.batch import WordBatch, word_batch

CNN = CharCnnConfig(filters=((1, 4), (3, 8)), highways=1)
SMALL = BiLMConfig(char_cnn=CNN, cell_dim=12, projection_dim=6)
CONFIGS = {
    "two layers": SMALL,
    "three layers, sums of their outputs": BiLMConfig(char_cnn=CNN, cell_dim=12, projection_dim=6, layers=3),
    "no skip connections": BiLMConfig(char_cnn=CNN, cell_dim=12, projection_dim=6, skip_connections=False),
    "no projection, no clips": BiLMConfig(char_cnn=CNN, cell_dim=6, projection_dim=None, cell_clip=None, projection_clip=None),
    "a projection that nothing clips": BiLMConfig(char_cnn=CNN, cell_dim=12, projection_dim=6, projection_clip=None),
    "forward alone": BiLMConfig(char_cnn=CNN, cell_dim=12, projection_dim=6, bidirectional=False),
    "a table of words": BiLMConfig(char_cnn=None, word_table=WordTableConfig(words=261, dim=6), cell_dim=12, projection_dim=6),
}
ERROR: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.1, "int8": 0.25}
SENTENCES = st.lists(st.lists(st.text(max_size=9), max_size=9), min_size=1, max_size=6)


def bilm_of(config: BiLMConfig) -> BiLM:
    torch.manual_seed(4)
    bilm = BiLM(config).eval()
    for parameter in bilm.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[0] ** -0.5 if parameter.dim() > 1 else 0.3)
    return bilm


def prepared(bilm: BiLM, precision: Precision = "float32") -> Engine:
    engine = Engine(bilm, precision)
    engine.expect(PREPARE_FROM)
    assert engine.preparing_s > 0
    return engine


def run(engine: Engine, batch: WordBatch, state: BiLMState | None = None) -> tuple[torch.Tensor, BiLMState]:
    chars_UW = torch.from_numpy(batch.chars_UW)
    if engine.bilm.config.char_cnn is None:
        chars_UW = chars_UW[:, 1:2]  # a word's first byte stands for its number
    x_BTP = engine.word_vectors(chars_UW)[torch.from_numpy(batch.index_BT)]
    return engine.layers_of(x_BTP, torch.from_numpy(batch.lengths_B), state)


def tensors(state: BiLMState) -> list[torch.Tensor]:
    return [tensor for stack in state for layer in stack for tensor in layer]


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=15)
@given(sentences=SENTENCES)
def test_layers_and_states_are_the_bilms(name: str, precision: Precision, sentences: list[list[str]]) -> None:
    bilm = bilm_of(CONFIGS[name])
    engine, plain, batch = prepared(bilm, precision), Engine(bilm), word_batch(sentences)
    expected, after = run(plain, batch)
    found, state = run(engine, batch)
    again, again_after = run(plain, batch, after), run(engine, batch, after)
    for ours, theirs in ((found, expected), (again_after[0], again[0])):
        assert ours.shape == theirs.shape
        assert ((ours - theirs).abs() <= ERROR[precision]).all()
    for ours, theirs in zip(tensors(state), tensors(after), strict=True):
        assert ((ours - theirs).abs() <= ERROR[precision]).all()


@pytest.mark.parametrize("name", ["two layers", "forward alone"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@settings(max_examples=10)
@given(sentences=SENTENCES)
def test_the_kernels_for_gpus_do_as_well(name: str, precision: Precision, sentences: list[list[str]]) -> None:
    bilm, batch = bilm_of(CONFIGS[name]), word_batch(sentences)
    engine = Engine(bilm, precision, partial(gpu_kernels, precision=precision))
    engine.expect(PREPARE_FROM)
    expected, after = run(Engine(bilm), batch)
    found, state = run(engine, batch)
    assert ((found - expected).abs() <= ERROR[precision]).all()
    for ours, theirs in zip(tensors(state), tensors(after), strict=True):
        assert ((ours - theirs).abs() <= ERROR[precision]).all()


def test_int8_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match='precision="int8" is for the CPU; on a GPU say "bfloat16"'):
        gpu_kernels(bilm_of(SMALL), "int8")


def test_whole_rows_of_each_direction() -> None:
    bilm = bilm_of(SMALL)
    pair = [torch.randn(2, 5, 6), torch.randn(2, 5, 6)]
    plain, fast = Engine(bilm), prepared(bilm)
    expected, found = plain.stacks(pair), fast.stacks(pair)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    for direction, stack in enumerate((bilm.forward_stack, bilm.backward_stack)):
        torch.testing.assert_close(expected[direction], stack(pair[direction]), atol=0, rtol=0)
    states = [after for _, after in fast.stacks([x_BTP[:, :3] for x_BTP in pair])]
    carried = fast.stacks([x_BTP[:, 3:] for x_BTP in pair], states)
    for (late, _), (all_of_them, _) in zip(carried, expected, strict=True):
        torch.testing.assert_close(late[-1], all_of_them[-1][:, 3:], atol=1e-5, rtol=0)


def test_few_tokens_are_not_worth_preparing_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(bilm_of(SMALL))
    with caplog.at_level(logging.INFO, "elmokit"):
        engine.expect(PREPARE_FROM - 1)
        assert engine.preparing_s == 0
        assert not caplog.messages
        engine.expect(1)
    assert engine.preparing_s > 0
    assert [message.startswith("prepared the weights for float32 in ") for message in caplog.messages] == [True]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_precisions_are_prepared_at_once(precision: Precision) -> None:
    engine, batch = Engine(bilm_of(SMALL), precision), word_batch([["a"]])
    engine.expect(1)
    found, _ = run(engine, batch)
    exact, _ = run(Engine(engine.bilm), batch)
    assert 0 < (found - exact).abs().max() < ERROR[precision]


def no_memory(_: BiLM) -> Kernels:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory")


def test_without_room_for_prepared_weights_float32_goes_on_as_it_is() -> None:
    engine, batch = Engine(bilm_of(SMALL), prepare=no_memory), word_batch([["a", "b"]])
    with pytest.warns(UserWarning, match="out of memory: going on without prepared weights"):
        engine.expect(PREPARE_FROM)
    engine.expect(PREPARE_FROM)  # it neither tries nor warns again
    assert engine.preparing_s == 0
    torch.testing.assert_close(run(engine, batch)[0], run(Engine(engine.bilm), batch)[0])
    change_in_place(engine.bilm)
    with pytest.warns(UserWarning, match="out of memory"):
        engine.expect(PREPARE_FROM)


def test_without_room_for_weights_of_another_precision_there_is_one_error() -> None:
    with pytest.raises(MemoryError, match=r"no room for int8 weights; free some, or take float32 \(.*not enough memory\)"):
        Engine(bilm_of(SMALL), "int8", prepare=no_memory).expect(1)


def test_other_errors_of_preparing_come_out() -> None:
    def broken(_: BiLM) -> Kernels:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Engine(bilm_of(SMALL), prepare=broken).expect(PREPARE_FROM)


def change_in_place(bilm: BiLM) -> None:
    with torch.no_grad():
        next(bilm.forward_stack.parameters()).mul_(0.5)


def change_by_training(bilm: BiLM) -> None:
    optimizer = torch.optim.Adagrad(bilm.parameters(), lr=0.1)
    bilm(word_batch([["a", "b"]]))[0].square().sum().backward()
    optimizer.step()


def change_by_loading(bilm: BiLM) -> None:
    bilm.load_state_dict({name: 0.5 * tensor for name, tensor in bilm.state_dict().items()})


def change_by_a_fused_optimizer(bilm: BiLM) -> None:
    optimizer = torch.optim.Adam(bilm.parameters(), lr=0.1, fused=True)
    bilm(word_batch([["a", "b"]]))[0].square().sum().backward()
    optimizer.step()


def change_data(bilm: BiLM) -> None:
    for parameter in bilm.parameters():
        parameter.data.mul_(0.5)


def change_place(bilm: BiLM) -> None:
    for parameter in bilm.parameters():
        parameter.data = parameter.data * 0.5


CHANGES = (change_in_place, change_by_training, change_by_a_fused_optimizer, change_by_loading, change_data, change_place)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_prepared_anew(change: object) -> None:
    bilm, batch = bilm_of(SMALL), word_batch([["a", "bank"], ["c"]])
    engine = prepared(bilm)
    before, _ = run(engine, batch)
    assert callable(change)
    change(bilm)
    engine.expect(PREPARE_FROM)
    found, _ = run(engine, batch)
    expected, _ = run(Engine(bilm), batch)
    assert (expected - before).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_weights_of_another_type_are_left_to_the_bilm() -> None:
    bilm = bilm_of(SMALL).double()
    engine, batch = Engine(bilm, "int8"), word_batch([["a"]])
    with pytest.warns(UserWarning, match=r"weights are torch\.float64: computing so, and not in int8"):
        engine.expect(1000)
    assert engine.preparing_s == 0
    assert run(engine, batch)[0].dtype == torch.float64


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("tokens", [1, PREPARE_FROM])
def test_the_callers_autocast_changes_nothing(precision: Precision, tokens: int) -> None:
    bilm, batch = bilm_of(SMALL), word_batch([["a", "bank"]])
    expected, _ = run(prepared(bilm, precision), batch)
    engine = Engine(bilm, precision)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        engine.expect(tokens)
        found, _ = run(engine, batch)
        assert engine.stacks([torch.randn(1, 2, 6)] * 2)[0][0][0].dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_default_type_of_the_callers_changes_nothing() -> None:
    bilm, batch = bilm_of(SMALL), word_batch([["a", "bank", "x" * 60]])
    expected, _ = run(prepared(bilm, "int8"), batch)
    torch.set_default_dtype(torch.float64)
    try:
        found, _ = run(prepared(bilm, "int8"), batch)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_default_device_of_the_callers_changes_nothing(precision: Precision) -> None:
    bilm, batches = bilm_of(SMALL), [word_batch(sentences) for sentences in ([["a", "bank", "x" * 60]], [["a"], ["b", "c"]])]
    expected = [run(prepared(bilm, precision), batch)[0] for batch in batches]
    probes = (packed_float32_works, packed_bfloat16_works, packed_int8_works, signed_int8_works)
    before = [probe() for probe in probes]
    for probe in probes:
        probe.cache_clear()
    torch.set_default_device("meta")  # on which nothing can be computed
    try:
        found = [run(prepared(bilm, precision), batch)[0] for batch in batches]
        assert [probe() for probe in probes] == before
    finally:
        torch.set_default_device(None)
        for probe in probes:
            probe.cache_clear()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_made_for_inference_alone() -> None:
    with torch.inference_mode():
        bilm = bilm_of(SMALL)
    batch = word_batch([["a", "bank"]])
    found, _ = run(prepared(bilm), batch)
    torch.testing.assert_close(found, run(Engine(bilm_of(SMALL)), batch)[0], atol=1e-5, rtol=0)


def test_nothing_that_it_gives_hangs_on_a_graph() -> None:
    for engine in (prepared(bilm_of(SMALL)), Engine(bilm_of(SMALL))):
        layers, state = run(engine, word_batch([["a"]]))
        assert not any(tensor.requires_grad for tensor in (layers, *tensors(state)))


def test_only_clipped_inputs_have_a_bound() -> None:
    bounds = [[input_bound(bilm_of(config), number) for number in range(config.layers)] for config in CONFIGS.values()]
    assert bounds == [[None, 3.0], [None, 3.0, None], [None, 3.0], [None, 1.0], [None, None], [None, 3.0], [None, 3.0]]


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be one of"):
        Engine(bilm_of(SMALL), "int4")  # type: ignore[arg-type]  # what a user may say


def test_copies_and_pickles_work_without_the_original() -> None:
    engine, batch = prepared(bilm_of(SMALL), "int8"), word_batch([["a", "b"]])
    expected, _ = run(engine, batch)
    for other in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        other.expect(1)
        change_in_place(engine.bilm)
        assert torch.equal(run(other, batch)[0], expected)


def test_the_kernels_can_be_given() -> None:
    made: list[torch.Size] = []

    def make(w_KM: torch.Tensor, b_M: torch.Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        made.append(w_KM.shape)
        return make_product(w_KM, b_M, bound, single=single)

    def prepare(bilm: BiLM) -> Kernels:
        return cpu_kernels(bilm, "float32", make)

    engine = Engine(bilm_of(SMALL), prepare=prepare)
    engine.expect(PREPARE_FROM)
    lstm = [torch.Size([6, 48]), torch.Size([6, 48]), torch.Size([12, 6])]
    assert made == [torch.Size([48, 12]), torch.Size([12, 24]), torch.Size([12, 6]), *lstm * 4]


def test_several_threads_at_once() -> None:
    engine = Engine(bilm_of(SMALL))
    batches = [word_batch([[f"w{n}", "b"] * (n + 1), ["c"]]) for n in range(12)]
    expected = [run(Engine(engine.bilm), batch)[0] for batch in batches]

    def work(batch: WordBatch) -> torch.Tensor:
        engine.expect(10)
        return run(engine, batch)[0]

    with ThreadPoolExecutor(4) as pool:
        for ours, theirs in zip(pool.map(work, batches), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert engine.preparing_s > 0


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads, "the number of threads is given back"
