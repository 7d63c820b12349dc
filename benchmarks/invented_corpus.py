"""A corpus in memory of invented words, as frequent (Zipf), as long and in as long sentences as those of a text.

    p(word of rank r) = log((r + 2) / (r + 1)) / log(V + 1)        what the candidates of the sampled softmax follow too

So speed can be measured where no text is, with a vocabulary of any size. Drawn with a seed: the same everywhere.
"""

import numpy as np
from numpy.typing import NDArray

from elmokit.pretraining.corpus import Corpus, Shard
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.vocabulary import SPECIAL_WORDS

LETTERS = np.frombuffer(b"etaoinshrdlucmfwypvbgkqjxz", dtype=np.uint8)
SHORT = 26 + 26**2 + 26**3
"""So many words have one to three letters; the others begin with five that no other word begins with."""


def invented_corpus(vocabulary: int, tokens: int, max_characters: int = 50, seed: int = 1) -> Corpus:
    """Make a corpus whose words all are of the vocabulary.

    Args:
        vocabulary: V, the special words counted.
        tokens: Of the training text, about.
        max_characters: Places for a word's characters.
        seed: Of everything.
    """
    random = np.random.default_rng(seed)
    words = _words(vocabulary, max_characters, random)
    facts = {"words_of_training": vocabulary, "max_characters": max_characters}
    return Corpus(words, _sentences(vocabulary, tokens, random), _sentences(vocabulary, 20_000, random), facts)


def _sentences(vocabulary: int, tokens: int, random: np.random.Generator) -> Shard:
    """Draw words, and cut them into sentences of 24 in the mean."""
    most = vocabulary - len(SPECIAL_WORDS)
    ids_N = np.minimum(np.exp(random.random(tokens) * np.log(most + 1)).astype(np.int32) - 1, most - 1) + len(SPECIAL_WORDS)
    lengths = 1 + random.gamma(2.2, 10.5, tokens // 24).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    starts = starts[starts <= tokens]
    return Shard(ids_N[: starts[-1]].astype(np.int32), starts)


def _words(vocabulary: int, max_characters: int, random: np.random.Generator) -> SpelledWords:
    """Spell distinct words: the frequent ones short, the others of five letters and more."""
    ranks = np.arange(vocabulary - len(SPECIAL_WORDS))
    lengths = np.clip(np.round(random.normal(8.5, 2.2, len(ranks))), 5, min(20, max_characters - 2)).astype(np.int64)
    lengths[:SHORT] = 1 + (ranks[:SHORT] >= 26) + (ranks[:SHORT] >= 26 + 26**2)
    special = [word.encode() + b"\n" for word in SPECIAL_WORDS]
    starts = np.concatenate([[0], np.cumsum([*map(len, special), *(lengths + 1)])])
    spelled = LETTERS[random.integers(0, 26, starts[-1])]
    begins = starts[len(special) : -1]
    for place in range(5):
        there = lengths > place
        there[:SHORT] &= place < lengths[:SHORT]
        spelled[begins[there] + place] = LETTERS[_digits(ranks)[there] // 26**place % 26]
    spelled[starts[1:] - 1] = ord("\n")
    spelled[: starts[len(special)]] = np.frombuffer(b"".join(special), dtype=np.uint8)
    return SpelledWords(spelled, starts, max_characters)


def _digits(ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count short words anew for each length, so that all of a length differ."""
    numbers = ranks.copy()
    numbers[26:] -= 26
    numbers[26 + 26**2 :] -= 26**2
    numbers[SHORT:] = ranks[SHORT:]
    return numbers
