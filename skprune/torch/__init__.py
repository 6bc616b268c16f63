"""Samplers for training torch networks: other rows every epoch, and weights for their losses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skprune.torch.balanced import BalancedSampler, RandomSubset
from skprune.torch.base import EpochSampler
from skprune.torch.distillation import distilled
from skprune.torch.indexed import Indexed
from skprune.torch.pruning import InfoBatch, RePB
from skprune.torch.ranked import UCB, OrderDP, SeTa
from skprune.torch.trainer_sampling import TrainerSampling

if TYPE_CHECKING:
    from skprune.torch.lightning_sampling import LightningSampling
    from skprune.torch.skorch_sampling import SkorchSampling

# Each needs a package that not everybody has.
_LATE = {
    "LightningSampling": "skprune.torch.lightning_sampling",
    "SkorchSampling": "skprune.torch.skorch_sampling",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "UCB",
    "BalancedSampler",
    "EpochSampler",
    "Indexed",
    "InfoBatch",
    "LightningSampling",
    "OrderDP",
    "RandomSubset",
    "RePB",
    "SeTa",
    "SkorchSampling",
    "TrainerSampling",
    "distilled",
]
