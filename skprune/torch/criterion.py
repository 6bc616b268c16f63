"""Weights in the loss of a training that somebody else's loop runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from skprune.torch.base import EpochSampler


class WeighedCriterion:
    """A loss module that, between ``begin_batch`` and ``end_batch``, returns the weighted mean.

    A loader yields batches in the order of its sampler, with workers as well. So the rows of a
    batch are known without an index in it.

    Parameters
    ----------
    criterion : torch.nn.Module
        A loss module with a ``reduction``, as torch's have. It is hooked until ``release``.
    """

    def __init__(self, criterion: nn.Module) -> None:
        if not hasattr(criterion, "reduction"):
            raise ValueError(
                f"The loss module {type(criterion).__name__} has no attribute `reduction`, so the "
                "losses of single rows cannot be had from it; use one of torch's, or a module of "
                "your own that returns a loss a row where self.reduction is 'none'."
            )
        self.criterion: Any = criterion
        self._reduction = self.criterion.reduction
        self._sampler: EpochSampler | None = None
        self._done = self._size = 0
        self._hook = criterion.register_forward_hook(self._weigh)

    def begin_epoch(self) -> None:
        """Begin with the first row of the sampler's epoch."""
        self._done = self._size = 0

    def begin_batch(self, sampler: EpochSampler, batch: Any) -> None:
        """Weigh what the module returns from now on."""
        self._sampler = sampler
        self._done, self._size = self._done + self._size, _n_rows(batch)
        self.criterion.reduction = "none"

    def end_batch(self) -> None:
        """Leave the module as it was, for validation."""
        self._sampler = None
        self.criterion.reduction = self._reduction

    def release(self) -> None:
        """Take the hook off."""
        self.end_batch()
        self._hook.remove()

    def _weigh(self, module: nn.Module, inputs: Any, losses: torch.Tensor) -> torch.Tensor:
        if self._sampler is None or self._sampler.rows is None:
            return losses
        if losses.ndim == 0 or len(losses) != self._size:
            raise ValueError(
                f"The loss module returned losses of shape {tuple(losses.shape)} for a batch of "
                f"{self._size} rows; with reduction='none' the first axis has to be that of the "
                "rows (of texts or pixels, the others those of their parts)."
            )
        return self._sampler.weigh(losses, self._sampler.rows[self._done :][: self._size])


def _n_rows(batch: Any) -> int:
    """Number of rows of a batch, that of its first tensor."""
    while not isinstance(batch, torch.Tensor):
        batch = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    return len(batch)
