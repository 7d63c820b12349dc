"""State dicts that PyTorch pickled: names → tensors, by `torch.load(weights_only=True)` and nothing else.

PyTorch's unpickler builds tensors and plain containers alone, so that a file can run no code. What it does not do is
to doubt the sizes that a file claims; so before it runs, every number in the pickle is compared with the file's size.
"""

import pickletools
import zipfile
from io import BytesIO

import torch
from torch import Tensor

from elmokit.checkpoints.packed import AnyPath
from elmokit.errors import FormatError

_HEADERS = 3
"""Pickles before the one of interest in PyTorch's older format: a magic number, the version, the machine."""


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
    try:
        _check_numbers(data)
        state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle leads to errors of every kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: no PyTorch file of tensors alone, or damaged or cut short ({reason[:200]})") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FormatError(f"{path}: expected tensors by name (a state dict), found {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise FormatError(f"{path}: entry {name} is {type(tensor).__name__}, expected a tensor")
    return dict(state)


def _check_numbers(data: bytes) -> None:
    """Refuse a pickle in which any number (a size, a stride, a place) is larger than the file.

    Raises:
        ValueError: The number. Whatever else is wrong raises errors of many kinds.
    """
    stream = BytesIO(data)
    if data.startswith(b"PK"):
        with zipfile.ZipFile(stream) as file:
            name = next(name for name in file.namelist() if name.endswith("data.pkl"))
            if file.getinfo(name).file_size > len(data):
                raise ValueError("its pickle is larger than the file")
            stream = BytesIO(file.read(name))
    else:
        for _ in range(_HEADERS):
            for _ in pickletools.genops(stream):
                pass
    for opcode, number, _ in pickletools.genops(stream):
        if isinstance(number, int) and abs(number) > len(data):
            raise ValueError(f"the number {number} ({opcode.name}) is larger than the file's {len(data)} bytes")
