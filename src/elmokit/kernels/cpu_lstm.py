"""The recurrence of `model/lstm.py` on the CPU: few large products, and between them few passes over memory.

σ costs a sixth of what tanh costs here, so tanh(x) = 2 σ(2x) − 1 is used throughout, exact to float32's rounding. With the
columns of g doubled when the weights are prepared, one σ serves all four gates; cells are kept with their sign turned:

    i, g', f, o = σ of the four gates, the second one doubled
    −c ← clip(f · (−c) + (i − 2 i g'))             since i − 2 i g' = − i · tanh(g)
    m  = o − 2 o σ(−2c)                            = o · tanh(c)
    h  = clip(m W_P)

The inputs' products are made for some steps at once; sentences that have ended are left out of all that follows, as rows
stand longest first. Gates pass in blocks of rows that stay in the processor's cache.
Shapes: S directions, T tokens, B sentences, R rows at work, D input, P output, H cell, G = 4H gates.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from elmokit.kernels.lstm_kernel import Lengths
from elmokit.kernels.products import MakeProduct
from elmokit.kernels.side_by_side import side_by_side
from elmokit.model.lstm import LstmLayer, LstmState

ROWS = 128
"""Rows at work: more give larger products, whose gates then leave the cache."""
INPUTS_AT_ONCE = 128
"""Tokens whose inputs are multiplied together."""
CELLS_AT_ONCE = 1 << 18
"""Cells whose gates pass together: 4 MB of gates."""
WORTH_A_THREAD = 4_000_000
"""Multiplications of a step from which two directions run faster side by side than one after the other."""


class CpuLstm:
    """An `LstmKernel` for the CPU.

    Args:
        layers: The same layer of each direction, float32.
        make: Prepares a matrix.
        bound: What the layer's inputs are known to keep within ±; None: nothing is known.
    """

    def __init__(self, layers: Sequence[LstmLayer], make: MakeProduct, bound: float | None = None) -> None:
        self.directions = [_Direction(layer, make, bound) for layer in layers]
        self.step_products = layers[0].kernel.numel() // 2

    def run(
        self, x_STBD: Sequence[Tensor | None], lengths_B: Lengths | None, states: Sequence[LstmState | None]
    ) -> list[tuple[Tensor, LstmState] | None]:
        """Read each row from its first token to its last; see `LstmKernel`."""
        work = {
            number: partial(direction.run_rows, x_TBD, lengths_B, state)
            for number, (direction, x_TBD, state) in enumerate(zip(self.directions, x_STBD, states, strict=True))
            if x_TBD is not None
        }
        rows = min(max(x_TBD.shape[1] for x_TBD in x_STBD if x_TBD is not None), ROWS) if work else 0
        together = len(work) > 1 and rows * self.step_products >= WORTH_A_THREAD
        done = side_by_side(list(work.values())) if together else [run() for run in work.values()]
        results = dict(zip(work, done, strict=True))
        return [results.get(number) for number in range(len(x_STBD))]


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
        kernel_KG = layer.kernel.detach().clone()
        kernel_KG[:, candidate] *= 2
        # Without a projection an output is a cell's, which no clip limits; σ · tanh keeps within ±1.
        h_bound = 1.0 if layer.projection is None else layer.projection_clip
        self.from_input = make(kernel_KG[: self.inputs], bias_G, bound)
        self.from_output = make(kernel_KG[self.inputs :], None, h_bound)
        self.projection = None if layer.projection is None else make(layer.projection.detach(), None, 1.0)

    def run_rows(self, x_TBD: Tensor, lengths_B: Lengths | None, state: LstmState | None) -> tuple[Tensor, LstmState]:
        """Read any rows: longest first, some at a time."""
        steps, rows = x_TBD.shape[:2]
        lengths_B = np.full(rows, steps) if lengths_B is None else lengths_B
        if state is None:
            state = LstmState(x_TBD.new_zeros(rows, self.width), x_TBD.new_zeros(rows, self.cells))
        if (np.diff(lengths_B) > 0).any():
            order_B = torch.from_numpy(np.argsort(-lengths_B, kind="stable"))
            sorted_state = LstmState(*(part[order_B] for part in state))
            y_TBP, after = self.run_rows(x_TBD[:, order_B], lengths_B[order_B.numpy()], sorted_state)
            back_B = torch.argsort(order_B)
            return y_TBP[:, back_B], LstmState(*(part[back_B] for part in after))
        y_TBP = x_TBD.new_zeros(steps, rows, self.width)
        h_BP, c_BH = state.h_BP.clone(), -state.c_BH
        blocks = -(-rows // ROWS)
        for block in range(blocks):
            part = slice(rows * block // blocks, rows * (block + 1) // blocks)
            self._run(x_TBD[:, part], lengths_B[part], h_BP[part], c_BH[part], y_TBP[:, part])
        return y_TBP, LstmState(h_BP, c_BH.neg_())

    def _run(self, x_TRD: Tensor, lengths_R: Lengths, last_RP: Tensor, c_RH: Tensor, y_TRP: Tensor) -> None:
        """Read rows that stand longest first, into `y_TRP`; states are changed in place, the cells with their sign turned."""
        reading = [int((lengths_R > t).sum()) for t in range(int(lengths_R.max(initial=0)))]  # how many rows are not at their end
        m_RH, at_once = torch.empty_like(c_RH), max(1, INPUTS_AT_ONCE // max(len(lengths_R), 1))
        h_RP = last_RP
        for t, rows in enumerate(reading):
            if t % at_once == 0:
                x_NRD = x_TRD[t : t + min(at_once, len(reading) - t), :rows]
                gates_NRG = self.from_input.times(self.from_input.prepare(x_NRD.reshape(-1, self.inputs)))
                gates_NRG = gates_NRG.view(*x_NRD.shape[:2], -1)
            gates_RG = self.from_output.onto(gates_NRG[t % at_once, :rows], self.from_output.prepare(h_RP[:rows]))
            self._pass_gates(gates_RG, c_RH[:rows], m_RH[:rows])
            h_RP = m_RH[:rows] if self.projection is None else self._project(m_RH[:rows])
            y_TRP[t, :rows] = h_RP
            still = reading[t + 1] if t + 1 < len(reading) else 0
            last_RP[still:rows] = h_RP[still:]

    def _pass_gates(self, gates_RG: Tensor, c_RH: Tensor, m_RH: Tensor) -> None:
        """Move the cells by their gates, in place, and give what they let out in `m_RH`."""
        at_once = max(1, CELLS_AT_ONCE // self.cells)
        buffer_RH = torch.empty_like(c_RH[:at_once])
        for gates, c, m in zip(*(torch.split(part, at_once) for part in (gates_RG, c_RH, m_RH)), strict=True):
            i, g, f, o = gates.sigmoid_().chunk(4, 1)
            buffer = torch.addcmul(i, i, g, value=-2, out=buffer_RH[: len(c)])
            torch.addcmul(buffer, f, c, out=c)
            if self.cell_clip is not None:
                c.clamp_(-self.cell_clip, self.cell_clip)
            torch.addcmul(o, o, torch.add(c, c, out=buffer).sigmoid_(), value=-2, out=m)

    def _project(self, m_RH: Tensor) -> Tensor:
        """Give h of m."""
        assert self.projection is not None
        h_RP = self.projection.times(self.projection.prepare(m_RH))
        return h_RP if self.projection_clip is None else h_RP.clamp_(-self.projection_clip, self.projection_clip)
