"""The order in which training reads sentences: anew at every pass, and known again after a restart."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from elmokit.pretraining.corpus import Shard


class EndlessSentences:
    """Sentences pass after pass, without end.

    The order of a pass depends on the seed and the pass alone, so two numbers say where reading stands.

    Args:
        shard: The sentences.
        seed: Of the order.
        shuffle: Whether each pass has an order of its own; else all are in file order.
    """

    def __init__(self, shard: Shard, seed: int, shuffle: bool = True) -> None:
        self.shard = shard
        self.seed = seed
        self.shuffle = shuffle
        self.finished_passes = 0
        self.position = 0
        self._order = self._order_of(0)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Give itself."""
        return self

    def __next__(self) -> NDArray[np.int64]:
        """Give the next sentence."""
        if self.position == len(self.shard):
            self.move_to(self.finished_passes + 1, 0)
        self.position += 1
        return self.shard[int(self._order[self.position - 1])]

    @property
    def passes(self) -> float:
        """Passes done, the present one in part."""
        return self.finished_passes + self.position / len(self.shard)

    def move_to(self, finished_passes: int, position: int) -> None:
        """Go on from a place that was noted before."""
        self.finished_passes, self.position = finished_passes, position
        self._order = self._order_of(finished_passes)

    def _order_of(self, number: int) -> NDArray[np.int64]:
        """Draw the order of one pass."""
        if not self.shuffle:
            return np.arange(len(self.shard))
        return np.random.default_rng([self.seed, number]).permutation(len(self.shard))
