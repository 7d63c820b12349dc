"""The vocabulary of a bilm-tf training folder, and which row of the softmax belongs to each of its words.

bilm-tf finds `<S>`, `</S>` and `<UNK>` wherever they stand. Ours come first, so its words may stand in another order than
the rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.checkpoints.packed import AnyPath
from elmokit.checkpoints.word_lists import find_words
from elmokit.errors import FormatError
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary


class FoundVocabulary(NamedTuple):
    """The V words of a softmax."""

    vocabulary: Vocabulary
    """The words, the three special ones first."""
    rows_V: NDArray[np.int64]
    """The row of the softmax that belongs to each word."""
    ids: dict[str, int]
    """Each word's number in the file, which is its row."""


def find_vocabulary(folder: AnyPath, size: int) -> FoundVocabulary | None:
    """Look for the list of `size` words in a training folder, then in the folder above.

    Raises:
        FormatError: The file has so many words, but is no vocabulary: one is there twice, or a special one is missing.
    """
    found = find_words(folder, size) or find_words(folder.parent, size)
    if found is None:
        return None
    words, path = found
    ids = {word: row for row, word in enumerate(words)}
    for word in SPECIAL_WORDS:
        if word not in ids:
            raise FormatError(f"{path}: {word} is missing; a vocabulary of bilm-tf holds {' '.join(SPECIAL_WORDS)}")
    first = [ids[word] for word in SPECIAL_WORDS]
    rows = [*first, *(row for row in range(len(words)) if row not in first)]
    try:
        vocabulary = Vocabulary(tuple(words[row] for row in rows))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return FoundVocabulary(vocabulary, np.array(rows), ids)
