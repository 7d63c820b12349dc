"""A corpus whose words go by the ids of a vocabulary that it did not choose: that of a model which is tuned on it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from elmokit.pretraining.corpus import Corpus, Shard
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.vocabulary import Vocabulary

_AT_A_TIME = 1 << 16


def with_vocabulary(corpus: Corpus, vocabulary: Vocabulary) -> Corpus:
    """Give the words of a vocabulary its ids, and all others those that follow, by falling frequency as before.

    The corpus on the disk stays as it is. In memory it takes the words' bytes once more, and an id for each.
    """
    own = corpus.words
    spelled = [word.encode("utf-8", "surrogatepass") for word in vocabulary.words]
    id_of = {word: number for number, word in enumerate(spelled)}
    known_N = np.fromiter((id_of.get(word, -1) for word in _words(own)), np.int32, len(own))
    other_N = known_N < 0
    new_ids_N = np.where(other_N, len(vocabulary) - 1 + np.cumsum(other_N, dtype=np.int32), known_N)
    lengths_N = np.diff(own.starts)
    lengths = np.concatenate([[len(word) + 1 for word in spelled], lengths_N[other_N]])
    beginning = np.frombuffer(b"".join(word + b"\n" for word in spelled), np.uint8)
    words = SpelledWords(
        np.concatenate([beginning, own.spelled[np.repeat(other_N, lengths_N)]]),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        own.max_characters,
    )
    train, heldout = (Shard(shard.tokens, shard.starts, new_ids_N) for shard in (corpus.train, corpus.heldout))
    return replace(corpus, words=words, train=train, heldout=heldout, vocabulary_size=len(vocabulary))


def _words(words: SpelledWords) -> Iterator[bytes]:
    """Give all words, read some at a time: there may be tens of millions; none holds a line feed."""
    for begin in range(0, len(words), _AT_A_TIME):
        end = min(begin + _AT_A_TIME, len(words))
        yield from bytes(words.spelled[words.starts[begin] : words.starts[end]]).split(b"\n")[:-1]
