"""A drop-in for ELMoForManyLangs' `Embedder`.

    from elmoformanylangs import Embedder        →        from elmokit.compat.elmoformanylangs import Embedder

As there, sentences are sorted by length, the longest first, and the state of each row of a batch is carried to the next batch
and the next call. The original also shuffles its batches, so with more than one of them its numbers were never the same twice;
here they are run in their order. `elmokit.Elmo` carries no state at all.

B sentences, T words of the longest, L layers with the word vectors, D width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elmokit.checkpoints.checkpoint import build_bilm
from elmokit.checkpoints.load import load_checkpoint
from elmokit.compat.sentences import word_lists
from elmokit.compat.stateful import StatefulBiLM
from elmokit.kernels.engine import Engine
from elmokit.text.batch import word_batch

Floats = NDArray[np.float32]


class Embedder:
    """A model of ELMoForManyLangs, or any other that `elmokit.Elmo.from_pretrained` loads.

    Args:
        model_dir: The model's folder, its zip or its published name (`manylangs/zh`).
        batch_size: Sentences of a batch.

    Raises:
        ValueError: No such model, or a batch size below 1.
        FormatError: A file is damaged.
    """

    def __init__(self, model_dir: str | Path = "zht.model/", batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
        self.model_dir, self.batch_size = model_dir, batch_size
        checkpoint = load_checkpoint(model_dir)
        self._reader, self._num_layers = checkpoint.reader, checkpoint.config.bilm.layers + 1
        bilm = build_bilm(checkpoint)
        self._engine = Engine(bilm)
        self._stateful = StatefulBiLM(bilm, self._engine)

    def sents2elmo(self, sents: Sequence[Sequence[str]], output_layer: int = -1) -> list[Floats]:
        """Give the vectors of each sentence, in the order given.

        Args:
            sents: Sentences as lists of words.
            output_layer: 0 for the word vectors, 1, 2 for the LSTM's layers, -1 for the mean of all, -2 for all.

        Returns:
            An array (words, D) for each sentence, or (L, words, D) for all layers.

        Raises:
            ValueError: No such layer, or a sentence is a string.
        """
        if not -2 <= output_layer < self._num_layers:
            raise ValueError(f"output_layer must be -2, -1 or 0 to {self._num_layers - 1}, not {output_layer}")
        sents = word_lists(sents)
        found: dict[int, Floats] = {}
        order = sorted(range(len(sents)), key=lambda number: -len(sents[number]))
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            layers_BLTD = self._layers([sents[number] for number in numbers])
            for number, layers_LTD in zip(numbers, layers_BLTD, strict=True):
                found[number] = _choose(layers_LTD[:, 1 : len(sents[number]) + 1], output_layer)
        return [found[number] for number in range(len(sents))]

    @torch.no_grad()
    def _layers(self, sentences: Sequence[Sequence[str]]) -> Floats:
        """All layers of a batch, (B, L, T + 2, D), the sentence marks among them."""
        batch = word_batch(sentences, self._reader)
        self._engine.expect(int(batch.lengths_B.sum()))
        x_UP = self._engine.word_vectors(torch.from_numpy(batch.chars_UW))
        layers_LBTD = self._stateful.layers_of(x_UP[torch.from_numpy(batch.index_BT)], torch.from_numpy(batch.lengths_B))
        layers_BLTD: Floats = layers_LBTD.transpose(0, 1).numpy()
        return layers_BLTD


def _choose(layers_LTD: Floats, output_layer: int) -> Floats:
    """The layer or layers asked for, in memory of their own."""
    if output_layer == -2:
        return layers_LTD.copy()
    chosen: Floats = layers_LTD.mean(0) if output_layer == -1 else layers_LTD[output_layer].copy()
    return chosen
