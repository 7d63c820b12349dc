"""The floor is made of the products that the run made: no fewer, no more, each in its place."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.deploy.floor import ALONE, FIRST, SECOND, Floor, Notebook, make_products
from elmokit.deploy.measure import _with_engine
from elmokit.kernels import cpu_lstm
from elmokit.kernels.product import Product

WIDTH, CELLS, LAYERS, FILTERS = 6, 16, 2, 12
SENTENCES = [["I", "sat", "by", "the", "river"], ["Hello"], ["the", "river", "bank"], ["I"] * 9]
TOKENS = sum(map(len, SENTENCES)) + 2 * len(SENTENCES)  # with marks
WORDS = len({word for sentence in SENTENCES for word in sentence}) + 2


@pytest.fixture(scope="module")
def elmo() -> Elmo:
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 4), (3, 8)), highways=1)
    return Elmo.from_config(ElmoConfig(bilm=BiLMConfig(char_cnn=char_cnn, cell_dim=CELLS, projection_dim=WIDTH, layers=LAYERS)))


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cpu_lstm, "ROWS_SIDE_BY_SIDE", 2)  # so few rows would not be worth it
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def note(elmo: Elmo) -> Notebook:
    notebook = Notebook(elmo.bilm, "float32")
    _with_engine(elmo, notebook.engine).encode_tokens(SENTENCES)
    return notebook


def rows_of(notebook: Notebook) -> Counter[tuple[int, int, bool]]:
    """How many rows each shape of matrix was multiplied with; the shape (D, 4H) stands for two, of inputs and of outputs."""
    rows: Counter[tuple[int, int, bool]] = Counter()
    for call in notebook.calls:
        inputs, outputs = notebook.matrices[call.matrix].w_KM.shape
        rows[inputs, outputs, call.onto] += call.rows
    return rows


def test_every_token_and_every_distinct_word_once(elmo: Elmo) -> None:
    found = rows_of(note(elmo))
    windows = found.pop((3 * 4, FILTERS, False))
    assert windows >= sum(len(word) + 2 for word in {word for sentence in SENTENCES for word in sentence})
    assert found == {
        (FILTERS, 2 * FILTERS, False): WORDS,  # the highway
        (FILTERS, WIDTH, False): WORDS,  # the projection to a word's vector
        (WIDTH, 4 * CELLS, False): 2 * WORDS + 2 * (LAYERS - 1) * TOKENS,  # the first layer's inputs are words alone
        (WIDTH, 4 * CELLS, True): 2 * LAYERS * TOKENS,
        (CELLS, WIDTH, False): 2 * LAYERS * TOKENS,
    }


def test_additions_and_multiplications(elmo: Elmo) -> None:
    notebook = note(elmo)
    recurrence = [call for call in notebook.calls if call.onto]
    assert notebook.flop(recurrence) == 2 * (2 * LAYERS * TOKENS) * WIDTH * 4 * CELLS
    assert notebook.take()
    assert not notebook.calls


def test_one_thread_has_one_lane(elmo: Elmo) -> None:
    assert {(call.lane, call.threads) for call in note(elmo).calls} == {(ALONE, 1)}


@pytest.mark.usefixtures("two_threads")
def test_directions_that_ran_side_by_side_do_so_again(elmo: Elmo) -> None:
    notebook = note(elmo)
    lanes = {lane: [call for call in notebook.calls if call.lane == lane] for lane in (ALONE, FIRST, SECOND)}
    assert {(*notebook.matrices[call.matrix].w_KM.shape, call.threads) for call in lanes[ALONE]} == {
        (12, 12, 2),
        (12, 24, 2),
        (12, 6, 2),
    }
    forward, backward = ([(call.rows, call.onto, call.threads) for call in lanes[lane]] for lane in (FIRST, SECOND))
    assert forward == backward
    assert {threads for *_, threads in forward} == {1}
    assert {call.matrix for call in lanes[FIRST]}.isdisjoint(call.matrix for call in lanes[SECOND])
    check_floor(notebook)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_single_row_is_read_in_one_thread_with_nothing_beside_it(elmo: Elmo) -> None:
    notebook = Notebook(elmo.bilm, "float32")
    _with_engine(elmo, notebook.engine).encode_tokens(SENTENCES[:1])
    assert {(call.lane, call.threads) for call in notebook.calls if call.onto} == {(ALONE, 1)}
    check_floor(notebook)


def check_floor(notebook: Notebook) -> None:
    """The floor makes each product once, in order, with as many threads as it had."""
    counting = [Counting(matrix.w_KM) for matrix in notebook.matrices]
    assert Floor(notebook.calls, notebook.matrices, counting).seconds() > 0
    for matrix, product in enumerate(counting):
        assert product.made == [(call.rows, call.onto, call.threads) for call in notebook.calls if call.matrix == matrix]


class Counting(Product):
    """A `Product` that checks and notes what it is given."""

    def __init__(self, w_KM: Tensor) -> None:
        self.w_KM = w_KM
        self.made: list[tuple[int, bool, int]] = []

    def prepare(self, x_NK: Tensor) -> Tensor:
        return x_NK.double()

    def times(self, x_NK: Tensor) -> Tensor:
        assert x_NK.dtype == torch.float64, "inputs are prepared"
        self.made.append((len(x_NK), False, torch.get_num_threads()))
        return x_NK.float() @ self.w_KM

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        assert x_NK.dtype == torch.float64, "inputs are prepared"
        self.made.append((len(x_NK), True, torch.get_num_threads()))
        return y_NM.addmm(x_NK.float(), self.w_KM)


def test_the_floor_makes_each_product_once_in_order(elmo: Elmo) -> None:
    check_floor(note(elmo))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_the_products_of_a_floor_multiply(elmo: Elmo, precision: str) -> None:
    matrices = note(elmo).matrices
    for (w_KM, _), product in zip(matrices, make_products(matrices, precision), strict=True):  # type: ignore[arg-type]  # one of three
        x_NK = torch.linspace(-1, 1, 3 * len(w_KM)).view(3, -1)
        assert torch.allclose(
            product.times(product.prepare(x_NK)), x_NK @ w_KM, atol=0.05 * float((x_NK @ w_KM).abs().max()) + 1e-3
        )


@pytest.mark.usefixtures("two_threads")
def test_a_model_that_reads_forward_alone_has_all_threads(elmo: Elmo) -> None:
    alone = Elmo.from_config(ElmoConfig(bilm=replace(elmo.config.bilm, bidirectional=False)))
    notebook = note(alone)
    assert {(call.lane, call.threads) for call in notebook.calls} == {(ALONE, 2)}
    assert rows_of(notebook)[WIDTH, 4 * CELLS, True] == LAYERS * TOKENS
    check_floor(notebook)
