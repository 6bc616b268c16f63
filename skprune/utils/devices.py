"""The device, CPU or GPU, on which computations run."""

from __future__ import annotations

import torch

#: Heads on fewer numbers are faster on the CPU: starting the work on an accelerator takes longer.
SMALL_FOR_ACCELERATOR = 2**22


def check_device(device: str | torch.device) -> torch.device:
    """The device of that name.

    Raises
    ------
    ValueError
        If torch knows no such device, or has none here.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not known; use 'auto', 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={str(device)!r}, but torch sees no CUDA device here; use device='auto' or "
            "'cpu'."
        )
    if chosen.type == "mps":
        raise ValueError(
            f"device={str(device)!r} has no float64, in which heads and curvatures are worked out; "
            "use device='cpu'."
        )
    return chosen


def choose_device(device: str | torch.device, numbers_held: int) -> torch.device:
    """``device`` itself, or for "auto" CUDA if there is one and the rows are worth it."""
    if str(device) != "auto":
        return check_device(device)
    large = numbers_held >= SMALL_FOR_ACCELERATOR
    return torch.device("cuda" if large and torch.cuda.is_available() else "cpu")
