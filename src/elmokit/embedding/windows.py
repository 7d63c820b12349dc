"""Texts of any length, exactly and in bounded memory.

The two directions never meet below the mixing of layers, and mixing works on each number by itself: so the left half
of every vector needs the forward stack alone, the right half the backward stack. Each stack reads the whole text in
windows and carries its state from one to the next; what comes out is that of one pass.

    forward    reads positions in their order
    backward   one sentence: from its end to its beginning
               several: each sentence from its end to its beginning, the sentences in file order, as in training

L layers (the word vectors counted), T tokens of a window, N tokens of the text (its marks not counted), P width of a direction.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.embedding.layers import Layers, select_layers
from elmokit.embedding.words import WordVectors
from elmokit.kernels.engine import Engine
from elmokit.model.bilm import StackState
from elmokit.text.batch import word_batch
from elmokit.text.vocabulary import BOS, EOS

Positions = NDArray[np.int64]
MARK = -1
"""Stands for a sentence mark where a token's number is expected."""


class Reading(NamedTuple):
    """A text with its marks, and the order in which each direction reads it."""

    words: list[str]
    """All words and marks, in the text's order."""
    tokens: Positions
    """The number of the token at each position; `MARK` at marks."""
    forward: Positions
    """Positions in the forward stack's order."""
    backward: Positions
    """Positions in the backward stack's order."""


def reading(sentences: Sequence[Sequence[str]]) -> Reading:
    """Lay sentences end to end, marks round each."""
    words = [word for sentence in sentences for part in ((BOS,), sentence, (EOS,)) for word in part]
    lengths = np.array([len(sentence) + 2 for sentence in sentences], dtype=np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    inside = np.ones(len(words), dtype=bool)
    inside[starts] = inside[ends - 1] = False
    forward = np.arange(len(words))
    # The mirror image of a position within its own sentence.
    backward = np.repeat(starts + ends - 1, lengths) - forward
    return Reading(words, np.where(inside, np.cumsum(inside) - 1, MARK), forward, backward)


def read_in_windows(
    engine: Engine, word_vectors: WordVectors, text: Reading, out: Any, *, layers: Layers = "mean", window: int = 4096
) -> None:
    """Compute the vectors of a text's tokens into an array.

    Args:
        engine: What runs the model.
        word_vectors: What gives its words' vectors.
        text: What to read; both directions' states are carried through all of it.
        out: Array-like of shape (N, 2P), or (L, N, 2P) for all layers; slices of it are assigned to.
        layers: Which layers.
        window: Tokens and marks read at once.
    """
    width = engine.bilm.config.output_dim
    for direction, order in enumerate((text.forward, text.backward)):
        half = slice(direction * width, (direction + 1) * width)
        for positions, layers_LTP in _windows(partial(engine.stack, direction), word_vectors, text.words, order, window):
            values = select_layers(layers_LTP, layers).float().cpu().numpy()
            _write(out, text.tokens[positions], values, half)


Stack = Callable[[Tensor, StackState | None], tuple[list[Tensor], StackState]]
"""Runs one direction's layers over x_BTP from a state."""


def _windows(
    stack: Stack, word_vectors: WordVectors, words: list[str], order: Positions, window: int
) -> Iterator[tuple[Positions, Tensor]]:
    """Run one direction; give positions and their layers, window after window."""
    state: StackState | None = None
    for start in range(0, len(order), window):
        positions = order[start : start + window]
        x_1TP = word_vectors(word_batch([[words[position] for position in positions]], word_vectors.reader, marks=False))
        outputs, state = stack(x_1TP, state)
        yield positions, torch.cat([x_1TP, *outputs])


def _write(out: Any, tokens: Positions, values: NDArray[np.float32], half: slice) -> None:
    """Assign (…, T, P) to one half of the tokens' places, in runs of neighboring tokens: files take slices best."""
    kept = np.flatnonzero(tokens != MARK)
    kept = kept[np.argsort(tokens[kept])]
    for run in np.split(kept, np.flatnonzero(np.diff(tokens[kept]) != 1) + 1):
        if len(run):
            out[..., tokens[run[0]] : tokens[run[-1]] + 1, half] = values[..., run, :]
