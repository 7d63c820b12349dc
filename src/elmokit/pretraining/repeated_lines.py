"""How many lines of a text have been met before: a Bloom filter (Bloom 1970), whose size does not depend on the text."""

import numpy as np
from numpy.typing import NDArray

BITS_AT_MOST = 1 << 29
"""64 MiB: one line in a hundred is taken for a repeated one by mistake after 60 million lines, and that share is taken off."""
BITS_AT_LEAST = 1 << 16
PROBES = 4


def bits_for(size: int | None) -> int:
    """Give the size of the filter for a text of so many bytes, packed or not: 25 bits a line or more; None: of any size."""
    if size is None:
        return BITS_AT_MOST
    return min(max(1 << size.bit_length(), BITS_AT_LEAST), BITS_AT_MOST)


class RepeatedLines:
    """Estimates repeats; lines are given as hashes of 64 bits.

    Args:
        bits: Size of the filter, a power of two, at least 8.
    """

    def __init__(self, bits: int = BITS_AT_MOST) -> None:
        self.bits = np.zeros(bits // 8, dtype=np.uint8)
        self.set = 0
        """Bits that are set."""
        self.repeated = 0.0
        """Repeated lines so far, estimated."""

    def add(self, lines: NDArray[np.uint64]) -> None:
        """Count the lines that were met before, and remember the others."""
        distinct, times = np.unique(lines, return_counts=True)
        size = np.uint64(8 * len(self.bits))
        step = (distinct >> np.uint64(32)) | np.uint64(1)
        places = [(distinct + np.uint64(probe) * step) % size for probe in range(PROBES)]
        known = np.ones(len(distinct), dtype=bool)
        for place in places:
            known &= (self.bits[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8)) & 1 == 1
        by_mistake = (self.set / float(size)) ** PROBES
        seen = max(0.0, (known.sum() - by_mistake * len(distinct)) / (1 - by_mistake)) if by_mistake < 1 else 0.0
        self.repeated += seen + float((times - 1).sum())
        new = np.unique(np.concatenate(places)) if places else np.empty(0, np.uint64)
        fresh = new[(self.bits[new >> np.uint64(3)] >> (new & np.uint64(7)).astype(np.uint8)) & 1 == 0]
        np.bitwise_or.at(self.bits, fresh >> np.uint64(3), (np.uint8(1) << (fresh & np.uint64(7)).astype(np.uint8)))
        self.set += len(fresh)
