"""CRC-32C, the checksum of TensorFlow's files, at the speed of memory and without a library.

A CRC is the remainder of the message, read as a polynomial over {0, 1}, by a fixed polynomial of degree 32. So nothing
changes when any multiple of that polynomial is subtracted from the message. This one has four terms only, all at whole
bytes (found by trying; x is one bit):

    x^(8·28692) + x^(8·513) + x^(8·164) + 1

A block at the front is thus taken away by XORing it into the bytes that follow at three places, which NumPy does for
28 KB at a time: so fast that an optional library would save nothing that a user notices. The last few bytes go through
the usual table.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL: Final = 0x82F63B78
_FAR, _MIDDLE, _NEAR = 28692, 513, 164
_BLOCK: Final = _FAR - _MIDDLE
"""Bytes folded at once: no more, or a block would be folded into itself."""


def crc32c(data: bytes | NDArray[Any]) -> int:
    """Give the CRC-32C (Castagnoli) of some bytes, as RFC 3720 defines it.

    Args:
        data: Bytes, or a contiguous array, which is not copied.
    """
    message = np.frombuffer(data, np.uint8)
    if len(message) < _FAR + _BLOCK:
        return _bytewise(message.tobytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF
    ahead = np.zeros(_FAR, np.uint8)  # what was folded onto the bytes from `start` on
    ahead[:4] = 0xFF  # the initial value is the same as inverting the first four bytes
    start = 0
    while len(message) - start >= _FAR + _BLOCK:
        block = ahead[:_BLOCK] ^ message[start : start + _BLOCK]
        ahead[:_MIDDLE] = ahead[_BLOCK:]
        ahead[_MIDDLE:] = 0
        for place in (0, _MIDDLE - _NEAR, _MIDDLE):
            ahead[place : place + _BLOCK] ^= block
        start += _BLOCK
    rest = message[start:].copy()
    rest[:_FAR] ^= ahead
    return _bytewise(rest.tobytes(), 0) ^ 0xFFFFFFFF


def unmasked(stored: int) -> int:
    """Undo what TensorFlow does to a CRC before storing it, so that a CRC of data that holds CRCs is no trivial one."""
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _bytewise(data: bytes, crc: int) -> int:
    """Move a CRC over bytes, one at a time."""
    table: list[int] = _table().tolist()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _table() -> NDArray[Any]:
    """The CRC of each byte alone."""
    table: NDArray[Any] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ (table & 1) * np.uint32(_POLYNOMIAL)
    return table
