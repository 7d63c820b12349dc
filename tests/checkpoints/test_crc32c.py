"""CRC-32C: the published examples, and the fast way against the slow one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.checkpoints.crc32c import crc32c, unmasked


def slow(data: bytes) -> int:
    """Bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_examples_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@pytest.mark.parametrize("size", [56870, 56871, 56872, 85050, 85051, 200_003])
def test_long_messages(size: int) -> None:
    """Where none, one and several blocks are folded."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc32c(data) == slow(data)


@given(position=st.integers(0, 299_999), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, change: int) -> None:
    data = np.arange(300_000, dtype=np.uint32).astype(np.uint8)
    before = crc32c(data)
    data[position] ^= change
    assert crc32c(data) != before


def test_arrays_of_numbers() -> None:
    array = np.arange(100_000, dtype=np.float32)
    assert crc32c(array.view(np.uint8)) == crc32c(array) == crc32c(array.tobytes())


@given(st.integers(0, 2**32 - 1))
def test_masks_come_off(crc: int) -> None:
    assert unmasked(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF) == crc
