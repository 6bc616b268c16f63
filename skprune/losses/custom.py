"""A loss that the caller wrote as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.losses.base import Loss


class Custom(Loss):
    """The loss ``function(outputs, targets)`` of shape (b,), or (b, ...), which is summed."""

    predicts_classes = None

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._function = function

    def value(self, Z: Tensor, targets: Tensor) -> Tensor:
        values = self._function(Z, targets)
        n, shape = len(Z), tuple(values.shape)
        if shape == (n,):
            return values
        if shape[:1] != (n,) or shape[1:] not in (tuple(Z.shape[1:]), tuple(targets.shape[1:])):
            raise ValueError(
                f"loss(output, target) returned shape {shape} for outputs {tuple(Z.shape)} and "
                f"targets {tuple(targets.shape)}; it must return one value a row "
                '(reduction="none"). For targets shaped like the outputs, give y of shape (n, 1).'
            )
        return values.reshape(n, -1).sum(1)

    def encode(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(y))
