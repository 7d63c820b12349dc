"""The floor of a run: the matrix products that it performed, performed again with nothing between them.

First the run is made with products that only note what is asked of them: of which matrix, of how many rows, with or without
a sum, by how many threads, and whether the other direction was at work beside it. Then the noted products are made, in order.

Fair to both sides:

* The matrices follow each other as in the run. Few rows take as long as reading the matrix takes, and whether it comes from
  memory or from a cache depends on what was read in between.
* What the run does side by side, on half of the threads each, is done so here: the rate is that of a machine at work.
* Passes of the run and of its floor are to be made in turn, and the best of each compared.
* A sum that a product makes on its way out (`onto`) counts, as does PyTorch's own call; bfloat16's results are turned into
  float32 by the product too. Biases, the rounding of inputs to bytes, gates, clips, copies and Python do not count.
* Kind to the floor: its inputs lie in a cache, and the two directions wait for each other only at the end.
* Kind to the run: windows of padding and the zeros of narrow filters, which it multiplies in vain, count as work.

Shapes: N rows, K inputs, M outputs.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from elmokit.kernels.engine import PREPARE_FROM, Engine, Kernels, cpu_kernels
from elmokit.kernels.lstm_kernel import Lengths, LstmKernel, WordNumbers
from elmokit.kernels.product import Product
from elmokit.kernels.products import Precision, make_product
from elmokit.kernels.side_by_side import side_by_side
from elmokit.model.bilm import BiLM
from elmokit.model.lstm import LstmState

Result = TypeVar("Result")

ALONE, FIRST, SECOND = range(3)
"""Lanes: a product with none beside it; those of one direction, and of the other one at the same time."""


class Call(NamedTuple):
    """One product of the run."""

    matrix: int
    """Which one, in the order in which they were prepared."""
    rows: int
    """N."""
    onto: bool
    """Whether it was added to something."""
    threads: int
    """PyTorch's, for this product."""
    lane: int
    """What was beside it."""


class Matrix(NamedTuple):
    """One W of a network."""

    w_KM: Tensor
    single: bool
    """Whether single rows come often."""


class Notebook:
    """Notes the products of a biLM's runs on the CPU, which are to be made in this thread, with PyTorch's threads as they are.

    Args:
        bilm: The network.
        precision: Of the run: which threads make what depends on it.
    """

    def __init__(self, bilm: BiLM, precision: Precision) -> None:
        self.thread = threading.current_thread()
        self.precision: Precision = precision
        self.matrices: list[Matrix] = []
        """Those of the network."""
        self.calls: list[Call] = []
        """What was asked for, in order within each lane."""
        self.engine = Engine(bilm, prepare=self._prepare)
        """It runs the network, and what it gives is of no use."""
        self.engine.expect(PREPARE_FROM)

    def take(self) -> list[Call]:
        """Give what was noted, and begin a new page."""
        calls, self.calls = self.calls, []
        return calls

    def flop(self, calls: Sequence[Call]) -> int:
        """Additions and multiplications of some calls."""
        return sum(2 * call.rows * self.matrices[call.matrix].w_KM.numel() for call in calls)

    def note(self, matrix: int, rows: int, onto: bool) -> None:
        """Note a call."""
        lane = FIRST if threading.current_thread() is self.thread else SECOND
        self.calls.append(Call(matrix, rows, onto, torch.get_num_threads(), lane))

    def read(self, part: Callable[[], Result]) -> Result:
        """Run a part of the network. Only at its end it is known whether it used a second thread."""
        begin = len(self.calls)
        result = part()
        noted = self.calls[begin:]
        if all(call.lane == FIRST for call in noted):
            self.calls[begin:] = [call._replace(lane=ALONE) for call in noted]
        return result

    def _prepare(self, bilm: BiLM) -> Kernels:
        """Make kernels whose products are noted."""
        words, layers = cpu_kernels(bilm, self.precision, self._make)
        return Kernels(lambda chars_UW: self.read(partial(words, chars_UW)), [_NotedLayer(self, layer) for layer in layers])

    def _make(self, w_KM: Tensor, b_M: Tensor | None, bound: float | None = None, *, single: bool = False) -> Product:
        """Prepare a matrix: keep it."""
        self.matrices.append(Matrix(w_KM, single))
        return _Noting(self, len(self.matrices) - 1, w_KM.shape[1])


class _NotedLayer:
    """An `LstmKernel` whose products are noted."""

    def __init__(self, notebook: Notebook, kernel: LstmKernel) -> None:
        self.notebook, self.kernel = notebook, kernel

    def run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[LstmState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[Tensor, LstmState]]:
        """Run the layer."""
        return self.notebook.read(lambda: self.kernel.run(x_STBD, lengths_B, states, words_STB))


class _Noting(Product):
    """A `Product` that only notes. The shapes are right, and so is what the run does with them."""

    def __init__(self, notebook: Notebook, matrix: int, outputs: int) -> None:
        self.notebook, self.matrix, self.outputs = notebook, matrix, outputs

    def prepare(self, x_NK: Tensor) -> Tensor:
        """Give x as it is."""
        return x_NK

    def times(self, x_NK: Tensor) -> Tensor:
        """Give zeros."""
        self.notebook.note(self.matrix, len(x_NK), False)
        return x_NK.new_zeros(len(x_NK), self.outputs)

    def onto(self, y_NM: Tensor, x_NK: Tensor) -> Tensor:
        """Give y."""
        self.notebook.note(self.matrix, len(x_NK), True)
        return y_NM


def make_products(matrices: Sequence[Matrix], precision: Precision) -> list[Product]:
    """Prepare matrices for a floor: without biases, their inputs rounded beforehand."""
    return [make_product(matrix.w_KM, None, 1.0, precision, single=matrix.single) for matrix in matrices]


class Floor:
    """The products of a run, ready to be made again.

    Args:
        calls: What the run asked for.
        matrices: All W of the notebook.
        products: The same, prepared.
    """

    def __init__(self, calls: Sequence[Call], matrices: Sequence[Matrix], products: Sequence[Product]) -> None:
        def ready(lane: int, threads: int | None = None) -> partial[None]:
            chosen = [call for call in calls if call.lane == lane and threads in (None, call.threads)]
            return partial(_make_all, _ready(chosen, matrices, products))

        numbers = sorted({call.threads for call in calls if call.lane == ALONE})
        self._alone = [(threads, ready(ALONE, threads)) for threads in numbers]
        self._beside = [ready(FIRST), ready(SECOND)] if any(call.lane == SECOND for call in calls) else []

    @torch.no_grad()
    def seconds(self) -> float:
        """Make all products once; give how long that took."""
        threads = torch.get_num_threads()
        began = time.perf_counter()
        try:
            for number, make_all in self._alone:
                torch.set_num_threads(number)
                make_all()
        finally:
            torch.set_num_threads(threads)
        if self._beside:
            side_by_side(self._beside)
        return time.perf_counter() - began


_Ready = list[tuple[Callable[..., Tensor], tuple[Tensor, ...]]]


def _ready(calls: Sequence[Call], matrices: Sequence[Matrix], products: Sequence[Product]) -> _Ready:
    """Make the inputs of some calls, in buffers of their own, and give functions with their arguments."""
    most: dict[tuple[int, bool], int] = {}
    for call in calls:  # a single row has a form of its own
        most[call.matrix, call.rows == 1] = max(most.get((call.matrix, call.rows == 1), 0), call.rows)
    product_of = {(matrix, one): products[matrix].for_rows(rows) for (matrix, one), rows in most.items()}
    x_of = {key: product_of[key].prepare(torch.rand(rows, len(matrices[key[0]].w_KM)) * 2 - 1) for key, rows in most.items()}
    summed = {(call.matrix, call.rows == 1) for call in calls if call.onto}
    y_of = {key: torch.zeros(most[key], matrices[key[0]].w_KM.shape[1]) for key in summed}
    ready: _Ready = []
    for matrix, rows, onto, *_ in calls:
        key = (matrix, rows == 1)
        product, x_NK = product_of[key], x_of[key][:rows]
        ready.append((product.onto, (y_of[key][:rows], x_NK)) if onto else (product.times, (x_NK,)))
    return ready


def _make_all(ready: _Ready) -> None:
    """Make one product after the other."""
    for product, arguments in ready:
        product(*arguments)
