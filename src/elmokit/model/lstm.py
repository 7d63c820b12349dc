"""One LSTM layer of one direction, with clips and a projection (Sak et al. 2014), as in bilm-tf and AllenNLP.

    [i g f o] = [x_t ; h_{t−1}] W + b
    c_t = clip(σ(f + forget_bias) · c_{t−1} + σ(i) · tanh(g), ± cell_clip)
    h_t = clip((σ(o) · tanh(c_t)) W_P, ± projection_clip)

W holds the columns in the order i, g, f, o and the rows [x; h], as the published files do; so W_0 of a file is W.
The forget gate's bias is not in b: 1 in bilm-tf and AllenNLP, 0 in ELMoForManyLangs.
Shapes: B sentences, T tokens, D input, P output, H cell, G = 4H gates.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elmokit.config import BiLMConfig


class LstmState(NamedTuple):
    """What one layer of one direction remembers: a value that is passed in and given back."""

    h_BP: Tensor
    """The last output, before any skip connection."""
    c_BH: Tensor
    """The cells."""


class LstmLayer(nn.Module):
    """The weights of one layer of one direction; `run_lstm` or a faster kernel computes with them.

    Args:
        config: Sizes and clips.
    """

    def __init__(self, config: BiLMConfig) -> None:
        super().__init__()
        self.cell_clip = config.cell_clip
        self.projection_clip = config.projection_clip
        self.forget_bias = config.forget_bias
        width, cells = config.output_dim, config.cell_dim
        self.kernel = nn.Parameter(torch.empty(2 * width, 4 * cells))
        self.bias = nn.Parameter(torch.empty(4 * cells))
        self.projection = nn.Parameter(torch.empty(cells, width)) if config.projection_dim else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the reference's initial values: Glorot uniform matrices, biases 0."""
        nn.init.xavier_uniform_(self.kernel)
        nn.init.zeros_(self.bias)
        if self.projection is not None:
            nn.init.xavier_uniform_(self.projection)

    def zero_state(self, x_BTD: Tensor) -> LstmState:
        """Give the state before anything was read, for the rows of `x_BTD`."""
        rows = x_BTD.shape[0]
        return LstmState(x_BTD.new_zeros(rows, self.kernel.shape[0] // 2), x_BTD.new_zeros(rows, self.bias.shape[0] // 4))


Recurrence = Callable[[LstmLayer, Tensor, Tensor | None, LstmState | None], tuple[Tensor, LstmState]]
"""Runs a layer over time, as `run_lstm` does."""


def run_lstm(
    layer: LstmLayer, x_BTD: Tensor, lengths_B: Tensor | None = None, state: LstmState | None = None
) -> tuple[Tensor, LstmState]:
    """Read each row from its first token to its last.

    Args:
        layer: The weights.
        x_BTD: Inputs.
        lengths_B: Tokens of each row; what follows them neither moves the state nor gives output. None: all T.
        state: What was remembered before; None for zeros.

    Returns:
        Outputs y_BTP, zero past each row's length, and the state after each row's last token.
    """
    h_BP, c_BH = layer.zero_state(x_BTD) if state is None else state
    inputs = x_BTD.shape[-1]
    # The inputs' share of the gates does not depend on the recurrence: one large product for all steps.
    gates_TBG = x_BTD.transpose(0, 1) @ layer.kernel[:inputs] + layer.bias
    outputs: list[Tensor] = []
    for t, gates_BG in enumerate(gates_TBG):
        i_BH, g_BH, f_BH, o_BH = torch.addmm(gates_BG, h_BP, layer.kernel[inputs:]).chunk(4, dim=1)
        new_c_BH = _clip(torch.sigmoid(f_BH + layer.forget_bias) * c_BH + torch.sigmoid(i_BH) * torch.tanh(g_BH), layer.cell_clip)
        new_h_BP = torch.sigmoid(o_BH) * torch.tanh(new_c_BH)
        if layer.projection is not None:  # without a projection there is nothing that its clip could act on
            new_h_BP = _clip(new_h_BP @ layer.projection, layer.projection_clip)
        if lengths_B is None:
            h_BP, c_BH = new_h_BP, new_c_BH
            outputs.append(h_BP)
        else:
            reads_B1 = (t < lengths_B).unsqueeze(1)
            h_BP, c_BH = torch.where(reads_B1, new_h_BP, h_BP), torch.where(reads_B1, new_c_BH, c_BH)
            outputs.append(new_h_BP * reads_B1)
    y_BTP = torch.stack(outputs, 1) if outputs else x_BTD.new_zeros(x_BTD.shape[0], 0, h_BP.shape[1])
    return y_BTP, LstmState(h_BP, c_BH)


def _clip(x: Tensor, limit: float | None) -> Tensor:
    """Keep `x` within ± `limit`."""
    return x if limit is None else x.clamp(-limit, limit)
