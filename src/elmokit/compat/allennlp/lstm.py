"""AllenNLP's LSTMs: the parameters have its names and shapes, `model/lstm.py` and `model/bilm.py` compute.

B rows, T steps, D input, P output ("hidden"), H cell, L layers.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from elmokit.checkpoints.allennlp_layout import lstm_from_allennlp, lstm_to_allennlp
from elmokit.compat.allennlp.network import Borrowed
from elmokit.config import BiLMConfig
from elmokit.model.bilm import BiLM, BiLMState, reverse_rows
from elmokit.model.lstm import LstmLayer, LstmState, run_lstm
from elmokit.model.without_values import without_values

States = tuple[Tensor, Tensor]
"""h (L, B, 2P) and c (L, B, 2H), the forward half before the backward one."""


class LstmCellWithProjection(nn.Module):
    """One LSTM layer of one direction.

    Args:
        input_size: D.
        hidden_size: P.
        cell_size: H.
        go_forward: Whether rows are read from their first step; else from their last.
        recurrent_dropout_probability: Must be 0: no ELMo uses it.
        memory_cell_clip_value: Limit of cells; None for none.
        state_projection_clip_value: Limit of outputs; None for none.

    Raises:
        ValueError: A recurrent dropout.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell_size: int,
        go_forward: bool = True,
        recurrent_dropout_probability: float = 0.0,
        memory_cell_clip_value: float | None = None,
        state_projection_clip_value: float | None = None,
    ) -> None:
        super().__init__()
        if recurrent_dropout_probability:
            raise ValueError(f"recurrent_dropout_probability must be 0, not {recurrent_dropout_probability}: elmokit has none")
        self.input_size, self.hidden_size, self.cell_size = input_size, hidden_size, cell_size
        self.go_forward = go_forward
        self.memory_cell_clip_value, self.state_projection_clip_value = memory_cell_clip_value, state_projection_clip_value
        self.recurrent_dropout_probability = recurrent_dropout_probability
        self.input_linearity = nn.Linear(input_size, 4 * cell_size, bias=False)
        self.state_linearity = nn.Linear(hidden_size, 4 * cell_size, bias=True)
        self.state_projection = nn.Linear(cell_size, hidden_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw AllenNLP's initial values: each gate's matrices orthogonal, biases 0, those of the forget gate 1."""
        with torch.no_grad():
            for weight in (self.input_linearity.weight, self.state_linearity.weight):
                for gate in torch.split(weight, self.cell_size):
                    nn.init.orthogonal_(gate)
            self.state_linearity.bias.zero_()
            self.state_linearity.bias[self.cell_size : 2 * self.cell_size] = 1

    def ours(self) -> dict[str, Tensor]:
        """Give the parameters as an `LstmLayer` has them; gradients flow back."""
        return lstm_from_allennlp(dict(self.named_parameters()))

    def forward(self, inputs: Tensor, batch_lengths: list[int], initial_state: States | None = None) -> tuple[Tensor, States]:
        """Read the rows.

        Args:
            inputs: (B, T, D).
            batch_lengths: Steps of each row, in any order (AllenNLP wants the longest first).
            initial_state: h (1, B, P) and c (1, B, H); None for zeros.

        Returns:
            The outputs (B, T, P), zero past each row's length, and the state after each row's last step.
        """
        rows = len(inputs)
        if initial_state is None:
            initial_state = (inputs.new_zeros(1, rows, self.hidden_size), inputs.new_zeros(1, rows, self.cell_size))
        ours = self.ours()
        clips = (self.memory_cell_clip_value, self.state_projection_clip_value)
        weights = _Weights(ours["kernel"], ours["bias"], ours["projection"], *clips)
        lengths_B = torch.tensor(batch_lengths, device=inputs.device)
        state = LstmState(initial_state[0][0], initial_state[1][0])
        x_BTD = inputs if self.go_forward else reverse_rows(inputs, lengths_B)
        # `run_lstm` looks at nothing of a layer but these fields, as a state is given.
        y_BTP, after = run_lstm(cast(LstmLayer, weights), x_BTD, lengths_B, state)
        y_BTP = y_BTP if self.go_forward else reverse_rows(y_BTP, lengths_B)
        return y_BTP, (after.h_BP.unsqueeze(0), after.c_BH.unsqueeze(0))


class _Weights(NamedTuple):
    """What `run_lstm` looks at."""

    kernel: Tensor
    bias: Tensor
    projection: Tensor
    cell_clip: float | None
    projection_clip: float | None
    forget_bias: float = 1.0


class ElmoLstm(nn.Module):
    """All layers of both directions, with skip connections and a state for each row that is carried to the next call.

    Args:
        input_size: D.
        hidden_size: P of one direction.
        cell_size: H.
        num_layers: L.
        requires_grad: Kept for `load_weights`: whether the weights read learn.
        recurrent_dropout_probability: Must be 0: no ELMo uses it.
        memory_cell_clip_value: Limit of cells; None for none.
        state_projection_clip_value: Limit of outputs; None for none.

    Raises:
        ValueError: A recurrent dropout.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell_size: int,
        num_layers: int,
        requires_grad: bool = False,
        recurrent_dropout_probability: float = 0.0,
        memory_cell_clip_value: float | None = None,
        state_projection_clip_value: float | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.cell_size = input_size, hidden_size, cell_size
        self.num_layers = num_layers
        self.requires_grad = requires_grad
        self.stateful = True
        self._states: States | None = None
        self.forward_layers: list[LstmCellWithProjection] = []
        self.backward_layers: list[LstmCellWithProjection] = []
        clips = (recurrent_dropout_probability, memory_cell_clip_value, state_projection_clip_value)
        for number in range(num_layers):
            width = input_size if number == 0 else hidden_size
            for name, cells, go_forward in (("forward", self.forward_layers, True), ("backward", self.backward_layers, False)):
                cell = LstmCellWithProjection(width, hidden_size, cell_size, go_forward, *clips)
                self.add_module(f"{name}_layer_{number}", cell)
                cells.append(cell)
        self.use_network(
            BiLMConfig(
                cell_dim=cell_size,
                projection_dim=hidden_size,
                layers=num_layers,
                cell_clip=memory_cell_clip_value,
                projection_clip=state_projection_clip_value,
            )
        )

    def use_network(self, config: BiLMConfig) -> None:
        """Compute as a biLM of this configuration: AllenNLP's class knows skip connections only."""
        with without_values():
            self._network = Borrowed(_Layers(BiLM(config)))

    def take_weights(self, bilm: dict[str, Tensor]) -> None:
        """Take over weights named as in `BiLM.state_dict()`."""
        for name, cells in (("forward", self.forward_layers), ("backward", self.backward_layers)):
            for number, cell in enumerate(cells):
                layer = {kind: bilm[f"{name}_stack.layers.{number}.{kind}"] for kind in ("kernel", "bias", "projection")}
                cell.load_state_dict(lstm_to_allennlp(layer, cell.input_size))
                cell.requires_grad_(self.requires_grad)

    def reset_states(self, mask: Tensor | None = None) -> None:
        """Forget what was read.

        Args:
            mask: (B,), True for the rows to forget; None: all.
        """
        if mask is None:
            self._states = None
        elif self._states is not None:
            kept = ~mask.to(self._states[0].device)
            self._states = (self._states[0] * kept[:, None], self._states[1] * kept[:, None])

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Read the rows from where the last call left them.

        Args:
            inputs: (B, T, D).
            mask: (B, T), True at words, which stand at the beginning of each row.

        Returns:
            (L, B, T, 2P), zero where the mask is False.
        """
        weights: dict[str, Tensor] = {}
        for name, cells in (("forward", self.forward_layers), ("backward", self.backward_layers)):
            for number, cell in enumerate(cells):
                prefix = f"bilm.{name}_stack.layers.{number}."
                weights |= {prefix + kind: tensor for kind, tensor in cell.ours().items()}
        layers, after = self._network(weights, inputs, mask.sum(1), self._state_of(inputs))
        if self.stateful:
            self._remember(after)
        read: Tensor = layers
        return read

    def _state_of(self, inputs: Tensor) -> BiLMState:
        """The state of the first B rows; rows never seen begin with zeros."""
        rows = len(inputs)
        widths = (2 * self.hidden_size, 2 * self.cell_size)
        h, c = self._states or (inputs.new_zeros(self.num_layers, 0, width) for width in widths)
        h, c = h.to(inputs), c.to(inputs)
        new = max(0, rows - h.shape[1])
        h, c = nn.functional.pad(h, (0, 0, 0, new))[:, :rows], nn.functional.pad(c, (0, 0, 0, new))[:, :rows]
        halves = zip(h.chunk(2, -1), c.chunk(2, -1), strict=True)
        forward, backward = (tuple(LstmState(*layer) for layer in zip(*half, strict=True)) for half in halves)
        return BiLMState(forward, backward)

    def _remember(self, after: BiLMState) -> None:
        """Keep the rows of this batch; those beyond stay as they were."""
        h = torch.stack([torch.cat([f.h_BP, b.h_BP], -1) for f, b in zip(*after, strict=True)]).detach()
        c = torch.stack([torch.cat([f.c_BH, b.c_BH], -1) for f, b in zip(*after, strict=True)]).detach()
        if self._states is not None:
            rows = h.shape[1]
            h, c = (torch.cat([new, old[:, rows:].to(new)], 1) for new, old in zip((h, c), self._states, strict=True))
        self._states = (h, c)


class _Layers(nn.Module):
    """Both stacks of a biLM as the forward of one module."""

    def __init__(self, bilm: BiLM) -> None:
        super().__init__()
        self.bilm = bilm

    def forward(self, x_BTD: Tensor, lengths_B: Tensor, state: BiLMState) -> tuple[Tensor, BiLMState]:
        forward, forward_state = self.bilm.forward_stack(x_BTD, lengths_B, state.forward)
        backward, backward_state = self.bilm.backward_stack(reverse_rows(x_BTD, lengths_B), lengths_B, state.backward)
        layers = [torch.cat([f, reverse_rows(b, lengths_B)], -1) for f, b in zip(forward, backward, strict=True)]
        return torch.stack(layers), BiLMState(forward_state, backward_state)
