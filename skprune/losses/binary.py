"""Binary cross-entropy, for two classes or for rows with any number of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skprune.losses.base import HeadLoss


@dataclass(eq=False)
class BinaryCrossEntropy(HeadLoss):
    """Binary cross-entropy in nats of K independent outputs; targets (b, K) lie in [0, 1].

    K = 1 is binary logistic regression, K > 2 is one-versus-rest or several labels. With the
    weights c and p it is -c (p y log p_1 + (1 - y) log(1 - p_1)).

    Parameters
    ----------
    weight, pos_weight : Tensor of shape (K,) or None
        Weights of the outputs, and of the positive targets of every output.
    """

    name = "sigmoid"
    predicts_classes = True
    torch_losses: ClassVar = {
        nn.BCEWithLogitsLoss: functional.binary_cross_entropy_with_logits,
        nn.BCELoss: functional.binary_cross_entropy,
    }

    weight: Tensor | None = None
    pos_weight: Tensor | None = None

    @classmethod
    def read(cls, loss: Any, activation: str, y: NDArray[Any], n_outputs: int) -> HeadLoss:
        if isinstance(loss, nn.BCEWithLogitsLoss):
            return cls("identity", 1.0 / n_outputs, loss.weight, loss.pos_weight)
        if activation != "sigmoid":
            raise ValueError(
                "nn.BCELoss is for probabilities, but the module does not end in a sigmoid; use "
                "nn.BCEWithLogitsLoss."
            )
        return cls(activation, 1.0 / n_outputs, loss.weight)

    def value(self, Z: Tensor, targets: Tensor) -> Tensor:
        T, factor = self.soften(targets, Z.shape[1], Z.dtype)
        terms = functional.binary_cross_entropy_with_logits(Z, T, reduction="none")
        return self.scale * (factor * terms).sum(1)

    def mean(self, Z: Tensor) -> Tensor:
        return torch.sigmoid(Z)

    def predict(self, Z: Tensor) -> Tensor:
        return super().predict((Z > 0).long())

    def link(self, P: Tensor) -> Tensor:
        return torch.logit(P, eps=torch.finfo(P.dtype).eps)

    def variance(self, P: Tensor) -> Tensor:
        return P * (1.0 - P)

    def soften(self, targets: Tensor, n_outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        T, factor = super().soften(targets, n_outputs, dtype)
        if self.pos_weight is not None:
            positive = T * self.pos_weight.detach().to(T)
            factor = (positive + 1.0 - T).clamp_min(torch.finfo(dtype).tiny)
            T = positive / factor
        return T, factor if self.weight is None else factor * self.weight.detach().to(T)

    def encode(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        numbers = super().encode(y, n_outputs)
        least, most = numbers.aminmax()
        if least < 0 or most > 1:
            raise ValueError(f"Binary targets are numbers from 0 to 1; got {least:g} to {most:g}.")
        return numbers
