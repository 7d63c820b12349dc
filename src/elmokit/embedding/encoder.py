"""Many sentences → their vectors: sorted by length, packed by a token budget, given back in the order they came.

L layers (the word vectors counted), B sentences of a batch, T tokens with marks, N tokens of one sentence, D = 2P width.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.embedding.layers import Layers, select_layers
from elmokit.embedding.windows import read_in_windows
from elmokit.embedding.words import WordVectors
from elmokit.errors import is_out_of_memory
from elmokit.text.batch import token_budget_batches, word_batch

SMALLEST_WINDOW = 256
"""Tokens that any machine can read at once; where they do not fit, nothing does."""

Finish = Callable[[int, Tensor], Tensor]
"""What is kept of a sentence: called with its number and vectors (N, D) or (L, N, D)."""


def keep_vectors(_: int, x_ND: Tensor) -> Tensor:
    """Keep all of a sentence's vectors, apart from the batch that they were computed in.

    What is no part of a batch stays as it is: a long sentence's vectors may lie on disk, where memory has no room for them.
    """
    alone = x_ND.untyped_storage().nbytes() == x_ND.nbytes
    return x_ND if alone else x_ND.clone(memory_format=torch.contiguous_format)


def plain_array(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Make room for a long sentence's vectors in memory."""
    return np.empty(shape, dtype=np.float32)


class SentenceEncoder:
    """Runs a model over sentences, stateless: each sentence's vectors depend on it alone. One object serves one job.

    A sentence above the budget is read in windows, so that its length does not matter. On out-of-memory the budget
    halves, with a warning.

    Args:
        word_vectors: What gives words' vectors, whose engine runs the model.
        layers: Which layers.
        batch_tokens: The budget: rows × longest row of a batch, marks counted.
        batch_size: Sentences of a batch at the most; None for no limit.
        finish: What is kept of each sentence.
        on: The device on which vectors are handed to `finish`.
        room: Makes the array for the vectors of a sentence that is read in windows.
        advance: Called with the tokens done after each batch.

    Raises:
        ValueError: A budget or size below 1.
    """

    def __init__(
        self,
        word_vectors: WordVectors,
        *,
        layers: Layers = "mean",
        batch_tokens: int = 8192,
        batch_size: int | None = None,
        finish: Finish = keep_vectors,
        on: torch.device | str = "cpu",
        room: Callable[[tuple[int, ...]], NDArray[np.float32]] = plain_array,
        advance: Callable[[int], object] = lambda tokens: None,
    ) -> None:
        token_budget_batches([], batch_tokens, batch_size)  # refuses a wrong budget or size before anything is done
        self.word_vectors = word_vectors
        self.engine = word_vectors.engine
        self.layers = layers
        self.batch_tokens = batch_tokens
        self.batch_size = batch_size
        self.finish = finish
        self.on = torch.device(on)
        self.room = room
        self.advance = advance

    def __call__(self, sentences: Sequence[Sequence[str]]) -> list[Tensor]:
        """Give what `finish` keeps of each sentence, in their order.

        Args:
            sentences: Words in the form which the model reads.
        """
        self.engine.expect(sum(map(len, sentences)))
        results: dict[int, Tensor] = {}
        waiting = deque(self._pack(sentences, range(len(sentences))))
        while waiting:
            batch = waiting.popleft()
            done = self._try([sentences[number] for number in batch], batch)
            if done is None:
                waiting = deque(self._pack(sentences, [number for rest in (batch, *waiting) for number in rest]))
                continue
            results.update(zip(batch, done, strict=True))
            self.advance(sum(len(sentences[number]) for number in batch))
        return [results[number] for number in range(len(sentences))]

    def _pack(self, sentences: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[list[int]]:
        """Batches of the sentences with these numbers."""
        left = list(numbers)
        packed = token_budget_batches((len(sentences[number]) + 2 for number in left), self.batch_tokens, self.batch_size)
        return [[left[position] for position in batch] for batch in packed]

    def _try(self, sentences: list[Sequence[str]], numbers: list[int]) -> list[Tensor] | None:
        """Run a batch; None if there was too little memory, after halving the budget."""
        used = len(sentences) * (max(map(len, sentences)) + 2)
        try:
            return self._run(sentences, numbers)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(sentences) == 1 and self.batch_tokens <= SMALLEST_WINDOW:
                window = min(used, SMALLEST_WINDOW)
                raise MemoryError(
                    f"no room for a sentence of {len(sentences[0])} tokens, {window} read at a time; free memory, "
                    f"cut the sentence, take a smaller model, or `encode_document` with `out` ({error})"
                ) from error
        # Outside the `except`: its traceback would keep the tensors of the failed batch alive.
        self.batch_tokens = max(min(self.batch_tokens, used) // 2, 1)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(f"out of memory: going on with batch_tokens={self.batch_tokens}; set it lower to avoid this", stacklevel=2)
        return None

    @torch.no_grad()  # not inference_mode: what is given back may become part of a graph
    def _run(self, sentences: list[Sequence[str]], numbers: list[int]) -> list[Tensor]:
        """Run one batch."""
        window = max(self.batch_tokens, SMALLEST_WINDOW)
        if len(sentences) == 1 and len(sentences[0]) + 2 > window:
            return [self.finish(numbers[0], self._run_long(sentences[0], window))]
        batch = word_batch(sentences, self.word_vectors.reader)
        lengths_B = torch.from_numpy(batch.lengths_B)
        layers_LBTD, _ = self.engine.layers_of(self.word_vectors(batch), lengths_B, words_BT=batch.index_BT)
        chosen = select_layers(layers_LBTD, self.layers).float().to(self.on)
        rows = [chosen[..., row, 1 : len(words) + 1, :] for row, words in enumerate(sentences)]
        return [self.finish(number, x_ND) for number, x_ND in zip(numbers, rows, strict=True)]

    def _run_long(self, words: Sequence[str], window: int) -> Tensor:
        """Run one sentence in windows."""
        config = self.engine.bilm.config
        shape = (len(words), config.dim)
        out = self.room((config.layers + 1, *shape) if self.layers == "all" else shape)
        read_in_windows(self.word_vectors, [words], out, layers=self.layers, window=window)
        return torch.from_numpy(out).to(self.on)
