"""The squared error, and the variance of the target, in whose units it is reported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skprune.losses.base import HeadLoss


@dataclass(eq=False)
class SquaredError(HeadLoss):
    """Half the squared error, summed over K outputs and times the scale.

    With the factor 1/2 the gradient is P - Y and the Hessian 1, as in a linear model's penalised
    objective. Torch's, a mean over the outputs without that factor, has the scale 2 / K.
    """

    name = "squared"
    quadratic = True
    torch_losses: ClassVar = {nn.MSELoss: functional.mse_loss}

    @classmethod
    def read(cls, loss: Any, activation: str, y: NDArray[Any], n_outputs: int) -> HeadLoss:
        return cls(scale=2.0 / n_outputs)

    def value(self, Z: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * self.scale * (Z - targets.to(Z.dtype)).square().sum(1)

    def link(self, P: Tensor) -> Tensor:
        return P

    def variance(self, P: Tensor) -> Tensor:
        return torch.ones_like(P)

    def label_targets(self, codes: Tensor, n_classes: int) -> Tensor:
        """Targets of -1 and 1, as in scikit-learn's ridge classifier."""
        return 2.0 * super().label_targets(codes, n_classes) - 1.0

    def unit(self, targets: Tensor, weights: Tensor) -> float:
        """The factor from half squared errors to shares of Var(y)."""
        return 2.0 / (self.scale * total_variance(targets, weights))

    def target_scale(self, y: NDArray[Any]) -> float:
        """The standard deviation of the targets."""
        numbers = torch.from_numpy(np.asarray(y, dtype=np.float64).reshape(-1, 1))
        return math.sqrt(total_variance(numbers, torch.ones(len(numbers), dtype=torch.float64)))


def total_variance(targets: Tensor, weights: Tensor) -> float:
    """Variance of the weighted rows of ``targets`` (n, K), summed over columns.

    It is 1 if the targets are constant up to rounding. Rows of weight 0 are ignored.
    """
    weights = weights / weights.sum()
    variance = float((weights @ (targets - weights @ targets).square()).sum())
    rounding = 1e-28 * float((weights @ targets.square()).sum())
    return variance if variance > rounding else 1.0
