"""All words of a corpus with their spellings, mapped into memory: words are read and encoded as they are asked for.

Shapes: N words, U words asked for, W places for a word's characters.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from elmokit.text.bytes import BOS_CHARACTER, BOW, EOS_CHARACTER, EOW, PAD
from elmokit.text.vocabulary import BOS_ID, EOS_ID

_AT_A_TIME = 1 << 20


class SpelledWords:
    """Words by id.

    Args:
        spelled: Their bytes in UTF-8, one after the other, each with a line feed.
        starts: Where each begins, and the end; N + 1.
        max_characters: W of the models that read them.
    """

    def __init__(self, spelled: NDArray[np.uint8], starts: NDArray[np.int64], max_characters: int) -> None:
        self.spelled = spelled
        self.starts = starts
        self.max_characters = max_characters

    def __len__(self) -> int:
        """N."""
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> str:
        """Give a word."""
        word: bytes = self.spelled[self.starts[number] : self.starts[number + 1] - 1].tobytes()
        return word.decode("utf-8", "surrogatepass")

    def first(self, number: int) -> tuple[str, ...]:
        """Give the first words."""
        return tuple(self[i] for i in range(min(number, len(self))))

    def characters(self, ids_U: NDArray[np.int64]) -> NDArray[np.int16]:
        """Give chars_UW as `elmokit.text.bytes.encode_words` does."""
        room = self.max_characters - 2
        starts_U = self.starts[ids_U]
        lengths_U = np.minimum(self.starts[ids_U + 1] - 1 - starts_U, room)
        places_W = np.arange(room)
        inside_UW = places_W < lengths_U[:, None]
        read_UW = self.spelled[np.where(inside_UW, starts_U[:, None] + places_W, 0)]
        chars_UW = np.full((len(ids_U), self.max_characters), PAD, np.int16)
        chars_UW[:, 0] = BOW
        chars_UW[:, 1:-1][inside_UW] = read_UW[inside_UW]
        chars_UW[np.arange(len(ids_U)), lengths_U + 1] = EOW
        for mark, character in ((BOS_ID, BOS_CHARACTER), (EOS_ID, EOS_CHARACTER)):
            marked = ids_U == mark
            chars_UW[marked] = PAD
            chars_UW[marked, :3] = BOW, character, EOW
        return chars_UW


def load_words(folder: Path, max_characters: int) -> SpelledWords:
    """Map `words.txt` and `words.starts.npy`.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged.
    """
    starts = np.load(folder / "words.starts.npy", mmap_mode="r")
    spelled = np.memmap(folder / "words.txt", dtype=np.uint8, mode="r")
    if len(spelled) != starts[-1]:
        raise ValueError(f"words.txt has {len(spelled)} bytes, not {starts[-1]}")
    return SpelledWords(spelled, starts, max_characters)


def write_words(folder: Path, spelled: NDArray[np.uint8], lengths_N: NDArray[np.int32], first_N: NDArray[np.int64]) -> None:
    """Write words in their final order.

    Args:
        folder: Where.
        spelled: Bytes of all provisional words.
        lengths_N: Of each.
        first_N: Which of them the final words are, in order.
    """
    ends_N = np.cumsum(lengths_N, dtype=np.int64)
    starts = np.zeros(len(first_N) + 1, dtype=np.int64)
    np.cumsum(lengths_N[first_N] + 1, out=starts[1:])
    np.save(folder / "words.starts.npy", starts)
    with (folder / "words.txt").open("wb") as file:
        for begin in range(0, len(first_N), _AT_A_TIME):
            _write_part(file, spelled, ends_N, lengths_N, first_N[begin : begin + _AT_A_TIME])


def _write_part(
    file: BinaryIO,
    spelled: NDArray[np.uint8],
    ends_N: NDArray[np.int64],
    lengths_N: NDArray[np.int32],
    some_N: NDArray[np.int64],
) -> None:
    """Write some words, a line each."""
    lengths = lengths_N[some_N].astype(np.int64)
    targets = np.cumsum(lengths + 1) - (lengths + 1)
    inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    lines = np.full(int((lengths + 1).sum()), ord("\n"), dtype=np.uint8)
    lines[np.repeat(targets, lengths) + inside] = spelled[np.repeat(ends_N[some_N] - lengths, lengths) + inside]
    file.write(lines.tobytes())
