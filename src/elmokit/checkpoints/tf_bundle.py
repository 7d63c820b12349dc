"""A TensorFlow checkpoint (Saver V2, "tensor bundle") read without TensorFlow: names → arrays.

    PREFIX.index                      a table: "" → header, each variable's name → type, shape, shard, place, size, CRC-32C
    PREFIX.data-00000-of-00001 …      the shards: the variables' numbers, little-endian, one after the other

The index is read at once. A variable is mapped into memory, not read, when it is asked for; its CRC-32C is checked then.
"""

import re
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elmokit.checkpoints.crc32c import crc32c, unmasked
from elmokit.checkpoints.packed import AnyPath
from elmokit.checkpoints.tf_table import Fields, read_fields, read_table
from elmokit.errors import FormatError

INDEX_SUFFIX: Final = ".index"
FLOATS: Final = {1: "<f4", 2: "<f8", 19: "<f2"}
"""TensorFlow's numbers for the types that weights have."""
_SHARD = re.compile(r"\.data-\d{5}-of-\d{5}")


class Variable(NamedTuple):
    """Where a variable stands, and what it is."""

    dtype: int
    """TensorFlow's number of its type."""
    shape: tuple[int, ...]
    """Its shape."""
    shard: int
    """The data file that holds it."""
    offset: int
    """Its first byte there."""
    size: int
    """Its bytes."""
    crc: int
    """Their CRC-32C, masked."""
    in_slices: bool
    """Whether it is stored in slices, as partitioned variables are."""


class Bundle:
    """All variables of a checkpoint.

    Args:
        index: The file that ends in `.index`; the data files lie beside it.

    Raises:
        ValueError: There is no such file.
        FormatError: The file and the byte or variable where it is damaged, cut short or of another kind.
    """

    def __init__(self, index: AnyPath) -> None:
        self.index = index
        if not index.is_file():
            raise ValueError(f"{index}: no such file, expected the index of a TensorFlow checkpoint")
        entries = read_table(index.read_bytes(), str(index))
        self._shards: dict[int, NDArray[np.uint8]] = {}
        self.number_of_shards = self._read_header(entries.pop(b"", None))
        self.variables = {self._name(key): self._variable(key, value) for key, value in entries.items()}
        """What is known of each variable, by name."""

    def read(self, name: str) -> NDArray[Any]:
        """Give a variable's numbers: a view of the mapped file, whose changes never reach the disk.

        Raises:
            FormatError: The data file and the byte where it is damaged or cut short; or the variable is no array of floats.
        """
        variable = self.variables[name]
        if variable.in_slices:
            raise FormatError(f"{self.index}: variable {name} is stored in slices, as partitioned variables are; not supported")
        dtype = np.dtype(FLOATS.get(variable.dtype, "V"))
        if not dtype.itemsize:
            raise FormatError(f"{self.index}: variable {name} is of TensorFlow's type {variable.dtype}, expected floats")
        path = self._shard_path(variable.shard)
        shard = self._shard(variable.shard, path)
        data = shard[variable.offset : variable.offset + variable.size]
        if len(data) != variable.size:
            raise FormatError(
                f"{path}, byte {variable.offset:,}: variable {name} should have {variable.size:,} bytes, "
                f"{len(data):,} are there; is the file cut short?"
            )
        if crc32c(data) != unmasked(variable.crc):
            raise FormatError(
                f"{path}, byte {variable.offset:,}: damaged, the CRC-32C of variable {name} is wrong; fetch it again"
            )
        return data.view(dtype).reshape(variable.shape)

    def _read_header(self, value: bytes | None) -> int:
        """Check the header; gives the number of shards."""
        if value is None:
            raise FormatError(f"{self.index}: no header, this is no index of a TensorFlow checkpoint")
        fields = self._fields(value, "the header")
        if self._number(fields, 2, "the header"):
            raise FormatError(f"{self.index}: numbers stand in big-endian order, which is not supported")
        number = self._number(fields, 1, "the header")
        if not 1 <= number <= 99_999:
            raise FormatError(f"{self.index}: the header names {number} data files")
        return number

    def _name(self, key: bytes) -> str:
        """Read a variable's name."""
        try:
            return key.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"{self.index}: the name of a variable is not UTF-8: {key[:60]!r}") from error

    def _variable(self, key: bytes, value: bytes) -> Variable:
        """Read one entry."""
        of = f"variable {key.decode('utf-8', 'replace')}"
        fields = self._fields(value, of)
        shape = [
            self._number(self._fields(dim, of), 1, of)
            for message in self._messages(fields, 2, of)
            for dim in self._messages(self._fields(message, of), 2, of)
        ]
        dtype, shard, offset, size, crc = (self._number(fields, number, of) for number in (1, 3, 4, 5, 6))
        if shard >= self.number_of_shards:
            raise FormatError(f"{self.index}: {of} stands in data file {shard} of {self.number_of_shards}")
        if len(shape) > 8 or max([*shape, offset, size]) >= 2**63:  # NumPy's own limits are below
            raise FormatError(f"{self.index}: {of} has an impossible shape or size")
        in_slices, itemsize = 7 in fields, np.dtype(FLOATS.get(dtype, "V")).itemsize
        if itemsize and not in_slices and prod(shape) * itemsize != size:
            raise FormatError(f"{self.index}: {of} of shape {tuple(shape)} cannot have {size:,} bytes")
        return Variable(dtype, tuple(shape), shard, offset, size, crc, in_slices)

    def _fields(self, message: bytes, of: str) -> Fields:
        try:
            return read_fields(message)
        except ValueError as error:
            raise FormatError(f"{self.index}, {of}: {error}; is the file damaged?") from error

    def _number(self, fields: Fields, field: int, of: str) -> int:
        """A field that is a number; 0 where it is absent, as protocol buffers have it."""
        value = fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise FormatError(f"{self.index}, {of}: field {field} is no number; is the file damaged?")
        return value

    def _messages(self, fields: Fields, field: int, of: str) -> list[bytes]:
        """A field that is a message, as often as it is there."""
        values = fields.get(field, [])
        messages = [value for value in values if isinstance(value, bytes)]
        if len(messages) != len(values):
            raise FormatError(f"{self.index}, {of}: field {field} is no message; is the file damaged?")
        return messages

    def _shard_path(self, number: int) -> AnyPath:
        """The name of a data file."""
        name = self.index.name.removesuffix(INDEX_SUFFIX)
        return self.index.parent / f"{name}.data-{number:05d}-of-{self.number_of_shards:05d}"

    def _shard(self, number: int, path: AnyPath) -> NDArray[np.uint8]:
        """A data file, mapped or, inside an archive, read."""
        if number not in self._shards:
            if not path.is_file():
                raise FormatError(f"{path}: missing, though {self.index.name} needs it; fetch all files of the checkpoint")
            self._shards[number] = _bytes_of(path)
        return self._shards[number]


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a data file."""
    return _SHARD.search(name) is not None


def _bytes_of(path: AnyPath) -> NDArray[np.uint8]:
    """The bytes of a file: mapped copy-on-write, so that nobody can change the file through them."""
    if not isinstance(path, Path):
        return np.frombuffer(path.read_bytes(), np.uint8)
    return np.memmap(path, np.uint8, "c") if path.stat().st_size else np.empty(0, np.uint8)
