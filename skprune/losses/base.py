"""The base classes of losses, which are functions of a row's K outputs and its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skprune.losses.hessian import OutputHessian, differentiated_twice

#: Logits from the activations that a module may end in; with others, its outputs are logits.
LOGITS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda P: P.clamp_min(torch.finfo(P.dtype).tiny).log(),
    "sigmoid": lambda P: torch.logit(P, eps=1e-7),
}


class Loss(ABC):
    """A loss that a network may be trained with; ``value`` is all that a new one must have.

    ``Z`` (b, K) are logits: the module's outputs without its last ``activation``.
    """

    #: Whether the model predicts classes or labels, and not numbers; None if unknown.
    predicts_classes: ClassVar[bool | None] = False
    #: Whether a row has only one of the classes.
    exclusive: ClassVar[bool] = False
    activation: str = "identity"

    @abstractmethod
    def value(self, Z: Tensor, targets: Tensor) -> Tensor:
        """Loss of every row, shape (b,), differentiable in ``Z``."""

    def __call__(self, Z: Tensor, targets: Tensor) -> Tensor:
        return self.value(Z, targets)

    def residual(self, Z: Tensor, targets: Tensor) -> Tensor:
        """e_i = dl_i / dz_i, shape (b, K)."""
        Z = Z.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.value(Z, targets).sum(), Z)[0]

    def hessian(self, Z: Tensor, targets: Tensor) -> OutputHessian:
        """The Hessians of the rows in their outputs, without negative eigenvalues."""
        return differentiated_twice(lambda outputs: self.value(outputs, targets), Z)

    def mean(self, Z: Tensor) -> Tensor:
        """What the model predicts: probabilities, or the outputs themselves, shape (b, K)."""
        return Z

    def predict(self, Z: Tensor) -> Tensor:
        """Numbers (b,) or (b, K), class numbers (b,), or zeros and ones of several labels."""
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def probabilities(self, Z: Tensor) -> Tensor:
        """Probabilities of the classes (b, C), or of every label (b, L)."""
        P = self.mean(Z)
        return torch.cat([1.0 - P, P], dim=1) if P.shape[1] == 1 else P

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits, from the outputs of the module."""
        return LOGITS[self.activation](outputs) if self.activation in LOGITS else outputs

    def classes(self, n_outputs: int) -> NDArray[Any] | None:
        """The numbers 0 .. K - 1 of the classes or labels; None for a loss of numbers."""
        return np.arange(max(2, n_outputs)) if self.predicts_classes else None

    def encode(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        """Targets as ``value`` takes them, here (n, K) float64; ValueError for any others."""
        numbers = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if numbers.shape[1] != n_outputs:
            raise ValueError(
                f"The targets have {numbers.shape[1]} column(s) and the model {n_outputs} "
                "output(s); they must agree."
            )
        return torch.from_numpy(np.ascontiguousarray(numbers))

    def encode_for(self, dtype: torch.dtype, y: NDArray[Any], n_outputs: int) -> Tensor:
        """``encode``, numbers in single precision unless the network is in double."""
        T = self.encode(y, n_outputs)
        return T.float() if T.is_floating_point() and dtype != torch.float64 else T

    def shares(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        """Weights of the rows in torch's mean, by whose sum it divides, (n,) float64."""
        return torch.ones(len(y), dtype=torch.float64)

    def in_mean(self, y: NDArray[Any], weights: NDArray[np.float64], n_outputs: int) -> float:
        """The mean of ``shares`` over the rows, weighted."""
        w = torch.from_numpy(weights)
        return float(w @ self.shares(y, n_outputs) / w.sum())

    def reported_unit(
        self,
        y: NDArray[Any],
        weights: NDArray[np.float64],
        train: tuple[NDArray[Any], NDArray[np.float64]],
        n_outputs: int,
    ) -> float:
        """Factor from the losses of rows to reported ones, whose mean is torch's.

        ``train`` are the targets and weights of the training rows.
        """
        y_train, train_weights = train
        unit = self.unit(self.encode(y_train, n_outputs), torch.from_numpy(train_weights))
        return unit / self.in_mean(y, weights, n_outputs)

    def unit(self, targets: Tensor, weights: Tensor) -> float:
        """Factor from the loss to the reported one, for encoded training targets.

        Losses of classes are reported in nats, squared errors as shares of Var(y), and any other
        loss as it is.
        """
        return 1.0

    def target_scale(self, y: NDArray[Any]) -> float:
        """The number by which a head divides its targets, so that they are of unit size."""
        return 1.0

    def content(self) -> tuple[Any, ...] | None:
        """Everything that determines the loss, for a digest; None if that is unknown."""
        return None


@dataclass(eq=False)
class HeadLoss(Loss):
    """A convex loss with the canonical link, which a linear head may have as well.

    The loss of row i is scale * sum_k f_ik l(z_ik, t_ik), with the targets T and the factors f of
    ``soften``. Its gradient in the outputs is the mean P minus T, and its Hessian h_i is a function
    of P alone, both times scale and factors. Methods that take ``P`` leave scale and factors out;
    so do heads, whose loss has no options and whose weights include the factors.

    Parameters
    ----------
    activation : str
    scale : float
        Scale of torch's loss, which is a mean over the K outputs: the loss here is their sum.
    """

    #: The name of the head in reports.
    name: ClassVar[str]
    #: Whether h_i is the same at all outputs.
    quadratic: ClassVar[bool] = False
    #: Torch's modules that are this loss, and the functions that they call.
    torch_losses: ClassVar[dict[type[nn.Module], Callable[..., Tensor]]]

    activation: str = "identity"
    scale: float = 1.0

    @classmethod
    @abstractmethod
    def read(cls, loss: Any, activation: str, y: NDArray[Any], n_outputs: int) -> HeadLoss:
        """Read one of ``torch_losses``; ValueError if it contradicts activation or targets."""

    @abstractmethod
    def link(self, P: Tensor) -> Tensor:
        """Outputs whose mean is ``P``; a mean that no outputs have is moved slightly."""

    @abstractmethod
    def variance(self, P: Tensor) -> Tensor:
        """The vectors d(P): h_i is diag(d_i), minus d_i d_i' if classes are exclusive."""

    def hessian_product(self, P: Tensor, V: Tensor) -> Tensor:
        """h_i v_i for the rows v_i of ``V`` (..., n, K)."""
        d = self.variance(P)
        product = d * V
        return product.sub_(d * product.sum(-1, keepdim=True)) if self.exclusive else product

    def root_product(self, P: Tensor, V: Tensor) -> Tensor:
        """s_i v_i for the rows v_i of ``V`` (..., 1 or n, K), with s_i s_i' = h_i."""
        d = self.variance(P)
        product = d.sqrt() * V
        return product - d * product.sum(-1, keepdim=True) if self.exclusive else product

    def hessian_entry(self, P: Tensor, k: int, m: int) -> Tensor | None:
        """(h_i)_km of all rows, shape (n,); None where they vanish identically."""
        if self.exclusive:
            return self.variance(P[:, k]) * (float(k == m) - self.variance(P[:, m]))
        return self.variance(P[:, k]) if k == m else None

    def hessian_along(self, P: Tensor, directions: Tensor) -> Tensor:
        """u_c' h_i u_c for the columns u_c of ``directions`` (K, C), shape (n, C)."""
        d = self.variance(P)
        along = d @ directions.square()
        return (along - (d @ directions).square()).clamp_min_(0.0) if self.exclusive else along

    def project(self, V: Tensor) -> Tensor:
        """``V`` (D, K) without the part that changes no loss, in which H is singular."""
        return V - V.mean(1, keepdim=True) if self.exclusive else V

    def soften(self, targets: Tensor, n_outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Targets T (b, K), and factors f (b, 1) or (b, K)."""
        return targets.to(dtype), torch.ones(len(targets), 1, dtype=dtype, device=targets.device)

    def residual(self, Z: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 1:  # of class numbers without a table of distributions
            return super().residual(Z, targets)
        T, factor = self.soften(targets, Z.shape[1], Z.dtype)
        return (self.mean(Z) - T).mul_(self.scale * factor)

    def hessian(self, Z: Tensor, targets: Tensor) -> OutputHessian:
        P, factor = self.mean(Z), self.scale * self.soften(targets, Z.shape[1], Z.dtype)[1]
        return OutputHessian(
            P,
            lambda V: self.hessian_product(P, V) * factor,
            lambda V: self.root_product(P, V) * factor.sqrt(),
        )

    def label_targets(self, codes: Tensor, n_classes: int) -> Tensor:
        """Targets (n, K), float64, of a linear classifier from class numbers."""
        every = codes[:, None] if n_classes == 2 else functional.one_hot(codes, n_classes)
        return every.double()

    def content(self) -> tuple[Any, ...]:
        return (type(self).__name__, *vars(self).values())
