"""Words ↔ ids where every word gets an id of its own: a vocabulary that grows while text is read."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elmokit.text.readers import BYTES, WordIds, WordReader
from elmokit.text.vocabulary import Vocabulary


class Lexicon:
    """All words of a vocabulary with their ids, then every other word in the order met.

    The character CNN reads any word, so a word outside the vocabulary keeps its spelling as an input; only as a target
    it is `<UNK>`. (A model that looks words up takes it for `<UNK>` there too.)

    Args:
        vocabulary: Its words keep their ids.
        reader: How the model reads words.
    """

    def __init__(self, vocabulary: Vocabulary, reader: WordReader = BYTES) -> None:
        self.words = list(vocabulary.words)
        self.reader = reader
        self._id_of = {word: i for i, word in enumerate(self.words)}

    def ids(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Give the id of each word, new ones to new words."""
        ids = []
        for word in words:
            number = self._id_of.get(word)
            if number is None:
                number = self._id_of[word] = len(self.words)
                self.words.append(word)
            ids.append(number)
        return np.array(ids, dtype=np.int64)

    def characters(self, ids_U: NDArray[np.int64]) -> WordIds:
        """Give chars_UW of the words with these ids."""
        return self.reader([self.words[i] for i in ids_U])
