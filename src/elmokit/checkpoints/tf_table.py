"""The table file of TensorFlow's bundles (LevelDB's format): sorted keys → values, and the protocol buffers in them.

    file      blocks, then a footer of 48 bytes: where the index block lies, and a magic number
    block     entries, restart points, their number; after it one byte (0: not compressed) and the masked CRC-32C of both
    entry     how many bytes it shares with the key before, how many follow, the value's length; then key's rest and value
    index     the same kind of block: a key at or after the last of each block → where that block lies

Numbers are varints: seven bits a byte, the lowest first. A file may be anything, so every length is compared with what
is left of the file before a byte is taken, and each error names the place.
"""

import struct
from typing import Final

from elmokit.checkpoints.crc32c import crc32c, unmasked
from elmokit.errors import FormatError

_FOOTER: Final = 48
_MAGIC: Final = 0xDB4775248B80FB57
_TRAILER: Final = 5
_MOST_BYTES: Final = 2**24
"""A real index has some kilobytes."""
_LONGEST_KEY: Final = 1024
_MOST_ENTRIES: Final = 100_000
"""A biLM with its optimizer has some hundred variables."""

Fields = dict[int, list[int | bytes]]
"""A protocol buffer's fields by number: numbers, or the bytes of strings and messages."""


def read_table(data: bytes, origin: str) -> dict[bytes, bytes]:
    """Give all entries of a table.

    Args:
        data: The whole file.
        origin: Its name, for messages.

    Raises:
        FormatError: The file and the byte where it is damaged, cut short or compressed.
    """
    if len(data) > _MOST_BYTES:
        raise FormatError(f"{origin}: {len(data):,} bytes, no index of a checkpoint is larger than {_MOST_BYTES:,}")
    footer = len(data) - _FOOTER
    if footer < 0 or struct.unpack_from("<Q", data, len(data) - 8)[0] != _MAGIC:
        raise FormatError(f"{origin}: no index of a TensorFlow checkpoint (V2), or cut short: its last 8 bytes are wrong")
    try:
        _, _, place = _handle(data, footer)  # of the metaindex, which nothing needs
        start, size, _ = _handle(data, place)
    except _DamagedError as damage:
        raise FormatError(f"{origin}, {damage}") from damage
    entries: dict[bytes, bytes] = {}
    last, end = None, 0
    for value in _block(data, start, size, origin).values():
        try:
            start, size, _ = _handle(value, 0)
        except _DamagedError as damage:
            raise FormatError(f"{origin}, in the index block: {damage}") from damage
        if start < end:  # so that no byte is read twice, however often the index names it
            raise FormatError(f"{origin}, byte {start}: this block begins before the end of the one before it, byte {end}")
        block, end = _block(data, start, size, origin), start + size + _TRAILER
        if not block:
            raise FormatError(f"{origin}, byte {start}: a block without entries, which TensorFlow never writes")
        if last is not None and next(iter(block)) <= last:
            raise FormatError(f"{origin}, byte {start}: the keys of this block are not in order")
        last = next(reversed(block))
        entries |= block
        if len(entries) > _MOST_ENTRIES:
            raise FormatError(f"{origin}: more than {_MOST_ENTRIES:,} entries, no checkpoint of a model has so many")
    return entries


def read_fields(message: bytes) -> Fields:
    """Take a protocol buffer apart; what its fields mean is the caller's to know.

    Raises:
        ValueError: The byte where it is damaged.
    """
    fields: Fields = {}
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        value: int | bytes
        if kind == 0:
            value, place = _varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            taken, place = _take(message, place, size)
            value = int.from_bytes(taken, "little")
        elif kind == 2:
            size, place = _varint(message, place)
            value, place = _take(message, place, size)
        else:
            raise _DamagedError(place, f"fields of kind {kind} do not exist")
        fields.setdefault(key >> 3, []).append(value)
    return fields


class _DamagedError(ValueError):
    """A place and what is wrong there."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(f"byte {place}: {message}")


def _handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Read where a block lies: its first byte, its size, and the place after these two numbers."""
    start, place = _varint(data, place)
    size, place = _varint(data, place)
    return start, size, place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number below 2^64; gives it and the place after it."""
    value = 0
    for i in range(10):
        if place + i >= len(data):
            raise _DamagedError(place, "a number is cut short")
        value |= (data[place + i] & 0x7F) << 7 * i
        if data[place + i] < 0x80:
            if value >= 2**64:
                break
            return value, place + i + 1
    raise _DamagedError(place, "a number has more than 64 bits")


def _take(data: bytes, place: int, size: int) -> tuple[bytes, int]:
    """Take so many bytes, and give the place after them."""
    if size > len(data) - place:
        raise _DamagedError(place, f"{size:,} bytes announced, {len(data) - place:,} are left")
    return data[place : place + size], place + size


def _block(data: bytes, start: int, size: int, origin: str) -> dict[bytes, bytes]:
    """Check a block and give its entries."""
    if start + size + _TRAILER > len(data) - _FOOTER:
        raise FormatError(f"{origin}, byte {start}: a block of {size:,} bytes goes beyond the end; is the file cut short?")
    kind, stored = struct.unpack_from("<BI", data, start + size)
    if crc32c(data[start : start + size + 1]) != unmasked(stored):
        raise FormatError(f"{origin}, byte {start}: damaged, the CRC-32C of this block is wrong; fetch the file again")
    if kind:
        raise FormatError(f"{origin}, byte {start}: the block is compressed (kind {kind}), which TensorFlow never writes")
    try:
        return _entries(data[start : start + size])
    except _DamagedError as damage:
        raise FormatError(f"{origin}, in the block at byte {start}: {damage}") from damage


def _entries(block: bytes) -> dict[bytes, bytes]:
    """Read the entries of a block; the restart points, which serve searching, are skipped."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise _DamagedError(max(len(block) - 4, 0), f"{restarts:,} restart points do not fit")
    entries: dict[bytes, bytes] = {}
    key, place = b"", 0
    while place < end:
        entry = place
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        size, place = _varint(block, place)
        if shared > len(key) or shared + own > _LONGEST_KEY or own + size > end - place or len(entries) > _MOST_ENTRIES:
            raise _DamagedError(entry, "an entry of impossible lengths, or one too many")
        rest, place = _take(block, place, own)
        if entries and key[:shared] + rest <= key:
            raise _DamagedError(entry, "the keys are not in order")
        key = key[:shared] + rest
        entries[key], place = _take(block, place, size)
    return entries
