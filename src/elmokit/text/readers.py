"""How a model reads words: each as a row of ids, made of one part or of two.

    bytes                      the published models (`elmokit.text.bytes`): most of this house
    a word's id                bilm-tf's models that read whole words
    its id and its characters  ELMoForManyLangs; or its code points alone

U distinct words, W places for the characters of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from elmokit.config import BiLMConfig
from elmokit.text.bytes import encode_words
from elmokit.text.tables import CharacterTable, WordTable

WordIds = NDArray[np.integer[Any]]
"""Rows of ids: int16 for bytes, int32 for tables."""


@dataclass(frozen=True)
class ByteReader:
    """A word is its bytes in UTF-8."""

    max_characters: int = 50
    """W, places for each word with its two marks; 3 or more."""

    def rows(self, words: Sequence[str]) -> NDArray[np.int16]:
        """Give the character ids of each word, (U, W); see `encode_words`."""
        return encode_words(words, self.max_characters)


@dataclass(frozen=True)
class WordReader:
    """Words → what `BiLM.words` takes. It can be pickled."""

    characters: ByteReader | CharacterTable | None = ByteReader()
    """What reads a word's characters, if anything does."""
    words: WordTable | None = None
    """What looks up the word itself, if anything does."""

    def __call__(self, words: Sequence[str]) -> WordIds:
        """Give a row for each word: its id if it has one in a table, then its characters if they are read."""
        parts = [reader.rows(words) for reader in (self.words, self.characters) if reader is not None]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


BYTES: Final = WordReader()
"""The reader of the published models."""


def word_reader(config: BiLMConfig, words: WordTable | None = None, characters: CharacterTable | None = None) -> WordReader:
    """Give the reader of a model.

    Args:
        config: The model's.
        words: The table that came with it, if it looks up words.
        characters: The table that came with it, if it reads code points.

    Raises:
        ValueError: A table that it needs is not there.
    """
    if config.word_table is not None and words is None:
        raise ValueError("this model looks up whole words, and the table of these words is not there")
    if config.char_cnn is None:
        return WordReader(None, words)
    if config.char_cnn.code_points is None:
        return WordReader(ByteReader(config.char_cnn.max_characters), words)
    if characters is None:
        raise ValueError("this model reads code points, and the table of these is not there")
    return WordReader(characters, words)
