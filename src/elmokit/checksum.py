"""Whether a file is as it was: the CRC-32 of its content, which finds damage and change but no malice."""

import zlib
from pathlib import Path

_READ_AT_ONCE = 1 << 24


def checksum(path: Path) -> int:
    """Give the CRC-32 of a file, read piece by piece; about a gigabyte a second."""
    found = 0
    with path.open("rb") as file:
        while piece := file.read(_READ_AT_ONCE):
            found = zlib.crc32(piece, found)
    return found
