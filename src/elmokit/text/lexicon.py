"""Words ↔ ids where every word gets an id of its own: a vocabulary that grows while text is read."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elmokit.text.bytes import encode_words
from elmokit.text.vocabulary import Vocabulary


class Lexicon:
    """All words of a vocabulary with their ids, then every other word in the order met.

    The character CNN reads any word, so a word outside the vocabulary keeps its spelling as an input; only as a target
    it is `<UNK>`.

    Args:
        vocabulary: Its words keep their ids.
        max_characters: Places for a word's characters.
    """

    def __init__(self, vocabulary: Vocabulary, max_characters: int = 50) -> None:
        self.words = list(vocabulary.words)
        self.max_characters = max_characters
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

    def characters(self, ids_U: NDArray[np.int64]) -> NDArray[np.int16]:
        """Give chars_UW of the words with these ids."""
        return encode_words([self.words[i] for i in ids_U], self.max_characters)
