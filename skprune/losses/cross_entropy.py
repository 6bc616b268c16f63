"""Cross-entropy of exclusive classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skprune.losses.base import HeadLoss


@dataclass(eq=False)
class CrossEntropy(HeadLoss):
    """Multinomial cross-entropy in nats; targets are class numbers (b,) or distributions (b, K).

    With the class weights c and the smoothing s it is -sum_k c_k ((1 - s) [k = y] + s / K) log p_k.

    Parameters
    ----------
    class_weight : Tensor of shape (K,) or None
    label_smoothing : float
    """

    name = "softmax"
    predicts_classes = True
    exclusive = True
    torch_losses: ClassVar = {
        nn.CrossEntropyLoss: functional.cross_entropy,
        nn.NLLLoss: functional.nll_loss,
    }

    class_weight: Tensor | None = None
    label_smoothing: float = 0.0

    @classmethod
    def read(cls, loss: Any, activation: str, y: NDArray[Any], n_outputs: int) -> HeadLoss:
        name, weight = type(loss).__name__, loss.weight
        if loss.ignore_index >= 0 and (y == loss.ignore_index).any():
            raise ValueError(
                f"{name}(ignore_index={loss.ignore_index}) leaves out rows of that class; leave "
                "them out of the data, or give them sample_weight 0."
            )
        if weight is not None and len(weight) != n_outputs:
            raise ValueError(
                f"{name} has weights of {len(weight)} classes, and the module has {n_outputs} "
                "outputs."
            )
        if isinstance(loss, nn.CrossEntropyLoss):
            return cls("identity", 1.0, weight, loss.label_smoothing)
        # skorch's classifier takes the logarithm of probabilities before this loss.
        return cls(activation, 1.0, weight)

    def value(self, Z: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 2:
            T, factor = self.soften(targets, Z.shape[1], Z.dtype)
            return factor[:, 0] * (torch.logsumexp(Z, dim=1) - (Z * T).sum(1))
        weight = None if self.class_weight is None else self.class_weight.to(Z)
        s = self.label_smoothing
        return functional.cross_entropy(Z, targets, weight, reduction="none", label_smoothing=s)

    def mean(self, Z: Tensor) -> Tensor:
        return torch.softmax(Z, dim=1)

    def predict(self, Z: Tensor) -> Tensor:
        return Z.argmax(1)

    def link(self, P: Tensor) -> Tensor:
        return P.clamp_min(torch.finfo(P.dtype).eps).log()

    def variance(self, P: Tensor) -> Tensor:
        return P

    def soften(self, targets: Tensor, n_outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if targets.ndim == 1:
            table = torch.zeros(len(targets), n_outputs, dtype=dtype, device=targets.device)
            targets = table.scatter_(1, targets[:, None], 1.0)
        T, factor = super().soften(targets, n_outputs, dtype)
        if self.label_smoothing:
            T = T * (1.0 - self.label_smoothing) + self.label_smoothing / n_outputs
        if self.class_weight is not None:
            T = T * self.class_weight.detach().to(T)
            factor = T.sum(1, keepdim=True)
            T = T / factor.clamp_min(torch.finfo(dtype).tiny)
        return T, factor

    def encode(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        given = np.asarray(y)
        if given.shape[1:] not in ((), (1,)) or given.dtype.kind not in "biuf":
            raise ValueError(
                f"Cross-entropy takes one class number a row; got targets of shape {given.shape} "
                f"and type {given.dtype}. For class numbers written as rows with one 1 give "
                "y.argmax(axis=1); for other tables of zeros and ones, loss=nn.BCEWithLogitsLoss()."
            )
        given = given.reshape(len(given))
        codes = given.astype(np.int64)
        if bool((codes != given).any()):
            raise ValueError(
                "Cross-entropy takes class numbers, and y holds others; for regression give "
                "loss=nn.MSELoss()."
            )
        if codes.min() < 0 or codes.max() >= n_outputs:
            raise ValueError(
                f"y holds class numbers from {codes.min()} to {codes.max()}, but the model has "
                f"{n_outputs} outputs, for classes 0 to {n_outputs - 1}."
            )
        return torch.from_numpy(codes)

    def shares(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        """The weight of the row's class."""
        if self.class_weight is None:
            return super().shares(y, n_outputs)
        return self.class_weight.detach().to("cpu", torch.float64)[self.encode(y, n_outputs)]
