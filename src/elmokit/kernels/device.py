"""Where a network computes: a device's name → the device, if it is there."""

import torch


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
