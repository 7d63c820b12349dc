"""Words ↔ provisional ids while a corpus is read, in bounded memory; renumbered by frequency when all is read.

Spellings go to the disk at once. Of the dictionary in memory only the more frequent half stays when it is full, so that a rare
word may get another provisional id when it comes again: at the end the ids of one spelling are joined, and counts are exact.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.text.vocabulary import SPECIAL_WORDS

WORDS_AT_MOST = 1_000_000
"""Words in memory: about 200 MB."""


class GrowingWords:
    """Gives words provisional ids; those of `SPECIAL_WORDS` are final.

    Args:
        folder: Where spellings, their lengths and their hashes are written, raw.
        count: Ids given before, by an interrupted reading.
        most: Words in memory.
    """

    FILES = ("words.raw", "lengths.raw", "hashes.raw")

    def __init__(self, folder: Path, count: int = 0, most: int = WORDS_AT_MOST) -> None:
        self.count = count
        """Ids given so far."""
        self.most = most
        self._files = [(folder / name).open("ab") for name in self.FILES]
        self._id_of = {word: number for number, word in enumerate(SPECIAL_WORDS)}
        self._seen = dict.fromkeys(self._id_of, 0)
        if not count:
            self._write(list(SPECIAL_WORDS))

    def ids(self, words: Sequence[str], times: NDArray[np.int64]) -> NDArray[np.int32]:
        """Give the ids of distinct words that were met so many times."""
        new = [word for word in words if word not in self._id_of]
        self._id_of.update(zip(new, range(self.count, self.count + len(new)), strict=True))
        self._write(new)
        ids = np.fromiter(map(self._id_of.__getitem__, words), np.int32, len(words))
        seen = self._seen
        for word, number in zip(words, times.tolist(), strict=True):
            seen[word] = seen.get(word, 0) + number
        if len(self._id_of) > self.most:
            self._forget()
        return ids

    def flush(self) -> None:
        """Hand all to the operating system."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _write(self, words: list[str]) -> None:
        """Write new spellings."""
        spelled = [word.encode("utf-8", "surrogatepass") for word in words]
        lengths = np.fromiter(map(len, spelled), np.int32, len(spelled))
        hashes = b"".join([blake2b(word, digest_size=8).digest() for word in spelled])
        for file, content in zip(self._files, (b"".join(spelled), lengths.tobytes(), hashes), strict=True):
            file.write(content)
        self.count += len(words)

    def _forget(self) -> None:
        """Keep the more frequent half."""
        bound = int(np.median(np.fromiter(self._seen.values(), np.int64, len(self._seen))))
        kept = [word for word, number in self._seen.items() if number > bound][: self.most // 2]
        kept = [*SPECIAL_WORDS, *(word for word in kept if word not in SPECIAL_WORDS)]
        self._id_of = {word: self._id_of[word] for word in kept}
        self._seen = {word: self._seen[word] for word in kept}


class Order(NamedTuple):
    """The final order of all words."""

    new_id_N: NDArray[np.int32]
    """Of each provisional id: its final one."""
    first_N: NDArray[np.int64]
    """Of each final id: a provisional one with the same spelling, the first."""
    counts_N: NDArray[np.int64]
    """Of each final id: how often it occurs in the training text."""


def by_frequency(hashes_N: NDArray[np.uint64], counts_N: NDArray[np.int64]) -> Order:
    """Join the provisional ids of each spelling, and sort by falling frequency, equally frequent ones as first met.

    Two spellings are told apart by 64 bits of a hash: among ten million words two are alike with a chance of 3 in a million.

    Args:
        hashes_N: Of the spelling of each provisional id.
        counts_N: How often each occurs.
    """
    order_N = np.argsort(hashes_N, kind="stable")  # of one spelling the first id stands first
    starts_M = np.flatnonzero(np.diff(hashes_N[order_N], prepend=hashes_N[order_N[:1]] + np.uint64(1)))
    first_M, total_M = order_N[starts_M], np.add.reduceat(counts_N[order_N], starts_M)
    special_M = first_M < len(SPECIAL_WORDS)
    rank_M = np.lexsort((first_M, np.where(special_M, 0, -total_M), ~special_M))
    place_M = np.empty_like(rank_M)
    place_M[rank_M] = np.arange(len(rank_M))
    new_id_N = np.empty(len(order_N), dtype=np.int32)
    new_id_N[order_N] = np.repeat(place_M, np.diff(starts_M, append=len(order_N)))
    return Order(new_id_N, first_M[rank_M], total_M[rank_M])
