"""How much memory this process has had at most."""

import sys
from pathlib import Path

import torch


def peak_bytes() -> int | None:
    """Give the most memory that this process has had, text that it has mapped included; None where the system does not say.

    Linux hands the peak of the process that started this one on to `getrusage`, so its own account is read there.
    """
    found = _linux(Path("/proc/self/status"), "VmHWM")
    if found is None and sys.platform == "darwin":
        import resource

        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def device_peak_bytes(device: torch.device) -> int | None:
    """Give the most memory that PyTorch has had on a GPU; None for another device."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _linux(path: Path, name: str) -> int | None:
    """A line of Linux' own accounts, in bytes."""
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) * 1024 if name in lines else None
