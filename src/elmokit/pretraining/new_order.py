"""A corpus whose words go by the ids of a vocabulary that it did not choose: that of a model which is tuned on it."""

from dataclasses import replace

import numpy as np

from elmokit.pretraining.corpus import Corpus, Shard
from elmokit.pretraining.spelled_words import SpelledWords
from elmokit.text.vocabulary import Vocabulary


def with_vocabulary(corpus: Corpus, vocabulary: Vocabulary) -> Corpus:
    """Give the words of a vocabulary its ids, and all others those that follow, by falling frequency as before.

    The corpus on the disk stays as it is.
    """
    spelled = bytes(corpus.words.spelled).split(b"\n")[:-1]
    assert len(spelled) == len(corpus.words), "no word holds a line feed"
    id_of = {word.encode("utf-8", "surrogatepass"): i for i, word in enumerate(vocabulary.words)}
    for word in spelled:
        id_of.setdefault(word, len(id_of))
    new_ids_N = np.fromiter(map(id_of.__getitem__, spelled), np.int32, len(spelled))
    starts = np.zeros(len(id_of) + 1, dtype=np.int64)
    np.cumsum([len(word) + 1 for word in id_of], out=starts[1:])
    words = SpelledWords(np.frombuffer(b"\n".join(id_of) + b"\n", np.uint8), starts, corpus.words.max_characters)
    train, heldout = (Shard(shard.tokens, shard.starts, new_ids_N) for shard in (corpus.train, corpus.heldout))
    return replace(corpus, words=words, train=train, heldout=heldout, vocabulary_size=len(vocabulary))
