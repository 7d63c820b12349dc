"""One direction of a language model that reads words and says what it expects next.

    forward     reads  <S> w1 … w_{t−1}      and expects w_t: p(w_t | w_1 … w_{t−1})
    backward    reads  </S> wn … w_{t+1}     and expects w_t: p(w_t | w_{t+1} … w_n)

So nothing that stands at a place itself, nor on its other side, can move what is expected there.
Shapes: T words of a window, U distinct words, P one direction's width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from elmokit.lm.language_model import LanguageModel
from elmokit.model.bilm import StackState
from elmokit.text.batch import word_batch
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import BOS, EOS

Direction = Literal["forward", "backward"]

WINDOW = 256
"""Places computed at once; it changes no number."""


class Context:
    """What one direction has read so far. For one thread.

    Args:
        model: The language model.
        reader: How the model reads words.
        direction: "forward" reads in the text's order, "backward" from its end.

    Raises:
        ValueError: The model has no such direction.
    """

    def __init__(self, model: LanguageModel, reader: WordReader, direction: Direction) -> None:
        if direction == "backward" and not model.bilm.config.bidirectional:
            raise ValueError(
                "this language model reads forward alone: it says nothing of words before those that are given; "
                "it can score text and generate it forward, and to fill a place takes a model of both directions"
            )
        self.model = model
        self.reader = reader
        self.stack = model.bilm.forward_stack if direction == "forward" else model.bilm.backward_stack
        self.state: StackState | None = None
        self.h_1P: Tensor | None = None
        self.read([BOS if direction == "forward" else EOS])

    @torch.no_grad()
    def read(self, words: Sequence[str]) -> None:
        """Go on reading.

        Args:
            words: In the order in which this direction reads them, in the form which the model reads.
        """
        device = self.model.head.bias.device
        for start in range(0, len(words), WINDOW):
            batch = word_batch([words[start : start + WINDOW]], self.reader, marks=False)
            x_UP = self.model.bilm.words(torch.from_numpy(batch.chars_UW).to(device))
            layers, self.state = self.stack(x_UP[torch.from_numpy(batch.index_BT).to(device)], None, self.state)
            self.h_1P = layers[-1][:, -1]

    @torch.no_grad()
    def expectation(self) -> Tensor:
        """Give log_p_V in nats: each word's logarithmic probability to come next, in float64, on the CPU."""
        assert self.h_1P is not None  # a mark was read at the beginning
        scores_V: Tensor = self.model.head(self.h_1P)[0]
        return scores_V.cpu().double().log_softmax(-1)  # not every device has float64
