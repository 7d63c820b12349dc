"""State dicts that PyTorch pickled: names → tensors, by `torch.load(weights_only=True)` and nothing else.

PyTorch's unpickler builds tensors and plain containers alone, so that a file can run no code. What it does not do is
to doubt what a file claims; so before it runs, every number in the pickle is compared with the file's size, and in the
zip format the checksums are verified. Afterwards no tensor may be larger than the memory behind it: strides of 0 would
make gigabytes of a few bytes, once they are copied.
"""

import pickletools
import zipfile
from io import BytesIO

import torch
from torch import Tensor

from elmokit.checkpoints.packed import AnyPath
from elmokit.errors import FormatError

_ZIP = b"PK\3\4"
"""By these bytes PyTorch knows its zip format."""
_HEADERS = 3
"""Pickles before the one of interest in PyTorch's older format: a magic number, the version, the machine."""
_NAMES = 4
"""By how many names a tensor may go on the average: a task's model may use one module in several places."""


def load_state_dict(path: AnyPath) -> dict[str, Tensor]:
    """Read a pickled state dict onto the CPU.

    Args:
        path: A file that `torch.save` wrote, in its zip format or in the older one.

    Raises:
        ValueError: The file cannot be read.
        FormatError: It is damaged, or holds something else than tensors by name.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    size = len(data)
    try:
        stream = _checked(data)
        del data  # else a file would be twice in memory while it is read
        state = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle leads to errors of every kind
        # PyTorch's own words for what it refuses end in the advice to load it all the same.
        said = str(error).partition("\n")[0] or type(error).__name__
        reason = "it would run code or make objects" if "Weights only load failed" in said else said[:200]
        raise FormatError(f"{path}: no PyTorch file of tensors alone, or damaged or cut short ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FormatError(f"{path}: expected tensors by name (a state dict), found {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise FormatError(f"{path}: entry {name} is {type(tensor).__name__}, expected a tensor")
    _check_sizes(state, size, path)
    return dict(state)


def _check_sizes(state: dict[str, Tensor], size: int, path: AnyPath) -> None:
    """Refuse tensors that hold more numbers than there are in the file."""
    total = 0
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise FormatError(f"{path}: tensor {name} is {tensor.layout} on {tensor.device}, expected plain numbers")
        total += tensor.nbytes
        if tensor.nbytes > tensor.untyped_storage().nbytes() or total > _NAMES * size:
            raise FormatError(f"{path}: tensor {name} of shape {tuple(tensor.shape)} has more numbers than the file holds")


def _checked(data: bytes) -> BytesIO:
    """Give what PyTorch may read: the file, or its zip written anew from what was checked, for readers of zips differ.

    Raises:
        ValueError: What is wrong. Damage raises errors of many kinds.
    """
    if not data.startswith(_ZIP):
        stream = BytesIO(data)
        for _ in range(_HEADERS):
            for _ in pickletools.genops(stream):
                pass
        _check_numbers(stream, len(data))
        return BytesIO(data)
    written = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as file, zipfile.ZipFile(written, "w") as copy:
        members = file.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its zip is compressed, which PyTorch's never is")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("the zip claims to hold more than the file")
        names = [member.filename.lower() for member in members]  # PyTorch finds a member by its name in any case
        if len(set(names)) < len(names) or sum(name.endswith(".pkl") for name in names) != 1:
            raise ValueError("the zip holds a member twice, or not just one pickle")
        for member in members:
            content = file.read(member)  # compares the CRC-32
            if member.filename.lower().endswith(".pkl"):
                _check_numbers(BytesIO(content), len(data))
            copy.writestr(member.filename, content)
    written.seek(0)
    return written


def _check_numbers(stream: BytesIO, size: int) -> None:
    """Refuse a pickle in which any number (a size, a stride, a place) is larger than the file.

    Raises:
        ValueError: The number.
    """
    for opcode, number, _ in pickletools.genops(stream):
        if isinstance(number, int) and abs(number) > size:
            raise ValueError(f"the number {number} ({opcode.name}) is larger than the file's {size} bytes")
