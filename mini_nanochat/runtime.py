"""Where a run happens: which device, and how fast it could be at best."""

from __future__ import annotations

import re

import torch

# Dense bfloat16 operations a second, from NVIDIA's data sheets (without sparsity). The first name that fits counts.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
}


def pick_device(name: str | None = None) -> torch.device:
    """The device of this name, or the best one here: a GPU, Apple's, else the CPU.

    Raises ValueError for a name that torch does not know, or that is not here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return torch.device(name)


def peak_flops(device: torch.device) -> float | None:
    """Operations a second that the maker promises for this GPU in bfloat16; None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in PEAKS.items() if re.search(rf"\b{key}\b", name)), None)
