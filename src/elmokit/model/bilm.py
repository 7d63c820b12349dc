"""The bidirectional language model (section 3.1 of the paper), without its softmax.

    x_t        = CharCnn(word t)          in some models a look-up of the word instead, or both together
    forward    h_{l,t} = LSTM_l(h_{l−1} up to t)      + h_{l−1,t} if l ≥ 2 and skip connections
    backward   the same over the reversed sentence, with weights of its own
    layers     [x; x], [→h_1; ←h_1], …, [→h_L; ←h_L]          of a model that reads forward alone  x, →h_1, …, →h_L

The two directions never meet below the mixing of layers. Shapes: L layers (of the LSTM; L + 1 with the word vectors),
B sentences, T tokens with the sentence marks, U distinct words, W characters, P one direction's width, D = 2P (or P).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elmokit.config import BiLMConfig
from elmokit.model.char_cnn import CharCnn, Convolution
from elmokit.model.lstm import LstmLayer, LstmState, Recurrence, run_lstm
from elmokit.model.word_and_characters import WordAndCharacters
from elmokit.model.word_embedding import WordEmbedding
from elmokit.text.batch import WordBatch

WordNetwork = CharCnn | WordEmbedding | WordAndCharacters
"""What makes a word's vector of its row of ids."""

StackState = tuple[LstmState, ...]
"""One direction's states, lowest layer first."""


class BiLMState(NamedTuple):
    """What both directions remember after a batch, row by row."""

    forward: StackState
    backward: StackState = ()
    """Empty of a model that reads forward alone."""


def word_network(config: BiLMConfig, convolution: Convolution | None = None) -> WordNetwork:
    """Build what makes a word's vector, by what the configuration has."""
    if config.word_table is None:
        assert config.char_cnn is not None, "the configuration has seen to it"
        return CharCnn(config.char_cnn, config.output_dim, convolution)
    if config.char_cnn is None:
        return WordEmbedding(config.word_table, config.output_dim)
    return WordAndCharacters(config.word_table, config.char_cnn, config.output_dim, convolution)


class LstmStack(nn.Module):
    """The LSTM layers of one direction; "time" runs in the order in which tokens are given.

    Dropout falls on each layer's input, outside the residual: the skip connection adds the dropped input.

    Args:
        config: Sizes.
        recurrence: What runs one layer over time.
        dropout: Probability with which an input is dropped in training.
    """

    def __init__(self, config: BiLMConfig, recurrence: Recurrence = run_lstm, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LstmLayer(config) for _ in range(config.layers))
        self.skip_connections = config.skip_connections
        self.recurrence = recurrence
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTP: Tensor, lengths_B: Tensor | None = None, state: StackState | None = None
    ) -> tuple[list[Tensor], StackState]:
        """Read word vectors.

        Args:
            x_BTP: Word vectors in reading order.
            lengths_B: Tokens of each row; None: all T.
            state: The states before; None for zeros.

        Returns:
            Each layer's output, and the states after.
        """
        outputs: list[Tensor] = []
        states: list[LstmState] = []
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, LstmLayer)
            x_BTP = self.dropout(x_BTP)
            y_BTP, after = self.recurrence(layer, x_BTP, lengths_B, None if state is None else state[number])
            x_BTP = y_BTP + x_BTP if self.skip_connections and number > 0 else y_BTP
            outputs.append(x_BTP)
            states.append(after)
        return outputs, tuple(states)


Reading = tuple[list[Tensor], StackState]
"""Of one direction: each layer's output, lowest first, and the states after."""

ReadStacks = Callable[[Sequence[LstmStack], Sequence[Tensor], Sequence[StackState | None]], Iterable[Reading]]
"""Reads whole rows in all directions, as `one_by_one` does."""


def one_by_one(stacks: Sequence[LstmStack], x_SBTP: Sequence[Tensor], states: Sequence[StackState | None]) -> Iterator[Reading]:
    """Read each direction's rows, all T tokens of them; a direction begins when the one before has been used.

    Args:
        stacks: Of each direction.
        x_SBTP: Each direction's word vectors in its reading order.
        states: What each remembers; None for zeros.
    """
    for stack, x_BTP, state in zip(stacks, x_SBTP, states, strict=True):
        yield stack(x_BTP, None, state)


class BiLM(nn.Module):
    """Words → the L + 1 layers of vectors that ELMo mixes.

    Args:
        config: Sizes and clips.
        recurrence: What runs one LSTM layer over time: `run_lstm` or a faster kernel with the same numbers.
        dropout: Probability of dropping an input in training; 0 for inference and fine-tuning, as in AllenNLP.
        convolution: What convolves characters: None for `CharCnn.features`, or a faster kernel with the same numbers.
        read_stacks: What reads whole rows in all directions: `one_by_one` or a faster kernel with the same numbers.
    """

    def __init__(
        self,
        config: BiLMConfig,
        recurrence: Recurrence = run_lstm,
        dropout: float = 0.0,
        convolution: Convolution | None = None,
        read_stacks: ReadStacks = one_by_one,
    ) -> None:
        super().__init__()
        self.config = config
        self.read_stacks = read_stacks
        self.words = word_network(config, convolution)
        self.forward_stack = LstmStack(config, recurrence, dropout)
        if config.bidirectional:
            self.backward_stack = LstmStack(config, recurrence, dropout)

    @property
    def stacks(self) -> list[LstmStack]:
        """The forward stack, and the backward one if there is one."""
        return [self.forward_stack, self.backward_stack] if self.config.bidirectional else [self.forward_stack]

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def forward(self, batch: WordBatch, state: BiLMState | None = None) -> tuple[Tensor, BiLMState]:
        """Compute all layers.

        Args:
            batch: Sentences with their marks.
            state: What earlier batches left; None, the default, makes each sentence's vectors depend on it alone.

        Returns:
            layers_LBTD, L + 1 of them, zero at padding, and the state after the batch.
        """
        lengths_B = torch.from_numpy(batch.lengths_B).to(self.device)
        index_BT = torch.from_numpy(batch.index_BT).to(self.device)
        x_UP = self.words(torch.from_numpy(batch.chars_UW).to(self.device))
        return self.layers_of(x_UP[index_BT], lengths_B, state)

    def read(self, x_SBTP: Sequence[Tensor], state: BiLMState | None = None) -> Iterable[Reading]:
        """Read rows without padding, each direction rows of its own in its reading order; see `one_by_one`."""
        return self.read_stacks(self.stacks, x_SBTP, (None,) * len(x_SBTP) if state is None else state[: len(x_SBTP)])

    def layers_of(self, x_BTP: Tensor, lengths_B: Tensor, state: BiLMState | None = None) -> tuple[Tensor, BiLMState]:
        """Compute all layers from word vectors; see `forward`."""
        positions_T = torch.arange(x_BTP.shape[1], device=x_BTP.device)
        reads_BT1 = (positions_T < lengths_B[:, None]).unsqueeze(-1)
        x_BTP = x_BTP * reads_BT1
        forward, forward_state = self.forward_stack(x_BTP, lengths_B, state and state.forward)
        if not self.config.bidirectional:
            return torch.stack([x_BTP, *forward]), BiLMState(forward_state)
        backward, backward_state = self.backward_stack(reverse_rows(x_BTP, lengths_B), lengths_B, state and state.backward)
        layers = [torch.cat([x_BTP, x_BTP], -1)]
        layers += [torch.cat([f, reverse_rows(b, lengths_B)], -1) for f, b in zip(forward, backward, strict=True)]
        return torch.stack(layers), BiLMState(forward_state, backward_state)


def reverse_rows(x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
    """Turn each row's tokens round; what stands past its length stays."""
    positions_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
    turned_BT = lengths_B[:, None] - 1 - positions_T
    order_BT = torch.where(turned_BT >= 0, turned_BT, positions_T)
    return x_BTD.gather(1, order_BT.unsqueeze(-1).expand_as(x_BTD))
