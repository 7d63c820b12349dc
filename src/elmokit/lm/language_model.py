"""A biLM with its head: windows of text → the loss of every target (section 3.1 of the paper).

    loss = ½ · (mean of −log p(w_k | w_1 … w_{k−1})  +  mean of −log p(w_k | w_{k+1} … w_n))

A model that reads forward alone has the first mean for its loss; of the backward direction it has empty tensors.
Shapes: B streams, T places of a window, U distinct words, W characters, P one direction's width, N targets.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elmokit.kernels.device import brought_to
from elmokit.model.bilm import BiLM, BiLMState, StackState
from elmokit.model.lstm import LstmState
from elmokit.model.softmax import Candidates, FullLosses, SampledLosses, SoftmaxHead
from elmokit.text.readers import WordIds
from elmokit.text.streams import NOTHING, StreamWindow
from elmokit.text.vocabulary import UNK_ID

Characters = Callable[[NDArray[np.int64]], WordIds]
"""Word ids → chars_UW."""


WORDS_MULTIPLE = 64
"""Windows have so-and-so many distinct words; PyTorch plans a convolution anew, and keeps the plan, for each size it meets."""


class LmBatch(NamedTuple):
    """A window as tensors; the distinct words of both directions stand once."""

    chars_UW: Tensor
    forward_BT: Tensor
    """Rows of `chars_UW` that the forward direction reads."""
    backward_BT: Tensor
    """(0, T) for a model that reads forward alone."""
    forward_targets_BT: Tensor
    """Word ids of the vocabulary, `NOTHING` where nothing is asked for."""
    backward_targets_BT: Tensor
    """(0, T) for a model that reads forward alone."""
    everywhere: bool = False
    """Whether it is known that something is asked for at every place: a GPU would have to be waited for to find out."""


class LmLosses(NamedTuple):
    """−log p of every target, in nats, row after row."""

    forward_N: Tensor
    backward_N: Tensor
    """Empty of a model that reads forward alone."""

    def mean(self) -> Tensor:
        """Give the mean of the two directions' means, or the forward one if there is no other: what training lowers."""
        if not len(self.backward_N):
            return self.forward_N.mean()
        return 0.5 * (self.forward_N.mean() + self.backward_N.mean())


def lm_batch(
    window: StreamWindow,
    characters: Characters,
    vocabulary_size: int,
    device: torch.device | str = "cpu",
    *,
    bidirectional: bool = True,
) -> LmBatch:
    """Make tensors of a window.

    Args:
        window: Word ids; those of `vocabulary_size` and above are outside the vocabulary.
        characters: Where a word's characters come from.
        vocabulary_size: V.
        device: Where the tensors go.
        bidirectional: Whether the model reads backward too.
    """
    rows = len(window.forward_BT)
    backward = slice(rows if bidirectional else 0)
    read_BT = np.concatenate([window.forward_BT, window.backward_BT[backward]])  # one direction's rows below the other's
    ids_U, places = np.unique(np.maximum(read_BT, 0), return_inverse=True)
    ids_U = np.pad(ids_U, (0, -len(ids_U) % WORDS_MULTIPLE))  # some rows that nothing looks up
    targets_BT = np.concatenate([window.forward_targets_BT, window.backward_targets_BT[backward]])
    targets_BT = np.where(targets_BT < vocabulary_size, targets_BT, UNK_ID)
    numbers = (places.reshape(read_BT.shape), targets_BT, characters(ids_U))
    places_BT, asked_BT, chars_UW = (brought_to(device, torch.from_numpy(ids)) for ids in numbers)
    everywhere = bool((targets_BT != NOTHING).all())
    return LmBatch(chars_UW, places_BT[:rows], places_BT[rows:], asked_BT[:rows], asked_BT[rows:], everywhere)


class LanguageModel(nn.Module):
    """A biLM and the softmax that its directions share.

    Args:
        bilm: The network; its dropout falls on the layers' inputs.
        head: The softmax.
        dropout: Probability of dropping numbers of the last layer's output, once more, in training.
        sampled_losses: What computes the sampled softmax: the head's own or a faster kernel with the same numbers.
        full_losses: What computes the full softmax, likewise.
    """

    def __init__(
        self,
        bilm: BiLM,
        head: SoftmaxHead,
        dropout: float = 0.0,
        sampled_losses: SampledLosses = SoftmaxHead.sampled_losses,
        full_losses: FullLosses = SoftmaxHead.losses,
    ) -> None:
        super().__init__()
        self.bilm = bilm
        self.head = head
        self.dropout = nn.Dropout(dropout)
        self.sampled_losses = sampled_losses
        self.full_losses = full_losses

    def forward(
        self, batch: LmBatch, state: BiLMState | None = None, candidates: tuple[Candidates, ...] | None = None
    ) -> tuple[LmLosses, BiLMState]:
        """Score a window.

        Args:
            batch: The window.
            state: What both directions remember of the window before; None at the beginning.
            candidates: For sampled softmax, those of the forward and (if there is one) of the backward direction;
                None: full softmax.

        Returns:
            The losses, and the state for the window that follows.
        """
        directions = self.bilm.config.directions
        drawn: Sequence[Candidates | None] = candidates or (None,) * directions
        x_UP = self.bilm.words(batch.chars_UW)
        read_SBT = (batch.forward_BT, batch.backward_BT)[:directions]
        asked_SBT = (batch.forward_targets_BT, batch.backward_targets_BT)[:directions]
        readings = self.bilm.read([x_UP[places_BT] for places_BT in read_SBT], state)
        losses: list[Tensor] = []
        states: list[StackState] = []
        for (layers, after), targets_BT, own in zip(readings, asked_SBT, drawn, strict=True):
            h_BTP = self.dropout(layers[-1])
            asked = ... if batch.everywhere else targets_BT != NOTHING
            losses.append(self._losses(h_BTP[asked].flatten(0, -2), targets_BT[asked].flatten(), own))
            states.append(after)
        backward_N = losses[1] if directions == 2 else losses[0].new_empty(0)
        return LmLosses(losses[0], backward_N), BiLMState(*states)

    def _losses(self, h_NP: Tensor, targets_N: Tensor, candidates: Candidates | None) -> Tensor:
        """Score targets with the softmax."""
        if candidates is None:
            return self.full_losses(self.head, h_NP, targets_N)
        return self.sampled_losses(self.head, h_NP, targets_N, candidates)


def detach(state: BiLMState) -> BiLMState:
    """Cut a state off from the window that made it: gradients do not flow from one window to the one before."""
    forward, backward = (tuple(LstmState(h.detach(), c.detach()) for h, c in stack) for stack in state)
    return BiLMState(forward, backward)
