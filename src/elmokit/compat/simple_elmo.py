"""A drop-in for simple_elmo's `ElmoModel`, written from its documentation and from recorded numbers.

    from simple_elmo import ElmoModel        →        from elmokit.compat.simple_elmo import ElmoModel

As there, each call begins with an empty memory, sentences are run in batches in the order given, and the state of each row of
a batch is carried to the next batch. Two faults of its means are not repeated: they counted the padding of the batch, and with
`layers="all"` they mixed tokens and layers up.

S sentences, B rows of a batch, T words of the longest, L layers with the word vectors, D width.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm
from elmokit.checkpoints.load import load_checkpoint
from elmokit.compat.allennlp.bilm import _ElmoCharacterEncoder
from elmokit.compat.allennlp.boundaries import remove_sentence_boundaries
from elmokit.compat.allennlp.characters import batch_to_ids
from elmokit.compat.sentences import word_lists
from elmokit.compat.stateful import StatefulBiLM
from elmokit.kernels.engine import Engine
from elmokit.lm.context import Context, Direction
from elmokit.lm.load import load_language_model

Doubles = NDArray[np.float64]
Layers = Literal["average", "top", "all"]


class ElmoModel:
    """A model to be loaded with `load`."""

    def __init__(self) -> None:
        self.batch_size = 32
        self.n_layers = 0
        self.vector_size = 0
        self._checkpoint: Checkpoint | None = None

    def load(self, directory: str | Path, max_batch_size: int = 32, limit: int = 100, full: bool = False) -> None:
        """Load a model.

        Args:
            directory: Any model that `elmokit.Elmo.from_pretrained` loads: a zip of the NLPL repository, a folder with
                `options.json` and an HDF5 file, …
            max_batch_size: Sentences of a batch.
            limit: Not used: no words are cached.
            full: Whether the language model's head is needed, as for `get_elmo_substitutes`.

        Raises:
            ValueError: No such model, or `full` and it has no head.
            FormatError: A file is damaged.
        """
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size must be 1 or more, not {max_batch_size}")
        checkpoint = load_checkpoint(directory)
        if full and checkpoint.head is None:
            raise ValueError(f"{directory}: has no language model head, which full=True asks for; a training checkpoint has one")
        self._checkpoint, self.batch_size = checkpoint, max_batch_size
        self._encoder = _ElmoCharacterEncoder.of(checkpoint, requires_grad=False)
        self._engine = Engine(build_bilm(checkpoint))
        self.n_layers, self.vector_size = checkpoint.config.bilm.layers + 1, checkpoint.config.bilm.dim

    def get_elmo_vectors(self, texts: Sequence[Sequence[str]], warmup: bool = True, layers: Layers = "average") -> Doubles:
        """Give the vectors of all words.

        Args:
            texts: Sentences as lists of words.
            warmup: Whether the first batch is run once before, only to move the state.
            layers: "average" of all layers, the "top" one or "all".

        Returns:
            (S, T, D), or (S, L, T, D) for all layers; T is the longest sentence's length. Past a sentence's words the layers
            of the LSTM are zero, layer 0 is what the network gives for no word at all; past its batch all is zero.

        Raises:
            ValueError: No model was loaded, an unknown `layers`, or a sentence that is a string.
        """
        texts = word_lists(texts)
        longest = max(map(len, texts), default=0)
        found = np.zeros((len(texts), self.n_layers, longest, self.vector_size))
        for start, vectors_BLTD, _ in self._batches(texts, warmup):
            found[start : start + len(vectors_BLTD), :, : vectors_BLTD.shape[2]] = vectors_BLTD
        return _choose(found, layers)

    def get_elmo_vector_average(self, texts: Sequence[Sequence[str]], warmup: bool = True, layers: Layers = "average") -> Doubles:
        """Give one vector for each sentence: the mean over its words, scaled to length 1; zeros for no words.

        Args:
            texts: Sentences as lists of words.
            warmup: Whether the first batch is run once before, only to move the state.
            layers: "average" of all layers, the "top" one or "all".

        Returns:
            (S, D), or (S, L, D) for all layers.

        Raises:
            ValueError: No model was loaded, an unknown `layers`, or a sentence that is a string.
        """
        texts = word_lists(texts)
        means = np.zeros((len(texts), self.n_layers, 1, self.vector_size))
        for start, vectors_BLTD, lengths in self._batches(texts, warmup):
            for row, length in enumerate(lengths):
                if length:
                    means[start + row] = vectors_BLTD[row, :, :length].mean(1, keepdims=True)
        chosen = _choose(means, layers)[..., 0, :]
        norms = np.linalg.norm(chosen, axis=-1, keepdims=True)
        scaled: Doubles = chosen / np.where(norms > 0, norms, 1)
        return scaled

    def get_elmo_substitutes(self, data: Sequence[str | Sequence[str]], topn: int = 3) -> list[list[dict[str, Any]]]:
        """Give the words that the language model expects in the place of each word, from either side.

        Args:
            data: Sentences, as lists of words or as strings with blanks between the words.
            topn: Words for each place and direction.

        Returns:
            For each sentence and word {"word": the word itself, "forward": …, "backward": …}, each direction with
            "candidate_words", the likeliest first, and their natural logarithms of probability, "logp".

        Raises:
            ValueError: No model was loaded, it has no language model head, or `topn` is below 1.
        """
        if topn < 1:
            raise ValueError(f"topn must be 1 or more, not {topn}")
        model, vocabulary = load_language_model(self._loaded())
        reader = self._loaded().reader

        def expected(words: Sequence[str], direction: Direction) -> list[dict[str, Any]]:
            context, found = Context(model, reader, direction), []
            for word in words:
                log_p_K, ids_K = context.expectation().topk(min(topn, len(vocabulary)))
                candidates = [vocabulary.words[i] for i in ids_K.tolist()]
                found.append({"candidate_words": candidates, "logp": log_p_K.tolist()})
                context.read([word])
            return found

        answers = []
        for sentence in data:
            words = sentence.split() if isinstance(sentence, str) else list(sentence)
            forward, backward = expected(words, "forward"), expected(words[::-1], "backward")[::-1]
            triples = zip(words, forward, backward, strict=True)
            answers.append([{"word": word, "forward": left, "backward": right} for word, left, right in triples])
        return answers

    def _loaded(self) -> Checkpoint:
        """The model.

        Raises:
            ValueError: None was loaded.
        """
        if self._checkpoint is None:
            raise ValueError("no model is loaded: call load first")
        return self._checkpoint

    def _batches(self, texts: Sequence[Sequence[str]], warmup: bool) -> Iterator[tuple[int, Doubles, list[int]]]:
        """Run the sentences; gives each batch's first number, its layers (B, L, T, D) and its sentences' lengths."""
        self._loaded()
        self._engine.expect(sum(map(len, texts)))
        stateful = StatefulBiLM(self._engine.bilm, self._engine)
        if warmup and texts:
            self._layers(stateful, texts[: self.batch_size])
        for start in range(0, len(texts), self.batch_size):
            batch = texts[start : start + self.batch_size]
            layers_LBTD = self._layers(stateful, batch)
            yield start, layers_LBTD.transpose(0, 1).numpy().astype(np.float64), list(map(len, batch))

    def _layers(self, stateful: StatefulBiLM, batch: Sequence[Sequence[str]]) -> Tensor:
        """The layers (L, B, T, D) of a batch without its marks; as in bilm-tf layer 0 is not zero at padding."""
        with torch.no_grad():
            found = self._encoder(batch_to_ids([list(words) for words in batch]))
            x_BTP, mask_BT = found["token_embedding"], found["mask"]
            layers_LBTD = stateful.layers_of(x_BTP, mask_BT.sum(1))
        words = [remove_sentence_boundaries(layer_BTD, mask_BT) for layer_BTD in layers_LBTD]
        is_word_BT = words[0][1]
        # Where a row ends before the longest one, its last place is padding: that is what follows its words.
        first_BTP = torch.where(is_word_BT.unsqueeze(-1), x_BTP[:, 1:-1], x_BTP[:, -1:])
        first_BTD = torch.cat([first_BTP] * self._engine.bilm.config.directions, -1)
        return torch.stack([first_BTD, *(layer_BTD for layer_BTD, _ in words[1:])])


def _choose(vectors_SLTD: Doubles, layers: Layers) -> Doubles:
    """Take the layers asked for.

    Raises:
        ValueError: An unknown name.
    """
    if layers == "all":
        return vectors_SLTD
    if layers not in ("average", "top"):
        raise ValueError(f'layers must be "average", "top" or "all", not {layers!r}')
    chosen: Doubles = vectors_SLTD.mean(1) if layers == "average" else vectors_SLTD[:, -1]
    return chosen
