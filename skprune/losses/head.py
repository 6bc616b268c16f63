"""Per-row losses of a linear head, with their first and second derivatives.

All are losses of generalised linear models with the canonical link: with the mean
P = mean(Z) of the outputs ``Z = Phi @ theta``, the gradient in the outputs is P - Y and the
Hessian in the outputs is a function of P alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Loss(ABC):
    """A loss that is convex in the outputs and summed over rows.

    ``Z`` (outputs), ``P`` (means) and ``Y`` (targets) are (n, K) float tensors; h_i is the
    (K, K) Hessian of row i in its outputs.
    """

    name: str
    #: Whether h_i is the same at all outputs.
    quadratic = False

    @abstractmethod
    def value(self, Z: Tensor, Y: Tensor) -> Tensor:
        """Loss of every row, shape (n,)."""

    @abstractmethod
    def mean(self, Z: Tensor) -> Tensor:
        """What the head predicts: class probabilities, or the outputs themselves."""

    @abstractmethod
    def link(self, P: Tensor) -> Tensor:
        """Outputs at which the mean is ``P``; a mean that no outputs have is moved to one."""

    @abstractmethod
    def hessian_product(self, P: Tensor, V: Tensor) -> Tensor:
        """h_i v_i for the rows v_i of ``V``, shape (n, K)."""

    @abstractmethod
    def hessian_entry(self, P: Tensor, k: int, m: int) -> Tensor | None:
        """(h_i)_km of all rows, shape (n,); None where they vanish identically."""

    @abstractmethod
    def hessian_along(self, P: Tensor, directions: Tensor) -> Tensor:
        """u_c' h_i u_c for the columns u_c of ``directions`` (K, C), shape (n, C)."""

    def project(self, V: Tensor) -> Tensor:
        """``V`` (D, K) without the part that no loss feels; H is singular there."""
        return V

    def residual(self, Z: Tensor, Y: Tensor) -> Tensor:
        """e_i = dl/dz_i, shape (n, K); the gradient of the row is phi_i (x) e_i."""
        return self.mean(Z) - Y


class Softmax(Loss):
    """Multinomial cross-entropy in nats; ``Y`` is one-hot."""

    name = "cross-entropy"

    def value(self, Z: Tensor, Y: Tensor) -> Tensor:
        return torch.logsumexp(Z, dim=1) - (Z * Y).sum(1)

    def mean(self, Z: Tensor) -> Tensor:
        return torch.softmax(Z, dim=1)

    def link(self, P: Tensor) -> Tensor:
        return P.clamp_min(torch.finfo(P.dtype).eps).log()

    def hessian_product(self, P: Tensor, V: Tensor) -> Tensor:
        weighted = P * V
        return weighted.sub_(P * weighted.sum(1, keepdim=True))

    def hessian_entry(self, P: Tensor, k: int, m: int) -> Tensor:
        return P[:, k] * (float(k == m) - P[:, m])

    def hessian_along(self, P: Tensor, directions: Tensor) -> Tensor:
        return (P @ directions.square() - (P @ directions).square()).clamp_min_(0.0)

    def project(self, V: Tensor) -> Tensor:
        return V - V.mean(1, keepdim=True)


class Sigmoid(Loss):
    """Binary cross-entropy in nats, summed over K independent outputs; ``Y`` in {0, 1}.

    K = 1 is binary logistic regression, K > 2 is one-versus-rest.
    """

    name = "cross-entropy"

    def value(self, Z: Tensor, Y: Tensor) -> Tensor:
        return (torch.logaddexp(Z, torch.zeros_like(Z)) - Z * Y).sum(1)

    def mean(self, Z: Tensor) -> Tensor:
        return torch.sigmoid(Z)

    def link(self, P: Tensor) -> Tensor:
        return torch.logit(P, eps=torch.finfo(P.dtype).eps)

    def hessian_product(self, P: Tensor, V: Tensor) -> Tensor:
        return P * (1.0 - P) * V

    def hessian_entry(self, P: Tensor, k: int, m: int) -> Tensor | None:
        return P[:, k] * (1.0 - P[:, k]) if k == m else None

    def hessian_along(self, P: Tensor, directions: Tensor) -> Tensor:
        return (P * (1.0 - P)) @ directions.square()


class Squared(Loss):
    """Half the squared error, summed over K outputs."""

    name = "squared error"
    quadratic = True

    def value(self, Z: Tensor, Y: Tensor) -> Tensor:
        return 0.5 * (Z - Y).square().sum(1)

    def mean(self, Z: Tensor) -> Tensor:
        return Z

    def link(self, P: Tensor) -> Tensor:
        return P

    def hessian_product(self, P: Tensor, V: Tensor) -> Tensor:
        return V.clone()

    def hessian_entry(self, P: Tensor, k: int, m: int) -> Tensor | None:
        return torch.ones_like(P[:, k]) if k == m else None

    def hessian_along(self, P: Tensor, directions: Tensor) -> Tensor:
        return directions.square().sum(0).expand(len(P), -1)
