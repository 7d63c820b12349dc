"""How likely a language model finds each word of a sentence, in both directions, with the full softmax.

    forward     log p(w_k | w_1 … w_{k−1})      for w_1 … w_n </S>
    backward    log p(w_k | w_{k+1} … w_n)      for <S> w_1 … w_n

A model that reads forward alone gives the first of them, and an empty array for the second. Summed over a text that is read
as one stream, they are what `elmokit.lm.perplexity` reports. Memory grows neither with a sentence's length, which is read in
windows, nor with the vocabulary, of which the softmax takes a part at a time.
Shapes: B sentences, T places, N targets, V vocabulary; 2 directions, 4 lines of a window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elmokit.lm.context import WINDOW
from elmokit.lm.language_model import LanguageModel, lm_batch
from elmokit.model.bilm import BiLMState
from elmokit.text.batch import token_budget_batches
from elmokit.text.readers import WordIds, WordReader
from elmokit.text.streams import NOTHING, StreamWindow, sentence_lines
from elmokit.text.vocabulary import UNK, UNK_ID, Vocabulary

Unit = Literal["nats", "bits"]
Reals = NDArray[np.float64]


class Surprisal(NamedTuple):
    """−log p: how unexpected each target is."""

    forward: Reals
    """(n + 1,), of w1 … wn `</S>`."""
    backward: Reals
    """(n + 1,), of `<S>` w1 … wn; (0,) of a model that reads forward alone."""
    joint: Reals
    """(n,), of the words: the sum of both directions, or of the one that there is."""


@dataclass(frozen=True, eq=False)
class Score:
    """What a language model says of a sentence of n words; logarithms are natural."""

    tokens: list[str]
    """The n words as they were given."""
    forward: Reals
    """(n + 1,): log p of w1 … wn and `</S>`, each from the words before it."""
    backward: Reals
    """(n + 1,): log p of `<S>` and w1 … wn, each from the words behind it; (0,) of a model that reads forward alone."""
    unknown: NDArray[np.bool_]
    """(n,): whether a word is outside the vocabulary, so that its probability is that of `<UNK>`."""

    @property
    def joint(self) -> Reals:
        """(n,): the sum of both directions for each word, or of the one that there is."""
        return self.forward[:-1] + self.backward[1:] if len(self.backward) else self.forward[:-1]

    def surprisal(self, unit: Unit = "nats") -> Surprisal:
        """Give −log p of every target.

        Args:
            unit: "nats", or "bits" for the logarithm to base 2.

        Raises:
            ValueError: Another unit.
        """
        if unit not in ("nats", "bits"):
            raise ValueError(f'unit must be "nats" or "bits", not {unit!r}')
        nats = 1.0 if unit == "nats" else math.log(2)
        return Surprisal(-self.forward / nats, -self.backward / nats, -self.joint / nats)


class Scorer:
    """Scores sentences, each from its own beginning, or all as one stream. For one thread.

    Args:
        model: The language model.
        vocabulary: The words of its softmax.
        reader: How the model reads words.
        batch_tokens: Words and marks computed at once (rows × longest row).
        carry_state: Whether a sentence begins with what the one before left in both directions, as in training and in
            `elmo perplexity`, from call to call too.

    Raises:
        ValueError: A budget below 1.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        reader: WordReader,
        *,
        batch_tokens: int = 8192,
        carry_state: bool = False,
    ) -> None:
        token_budget_batches([], batch_tokens)  # refuses a wrong budget
        self.model = model
        self.vocabulary = vocabulary
        self.reader = reader
        self.batch_tokens = batch_tokens
        self.carry_state = carry_state
        self.state: BiLMState | None = None

    def __call__(self, sentences: Sequence[Sequence[str]], tokens: Sequence[Sequence[str]] | None = None) -> list[Score]:
        """Score sentences.

        Args:
            sentences: Words in the form which the model reads.
            tokens: The same as they were given, for the scores; None: no other.
        """
        if self.carry_state:
            batches = [[number] for number in range(len(sentences))]
        else:
            batches = token_budget_batches((len(sentence) + 1 for sentence in sentences), self.batch_tokens)
        scores: dict[int, Score] = {}
        for batch in batches:
            targets = self._run([sentences[number] for number in batch])
            for number, (forward, backward) in zip(batch, targets, strict=True):
                unknown = np.array([word not in self.vocabulary for word in sentences[number]], dtype=bool)
                scores[number] = Score(list((tokens or sentences)[number]), forward, backward, unknown)
        return [scores[number] for number in range(len(sentences))]

    @torch.no_grad()
    def _run(self, sentences: list[Sequence[str]]) -> list[tuple[Reals, Reals]]:
        """Log p of each sentence's targets, a row each, in windows."""
        numbers = _Numbers(self.vocabulary, self.reader)
        lines_4BT = _lines([numbers.ids(sentence) for sentence in sentences])
        log_p_2BT = np.zeros((2, *lines_4BT.shape[1:]))
        state, bidirectional, device = self.state, self.model.bilm.config.bidirectional, self.model.head.bias.device
        for start in range(0, lines_4BT.shape[2], WINDOW):
            window = StreamWindow(*lines_4BT[:, :, start : start + WINDOW])
            batch = lm_batch(window, numbers.characters, len(self.vocabulary), device, bidirectional=bidirectional)
            losses, state = self.model(batch, state)
            ways = zip(log_p_2BT, window[1::2], losses, strict=True)
            for log_p_BT, asked_BT, losses_N in islice(ways, self.model.bilm.config.directions):
                log_p_BT[:, start : start + WINDOW][asked_BT != NOTHING] = -losses_N.cpu().double().numpy()
        if self.carry_state:
            self.state = state
        ends = [len(sentence) + 1 for sentence in sentences]
        rows = zip(*log_p_2BT, ends, strict=True)
        if not bidirectional:
            return [(forward_T[:end].copy(), np.zeros(0)) for forward_T, _, end in rows]
        return [(forward_T[:end].copy(), backward_T[:end][::-1].copy()) for forward_T, backward_T, end in rows]


class _Numbers:
    """Words ↔ ids while a few sentences are scored: a vocabulary's own, and higher ones for all other words.

    A `Lexicon` would copy the vocabulary each time, and remember every word of a long text.
    """

    def __init__(self, vocabulary: Vocabulary, reader: WordReader) -> None:
        self.vocabulary = vocabulary
        self.reader = reader
        self.others: dict[str, int] = {}

    def ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Give the id of each word."""
        ids_T = self.vocabulary.ids(words)
        for place in np.flatnonzero(ids_T == UNK_ID).tolist():
            if words[place] != UNK:
                ids_T[place] = self.others.setdefault(words[place], len(self.vocabulary) + len(self.others))
        return ids_T

    def characters(self, ids_U: NDArray[np.int64]) -> WordIds:
        """Give the rows that the model reads of the words with these ids."""
        others = list(self.others)
        size = len(self.vocabulary)
        return self.reader([self.vocabulary.words[i] if i < size else others[i - size] for i in ids_U.tolist()])


def _lines(sentences: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What both directions read and are asked for, a row for each sentence of ids; `NOTHING` past its end."""
    longest = max(map(len, sentences)) + 1
    lines_4BT = np.full((4, len(sentences), longest), NOTHING, dtype=np.int64)
    for row, ids_T in enumerate(sentences):
        lines_4BT[:, row, : len(ids_T) + 1] = sentence_lines(ids_T)
    return lines_4BT
