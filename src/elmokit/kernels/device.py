"""Where a network computes: a device's name → the device, if it is there; what it is good at, and how numbers get to it."""

import torch
from torch import Tensor


def choose_device(name: str | torch.device, option: str = "device=") -> torch.device:
    """Give the device of that name.

    Args:
        name: "auto" takes the CUDA device if there is one, else the CPU; or any name that PyTorch knows.
        option: How the user spells what this is the value of, for the message.

    Raises:
        ValueError: PyTorch does not know or cannot use it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'{option}{str(name)!r}: not there or not known to PyTorch; say "auto", "cpu" or "cuda"') from error
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 by instructions of its own, which is when it is the faster one."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # PyTorch tells of processors in functions of its own; a version without one of them knows no such processor.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in names)


def brought_to(device: torch.device | str, numbers: Tensor) -> Tensor:
    """Give a tensor of the CPU on a device, without waiting until a GPU has done what it was given before."""
    if torch.device(device).type != "cuda":
        return numbers.to(device)
    return numbers.pin_memory().to(device, non_blocking=True)
