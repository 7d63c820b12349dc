"""The recurrence of `model/lstm.py` on a GPU: both directions in every launch, four launches a step, no memory taken.

    for a chunk of steps:    X = x W_x                     one product for all its steps, rows and directions
    for each of its steps:   H = h W_h                     one product for all rows and directions
                             c, m = gates(X_t + H + b, c)  one kernel (`gate_step`)
                             h = clip(m W_P)               one product, and a pass to clip it

X and H are added by the gates' kernel, in float32, which moves no more numbers than a product that adds. All tensors of
the loop lie still in a `_Room`, so that chunks of steps can be recorded (`step_graphs`); rows stand longest first and drop
out once they have ended (`chunks`). Everything runs on a stream of the kernel's own: the room is used in one order,
whichever threads and streams the calls come from.

Weights are kept with each output's numbers together, as `nn.Linear` keeps them: the layout that every kind of tensor core takes.
Shapes: S directions, T tokens, B sentences, R rows at work, D input, P output, H cell, G = 4H gates, N steps of a chunk.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from elmokit.kernels.chunks import MOST_STEPS, Chunk, chunks_of, round_rows
from elmokit.kernels.device import brought_to
from elmokit.kernels.gate_step import gate_step_for
from elmokit.kernels.lstm_kernel import Lengths, WordNumbers
from elmokit.kernels.step_graphs import CudaRecorder, Record, StepGraphs
from elmokit.kernels.tf32 import float32_products
from elmokit.model.lstm import LstmLayer, LstmState

GpuPrecision = Literal["float32", "tf32", "bfloat16"]
"""Of the products; sums, cells and results are float32 in all of them."""
GATE_BYTES = 256 << 20
"""For the inputs' share of the gates of a chunk."""


class _Sizes(NamedTuple):
    """Numbers of one token."""

    inputs: int
    outputs: int
    cells: int


class _Room:
    """Tensors that never move, for chunks of up to so many rows and tokens (rows × steps).

    Args:
        sizes: Of a token.
        directions: S.
        rows: R at the most.
        tokens: R × N at the most.
        like: A tensor of the products' type, on the device.
        graphs: For recordings of work on these tensors, which go when the room goes; None for none.
    """

    def __init__(self, sizes: _Sizes, directions: int, rows: int, tokens: int, like: Tensor, graphs: StepGraphs | None) -> None:
        self.rows, self.tokens, self.graphs = rows, tokens, graphs
        self.x = like.new_empty(directions * tokens * sizes.inputs)
        self.x_gates = like.new_empty(directions * tokens * 4 * sizes.cells)
        self.h_gates = like.new_empty(directions * rows * 4 * sizes.cells)
        self.m = like.new_empty(directions * rows * sizes.cells)
        self.y = like.new_empty(directions * tokens * sizes.outputs)
        self.h_SRP = like.new_empty(directions, rows, sizes.outputs)
        self.c_SRH = like.new_empty(directions, rows, sizes.cells, dtype=torch.float32)
        self.left_R = like.new_empty(rows, dtype=torch.int32)

    def enter(self, states: Sequence[LstmState | None], rows_B: Tensor | slice, rows: int) -> None:
        """Begin with what each direction remembers. Rows that are not there have no token left, and remember nothing."""
        for numbers in (self.h_SRP, self.c_SRH, self.left_R):
            numbers.zero_()
        for direction, state in enumerate(states):
            if state is not None:
                self.h_SRP[direction, :rows] = state.h_BP[rows_B]
                self.c_SRH[direction, :rows] = state.c_BH[rows_B]


class _Views(NamedTuple):
    """Where in the room a chunk finds its numbers."""

    x_SNRD: Tensor
    x_gates_SNRG: Tensor
    h_gates_SRG: Tensor
    m_SRH: Tensor
    y_NSRP: Tensor
    h_SRP: Tensor
    c_SRH: Tensor
    left_R: Tensor


class GpuLstm:
    """An `LstmKernel` for CUDA; on a CPU it does the same, slowly. It may be called from several threads, one after the other.

    Args:
        layers: The same layer of each direction.
        precision: Of the products: "float32" is true float32, "tf32" rounds factors to 10 bits of mantissa, "bfloat16" to 7,
            and results too.
        gate_bytes: Memory for the inputs' share of the gates; more means fewer and larger products, until a step fills it.
        graphs: Whether chunks that come up again are recorded, on CUDA.

    Raises:
        ValueError: Another precision.
    """

    def __init__(
        self,
        layers: Sequence[LstmLayer],
        precision: GpuPrecision = "float32",
        *,
        gate_bytes: int = GATE_BYTES,
        graphs: bool = True,
    ) -> None:
        if precision not in get_args(GpuPrecision):
            raise ValueError(f"precision must be one of {', '.join(get_args(GpuPrecision))}, not {precision!r}")
        first = layers[0]
        self.device = first.kernel.device
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.cell_clip, self.projection_clip = first.cell_clip, first.projection_clip
        inputs, cells = first.kernel.shape[0] // 2, first.bias.shape[0] // 4
        self.sizes = _Sizes(inputs, inputs, cells)  # P = D in every biLM
        self.gate_step = gate_step_for(self.device)
        with torch.inference_mode(False), torch.no_grad():
            bias_SG = torch.stack([layer.bias.float() for layer in layers])
            bias_SG[:, 2 * cells : 3 * cells] += first.forget_bias
            self.bias_SG = bias_SG
            self.w_x_SDG = self._stacked([layer.kernel[:inputs] for layer in layers])
            self.w_h_SPG = self._stacked([layer.kernel[inputs:] for layer in layers])
            projections = [layer.projection for layer in layers if layer.projection is not None]
            self.w_p_SHP = self._stacked(projections) if projections else None
        on_cuda = self.device.type == "cuda"
        self._recorder: Callable[[], Record] | None = CudaRecorder if graphs and on_cuda else None
        self._gate_tokens = max(1, gate_bytes // (len(layers) * 4 * cells * self.dtype.itemsize))
        self._room: _Room | None = None
        self._stream = torch.cuda.Stream(self.device) if on_cuda else None  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        self._lock = threading.Lock()

    def _stacked(self, weights_SKN: Sequence[Tensor]) -> Tensor:
        """Put the directions' weights together: (S, K, N) as products read them, (S, N, K) as they lie in memory."""
        return torch.stack([w_KN.t().to(self.dtype) for w_KN in weights_SKN]).transpose(1, 2)

    @torch.no_grad()
    def run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[LstmState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[Tensor, LstmState]]:
        """Read each row from its first token to its last; see `LstmKernel`. Inputs and results are on the layers' device."""
        steps, rows = x_STBD[0].shape[:2]
        lengths_B = np.full(rows, steps) if lengths_B is None else lengths_B
        results = [self._result(steps, rows) for _ in x_STBD]  # taken on the caller's stream
        with self._products(), self._lock, self._own_stream():  # the lock of all kernels before that of one
            self._run(x_STBD, lengths_B, states, results)
        return results

    def _result(self, steps: int, rows: int) -> tuple[Tensor, LstmState]:
        """Take the memory of a direction's result."""
        zeros = partial(torch.zeros, device=self.device)
        _, outputs, cells = self.sizes
        return zeros(steps, rows, outputs), LstmState(zeros(rows, outputs), zeros(rows, cells))

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        """Work on the kernel's stream, after what the caller's has been given so far and before what it is given next."""
        if self._stream is None:
            yield
            return
        outside = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def _products(self) -> AbstractContextManager[None]:
        """What float32 means, while products are started."""
        plain = self.device.type == "cpu" or self.dtype != torch.float32
        return nullcontext() if plain else float32_products(tf32=self.precision == "tf32")

    def _run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths,
        states: Sequence[LstmState | None],
        results: Sequence[tuple[Tensor, LstmState]],
    ) -> None:
        """Run all directions, into `results`, which are zeros."""
        rows = len(lengths_B)
        order = np.argsort(-lengths_B, kind="stable") if (np.diff(lengths_B) > 0).any() else None
        rows_B = (
            slice(rows) if order is None else brought_to(self.device, torch.from_numpy(order))
        )  # which of the caller's rows stands at each place
        ends_B = brought_to(self.device, torch.from_numpy(lengths_B))
        room = self._room_for(rows)
        room.enter(states, rows_B, rows)
        for chunk in chunks_of(lengths_B if order is None else lengths_B[order], room.tokens):
            here = min(chunk.rows, rows)
            rows_R = rows_B[:here] if isinstance(rows_B, Tensor) else slice(here)
            views = self._views(room, chunk)
            steps = slice(chunk.start, chunk.start + chunk.steps)
            torch.sub(ends_B[rows_R], chunk.start, out=views.left_R[:here])
            for x_NRD, x_TBD in zip(views.x_SNRD, x_STBD, strict=True):
                x_NRD[:, :here] = x_TBD[steps][:, rows_R]
            work = partial(self._work, views)
            if room.graphs is None:
                work()
            else:
                room.graphs((chunk.rows, chunk.steps), work)
            for y_NRP, (y_TBP, _) in zip(views.y_NSRP.unbind(1), results, strict=True):
                y_TBP[steps][:, rows_R] = y_NRP[:, :here].float()
        for (y_TBP, after), before, c_RH in zip(results, states, room.c_SRH, strict=True):
            after.c_BH[rows_B] = c_RH[:rows]
            after.h_BP.copy_(_last(y_TBP, ends_B, before))

    def _room_for(self, rows: int) -> _Room:
        """Give a room for so many rows. A larger one takes the place of the one before, whose recordings go with it."""
        if self._room is None or self._room.rows < rows:
            self._room = None  # first of all: where both do not fit, and so that a failure leaves nothing wrong
            rows = 1 << (round_rows(rows) - 1).bit_length()
            tokens = max(rows, min(rows * MOST_STEPS, self._gate_tokens))
            with torch.inference_mode(False):  # else it could be written in inference mode only
                graphs = None if self._recorder is None else StepGraphs(self._recorder())
                self._room = _Room(self.sizes, len(self.bias_SG), rows, tokens, self.w_x_SDG, graphs)
        return self._room

    def _views(self, room: _Room, chunk: Chunk) -> _Views:
        """Say where a chunk's numbers are: always the same for the same rows and steps."""
        inputs, outputs, cells = self.sizes
        both, rows, steps = len(self.bias_SG), chunk.rows, chunk.steps
        return _Views(
            x_SNRD=_view(room.x, both, steps, rows, inputs),
            x_gates_SNRG=_view(room.x_gates, both, steps, rows, 4 * cells),
            h_gates_SRG=_view(room.h_gates, both, rows, 4 * cells),
            m_SRH=_view(room.m, both, rows, cells),
            y_NSRP=_view(room.y, steps, both, rows, outputs),
            h_SRP=room.h_SRP[:, :rows],
            c_SRH=room.c_SRH[:, :rows],
            left_R=room.left_R[:rows],
        )

    def _work(self, views: _Views) -> None:
        """Do a chunk's steps."""
        torch.bmm(views.x_SNRD.flatten(1, 2), self.w_x_SDG, out=views.x_gates_SNRG.flatten(1, 2))
        h_SRP = views.h_SRP
        for step, y_SRP in enumerate(views.y_NSRP):
            torch.bmm(h_SRP, self.w_h_SPG, out=views.h_gates_SRG)
            m_SRH = y_SRP if self.w_p_SHP is None else views.m_SRH
            gates = (views.x_gates_SNRG[:, step], views.h_gates_SRG, self.bias_SG)
            self.gate_step(*gates, views.c_SRH, views.left_R, step, self.cell_clip, m_SRH)
            if self.w_p_SHP is not None:  # without a projection there is nothing that its clip could act on
                torch.bmm(m_SRH, self.w_p_SHP, out=y_SRP)
                if self.projection_clip is not None:
                    y_SRP.clamp_(-self.projection_clip, self.projection_clip)
            h_SRP = y_SRP
        views.h_SRP.copy_(h_SRP)


def _view(flat: Tensor, *shape: int) -> Tensor:
    """Give the first numbers of a tensor a shape."""
    return flat[: math.prod(shape)].view(shape)


def _last(y_TBP: Tensor, ends_B: Tensor, before: LstmState | None) -> Tensor:
    """Give each row's output at its last token; of a row without tokens, what was there before."""
    first_BP = y_TBP.new_zeros(y_TBP.shape[1:]) if before is None else before.h_BP
    if not len(y_TBP):
        return first_BP
    last_BP = y_TBP[(ends_B - 1).clamp(min=0), torch.arange(len(ends_B), device=y_TBP.device)]
    return torch.where((ends_B > 0).unsqueeze(1), last_BP, first_BP)
