"""The character code of every published ELMo: a word is its UTF-8 bytes between two marks, padded to one width.

    [BOW] + bytes + [EOW] + PAD …        "cat" → 258 99 97 116 259 260 260 …

N words, W places for each.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from elmokit.text.vocabulary import BOS, EOS

BOS_CHARACTER: Final = 256
EOS_CHARACTER: Final = 257
BOW: Final = 258
EOW: Final = 259
PAD: Final = 260
CHARACTERS: Final = 261
"""How many ids there are: 256 bytes and the five marks."""
_MARKS = {BOS: BOS_CHARACTER, EOS: EOS_CHARACTER}


def encode_words(words: Sequence[str], max_characters: int = 50) -> NDArray[np.int16]:
    """Turn words into character ids.

    What UTF-8 cannot hold (lone surrogates) is left out, so a word may become empty, which is valid. Long words are
    cut at `max_characters` - 2 bytes, even inside a character. The literal words `<S>` and `</S>` become the marks of
    a sentence's start and end.

    Args:
        words: N words, of any characters.
        max_characters: W, places for each word with its two marks; 3 or more.

    Returns:
        ids_NW, from 0 to 260. (HDF5 models add 1 at inference and use 0 for padding tokens; that is not done here.)

    Raises:
        ValueError: `max_characters` is below 3.
    """
    if max_characters < 3:
        raise ValueError(f"max_characters must be at least 3, not {max_characters}")
    room = max_characters - 2
    encoded = [word.encode("utf-8", "ignore")[:room] for word in words]
    lengths_N = np.fromiter(map(len, encoded), np.int64, len(encoded))
    bytes_all = np.frombuffer(b"".join(encoded), np.uint8)

    ids_NW = np.full((len(encoded), max_characters), PAD, np.int16)
    ids_flat = ids_NW.reshape(-1)
    rows_N = np.arange(len(encoded)) * max_characters
    starts_N = np.cumsum(lengths_N) - lengths_N
    # Byte k of word n goes to n·W + 1 + k: its place among all bytes, moved by one distance for the whole word.
    ids_flat[np.arange(len(bytes_all)) + np.repeat(rows_N + 1 - starts_N, lengths_N)] = bytes_all
    ids_NW[:, 0] = BOW
    ids_flat[rows_N + 1 + lengths_N] = EOW

    for word, character in _MARKS.items():
        if word in words:
            ids_NW[[n for n, other in enumerate(words) if other == word]] = _mark(character, max_characters)
    return ids_NW


def _mark(character: int, max_characters: int) -> NDArray[np.int16]:
    """The row of a sentence mark."""
    row_W = np.full(max_characters, PAD, np.int16)
    row_W[:3] = BOW, character, EOW
    return row_W
