"""Words → one vector each: static vectors, for programs that know no context.

    context-free       layer 0: the word vector below the LSTMs, twice, as `Elmo` gives it
    corpus-averaged    the mean of a word's vectors over all its places in a text (Bommasani et al. 2020)

A text is read twice: first its words are counted, then the vectors of those chosen are summed in float64, in a file where
memory would grow. N words, D width of a vector, T tokens of a sentence, S tokens of a chunk, U distinct words, P = D / 2.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.atomic import atomic_path
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.encoder import SentenceEncoder
from elmokit.embedding.layers import Layers, check_layers
from elmokit.embedding.room import room_in
from elmokit.embedding.word2vec import Word2vecFormat, writable_words, write_word2vec
from elmokit.text.batch import chunks
from elmokit.text.vocabulary import SPECIAL_WORDS

Sentences = Callable[[], Iterable[Sequence[str]]]
"""Gives the sentences of a text, each time from the beginning, in the form which the model reads."""

WORDS_AT_ONCE = 2048
COUNTED = 5_000_000
"""Distinct words that are counted at once; above, those met once so far are forgotten, then those met twice, ..."""


@dataclass(frozen=True, kw_only=True)
class StaticOptions:
    """Which vectors of which words `write_static` writes."""

    format: Word2vecFormat = "text"
    """Of the file."""
    layers: Layers = "mean"
    """Which layers of a text's tokens are averaged."""
    min_count: int = 1
    """Words of a text that are rarer are left out."""
    max_words: int | None = None
    """Only so many words, the most frequent ones."""
    batch_tokens: int = 8192
    """Tokens computed at once, marks counted."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the option and what it may be.
        """
        for option in ("min_count", "max_words", "batch_tokens"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ValueError(f"--{option.replace('_', '-')} must be 1 or more, not {value}")
        if self.layers == "all":
            raise ValueError("--layers all gives several vectors a token; a static vector is one: name a layer, top or mean")


def write_static(
    target: Path, elmo: Elmo, words: Sequence[str] | None, sentences: Sentences | None, options: StaticOptions
) -> int:
    """Write a file of static vectors; it is complete or not there.

    Args:
        target: The file.
        elmo: The model.
        words: For context-free vectors these words; None: those of the model's vocabulary.
        sentences: A text; then the vectors are averages over it, of its own words.
        options: Which and how.

    Returns:
        N, how many words the file has, the most frequent first, or in the order given.

    Raises:
        ValueError: There is no such word, no such layer, or no word at all.
    """
    check_layers(options.layers, elmo.num_layers)
    with atomic_path(target) as path:
        if sentences is None:
            chosen = _chosen(_given_words(elmo, words, options))
            parts = _context_free(elmo, list(chosen))
        else:
            counts = count_words(sentences())
            frequent = sorted((word for word, count in counts.items() if count >= options.min_count), key=lambda w: -counts[w])
            chosen = _chosen(frequent[: options.max_words])
            parts = _averages(elmo, sentences(), list(chosen), options, target.parent)
        if not chosen:
            raise ValueError("there is no word to write a vector of: the text has none, or none is as frequent as --min-count")
        write_word2vec(path, list(chosen.values()), elmo.dim, parts, options.format)
    return len(chosen)


def _given_words(elmo: Elmo, words: Sequence[str] | None, options: StaticOptions) -> Sequence[str]:
    """The words asked for, or those of the vocabulary, or else of the table that the model reads, without the special ones."""
    vocabulary, table = elmo.checkpoint.vocabulary, elmo.checkpoint.input_words
    if words is None and vocabulary is not None:
        words = vocabulary.words[len(SPECIAL_WORDS) :]
    elif words is None and table is not None:
        words = [word for word in table.ids if word not in (*SPECIAL_WORDS, *table.marks)]
    if words is None:
        raise ValueError(f"{elmo.checkpoint.origin}: has no vocabulary; name the words with --words, or a text with --corpus")
    return words[: options.max_words]


def _chosen(words: Iterable[str]) -> dict[str, str]:
    """Words with the names that they have in the file; warns of those left out or renamed."""
    distinct = dict.fromkeys(words)
    named = writable_words(distinct)
    if left_out := len(distinct) - len(named):
        warnings.warn(f"{left_out} word(s) left out: a word2vec file cannot hold them, or has their name already", stacklevel=3)
    if renamed := sum(word != name for word, name in named.items()):
        warnings.warn(f'{renamed} word(s) with white space in them are written with "_" in its place', stacklevel=3)
    return named


@torch.no_grad()
def _context_free(elmo: Elmo, words: list[str]) -> Iterator[NDArray[Any]]:
    """Layer 0 of words, a few at a time."""
    for start in range(0, len(words), WORDS_AT_ONCE):
        read = elmo.collate.read_forms([words[start : start + WORDS_AT_ONCE]])
        batch = elmo.collate.batch(read, marks=False)
        x_UP = elmo.bilm.words(torch.from_numpy(batch.chars_UW).to(elmo.device)).float().cpu()
        yield torch.cat([x_UP] * elmo.config.bilm.directions, -1)[batch.index_BT[0]].numpy()


def count_words(sentences: Iterable[Sequence[str]]) -> Counter[str]:
    """Count words in bounded memory: of more than `COUNTED` distinct ones the rarest are forgotten, as word2vec does."""
    counts: Counter[str] = Counter()
    floor = 1
    for words in sentences:
        counts.update(words)
        while len(counts) > COUNTED:
            counts = Counter({word: count for word, count in counts.items() if count > floor})
            floor += 1
    for mark in SPECIAL_WORDS:
        counts.pop(mark, None)
    return counts


def _averages(
    elmo: Elmo, sentences: Iterable[Sequence[str]], words: list[str], options: StaticOptions, folder: Path
) -> Iterator[NDArray[Any]]:
    """Mean vectors of words over the sentences, each of which is read by itself; a few words at a time."""
    id_of = {word: i for i, word in enumerate(words)}
    # Room is made in float32, large arrays on disk; two of these are as wide as one float64.
    sums_ND = room_in(folder)((len(words), 2 * elmo.dim)).view(np.float64)
    sums_ND[:] = 0
    counts_N = np.zeros(len(words), dtype=np.int64)
    chunk: list[list[str]] = []

    def add(number: int, x_TD: Tensor) -> Tensor:
        ids_T = np.array([id_of.get(word, -1) for word in chunk[number]], dtype=np.int64)
        for start in range(0, len(ids_T), WORDS_AT_ONCE):  # a sentence may be so long that its vectors lie on disk
            part = slice(start, start + WORDS_AT_ONCE)
            known_S = ids_T[part] >= 0
            np.add.at(sums_ND, ids_T[part][known_S], x_TD[part].numpy()[known_S])
            np.add.at(counts_N, ids_T[part][known_S], 1)
        return x_TD.new_empty(0)

    encoder = SentenceEncoder(
        elmo.word_vectors, layers=options.layers, batch_tokens=options.batch_tokens, finish=add, room=room_in(folder)
    )
    for chunk in chunks(map(list, sentences), lambda sentence: len(sentence) + 2, options.batch_tokens):  # `add` reads it
        encoder(chunk)
    if not counts_N.all():
        gone = words[int(np.flatnonzero(counts_N == 0)[0])]
        raise ValueError(f"the text changed while it was read: {gone!r} stood there when words were counted, and is gone")
    for start in range(0, len(words), WORDS_AT_ONCE):
        part = slice(start, start + WORDS_AT_ONCE)
        yield sums_ND[part] / counts_N[part, None]
