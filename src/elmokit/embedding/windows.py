"""Texts of any length, exactly and in bounded memory.

The two directions never meet below the mixing of layers, and mixing works on each number by itself: so the left half
of every vector needs the forward stack alone, the right half the backward stack (if the model has one). Each stack reads the
whole text in windows and carries its state from one to the next; what comes out is that of one pass. Both advance side by
side, each in its own order:

    forward    reads positions in their order
    backward   one sentence: from its end to its beginning
               several: each sentence from its end to its beginning, the sentences in file order, as in training

L layers (the word vectors counted), S directions, T words and marks of a window, N tokens of the text (its marks not
counted), P width of a direction.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elmokit.embedding.layers import Layers, select_layers
from elmokit.embedding.words import WordVectors
from elmokit.model.bilm import StackState
from elmokit.text.batch import word_batch
from elmokit.text.vocabulary import BOS, EOS

MARK = -1
"""Stands for a sentence mark where a token's number is expected."""

Words = Sequence[str]
Place = tuple[str, int]
"""A word or mark, and the token's number in the text or `MARK`."""


def forward_order(sentences: Iterable[Words]) -> Iterator[Place]:
    """Give the words of sentences and the marks round each, as the forward stack reads them."""
    start = 0
    for sentence in sentences:
        yield BOS, MARK
        yield from zip(sentence, count(start))
        yield EOS, MARK
        start += len(sentence)


def backward_order(sentences: Iterable[Words]) -> Iterator[Place]:
    """Give the words of sentences and the marks round each, as the backward stack reads them."""
    start = 0
    for sentence in sentences:
        yield EOS, MARK
        yield from zip(reversed(sentence), count(start + len(sentence) - 1, -1))
        yield BOS, MARK
        start += len(sentence)


ReadForms = Callable[[list[list[str]]], Sequence[Words]]
"""Gives words the form which the model reads."""


@torch.no_grad()
def read_in_windows(
    word_vectors: WordVectors,
    sentences: Iterable[Words],
    out: Any,
    *,
    layers: Layers = "mean",
    window: int = 4096,
    read_forms: ReadForms = list,
) -> None:
    """Compute the vectors of a text's tokens into an array.

    Args:
        word_vectors: What gives words' vectors, whose engine runs the model.
        sentences: What to read, marks round each; both directions' states are carried through all of it. It is gone
            through twice at the same time (once for a model that reads forward alone).
        out: Array-like of shape (N, S · P), or (L, N, S · P) for all layers; slices of it are assigned to.
        layers: Which layers.
        window: Tokens and marks that each direction reads at once.
        read_forms: Gives words the form which the model reads; by default they have it.
    """
    engine = word_vectors.engine
    width = engine.bilm.config.output_dim
    orders = [forward_order, backward_order][: engine.bilm.config.directions]
    states: list[StackState | None] = [None] * len(orders)
    for places_ST in zip(*(_windows(order(sentences), window) for order in orders), strict=True):
        words_ST = read_forms([[word for word, _ in places_T] for places_T in places_ST])
        x_STP = word_vectors(word_batch(words_ST, word_vectors.reader, marks=False))
        for direction, (outputs, state) in enumerate(engine.stacks(torch.split(x_STP, 1), states)):
            states[direction] = state
            layers_LTP = torch.cat([x_STP[direction : direction + 1], *outputs])
            tokens_T = np.array([token for _, token in places_ST[direction]])
            half = slice(direction * width, (direction + 1) * width)
            _write(out, tokens_T, select_layers(layers_LTP, layers).float().cpu().numpy(), half)


def _windows(order: Iterator[Place], window: int) -> Iterator[list[Place]]:
    """Cut an order into windows."""
    while places_T := list(islice(order, window)):
        yield places_T


def _write(out: Any, tokens_T: NDArray[np.int64], values: NDArray[np.float32], half: slice) -> None:
    """Assign (…, T, P) to one half of the tokens' places, in runs of neighboring tokens: files take slices best."""
    kept = np.flatnonzero(tokens_T != MARK)
    kept = kept[np.argsort(tokens_T[kept])]
    for run in np.split(kept, np.flatnonzero(np.diff(tokens_T[kept]) != 1) + 1):
        if len(run):
            out[..., tokens_T[run[0]] : tokens_T[run[-1]] + 1, half] = values[..., run, :]
