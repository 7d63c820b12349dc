"""Sentences → the arrays that the model reads, each distinct word once.

Shapes: B sentences, T tokens of the longest sentence (marks included), W ids of a word (characters, mostly), U distinct words.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from elmokit.text.readers import BYTES, WordIds, WordReader
from elmokit.text.vocabulary import BOS, EOS

CHUNK_BATCHES = 4
"""Batches of a chunk: more of them pad less and take more memory."""
Item = TypeVar("Item")


class WordBatch(NamedTuple):
    """A batch of sentences in which the characters of each distinct word stand once.

    Half of the words of a batch are repeats, and a word's own vector does not depend on its neighbors: so the
    character CNN (or what a model has in its place) runs over `chars_UW` and its result is looked up by `index_BT`.
    """

    chars_UW: WordIds
    """What the model reads of each distinct word: character ids 0 to 260 (see `elmokit.text.bytes`), in models with
    tables the word's id, its code points, or both (see `elmokit.text.readers`)."""
    index_BT: NDArray[np.int64]
    """Which row of `chars_UW` stands at each position; what stands past a sentence's length is never read."""
    lengths_B: NDArray[np.int64]
    """Tokens of each sentence, its two marks counted where the batch has them."""


def word_batch(sentences: Sequence[Sequence[str]], reader: WordReader = BYTES, marks: bool = True) -> WordBatch:
    """Encode tokenized sentences.

    Args:
        sentences: Words of each sentence; a sentence may be empty.
        reader: How the model reads words; the default is that of the published models.
        marks: Whether `<S>` and `</S>` are put round each sentence, as the models expect.

    Returns:
        The batch; T is the longest sentence's length.
    """
    rows: dict[str, int] = {}
    around = ([BOS], [EOS]) if marks else ([], [])
    indices = [
        [rows.setdefault(word, len(rows)) for part in (around[0], sentence, around[1]) for word in part] for sentence in sentences
    ]
    lengths_B = np.array([len(index) for index in indices], dtype=np.int64)
    index_BT = np.zeros((len(indices), int(lengths_B.max(initial=0))), dtype=np.int64)
    for row, index in zip(index_BT, indices, strict=True):
        row[: len(index)] = index
    return WordBatch(reader(list(rows)), index_BT, lengths_B)


def token_budget_batches(lengths: Iterable[int], batch_tokens: int, batch_size: int | None = None) -> list[list[int]]:
    """Sort sentences by length and pack them so that no batch's rows × longest row exceeds a budget.

    Args:
        lengths: Tokens of each sentence.
        batch_tokens: The budget; a single longer sentence makes a batch of its own.
        batch_size: Sentences of a batch at the most; None for no limit.

    Returns:
        Positions of the sentences of each batch, longest first.

    Raises:
        ValueError: A budget or size below 1.
    """
    for name, value in (("batch_tokens", batch_tokens), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    sizes = list(lengths)
    batches: list[list[int]] = []
    for position in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        batch = batches[-1] if batches else []
        longest = sizes[batch[0]] if batch else 0
        full = (len(batch) + 1) * longest > batch_tokens or len(batch) == batch_size
        if not batch or full:
            batches.append([position])
        else:
            batch.append(position)
    return batches


def chunks(items: Iterable[Item], length: Callable[[Item], int], batch_tokens: int) -> Iterator[list[Item]]:
    """Gather from a stream as many sentences as are sorted together by `token_budget_batches`.

    Args:
        items: Sentences, with whatever belongs to them; they are read one chunk at a time.
        length: Gives the tokens of one.
        batch_tokens: The budget of a batch.

    Returns:
        The items in their order, enough for `CHUNK_BATCHES` batches in each list but the last; no list is empty.
    """
    chunk: list[Item] = []
    gathered = 0
    for item in items:
        chunk.append(item)
        gathered += length(item)
        if gathered >= CHUNK_BATCHES * batch_tokens:
            yield chunk
            chunk, gathered = [], 0
    if chunk:
        yield chunk
