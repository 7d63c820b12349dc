"""The recurrence of `model/lstm.py` on the CPU: few large products, and between them few passes over memory.

σ costs a sixth of what tanh costs here, so tanh(x) = 2 σ(2x) − 1 is used throughout, to 2e-7. With the
columns of g doubled when the weights are prepared, one σ serves all four gates; cells are kept with their sign turned:

    i, g', f, o = σ of the four gates, the second one doubled
    −c ← clip(f · (−c) + (i − 2 i g'))             since i − 2 i g' = − i · tanh(g)
    m  = o − 2 o σ(−2c)                            = o · tanh(c)
    h  = clip(m W_P)

The inputs' products are made for some steps at once, or for each distinct word; sentences that have ended are left out of
all that follows, as rows stand longest first. Gates pass in blocks of rows that stay in the processor's cache.
Shapes: S directions, T tokens, B sentences, R rows at work, U distinct words, D input, P output, H cell, G = 4H gates.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from elmokit.kernels.lstm_kernel import Lengths, WordNumbers
from elmokit.kernels.product import MakeProduct, Product
from elmokit.kernels.side_by_side import in_one_thread, side_by_side
from elmokit.model.lstm import LstmLayer, LstmState

ROWS = 128
"""Rows at work: more give larger products, whose gates then leave the cache."""
INPUTS_AT_ONCE = 128
"""Tokens whose inputs are multiplied together."""
REPEATED = 0.8
"""Distinct words of all tokens, up to which it pays to multiply each word once and to copy its gates to its tokens."""
WORDS_BYTES = 1 << 27
"""Bytes that the gates of distinct words may take, for each direction."""
CELLS_AT_ONCE = 1 << 18
"""Cells whose gates pass together: 4 MB of gates."""
ROWS_SIDE_BY_SIDE = 16
"""Rows from which two directions side by side are no slower than one after the other, each step divided among all threads."""
PRODUCTS_TO_DIVIDE = 4_000_000
"""Multiplications of a step from which it is worth dividing among threads at all."""


class CpuLstm:
    """An `LstmKernel` for the CPU.

    Args:
        layers: The same layer of each direction, float32.
        make: Prepares a matrix.
        bound: What the layer's inputs are known to keep within ±; None: nothing is known.
        apart: Whether a single row runs in a thread of its own in each direction, rather than dividing every step among
            threads: so it is fastest in float32, whose products of one row are not divided anyway.
    """

    def __init__(self, layers: Sequence[LstmLayer], make: MakeProduct, bound: float | None = None, apart: bool = False) -> None:
        self.directions = [_Direction(layer, make, bound) for layer in layers]
        self.apart = apart
        self.weights = layers[0].kernel.numel() // 2

    @torch.no_grad()
    def run(
        self,
        x_STBD: Sequence[Tensor],
        lengths_B: Lengths | None,
        states: Sequence[LstmState | None],
        words_STB: Sequence[WordNumbers] | None = None,
    ) -> list[tuple[Tensor, LstmState]]:
        """Read each row from its first token to its last; see `LstmKernel`."""
        words = [None] * len(x_STBD) if words_STB is None else words_STB
        given = zip(self.directions, x_STBD, states, words, strict=True)
        runs = [partial(direction.run_rows, x_TBD, lengths_B, state, words_TB) for direction, x_TBD, state, words_TB in given]
        rows = x_STBD[0].shape[1]
        large = rows * self.weights >= PRODUCTS_TO_DIVIDE
        if rows >= ROWS_SIDE_BY_SIDE or (rows == 1 and large and self.apart):
            return side_by_side(runs)
        if large:
            return [run() for run in runs]
        return in_one_thread(lambda: [run() for run in runs])


GatesOf = Callable[[int, int, int], Tensor]


class _Direction:
    """One layer of one direction."""

    def __init__(self, layer: LstmLayer, make: MakeProduct, bound: float | None) -> None:
        self.inputs, self.cells = layer.kernel.shape[0] // 2, layer.bias.shape[0] // 4
        self.cell_clip, self.projection_clip = layer.cell_clip, layer.projection_clip
        self.width = self.inputs  # P = D in every biLM
        forget, candidate = slice(2 * self.cells, 3 * self.cells), slice(self.cells, 2 * self.cells)
        bias_G = layer.bias.detach().clone()
        bias_G[forget] += layer.forget_bias
        bias_G[candidate] *= 2
        x_DG, h_PG = (part.detach().clone() for part in torch.split(layer.kernel, self.inputs))
        x_DG[:, candidate] *= 2
        h_PG[:, candidate] *= 2
        # Without a projection an output is a cell's, which no clip limits; σ · tanh keeps within ±1.
        h_bound = 1.0 if layer.projection is None else layer.projection_clip
        self.from_input = make(x_DG, bias_G, bound)
        self.from_output = make(h_PG, None, h_bound, single=True)
        self.projection = None if layer.projection is None else make(layer.projection.detach(), None, 1.0, single=True)

    def run_rows(
        self, x_TBD: Tensor, lengths_B: Lengths | None, state: LstmState | None, words_TB: WordNumbers | None = None
    ) -> tuple[Tensor, LstmState]:
        """Read any rows: longest first, some at a time; gives y_TBP and the states after them, as `LstmKernel` does."""
        steps, rows = x_TBD.shape[:2]
        lengths_B = np.full(rows, steps) if lengths_B is None else lengths_B
        if state is None:
            state = LstmState(x_TBD.new_zeros(rows, self.width), x_TBD.new_zeros(rows, self.cells))
        if (np.diff(lengths_B) > 0).any():
            order_B = torch.from_numpy(np.argsort(-lengths_B, kind="stable"))
            sorted_state = LstmState(*(part[order_B] for part in state))
            sorted_TB = None if words_TB is None else words_TB[:, order_B.numpy()]
            y_TBP, after = self.run_rows(x_TBD[:, order_B], lengths_B[order_B.numpy()], sorted_state, sorted_TB)
            back_B = torch.argsort(order_B)
            return y_TBP[:, back_B], LstmState(*(part[back_B] for part in after))
        y_TBP = x_TBD.new_zeros(steps, rows, self.width)
        h_BP, c_BH = state.h_BP.clone(), -state.c_BH
        if self.from_output.bound is not None:  # what is read next keeps it by itself
            h_BP.clamp_(-self.from_output.bound, self.from_output.bound)
        blocks = -(-rows // ROWS)
        for block in range(blocks):
            part = slice(rows * block // blocks, rows * (block + 1) // blocks)
            gates_of = self._inputs(x_TBD[:, part], lengths_B[part], None if words_TB is None else words_TB[:, part])
            self._run(gates_of, lengths_B[part], h_BP[part], c_BH[part], y_TBP[:, part])
        return y_TBP, LstmState(h_BP, c_BH.neg_())

    def _inputs(self, x_TRD: Tensor, lengths_R: Lengths, words_TR: WordNumbers | None) -> GatesOf:
        """Give what multiplies inputs: those of the first R rows, from one step to another, as gates_NRG."""
        if words_TR is not None:
            read_TR = np.arange(len(x_TRD))[:, None] < lengths_R
            _, first_U, place_N = np.unique(words_TR[read_TR], return_index=True, return_inverse=True)
            if len(first_U) <= REPEATED * len(place_N) and 16 * self.cells * len(first_U) <= WORDS_BYTES:
                place_TR = np.zeros(read_TR.shape, dtype=np.int64)
                place_TR[read_TR] = place_N
                tokens_U = torch.from_numpy(np.flatnonzero(read_TR)[first_U])
                return self._inputs_of_words(x_TRD.reshape(-1, self.inputs)[tokens_U], torch.from_numpy(place_TR))

        def gates_of(start: int, end: int, rows: int) -> Tensor:
            x_ND = x_TRD[start:end, :rows].reshape(-1, self.inputs)
            return self.from_input.times(self.from_input.prepare(x_ND)).view(end - start, rows, -1)

        return gates_of

    def _inputs_of_words(self, x_UD: Tensor, place_TR: Tensor) -> GatesOf:
        """Multiply distinct words, and give what copies their gates to where they stand."""
        table_UG = x_UD.new_empty(len(x_UD), 4 * self.cells)
        parts = (torch.split(tensor, INPUTS_AT_ONCE) for tensor in (table_UG, x_UD))
        for gates_NG, x_ND in zip(*parts, strict=True):
            gates_NG.copy_(self.from_input.times(self.from_input.prepare(x_ND)))

        def gates_of(start: int, end: int, rows: int) -> Tensor:
            places_N = place_TR[start:end, :rows].reshape(-1)
            return table_UG.index_select(0, places_N).view(end - start, rows, -1)

        return gates_of

    def _run(self, gates_of: GatesOf, lengths_R: Lengths, last_RP: Tensor, c_RH: Tensor, y_TRP: Tensor) -> None:
        """Read rows that stand longest first, into `y_TRP`; states are changed in place, the cells with their sign turned."""
        m_RH = torch.empty_like(c_RH)
        h_RP = last_RP
        for start, end, rows in _spans(lengths_R):
            last_RP[rows : len(h_RP)] = h_RP[rows:]  # of rows that have ended
            gates_NRG = gates_of(start, end, rows)
            quarters_4NRH = gates_NRG.view(end - start, rows, 4, -1).unbind(2)
            m, h_RP = m_RH[:rows], h_RP[:rows]
            cells = _Cells(c_RH[:rows], m, self.cell_clip)
            from_output = self.from_output.for_rows(rows)
            projection = None if self.projection is None else self.projection.for_rows(rows)
            for gates_RG, y_RP, *quarters_4RH in zip(gates_NRG, y_TRP[start:end, :rows], *quarters_4NRH, strict=True):
                sums_RG = from_output.onto(gates_RG, from_output.prepare(h_RP))
                cells.move(sums_RG, quarters_4RH if sums_RG is gates_RG else sums_RG.chunk(4, 1))
                h_RP = self._project(projection, m, y_RP)
        last_RP[: len(h_RP)] = h_RP

    def _project(self, projection: Product | None, m_RH: Tensor, out_RP: Tensor) -> Tensor:
        """Write h of m."""
        h_RP = m_RH if projection is None else projection.times(projection.prepare(m_RH))
        if projection is None or self.projection_clip is None:
            return out_RP.copy_(h_RP)
        return torch.clamp(h_RP, -self.projection_clip, self.projection_clip, out=out_RP)


class _Cells:
    """The cells of some rows, and what moves them.

    Args:
        c_RH: The cells with their sign turned; they are changed in place.
        m_RH: Where what they let out is written.
        clip: Of the cells.
    """

    def __init__(self, c_RH: Tensor, m_RH: Tensor, clip: float | None) -> None:
        self.clip = clip
        self.at_once = max(1, CELLS_AT_ONCE // c_RH.shape[1])
        self.blocks = [
            (c, m, torch.empty_like(c))
            for c, m in zip(torch.split(c_RH, self.at_once), torch.split(m_RH, self.at_once), strict=True)
        ]

    def move(self, gates_RG: Tensor, quarters_4RH: Sequence[Tensor]) -> None:
        """Make one step, some rows at a time; the gates, whose quarters are given too, are overwritten."""
        if len(self.blocks) == 1:
            return self._move(gates_RG, quarters_4RH, self.blocks[0])
        for gates, block in zip(torch.split(gates_RG, self.at_once), self.blocks, strict=True):
            self._move(gates, gates.chunk(4, 1), block)

    def _move(self, gates_RG: Tensor, quarters_4RH: Sequence[Tensor], block: tuple[Tensor, Tensor, Tensor]) -> None:
        """Make one step of a block of rows."""
        gates_RG.sigmoid_()
        i, g, f, o = quarters_4RH
        c, m, buffer = block
        torch.addcmul(torch.addcmul(i, i, g, value=-2, out=buffer), f, c, out=c)
        if self.clip is not None:
            c.clamp_(-self.clip, self.clip)
        torch.addcmul(o, o, torch.add(c, c, out=buffer).sigmoid_(), value=-2, out=m)


def _spans(lengths_R: Lengths) -> Iterator[tuple[int, int, int]]:
    """Cut time into spans (from, to, rows): steps that the same rows read, as many as have their inputs multiplied together."""
    ends = np.unique(lengths_R)
    for start, end in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
        rows = int((lengths_R >= end).sum())
        steps = max(1, INPUTS_AT_ONCE // rows)
        for begin in range(int(start), int(end), steps):
            yield begin, min(begin + steps, int(end)), rows
